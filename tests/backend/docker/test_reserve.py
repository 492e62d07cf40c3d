"""The spare that a session keeps: another once one was taken, and none that outlives the session."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from queue import SimpleQueue

import pytest

from sandbox.backend.docker import reserve
from sandbox.backend.docker.holder import Spare
from sandbox.backend.docker.reserve import Reserve

SOON_S = 5.0


class Making:
    """Makes spares whose other end, as the holder has it, can be asked for."""

    def __init__(self, folder: Path, most: int = 9) -> None:
        self._folder = folder
        self._most = most
        self.made: SimpleQueue[tuple[socket.socket, Path]] = SimpleQueue()
        self.asked = 0

    def __call__(self) -> Spare | None:
        self.asked += 1
        if self.asked > self._most:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(0.25)
        folder = self._folder / str(self.asked)
        folder.mkdir()
        self.made.put((theirs, folder))
        return Spare(str(self.asked), ours, str(folder))


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve, "PAUSE_S", 0.0)


def test_who_takes_the_spare_is_followed_by_another(tmp_path: Path) -> None:
    making = Making(tmp_path)
    kept = Reserve(making)
    first, folder = making.made.get(timeout=SOON_S)
    first.close()
    second, other = making.made.get(timeout=SOON_S)
    assert not folder.exists()
    assert other.exists()
    kept.close()
    with second:
        assert second.recv(1) == b"", "a spare lives as long as its session"
    assert not other.exists()
    assert making.asked == 2


def test_none_is_made_where_another_sessions_waits(tmp_path: Path) -> None:
    making = Making(tmp_path, most=0)
    Reserve(making).close()
    assert making.asked == 1


def test_one_that_is_just_being_made_ends_with_its_session(tmp_path: Path) -> None:
    making, begun, closing = Making(tmp_path), threading.Event(), threading.Event()

    def slowly() -> Spare | None:
        begun.set()
        assert closing.wait(SOON_S)
        return making()

    kept = Reserve(slowly)
    assert begun.wait(SOON_S)
    ending = threading.Thread(target=kept.close)
    ending.start()
    while not kept._over.is_set():
        assert ending.is_alive()
    closing.set()
    ending.join(SOON_S)
    assert not ending.is_alive()
    theirs, folder = making.made.get(timeout=SOON_S)
    with theirs:
        assert theirs.recv(1) == b""
    assert not folder.exists()
    assert making.asked == 1


def test_an_engine_that_fails_ends_nothing_but_the_spares() -> None:
    asked = threading.Event()

    def broken() -> Spare | None:
        asked.set()
        raise ConnectionRefusedError

    kept = Reserve(broken)
    assert asked.wait(SOON_S)
    kept.close()
