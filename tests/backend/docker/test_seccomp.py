"""What an engine makes of our profiles, on this kernel: calls made inside, and the filter read back."""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.backend.docker import seccomp
from sandbox.plan.container_seccomp import TIOCSPGRP
from sandbox.plan.syscalls import NEWEST, TIERS
from tests.backend.docker import probe
from tests.plan import bpf
from tests.plan.test_container_seccomp import Args, differing
from tests.plan.test_syscalls import CASES, X32, numbers

Call = tuple[int, Args]
Profiles = Callable[[str], Path]
MACHINE = "x86_64"
ONES = (2**64 - 1,) * 6
EVERYTHING = (
    "--cap-add=SYS_ADMIN",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
)
NEEDS_MORE = ("prctl", (35,))
"""PR_SET_MM without our profile wants CAP_SYS_RESOURCE, which not every engine has to give."""
SECONDS = 60
pytestmark = pytest.mark.skipif(platform.machine() != MACHINE, reason="the probe is a program for x86_64")


def docker(*arguments: str, content: bytes = b"") -> bytes:
    done = subprocess.run(["docker", *arguments], input=content, capture_output=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    name = f"mcp-sandbox-test/probe:{os.urandom(4).hex()}"
    docker("import", "-", name, content=probe.image())
    yield name
    docker("image", "rm", "--force", name)


@pytest.fixture
def probed(require: Callable[[str], None], request: pytest.FixtureRequest) -> str:
    """The image, where there is an engine."""
    require("docker")
    name: str = request.getfixturevalue("image")
    return name


@pytest.fixture(scope="session")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Profiles:
    """The shipped profile of a tier as a file, as the engine's own client wants it."""
    folder = tmp_path_factory.mktemp("profiles")

    def of(tier: str) -> Path:
        (folder / f"{tier}.json").write_text(seccomp.load(tier, MACHINE))
        return folder / f"{tier}.json"

    return of


def confined(profile: Path | None) -> tuple[str, ...]:
    """What every container of ours is started with, as far as it decides on system calls."""
    limits = ("--cap-drop=ALL", "--user=1000:1000", "--security-opt=no-new-privileges")
    return (*limits, f"--security-opt=seccomp={profile or 'unconfined'}")


def made(image: str, options: Sequence[str], calls: Sequence[Call]) -> list[int]:
    """What came of each call in a container of its own."""
    content = b"".join(probe.record(number, args) for number, args in calls)
    command = ("run", "--rm", "--interactive", "--network=none", *options, image, "/probe")
    results = probe.results(docker(*command, content=content))
    assert len(results) == len(calls)
    return results


# --- calls made inside ---------------------------------------------------------------------------

LIVE = {tier: [c.values[1:] for c in CASES if c.values[0] == tier] for tier in TIERS}


@functools.cache
def answers(image: str, options: tuple[str, ...], tier: str) -> list[int]:
    """The answers to the cases of `tier`, all asked of one container."""
    return made(image, options, [(numbers(MACHINE)[name], args) for name, args, _ in LIVE[tier]])


@pytest.mark.threat(
    "H2", proves="a forbidden call fails in a container, and not without our profile", backend="docker"
)
@pytest.mark.parametrize(("tier", "name", "args", "expected"), CASES)
def test_case(tier: str, name: str, args: Args, expected: int, probed: str, profiles: Profiles) -> None:
    at = LIVE[tier].index((name, args, expected))
    inside = answers(probed, confined(profiles(tier)), tier)[at]
    if expected:
        assert inside == -expected
        if (name, args) != NEEDS_MORE:
            assert answers(probed, EVERYTHING, tier)[at] != -expected, "the kernel alone answers so"
    else:
        assert inside == answers(probed, confined(None), tier)[at] or inside > 0


@pytest.mark.parametrize("tier", TIERS)
def test_every_call_that_is_refused_fails_as_the_table_says(
    tier: str, probed: str, profiles: Profiles
) -> None:
    """All arguments are ones: where a profile let a call through, the kernel would find them absurd."""
    codes = {name: TIERS[tier].answer(name, ONES).errno for name in numbers(MACHINE)}
    refused = [name for name, code in codes.items() if code]
    assert len(refused) > 90
    results = made(probed, confined(profiles(tier)), [(numbers(MACHINE)[name], ONES) for name in refused])
    assert {n: r for n, r in zip(refused, results, strict=True) if r != -codes[n]} == {}


@pytest.mark.threat("H2", proves="32-bit and x32 calls kill the process that makes them", backend="docker")
@pytest.mark.parametrize("tier", TIERS)
def test_a_foreign_call_kills(tier: str, probed: str, profiles: Profiles) -> None:
    """Without 32-bit support in the kernel the first control dies too, but of another signal."""
    calls = [(probe.I386 + 20, ()), (X32 + numbers(MACHINE)["getpid"], ())]
    killed = probe.KILLED + signal.SIGSYS
    assert killed not in made(probed, EVERYTHING, calls)
    assert made(probed, confined(profiles(tier)), calls) == [killed, killed]


# --- the engine's own programs -------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_an_init_of_the_engine_lives_under_the_profile(tier: str, probed: str, profiles: Profiles) -> None:
    results = made(probed, ("--init", *confined(profiles(tier))), [(numbers(MACHINE)["getppid"], ())])
    assert results[0] > 1


def test_without_its_entry_an_init_gives_up(probed: str, profiles: Profiles) -> None:
    """So the entry is needed; once inits shrug at EPERM too, it can go."""
    profile = json.loads(profiles("net").read_text())
    foreground = [e for e in profile["syscalls"] if e.get("errnoRet") == errno.ENOTTY]
    assert [e["args"][0]["valueTwo"] for e in foreground] == [TIOCSPGRP]
    profile["syscalls"].remove(foreground[0])
    profiles("net").with_name("without.json").write_text(json.dumps(profile))
    without = confined(profiles("net").with_name("without.json"))
    with pytest.raises(AssertionError, match="tcsetpgrp"):
        made(probed, ("--init", *without), [(numbers(MACHINE)["getppid"], ())])


# --- the filter, read back from the process ------------------------------------------------------

SEIZE, INTERRUPT, GET_FILTER, DETACH, ANY_CHILD = 0x4206, 0x4207, 0x420C, 17, 0x40000000


def installed(pid: int) -> bytes:
    """The BPF that process `pid` lives under; only root may ask."""
    libc = ctypes.CDLL(None, use_errno=True)

    def ptrace(request: int, address: int = 0, data: object = None) -> int:
        result: int = libc.ptrace(request, pid, ctypes.c_void_p(address), data)
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    ptrace(SEIZE)
    try:
        ptrace(INTERRUPT)
        os.waitpid(pid, ANY_CHILD)
        filters = ctypes.create_string_buffer(8 * ptrace(GET_FILTER))
        ptrace(GET_FILTER, data=filters)
        return filters.raw
    finally:
        ptrace(DETACH)


@contextmanager
def running(image: str, options: Sequence[str]) -> Iterator[int]:
    """The pid, here, of a container's program that waits for its first call."""
    command = ("run", "--detach", "--rm", "--interactive", "--network=none", *options, image, "/probe")
    container = docker(*command).decode().strip()
    try:
        yield int(docker("inspect", "--format={{.State.Pid}}", container))
    finally:
        docker("rm", "--force", container)


@pytest.mark.root
@pytest.mark.threat("H2", proves="the filter the engine installed says what our table says", backend="docker")
@pytest.mark.parametrize("tier", TIERS)
def test_the_installed_filter_says_what_the_table_says(tier: str, probed: str, profiles: Profiles) -> None:
    """Every name with the arguments that matter and the matrix of sockets, asked of the engine's own BPF."""
    with running(probed, confined(profiles(tier))) as pid:
        code = bpf.decode(installed(pid))

    def asked(name: str, args: Sequence[int]) -> int:
        action, _ = bpf.run(code, bpf.ARCH[MACHINE], numbers(MACHINE)[name], args)
        assert action == bpf.ALLOW or action & ~0xFFFF == bpf.ERRNO, (name, args, hex(action))
        return 0 if action == bpf.ALLOW else action & 0xFFFF

    wrong = [one for one in differing(MACHINE, tier, asked) if not too_new(*one)]
    assert wrong == []


def too_new(name: str, args: Sequence[str], answer: int) -> bool:
    """A call that libseccomp 2.5.0 has no name for: an engine with an older library refuses it."""
    return numbers(MACHINE)[name] > 439 and answer in (errno.EPERM, errno.ENOSYS)


@pytest.mark.root
@pytest.mark.parametrize("tier", TIERS)
def test_the_installed_filter_makes_no_foreign_or_newer_call(
    tier: str, probed: str, profiles: Profiles
) -> None:
    with running(probed, confined(profiles(tier))) as pid:
        code = bpf.decode(installed(pid))
    kills = {0, bpf.KILL_PROCESS}
    foreign = [(arch, n) for name, arch in bpf.ARCH.items() if name != MACHINE for n in (0, 20, 102, 359)]
    x32 = [(bpf.ARCH[MACHINE], X32 | number) for number in range(NEWEST + 100)]
    assert {bpf.run(code, arch, number, (2, 1, 0))[0] for arch, number in foreign + x32} <= kills
    newer = {bpf.run(code, bpf.ARCH[MACHINE], n, ())[0] for n in (NEWEST + 1, 470, 600, X32 - 1, 2**32 - 1)}
    assert newer <= {bpf.ERRNO | errno.ENOSYS, bpf.ERRNO | errno.EPERM}
