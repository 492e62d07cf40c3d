"""Single processes by /proc, with names that lie; what they wrote and how long they ran, gone or not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.watchdog import processes
from sandbox.watchdog.processes import Process
from sandbox.watchdog.times import Times
from sandbox.watchdog.tree import TreeMeter
from sandbox.watchdog.written import Written


def test_a_name_cannot_pass_for_numbers() -> None:
    code = (
        "import sys; open('/proc/self/comm', 'w').write(') R 1 1 1 ('); print(flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = processes.look(process.pid)
        assert seen is not None
        assert (seen.parent, seen.threads) == (os.getpid(), 1)
        assert processes.name(process.pid) == ") R 1 1 1 ("


MANY = """
import os, signal, sys
for n in range(900):
    if os.fork() == 0:
        signal.pause()
print(flush=True)
sys.stdin.read()
os.killpg(0, signal.SIGKILL)
"""


def test_many_children_are_all_of_the_tree() -> None:
    words = [sys.executable, "-I", "-S", "-c", MANY]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        read = processes.Reader()
        assert len(processes.tree(process.pid)) == 901, "one read tells of what fits in a page"
        assert len(processes.tree(process.pid, read)) == 901
        read.forget()
        read.forget()


LEADERLESS = """
import ctypes, os, sys, threading
def go_on():
    held, files = bytearray(64 << 20), [os.open("/dev/null", os.O_RDONLY) for _ in range(40)]
    for at in range(0, len(held), 4096):
        held[at] = 1
    print("ready", flush=True)
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=go_on).start()
ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
"""


@pytest.mark.threat(
    "T2", proves="without a cgroup, a process that goes on without its first thread is counted"
)
def test_a_process_without_its_first_thread_has_memory_and_files() -> None:
    words = [sys.executable, "-I", "-S", "-c", LEADERLESS]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "Z", "the control"
        seen = processes.look(process.pid)
        assert seen is not None
        assert seen.resident > 64 << 20
        assert (processes.proportional(seen.living) or (0, 0))[0] > 64 << 20
        assert processes.own(seen.living) > 64 << 20
        assert (processes.open_files(process.pid) or 0) > 40
        used = TreeMeter(process.pid, 1 << 20).measure()
        assert (used.memory or 0) > 64 << 20


def test_open_files_are_counted() -> None:
    before = processes.open_files(os.getpid())
    assert before is not None
    with Path(os.devnull).open(), Path(os.devnull).open():
        assert processes.open_files(os.getpid()) == before + 2


def test_what_ended_has_nothing() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    assert processes.look(process.pid) is None
    assert processes.open_files(process.pid) is None
    assert processes.to_disks(process.pid) is None
    assert processes.children(process.pid, 1) == []


def test_files_are_held_open_for_the_living_alone() -> None:
    read = processes.Reader()
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        before = len(os.listdir("/proc/self/fd"))
        first = processes.tree(process.pid, read)
        assert [one.pid for one in processes.tree(process.pid, read)] == [one.pid for one in first]
        read.forget()
        assert len(os.listdir("/proc/self/fd")) == before + 2
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        assert processes.tree(process.pid, read) == []
        read.forget()
        read.forget()
        assert len(os.listdir("/proc/self/fd")) <= before


def test_no_more_files_are_held_than_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "MOST_HELD", 1)
    read = processes.Reader()
    before = len(os.listdir("/proc/self/fd"))
    assert {one.pid for one in processes.tree(os.getpid(), read)} >= {os.getpid()}
    assert len(os.listdir("/proc/self/fd")) == before + 1
    read.forget()
    read.forget()


def test_written_counts_what_goes_to_disks(tmp_path: Path) -> None:
    written = Written()
    before = written.add((os.getpid(),))
    with (tmp_path / "file").open("wb") as file:
        file.write(b"x" * (1 << 20))
    after = written.add((os.getpid(),))
    if before is None or after is None:
        pytest.skip("this kernel has no task_io_accounting")
    in_memory = subprocess.check_output(["stat", "-f", "-c", "%T", str(tmp_path)], text=True).strip()
    assert after - before >= (0 if in_memory == "tmpfs" else 1 << 20)


def fake(monkeypatch: pytest.MonkeyPatch, told: dict[int, int]) -> None:
    monkeypatch.setattr(processes, "to_disks", told.get)


def test_what_the_dead_wrote_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written()
    fake(monkeypatch, {1: 0, 2: 100})
    assert written.add((1, 2)) == 100
    fake(monkeypatch, {1: 0})
    assert written.add((1,)) == 100, "nobody waited for it"
    fake(monkeypatch, {1: 0, 3: 50})
    assert written.add((1, 3)) == 150


def test_what_a_parent_took_over_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written()
    fake(monkeypatch, {1: 0, 2: 100})
    written.add((1, 2))
    fake(monkeypatch, {1: 120})
    assert written.add((1,)) == 120, "and the last that it wrote before its end"


def test_a_number_that_is_anothers_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Written()
    fake(monkeypatch, {1: 0, 2: 100})
    written.add((1, 2))
    fake(monkeypatch, {1: 0, 2: 5})
    assert written.add((1, 2)) == 105


def test_nothing_is_known_where_nothing_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, {})
    assert Written().add((1, 2)) is None


def ran(pid: int, cpu: float, waited: float = 0.0) -> Process:
    return Process(pid, 1, 1, 4096, cpu, waited, started=pid)


def test_times_add_up_the_living_and_the_dead() -> None:
    times = Times()
    assert times.add([ran(1, 1.0), ran(2, 2.0)]) == 3.0
    assert times.add([ran(1, 1.5)]) == 3.5, "nobody waited for the second"
    assert times.add([ran(1, 1.5, waited=4.0)]) == 5.5, "and it had run longer than was seen"


def test_a_bomb_of_short_lives_takes_no_memory_of_ours() -> None:
    times = Times()
    for first in range(0, 50_000, 100):
        found = times.add(ran(pid, 0.01) for pid in range(first, first + 100))
    assert found == pytest.approx(500.0)
    assert len(times._seen) < 2000
