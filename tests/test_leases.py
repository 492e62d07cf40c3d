"""Leases: written before the start, reaped only when their wrapper is gone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sandbox import leases
from sandbox.errors import SandboxNotBuilt


def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}


def dead_process() -> tuple[int, int]:
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    started = leases.start_time(process.pid)
    process.communicate()
    return process.pid, started


def test_a_live_wrapper_keeps_its_lease(tmp_path: Path) -> None:
    pid = os.getpid()
    path = leases.take(leases.Lease("s", "x", pid, leases.start_time(pid)), environ(tmp_path))
    assert leases.reap(environ(tmp_path)) == []
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_dead_wrapper_is_reaped_with_its_cgroups(tmp_path: Path) -> None:
    cgroup = tmp_path / "mcp-sandbox-s"
    cgroup.mkdir()
    path = leases.take(leases.Lease("s", "x", *dead_process(), (str(cgroup),)), environ(tmp_path))
    assert leases.reap(environ(tmp_path)) == ["s"]
    assert not cgroup.exists()
    assert not os.path.exists(path)


def test_a_reused_pid_does_not_keep_a_lease(tmp_path: Path) -> None:
    lease = leases.Lease("s", "x", os.getpid(), leases.start_time(os.getpid()) - 1)
    leases.take(lease, environ(tmp_path))
    assert leases.reap(environ(tmp_path)) == ["s"]


def test_a_lease_cut_short_by_a_crash_is_reaped(tmp_path: Path) -> None:
    pid, started = dead_process()
    path = leases.take(leases.Lease("s", "x", pid, started), environ(tmp_path))
    Path(path).write_text("")
    assert leases.reap(environ(tmp_path)) == ["s"]


def test_a_busy_cgroup_keeps_its_lease(tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    (busy / "child").mkdir(parents=True)
    path = leases.take(leases.Lease("s", "x", *dead_process(), (str(busy),)), environ(tmp_path))
    assert leases.reap(environ(tmp_path)) == []
    assert os.path.exists(path)


def test_a_state_directory_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxNotBuilt, match="state directory"):
        leases.take(leases.Lease("s", "x", 1, 1), environ(tmp_path / "file"))
