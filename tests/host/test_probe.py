"""Probes tell the truth both ways: each negative is made by really taking the thing away from a child."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import linux
from sandbox.host import probe, trial

Prefix = Callable[[list[str]], list[str]]
Require = Callable[[str], None]

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = {
    "x86_64": {"clone": 56, "unshare": 272, "mount": 165, "seccomp": 317, "prctl": 157},
    "aarch64": {"clone": 220, "unshare": 97, "mount": 40, "seccomp": 277, "prctl": 167},
}[os.uname().machine]
EVERYWHERE = {"mount_setattr": 442, "move_mount": 429, "open_tree": 428}
EPERM, ENOSYS, EINVAL = 1, 38, 22

REPORT = """
import json, os
from dataclasses import asdict
from sandbox.host.probe import probe
print(json.dumps(asdict(probe(os.environ))))
"""

# A nested user namespace in which its own /proc/sys/user may be written (user_namespaces(7), "namespaces").
NO_MORE = """
import os
from sandbox import linux
uid, gid = os.getuid(), os.getgid()
linux.unshare(linux.CLONE_NEWUSER)
for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
    open(f"/proc/self/{name}", "w").write(text)
open("/proc/sys/user/max_user_namespaces", "w").write("0")
"""

HALF_A_PROC = """
import os
from sandbox import linux
linux.unshare(linux.CLONE_NEWNS)
linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
linux.mount("tmpfs", "/proc/irq", "tmpfs")
"""


def refuse(name: str, error: int) -> str:
    """Python that makes the kernel refuse one system call with `error`, for itself and its children."""
    number = NUMBERS.get(name) or EVERYWHERE[name]
    # load nr; equal? return ERRNO(error), else return ALLOW
    rows = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7FFF0000)]
    code = b"".join(struct.pack("=HBBI", *row) for row in rows)
    return (
        "from sandbox import linux\n"
        "linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)\n"
        f"linux.install_filter({code!r})\n"
    )


def refuse_namespaces() -> str:
    """Python that makes the kernel refuse clone(2) with CLONE_NEWUSER, as a container's filter does."""
    rows = [
        (0x20, 0, 0, 0),  # load nr
        (0x15, 0, 3, NUMBERS["clone"]),
        (0x20, 0, 0, 16),  # load the low half of the first argument
        (0x45, 0, 1, linux.CLONE_NEWUSER),
        (0x06, 0, 0, 0x00050000 | EPERM),
        (0x06, 0, 0, 0x7FFF0000),
    ]
    code = b"".join(struct.pack("=HBBI", *row) for row in rows)
    return refuse("unshare", EPERM) + f"linux.install_filter({code!r})\n"


FORBIDDEN = refuse_namespaces()
NO_MOUNT = refuse("mount", EPERM)
NO_SETATTR = refuse("mount_setattr", ENOSYS)
NO_OPEN_TREE = refuse("open_tree", ENOSYS)
NO_FILTER = refuse("seccomp", EINVAL)


def measured(before: str, prefix: Prefix) -> dict[str, Any]:
    """The facts as a child finds them after running `before`."""
    argv = prefix([sys.executable, "-c", before + REPORT])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def as_root(argv: list[str]) -> list[str]:
    return argv


def test_this_host_can_do_it(as_user: Prefix, require: Require) -> None:
    require("native")
    facts = measured("", as_user)

    for name in ("namespaces", "mounts", "proc", "seccomp"):
        assert facts[name]["works"], facts[name]
    assert facts["uid"] != 0
    assert facts["kernel"] == os.uname().release
    assert not facts["idmap"]["works"]


@pytest.mark.root
def test_root_is_measured_as_the_launcher_runs(require: Require) -> None:
    require("native")
    facts = measured("", as_root)

    for name in ("namespaces", "mounts", "proc", "seccomp", "idmap"):
        assert facts[name]["works"], facts[name]
    assert facts["uid"] == 0


@pytest.mark.parametrize(
    ("before", "probe_name", "step", "hint"),
    [
        pytest.param(NO_MORE, "namespaces", "namespaces: ENOSPC", "max_user_namespaces", id="none left"),
        pytest.param(FORBIDDEN, "namespaces", "namespaces: EPERM", "container", id="a filter forbids them"),
        pytest.param(NO_MOUNT, "namespaces", "propagation: EPERM", "AppArmor", id="no capabilities in them"),
        pytest.param(NO_SETATTR, "mounts", "read-only attributes: ENOSYS", "5.12", id="before Linux 5.12"),
        pytest.param(NO_OPEN_TREE, "mounts", "copy tree: ENOSYS", "newer kernel", id="before Linux 5.2"),
        pytest.param(NO_FILTER, "seccomp", "filter: EINVAL", "CONFIG_SECCOMP", id="no seccomp filters"),
    ],
)
def test_what_is_taken_away_is_missed(
    before: str, probe_name: str, step: str, hint: str, as_user: Prefix, require: Require
) -> None:
    require("native")
    found = measured(before, as_user)[probe_name]

    assert not found["works"]
    assert found["detail"].startswith(step), found
    assert hint in found["hint"]
    # Nobody is told to switch a protection of the whole host off.
    assert "sysctl -w" not in found["hint"]
    assert "apparmor_restrict" not in found["hint"]


def test_without_namespaces_nothing_else_is_claimed(as_user: Prefix) -> None:
    facts = measured(FORBIDDEN, as_user)

    assert not facts["mounts"]["works"]
    assert not facts["proc"]["works"]
    assert facts["seccomp"]["works"]


@pytest.mark.root
def test_a_container_with_a_masked_proc_is_recognised(require: Require) -> None:
    require("native")
    facts = measured(HALF_A_PROC, as_root)

    assert facts["namespaces"]["works"]
    assert not facts["proc"]["works"]
    assert facts["proc"]["detail"].startswith("mount proc: EPERM")
    assert "container" in facts["proc"]["hint"]


def test_a_probe_leaves_nothing_behind() -> None:
    def state() -> set[str]:
        """Mounts but an engine's, which starts other tests' containers meanwhile, and the probes' cgroups."""
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        groups = [str(p) for p in Path("/sys/fs/cgroup").glob("**/mcp-sandbox-probe-*")]
        return {one for one in mounts if "docker" not in one and "containers" not in one} | {*groups}

    def children() -> set[str]:
        # Of this process at any time: another test may have left it orphans to reap.
        return set(Path("/proc/thread-self/children").read_text().split())

    before, born, descriptors = state(), children(), os.listdir("/proc/self/fd")

    probe.probe()

    assert children() <= born
    assert os.listdir("/proc/self/fd") == descriptors
    until = time.monotonic() + 10
    while left := state() - before:  # what another's probe has for a moment goes again
        assert time.monotonic() < until, left
        time.sleep(0.05)


@pytest.mark.root
@pytest.mark.threat("H2", proves="what is tried as root is tried by an unprivileged uid of the host")
def test_root_never_tries_as_root(require: Require) -> None:
    require("native")

    def body(tell: trial.Tell) -> None:
        tell("map " + Path("/proc/self/uid_map").read_text().split()[1])

    steps = trial.attempt(trial.inside_namespaces(body)).steps

    outside = next(step.split()[1] for step in steps if step.startswith("map "))
    assert int(outside) > 1_000_000


# --- trials ----------------------------------------------------------------------------------------


def test_a_trial_that_hangs_is_ended() -> None:
    read, write = os.pipe()

    def body(tell: trial.Tell) -> None:
        tell("hang")
        os.read(read, 1)

    began = time.monotonic()
    outcome = trial.attempt(body, timeout=0.2)

    assert time.monotonic() - began < 2
    assert (outcome.works, outcome.step, outcome.error) == (False, "hang", 110)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        pytest.param(OSError(28, "full"), 28, id="an errno is reported"),
        pytest.param(ValueError("odd"), 0, id="a bug is a failure without an errno"),
        pytest.param(SystemExit(0), 0, id="an exit is no success"),
    ],
)
def test_a_trial_that_fails_says_where(raised: BaseException, error: int) -> None:
    def body(tell: trial.Tell) -> None:
        tell("first")
        tell("second")
        raise raised

    outcome = trial.attempt(body)

    assert (outcome.works, outcome.step, outcome.error) == (False, "second", error)
    assert outcome.reached("first")
    assert outcome.message


def test_a_trial_that_is_killed_is_no_success() -> None:
    def body(tell: trial.Tell) -> None:
        tell("first")
        os.kill(os.getpid(), 9)

    outcome = trial.attempt(body)

    assert not outcome.works
    assert outcome.message == "the child ended early"
