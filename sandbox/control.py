"""A session's control socket: what `ps`, `top`, `resume` and `answer` ask it, answered beside the relay.

One request, one answer, each a single message of JSON (unix(7), SOCK_SEQPACKET keeps their bounds). Nothing
of the session waits for a peer: a thread of its own serves a few at a time, each for a moment.
"""

from __future__ import annotations

import json
import os
import select
import struct
import threading
import time
from _socket import (
    AF_UNIX,
    MSG_DONTWAIT,
    SHUT_RDWR,
    SO_PEERCRED,
    SOCK_CLOEXEC,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
)
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from sandbox.leases import every, socket_path

Answer = dict[str, Any]
Answers = Mapping[str, Callable[..., Answer]]
"""By the word that asks for it; called in the socket's own thread, with what is given where something is."""

REQUEST_MAX = 1 << 10
ANSWER_MAX = 1 << 16
PEER_S = 0.25
"""How long one peer may take to say what it wants."""
ASK_S = 0.5
"""How long all sessions together may take to answer."""
WAITING_MAX = 16
_CREDENTIALS = struct.Struct("3i")
_PAUSE_S = 0.1


class Control:
    """The socket of one session; it exists from `open` to `close`."""

    def __init__(self, session: str, environ: Mapping[str, str]) -> None:
        self._session = session
        self._environ = environ
        self._listener: socket | None = None

    def open(self, answers: Answers) -> None:
        """Begins to answer; raises `OSError` where a socket cannot be made there."""
        listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        try:
            # Before it has a name: bind(2) gives the name the mode that the socket has by then.
            os.fchmod(listener.fileno(), 0o600)
            with _entered(self._environ) as folder:
                listener.bind(f"{folder}/{self._session}")
            listener.listen(WAITING_MAX)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        threading.Thread(target=_serve, args=(listener, answers), name="control", daemon=True).start()

    def close(self) -> None:
        """Answers nobody any more, and takes the name away."""
        if self._listener is None:
            return
        with suppress(OSError):  # the keeper may have been first
            os.unlink(socket_path(self._session, self._environ))
        with suppress(OSError):
            self._listener.shutdown(SHUT_RDWR)  # wakes the thread, which closes it
        self._listener = None


def sweep(environ: Mapping[str, str]) -> list[str]:
    """Removes the sockets of sessions that are no more; their paths."""
    folder = os.path.dirname(socket_path("", environ))
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    # Read after the names: a lease is written before its socket is made.
    known = {one.session for one in every(environ)}
    gone = [f"{folder}/{name}" for name in names if name not in known]
    for path in gone:
        with suppress(FileNotFoundError):
            os.unlink(path)
    return gone


@contextmanager
def _entered(environ: Mapping[str, str]) -> Iterator[str]:
    """The directory by a name that is short, however long its path is (108 bytes are all, unix(7))."""
    path = os.path.dirname(socket_path("", environ))
    os.makedirs(path, mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_mode & 0o077:
            os.fchmod(fd, 0o700)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


# --- in the session ---------------------------------------------------------------------------------


def _serve(listener: socket, answers: Answers) -> None:
    desk = _Desk(answers)
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    while True:
        ready = dict(poll.poll(desk.next_ms()))
        if (events := ready.pop(listener.fileno(), 0)) & ~select.POLLIN:
            break
        # Whatever a peer does, and whatever cannot be told: the next one is served.
        for fd in ready:
            poll.unregister(fd)
            desk.answer(fd)
        for fd in desk.late():
            poll.unregister(fd)
        if events and (admitted := desk.admit(listener)) is not None:
            poll.register(admitted, select.POLLIN)
    desk.close()
    listener.close()


class _Desk:
    """The peers that have not said yet what they want: a few, each for a moment."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._peers: dict[int, tuple[socket, float]] = {}

    def next_ms(self) -> float | None:
        """Milliseconds until one of them has had its time."""
        until = min((until for _, until in self._peers.values()), default=None)
        return None if until is None else max(1.0, (until - time.monotonic()) * 1000)

    def admit(self, listener: socket) -> int | None:
        """The next peer, if it may ask."""
        try:
            peer = socket(fileno=listener._accept()[0])  # type: ignore[attr-defined]  # C's own
        except OSError:
            time.sleep(_PAUSE_S)  # no descriptor was left: perhaps later there is one
            return None
        if len(self._peers) >= WAITING_MAX or not _trusted(peer):
            peer.close()
            return None
        self._peers[peer.fileno()] = peer, time.monotonic() + PEER_S
        return peer.fileno()

    def answer(self, fd: int) -> None:
        """Serves the peer that has said something, and is done with it."""
        peer, _ = self._peers.pop(fd)
        with suppress(Exception):
            peer.send(_answer(peer.recv(REQUEST_MAX, MSG_DONTWAIT), self._answers), MSG_DONTWAIT)
        peer.close()

    def late(self) -> list[int]:
        """Sends those away that have had their time; which they were."""
        now = time.monotonic()
        gone = [fd for fd, (_, until) in self._peers.items() if until <= now]
        for fd in gone:
            self._peers.pop(fd)[0].close()
        return gone

    def close(self) -> None:
        """Sends everybody away."""
        for peer, _ in self._peers.values():
            peer.close()
        self._peers.clear()


def _answer(request: bytes, answers: Answers) -> bytes:
    asked = json.loads(request)
    word, given = asked.get("ask"), asked.get("with")
    known = answers.get(word) if isinstance(word, str) else None
    told = {"error": "unknown-request"} if known is None else known(*([given] if type(given) is dict else []))
    said = json.dumps({"schema": 1, **told}).encode()
    return said if len(said) <= ANSWER_MAX else b'{"schema": 1, "error": "too-large"}'


def _trusted(peer: socket) -> bool:
    """The user whose session it is, or root, and never from within a sandbox.

    A server may have that user's uid: that it can reach no socket is the view's doing, and this check holds
    where a profile grants it our state directory. A container has a pid namespace, if no user namespace.
    """
    pid, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))
    if uid not in (0, os.geteuid()):
        return False
    try:
        return all(_namespace(pid, kind) == _namespace("self", kind) for kind in ("user", "pid"))
    except OSError:
        return False


def _namespace(pid: int | str, kind: str) -> int:
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


# --- whoever asks -----------------------------------------------------------------------------------


def ask(
    sessions: Iterable[str],
    word: str,
    environ: Mapping[str, str],
    seconds: float = ASK_S,
    given: Mapping[str, Any] | None = None,
) -> dict[str, Answer]:
    """What each of these sessions answers; one that does not within `seconds` is not among them."""
    request = json.dumps({"ask": word} if given is None else {"ask": word, "with": given}).encode()
    until = time.monotonic() + seconds
    open_: dict[int, tuple[str, socket]] = {}
    found: dict[str, Answer] = {}
    poll = select.poll()
    try:
        for session in sessions:
            if (peer := _asked(session, request, environ)) is not None:
                open_[peer.fileno()] = session, peer
                poll.register(peer.fileno(), select.POLLIN)
        while open_ and (left := until - time.monotonic()) > 0:
            for fd, _ in poll.poll(left * 1000):
                poll.unregister(fd)
                session, peer = open_.pop(fd)
                if (said := _heard(peer)) is not None:
                    found[session] = said
    finally:
        for _, peer in open_.values():
            peer.close()
    return found


def _asked(session: str, request: bytes, environ: Mapping[str, str]) -> socket | None:
    peer = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    try:
        peer.setblocking(False)
        with _entered(environ) as folder:
            peer.connect(f"{folder}/{session}")
        _, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS.size))
        if uid == os.geteuid():
            peer.send(request, MSG_DONTWAIT)
            return peer
    except OSError:
        pass  # it starts, or has ended
    peer.close()
    return None


def _heard(peer: socket) -> Answer | None:
    try:
        said = json.loads(peer.recv(ANSWER_MAX))
    except (OSError, ValueError):
        return None
    finally:
        peer.close()
    return said if type(said) is dict and "error" not in said else None
