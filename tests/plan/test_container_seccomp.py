"""An engine's profile says what the tables say: read as an engine reads it, and as libseccomp compiles it."""

from __future__ import annotations

import errno
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from sandbox.backend.docker import seccomp
from sandbox.errors import CannotEnforce, SandboxNotBuilt
from sandbox.plan import container_seccomp, syscalls
from sandbox.plan.container_seccomp import TIOCSPGRP
from sandbox.plan.syscalls import TIERS, Answer, Bits, Rule
from tests.plan import bpf
from tests.plan.test_syscalls import CASES, EVERY_FILTER, NEEDED, numbers, probes

Args = tuple[int, ...]
Asked = Callable[[str, Sequence[int]], int]
FAMILIES = (0, 1, 2, 3, 8, 10, 11, 16, 17, 26, 38, 40, 0x80000002)
KINDS = (*range(8), 15, 0x11, 0x80801, 0x80805, 0x80000001)
PROTOCOLS = (*range(8), 16, 17, 18, 33, 57, 58, 59, 132, 136, 255, 262, 65536, 0x80000000, 0x80000006)


def expected(tier: str, name: str, args: Sequence[int]) -> int:
    """The table's errno, but for the one word an engine's init needs."""
    code = TIERS[tier].answer(name, args).errno
    if (name, code) == ("ioctl", errno.EPERM) and args[1] & 0xFFFFFFFF == TIOCSPGRP:
        return errno.ENOTTY
    return code


def every_probe(machine: str) -> list[tuple[str, Args]]:
    """All names with the arguments that matter, and the whole matrix of sockets."""
    sockets = [("socket", args) for args in product(FAMILIES, KINDS, PROTOCOLS)]
    return sockets + [(name, args) for name in numbers(machine) for args in probes(name)]


def differing(machine: str, tier: str, asked: Asked) -> list[tuple[str, list[str], int]]:
    """Where `asked` answers otherwise than the tier's table."""
    return [
        (name, [hex(a) for a in args], answer)
        for name, args in every_probe(machine)
        if (answer := asked(name, args)) != expected(tier, name, args)
    ]


@functools.cache
def profile(machine: str, tier: str, kill: bool = False) -> dict[str, Any]:
    shipped: dict[str, Any] = json.loads(seccomp.load(tier, machine, kill=kill))
    return shipped


def kills(entry: dict[str, Any]) -> bool:
    return bool(entry["action"] == "SCMP_ACT_KILL_PROCESS")


def code_of(entry: dict[str, Any]) -> int:
    return 0 if entry["action"] == "SCMP_ACT_ALLOW" else entry.get("errnoRet", errno.EPERM)


# --- as an engine reads it -----------------------------------------------------------------------


def as_read(machine: str, tier: str) -> Asked:
    """The entry that matches, of which there may be one answer only; else the default."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for entry in profile(machine, tier)["syscalls"]:
        for name in entry["names"]:
            by_name.setdefault(name, []).append(entry)

    def asked(name: str, args: Sequence[int]) -> int:
        codes = {
            code_of(entry)
            for entry in by_name.get(name, [])
            if all(args[a["index"]] & a["value"] == a["valueTwo"] for a in entry.get("args", []))
        }
        assert len(codes) <= 1, (name, args, codes)
        return codes.pop() if codes else errno.EPERM

    return asked


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_profile_says_what_the_table_says(machine: str, tier: str) -> None:
    assert differing(machine, tier, as_read(machine, tier)) == []


def test_the_comparison_notices_another_tier() -> None:
    names = {name for name, *_ in differing("x86_64", "strict", as_read("x86_64", "net"))}
    assert "socket" in names


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_every_call_is_named(machine: str, tier: str) -> None:
    """Then runc's own answer, ENOSYS above the newest name of a profile, begins where the tables end."""
    named = {name for entry in profile(machine, tier)["syscalls"] for name in entry["names"]}
    refused_by_default = {rule.name for rule in TIERS[tier].rules}
    assert set(numbers(machine)) - refused_by_default <= named <= set(numbers(machine))


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_profile_uses_what_every_engine_knows(machine: str, tier: str) -> None:
    """No conditions on kernels or capabilities, and no default but the one that old engines have."""
    whole = profile(machine, tier)
    assert set(whole) == {"defaultAction", "architectures", "syscalls"}
    assert whole["defaultAction"] == "SCMP_ACT_ERRNO"
    assert whole["architectures"] == [container_seccomp.ARCHITECTURES[machine]]
    keys = {"names", "action", "errnoRet", "args", "comment"}
    assert {key for entry in whole["syscalls"] for key in entry} == keys
    assert {entry["action"] for entry in whole["syscalls"]} == {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_no_entry_looks_twice_at_an_argument(machine: str, tier: str) -> None:
    """Engines take such an entry apart and let either comparison decide."""
    for entry in profile(machine, tier)["syscalls"]:
        indices = [test["index"] for test in entry.get("args", [])]
        assert len(indices) == len(set(indices)), entry
        assert {test["op"] for test in entry.get("args", [])} <= {"SCMP_CMP_MASKED_EQ"}


def test_three_comparisons_start_from_one_word() -> None:
    """Two starts are what libseccomp 2.5.4 confuses."""
    for machine, tier in product(syscalls.MACHINES, TIERS):
        deep = [e["args"][0] for e in profile(machine, tier)["syscalls"] if len(e.get("args", [])) > 2]
        assert len({(test["index"], test["value"], test["valueTwo"]) for test in deep}) <= 1


def test_families_that_no_mask_joins_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than a profile that a compiler may get wrong."""
    rules = tuple(
        Rule("socket", (Bits(0, family), Bits(1, 1), Bits(2, 0)), Answer.ALLOW, "a test") for family in (1, 2)
    )
    monkeypatch.setitem(container_seccomp.TIERS, "net", syscalls.Table((), (), (), rules))
    with pytest.raises(ValueError, match="no mask joins"):
        container_seccomp.profile("net", "x86_64", ["socket"])


# --- as libseccomp compiles it -------------------------------------------------------------------


def libseccomp() -> Any:
    try:
        import pyseccomp
    except (ImportError, RuntimeError) as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI must provide pyseccomp and libseccomp2: {missing}")
        pytest.skip(f"needs pyseccomp and libseccomp2: {missing}")
    return pyseccomp


def compiled(machine: str, tier: str, kill: bool = False) -> bpf.Program:
    """As runc does it: what equals the default is left out, entries go in one after the other."""
    library = libseccomp()
    made = library.SyscallFilter(library.ERRNO(errno.EPERM))
    native, wanted = library.system_arch(), getattr(library.Arch, machine.upper())
    if native != wanted:
        made.add_arch(wanted)
        made.remove_arch(native)
    entries = [e for e in profile(machine, tier, kill)["syscalls"] if kills(e) or code_of(e) != errno.EPERM]
    for name, entry in ((name, one) for one in entries for name in one["names"]):
        if library.resolve_syscall(wanted, name) < 0:
            continue  # Newer than this library: an engine leaves it out too.
        refused = library.KILL_PROCESS if kills(entry) else library.ERRNO(code_of(entry))
        action = refused if code_of(entry) else library.ALLOW
        tests = [(a["index"], library.MASKED_EQ, a["value"], a["valueTwo"]) for a in entry.get("args", [])]
        made.add_rule(action, name, *(library.Arg(*test) for test in tests))
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return bpf.decode(file.read())


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_what_libseccomp_makes_of_it_says_what_the_table_says(machine: str, tier: str) -> None:
    """The compiler that engines use, whichever version is here: 2.5.4 allows what no rule does if let."""
    library, program = libseccomp(), compiled(machine, tier)
    arch = getattr(library.Arch, machine.upper())
    unknown = {name for name in numbers(machine) if library.resolve_syscall(arch, name) < 0}

    def asked(name: str, args: Sequence[int]) -> int:
        if name in unknown:
            return expected(tier, name, args)
        action, _ = bpf.run(program, bpf.ARCH[machine], numbers(machine)[name], args)
        assert action == bpf.ALLOW or action & ~0xFFFF == bpf.ERRNO, (name, args)
        return 0 if action == bpf.ALLOW else action & 0xFFFF

    assert len(unknown) < 20
    assert differing(machine, tier, asked) == []


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_what_libseccomp_makes_of_it_kills_what_is_dangerous_and_nothing_else(
    machine: str, tier: str
) -> None:
    library, program = libseccomp(), compiled(machine, tier, kill=True)
    arch = getattr(library.Arch, machine.upper())
    known = {name for name in numbers(machine) if library.resolve_syscall(arch, name) >= 0}
    wrong = []
    for name, args in every_probe(machine):
        answer = TIERS[tier].answer(name, args)
        action, _ = bpf.run(program, bpf.ARCH[machine], numbers(machine)[name], args)
        wanted = bpf.KILL_PROCESS if answer is Answer.DANGEROUS else bpf.ERRNO | expected(tier, name, args)
        if name in known and action != (bpf.ALLOW if answer is Answer.ALLOW else wanted):
            wrong.append((name, [hex(a) for a in args], hex(action)))
    assert wrong == []


@pytest.mark.parametrize("machine", syscalls.MACHINES)
@pytest.mark.parametrize(("tier", "name", "args", "code"), CASES)
def test_case(machine: str, tier: str, name: str, args: Args, code: int) -> None:
    six = [*args, 0, 0, 0, 0, 0, 0][:6]
    assert as_read(machine, tier)(name, six) == code


@pytest.mark.parametrize("tier", TIERS)
def test_what_servers_were_seen_to_need_is_allowed_by_name(tier: str) -> None:
    answers = Counter(as_read("x86_64", tier)(name, (0,) * 6) for name in NEEDED)
    assert answers == {0: len(NEEDED)}


# --- shipped and loaded --------------------------------------------------------------------------


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_shipped_profiles_are_built_from_the_tables(machine: str, tier: Any) -> None:
    assert seccomp.load(tier, machine) == container_seccomp.text(tier, machine, numbers(machine))


def test_loader_knows_the_tiers_and_machines_of_the_tables() -> None:
    assert set(seccomp.TIERS) == set(TIERS)
    assert seccomp.MACHINES == syscalls.MACHINES == tuple(container_seccomp.ARCHITECTURES)


@pytest.mark.parametrize(
    ("tier", "machine", "named"),
    [
        pytest.param("net", "riscv64", "riscv64", id="a machine without a profile"),
        pytest.param("nett", "x86_64", "nett", id="a tier that does not exist"),
        pytest.param("../../native/filters/x", "x86_64", "native", id="a path"),
    ],
)
def test_nothing_weaker_is_loaded_instead(tier: str, machine: str, named: str) -> None:
    with pytest.raises(CannotEnforce, match=named):
        seccomp.load(tier, machine)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="an engine would allow everything"),
        pytest.param(b'{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}', id="everything allowed"),
        pytest.param(b'{"defaultAction":"SCMP_ACT_ERRNO","sysca', id="cut"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"\xff\xfe", id="no text"),
    ],
)
def test_a_damaged_profile_is_not_used(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seccomp, "_DIRECTORY", str(tmp_path))
    if content is not None:
        (tmp_path / "x86_64-net.json").write_bytes(content)
    with pytest.raises(SandboxNotBuilt, match=r"x86_64-net\.json"):
        seccomp.load("net", "x86_64")


def test_loading_does_not_parse_the_tables() -> None:
    load = "from sandbox.backend.docker.seccomp import load; load('net', 'x86_64')"
    code = f"import sys; {load}; print([m for m in sys.modules if m.startswith('sandbox.plan')])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "[]\n"
