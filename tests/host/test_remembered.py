"""Facts are measured once a boot, and a memory that does not fit exactly is no memory."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.host import cgroups, probe, remembered
from sandbox.plan.facts import Cgroups, HostFacts, Probe

YES = Probe(True, "it works")
HERE = HostFacts(
    kernel="6.1.0",
    machine="x86_64",
    uid=os.geteuid(),
    gid=os.getegid(),
    namespaces=YES,
    mounts=YES,
    proc=YES,
    seccomp=YES,
    idmap=YES,
    trap=YES,
    landlock_abi=7,
    cgroups=Cgroups(0, {}, "none", "a hint"),
    bubblewrap=Probe(False, "not installed", "apt install bubblewrap"),
)


class Measuring:
    """Stands for the probe, and counts how often it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, facts: HostFacts = HERE) -> None:
        self.facts, self.times, self.found = facts, 0, 0
        monkeypatch.setattr(probe, "probe", self.measure)
        monkeypatch.setattr(cgroups, "find", self.find)

    def measure(self, environ: object = None) -> HostFacts:
        self.times += 1
        return self.facts

    def find(self) -> Cgroups:
        self.found += 1
        return Cgroups(0, {}, "found again")


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> Measuring:
    return Measuring(monkeypatch)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def memory(environ: dict[str, str]) -> Path:
    return Path(environ["XDG_CACHE_HOME"]) / f"mcp-sandbox/facts-{os.geteuid()}.json"


def test_the_second_start_measures_nothing(measuring: Measuring, environ: dict[str, str]) -> None:
    first = remembered.facts(environ)
    second = remembered.facts(environ)

    assert first == second == HERE
    assert (measuring.times, measuring.found) == (1, 0)
    assert stat.S_IMODE(memory(environ).stat().st_mode) == 0o600
    assert os.listdir(memory(environ).parent) == [memory(environ).name]


def test_refresh_measures_again(measuring: Measuring, environ: dict[str, str]) -> None:
    remembered.facts(environ)
    measuring.facts = replace(HERE, landlock_abi=1)

    assert remembered.facts(environ, refresh=True).landlock_abi == 1
    assert remembered.facts(environ).landlock_abi == 1


def _set(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        for key in keys[:-1]:
            value = value[key]
        value[keys[-1]] = to

    return change


def _drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        for key in keys[:-1]:
            value = value[key]
        del value[keys[-1]]

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_set("where", "boot", to="another"), id="another boot"),
        pytest.param(_set("where", "kernel", to="another"), id="another kernel"),
        pytest.param(_set("where", "code", to="another"), id="another version of ours"),
        pytest.param(_set("facts", "uid", to=os.geteuid() + 1), id="another user"),
        pytest.param(_set("facts", "uid", to=str(os.geteuid())), id="a uid that is text"),
        pytest.param(_set("facts", "landlock_abi", to=True), id="an ABI that is a truth value"),
        pytest.param(_set("facts", "seccomp", "works", to=1), id="a truth value that is a number"),
        pytest.param(_set("facts", "seccomp", "works", to=False), id="remembered bad news"),
        pytest.param(_set("facts", "seccomp", "extra", to=1), id="a probe with a field too many"),
        pytest.param(_set("facts", "extra", to=1), id="a field too many"),
        pytest.param(_drop("facts", "proc"), id="a field too few"),
        pytest.param(_drop("where"), id="facts of nowhere"),
        pytest.param(_set("facts", "cgroups", "version", to=3), id="a cgroup version that does not exist"),
        pytest.param(_set("facts", "cgroups", "directories", to=[]), id="directories that are a list"),
        pytest.param(_set("facts", "cgroups", "directories", to={"a": "b"}), id="a relative directory"),
        pytest.param(_set("facts", "cgroups", "lacks", to="cpu"), id="controllers that are no list"),
    ],
)
def test_a_memory_that_does_not_fit_is_measured_again(
    change: Callable[[dict[str, Any]], None], measuring: Measuring, environ: dict[str, str]
) -> None:
    remembered.facts(environ)
    value = json.loads(memory(environ).read_text())
    change(value)
    memory(environ).write_text(json.dumps(value))

    assert remembered.facts(environ) == HERE
    assert measuring.times == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"9" * 70_000], ids=repr)
def test_a_damaged_memory_is_measured_again(
    content: bytes, measuring: Measuring, environ: dict[str, str]
) -> None:
    remembered.facts(environ)
    memory(environ).write_bytes(content)

    assert remembered.facts(environ) == HERE
    assert measuring.times == 2


def test_a_memory_that_others_could_write_is_not_believed(
    measuring: Measuring, environ: dict[str, str]
) -> None:
    remembered.facts(environ)
    memory(environ).chmod(0o666)

    remembered.facts(environ)

    assert measuring.times == 2
    assert stat.S_IMODE(memory(environ).stat().st_mode) == 0o600


def test_a_memory_that_is_a_link_is_not_followed(measuring: Measuring, environ: dict[str, str]) -> None:
    remembered.facts(environ)
    elsewhere = memory(environ).rename(memory(environ).with_name("elsewhere"))
    memory(environ).symlink_to(elsewhere)

    remembered.facts(environ)

    assert measuring.times == 2
    assert not memory(environ).is_symlink()


def test_bad_news_is_never_remembered(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    Measuring(monkeypatch)
    remembered.facts(environ)
    bad = Measuring(monkeypatch, replace(HERE, namespaces=Probe(False, "namespaces: EPERM")))

    remembered.facts(environ, refresh=True)
    remembered.facts(environ)

    assert bad.times == 2
    assert not memory(environ).exists()


def test_an_unwritable_cache_is_no_failure(measuring: Measuring, environ: dict[str, str]) -> None:
    Path(environ["XDG_CACHE_HOME"]).write_text("a file, where a directory should be")

    assert remembered.facts(environ) == HERE
    assert remembered.facts(environ) == HERE
    assert measuring.times == 2


def test_in_another_cgroup_only_cgroups_are_measured_again(
    measuring: Measuring, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered.facts(environ)
    moved = {**remembered.where(), "cgroup": "0::/moved\n"}
    monkeypatch.setattr(remembered, "where", lambda: moved)

    assert remembered.facts(environ).cgroups.detail == "found again"
    assert remembered.facts(environ).cgroups.detail == "found again"
    assert (measuring.times, measuring.found) == (1, 1)


def test_a_scope_is_handed_out_wherever_we_are(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], tmp_path: Path
) -> None:
    scope = Cgroups(2, {"scope": str(tmp_path / "app.slice")}, "a scope", "", ("cpu",))
    (tmp_path / "app.slice").mkdir()
    measuring = Measuring(monkeypatch, replace(HERE, cgroups=scope))
    remembered.facts(environ)
    moved = {**remembered.where(), "cgroup": "0::/moved\n"}
    monkeypatch.setattr(remembered, "where", lambda: moved)

    assert (remembered.facts(environ).cgroups, measuring.found) == (scope, 0)
    (tmp_path / "app.slice").rmdir()  # the manager is gone, and its slices
    assert remembered.facts(environ).cgroups.detail == "found again"


def test_a_cgroup_that_is_gone_is_looked_for_again(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], tmp_path: Path
) -> None:
    gone = Cgroups(1, {"memory": str(tmp_path / "gone")}, "v1")
    measuring = Measuring(monkeypatch, replace(HERE, cgroups=gone))
    remembered.facts(environ)

    assert remembered.facts(environ).cgroups.detail == "found again"
    assert (measuring.times, measuring.found) == (1, 1)


def test_facts_survive_their_json_form() -> None:
    facts = replace(HERE, cgroups=Cgroups(1, {"memory": "/sys/fs/cgroup/memory"}, "v1"))

    assert remembered.decode(json.loads(json.dumps(asdict(facts)))) == facts


def test_a_warm_start_is_quick_and_light(environ: dict[str, str]) -> None:
    code = (
        "import json, os, sys, time, sandbox.host.remembered as r\n"
        "times = []\n"
        "for _ in range(9):\n"
        "    began = time.perf_counter(); r.facts(os.environ); times.append(time.perf_counter() - began)\n"
        "heavy = [m for m in ('ctypes', 'socket', 'subprocess') if m in sys.modules]\n"
        "print(json.dumps([sorted(times)[4], heavy]))\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True, timeout=60
        )
        for _ in range(2)
    ]
    if not memory(environ).exists():
        pytest.skip("the native backend cannot be used on this host, so nothing is remembered")

    took, heavy = json.loads(runs[1].stdout)
    assert heavy == []
    assert took < 0.001
