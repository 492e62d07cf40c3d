"""Leases: written before the start, reaped only when their wrapper is gone."""

from __future__ import annotations

import os
import subprocess
import sys
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


# --- containers ------------------------------------------------------------------------------------


class FakeEngines:
    """Stands where an engine would be asked: what is there, and whether it answers."""

    def __init__(self, *there: str, answers: bool = True) -> None:
        self.there, self.answers, self.asked = set(there), answers, 0

    def remove(self, endpoint: str, containers: tuple[str, ...]) -> bool:
        self.asked += 1
        assert endpoint == "unix:///there"
        if self.answers:
            self.there -= set(containers)
        return self.answers

    def remove_abandoned(self) -> None:
        assert self.asked, "only an engine that was needed anyway is asked for more"

    def close(self) -> None:
        self.asked = -self.asked


def of_containers(tmp_path: Path, pid: int, started: int) -> leases.Lease:
    folder = tmp_path / "staged"
    folder.mkdir()
    (folder / "7").write_text("a staged file")
    return leases.Lease(
        "s", "x", pid, started, (), "docker", "web", "unix:///there", ("server", "server-net"), str(folder)
    )


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> FakeEngines:
    made = FakeEngines("server", "server-net", "a stranger's")
    monkeypatch.setattr("sandbox.backend.docker.reap.Engines", lambda environ, seconds: made)
    return made


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    lease = of_containers(tmp_path, os.getpid(), leases.start_time(os.getpid()))
    leases.take(lease, environ(tmp_path))
    assert leases.every(environ(tmp_path)) == [lease]
    assert lease.lives


def test_a_lease_of_an_older_version_says_less(tmp_path: Path) -> None:
    path = leases.take(leases.Lease("s", "x", 1, 1), environ(tmp_path))
    Path(path).write_text('{"schema": 1, "server": "x", "cgroups": ["/c"]}')
    assert leases.every(environ(tmp_path)) == [leases.Lease("s", "x", 1, 1, ("/c",))]


def test_containers_and_staged_files_go_with_their_wrapper(tmp_path: Path, engines: FakeEngines) -> None:
    lease = of_containers(tmp_path, *dead_process())
    path = leases.take(lease, environ(tmp_path))
    assert leases.reap(environ(tmp_path)) == ["s"]
    assert engines.there == {"a stranger's"}
    assert not os.path.exists(lease.folder)
    assert not os.path.exists(path)
    assert engines.asked < 0, "let go of"


def test_an_engine_that_does_not_answer_keeps_the_lease_and_the_files(
    tmp_path: Path, engines: FakeEngines
) -> None:
    engines.answers = False
    lease = of_containers(tmp_path, *dead_process())
    path = leases.take(lease, environ(tmp_path))
    assert leases.reap(environ(tmp_path)) == []
    assert os.path.exists(path)
    assert os.listdir(lease.folder) == ["7"]


def test_a_living_wrapper_keeps_its_containers(tmp_path: Path, engines: FakeEngines) -> None:
    leases.take(of_containers(tmp_path, os.getpid(), leases.start_time(os.getpid())), environ(tmp_path))
    assert leases.reap(environ(tmp_path)) == []
    assert engines.asked == 0


def test_a_keeper_at_work_keeps_what_it_makes(tmp_path: Path, engines: FakeEngines) -> None:
    """Its wrapper is gone, and it may be creating a container this very moment."""
    path = leases.take(of_containers(tmp_path, *dead_process()), environ(tmp_path))
    held = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_SH); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", held, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as keeper:
        assert keeper.stdout is not None
        keeper.stdout.readline()
        assert leases.reap(environ(tmp_path)) == []
        assert engines.asked == 0
        keeper.kill()
    assert leases.reap(environ(tmp_path)) == ["s"]


def test_a_keeper_whose_lease_was_reaped_makes_nothing(tmp_path: Path) -> None:
    from sandbox.backend.docker import keeper

    path = leases.take(leases.Lease("s", "x", 1, 1), environ(tmp_path))
    assert keeper._locked([path])
    os.unlink(path)
    assert not keeper._locked([path])


def test_the_work_of_a_keeper_that_was_killed(tmp_path: Path, engines: FakeEngines) -> None:
    lease = of_containers(tmp_path, os.getpid(), leases.start_time(os.getpid()))
    path = leases.take(lease, environ(tmp_path))
    assert leases.release(path, lease, environ(tmp_path))
    assert engines.there == {"a stranger's"}
    assert not os.path.exists(path)


def test_a_start_without_old_containers_loads_no_engine(tmp_path: Path) -> None:
    """The SDK costs a fifth of a second, which only a crash may cost the next start."""
    code = (
        "import os, sys; from sandbox import leases; leases.reap(os.environ); print('docker' in sys.modules)"
    )
    leases.take(leases.Lease("s", "x", *dead_process()), environ(tmp_path))
    told = environ(tmp_path) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.check_output([sys.executable, "-c", code], env=told, timeout=30) == b"False\n"
