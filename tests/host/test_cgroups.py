"""Cgroups: found where they work, here; and their places worked out from other hosts' tables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox import scope
from sandbox.host import cgroups

HYBRID = """\
24 1 0:21 / /proc rw - proc proc rw
30 25 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw
31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:9 master:1 - cgroup cgroup rw,memory
33 25 0:29 / /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids
34 25 0:30 / /sys/fs/cgroup/freezer rw,nosuid - cgroup cgroup rw,freezer
"""
UNIFIED = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
CONTAINER = "30 25 0:26 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup ro\n"


def test_version_1_controllers_are_found_wherever_they_are_mounted() -> None:
    mounted = cgroups._mounted(HYBRID)

    assert {name: place.point for name, place in mounted.items()} == {
        "unified": "/sys/fs/cgroup/unified",
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
        "pids": "/sys/fs/cgroup/pids",
        "freezer": "/sys/fs/cgroup/freezer",
    }


@pytest.mark.parametrize(
    ("mountinfo", "own", "expected"),
    [
        pytest.param(UNIFIED, "0::/", "/sys/fs/cgroup", id="the root"),
        pytest.param(UNIFIED, "0::/user.slice/a.scope", "/sys/fs/cgroup/user.slice/a.scope", id="a scope"),
        pytest.param(CONTAINER, "0::/docker/ab/c", "/sys/fs/cgroup/c", id="a container on host paths"),
        pytest.param(CONTAINER, "0::/", "/sys/fs/cgroup", id="a container with a cgroup namespace"),
        pytest.param(CONTAINER, "0::/docker/abc", "/sys/fs/cgroup/docker/abc", id="half a name is no parent"),
    ],
)
def test_our_own_directory(mountinfo: str, own: str, expected: str) -> None:
    place = cgroups._mounted(mountinfo)["unified"]

    assert cgroups._directory(place, cgroups._own(own)["unified"]) == expected


def _delegated(point: Path, **controllers: str) -> None:
    for folder, names in controllers.items():
        place = point / folder.replace("__", "/").replace("root", ".")
        place.mkdir(parents=True, exist_ok=True)
        (place / "cgroup.subtree_control").write_text(names)


@pytest.fixture
def no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "sockets", lambda uid: ())


@pytest.mark.usefixtures("no_manager")
def test_version_2_takes_the_nearest_parent_that_hands_out_all_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def attempt(parent: str, values: dict[str, str], must_have: str = "") -> str:
        tried.append(parent)
        return ""

    monkeypatch.setattr(cgroups, "_try", attempt)
    _delegated(tmp_path, root="cpu memory pids io", a="memory pids cpu", a__b="memory pids", a__b__c="")

    found = cgroups._version_2(cgroups.Mounted(str(tmp_path), "/"), "/a/b/c")

    assert (found.version, found.directories) == (2, {"unified": f"{tmp_path}/a"})
    assert tried == [f"{tmp_path}/a"]


@pytest.mark.usefixtures("no_manager")
def test_version_2_without_the_processors_controller_holds_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[dict[str, str]] = []
    monkeypatch.setattr(cgroups, "_try", lambda parent, values: tried.append(values) or "")
    _delegated(tmp_path, root="memory pids io", a="")

    found = cgroups._version_2(cgroups.Mounted(str(tmp_path), "/"), "/a")

    assert (found.version, found.lacks, found.directories) == (2, ("cpu",), {"unified": str(tmp_path)})
    assert [sorted(values) for values in tried] == [["memory.max", "pids.max"]]


@pytest.mark.usefixtures("no_manager")
def test_version_2_without_delegation_says_why_and_what_helps(tmp_path: Path) -> None:
    _delegated(tmp_path, root="memory", a="")

    found = cgroups._version_2(cgroups.Mounted(str(tmp_path), "/"), "/a")

    assert (found.version, dict(found.directories)) == (0, {})
    assert "no service manager" in found.detail
    assert found.hint


def test_a_plain_directory_is_no_cgroup(tmp_path: Path) -> None:
    # It can be made, and the limit cannot be written: nothing is claimed and nothing stays.
    problem = cgroups._try(str(tmp_path), {"memory.max": "1"})

    assert problem.startswith("memory.max")
    assert os.listdir(tmp_path) == []


@pytest.mark.root
def test_here_a_child_really_holds_a_process() -> None:
    found = cgroups.find()
    if found.version == 0:
        pytest.skip(f"this host has no writable cgroup: {found.detail}")

    for controller, parent in found.directories.items():
        child = Path(parent) / f"mcp-sandbox-test-{os.getpid()}"
        child.mkdir()
        try:
            assert (child / "cgroup.procs").is_file(), controller
        finally:
            child.rmdir()
    assert not [p for d in found.directories.values() for p in Path(d).glob("mcp-sandbox-probe-*")]


SLICE = "/user.slice/user-1000.slice/user@1000.service/app.slice"


@pytest.mark.parametrize(
    ("handed", "lacks"),
    [
        pytest.param(("memory", "pids", "cpu"), (), id="everything is handed down"),
        pytest.param(("memory", "pids"), ("cpu",), id="an older systemd keeps the processor"),
    ],
)
def test_version_2_asks_the_service_manager_first(
    monkeypatch: pytest.MonkeyPatch, handed: tuple[str, ...], lacks: tuple[str, ...]
) -> None:
    def attempt(parent: str, values: dict[str, str]) -> str:
        wanted = parent.startswith(f"/sys/fs/cgroup{SLICE}/mcp-sandbox-probe-") and "memory.max" in values
        return "" if wanted and ("cpu.max" in values) is ("cpu" in handed) else f"{parent} {values}"

    monkeypatch.setattr(scope, "enter", lambda name: f"{SLICE}/{name}.scope")
    monkeypatch.setattr(scope, "settle", lambda directory: handed)
    monkeypatch.setattr(cgroups, "_try", attempt)

    found = cgroups._version_2(cgroups.Mounted("/sys/fs/cgroup", "/"), "/user.slice/session-1.scope")

    assert (found.version, found.directories) == (2, {"scope": f"/sys/fs/cgroup{SLICE}"})
    assert found.lacks == lacks
    assert bool(found.hint) is bool(lacks)


def test_a_manager_whose_scope_holds_nothing_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "enter", lambda name: f"/{name}.scope")
    monkeypatch.setattr(scope, "settle", lambda directory: ("memory", "pids", "cpu"))

    found = cgroups._version_2(cgroups.Mounted(str(tmp_path), "/"), "/")

    assert found.version == 0
    assert "limits: mkdir: No such file or directory" in found.detail
