"""The listening socket: whom it lets in, and how long anybody may take.

Connections are accepted by hand and not by asyncio's server, since a peer counts from its first moment (with
TLS that would be after its handshake), and one of another user's on a unix socket is refused before it spoke.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import ssl
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address

from sandbox.errors import SandboxNotBuilt
from sandbox.serve.address import Address
from sandbox.serve.connection import EVICTED, Connection, Desk
from sandbox.serve.words import Refused

BACKLOG = 512
ACCEPTED_AT_ONCE = 32
"""Then those that are served already have their turn."""
_PAUSE_S = 0.05
_SWEEP_S = 0.25
_UCRED = struct.Struct("3i")
_FOREIGN = Refused(403, "foreign-uid", "this socket is another user's")
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """Serves the connections of one listening socket from `start` to `stop`."""

    def __init__(self, sock: socket.socket, desk: Desk, context: ssl.SSLContext | None) -> None:
        self._socket, self._desk, self._context = sock, desk, context
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to accept."""
        self._loop.add_reader(self._socket, self._accept)
        self._sweeper = self._loop.create_task(self._sweep())

    def close(self) -> None:
        """Takes nobody in any more; who is being answered is answered."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for one in self._guests():
            one.finish()

    async def stop(self, seconds: float) -> None:
        """Ends every connection, those that are being answered after `seconds`."""
        until = time.monotonic() + seconds
        while self._desk.crowd.everybody() and time.monotonic() < until:
            await asyncio.sleep(0.01)
            for one in self._guests():
                one.finish()
        for one in self._guests():
            one.abort()
        await asyncio.sleep(0)  # a transport lets go of its socket in the loop's next turn
        await asyncio.sleep(0)
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _guests(self) -> list[Connection]:
        return [one for one in self._desk.crowd.everybody() if isinstance(one, Connection)]

    # --- who comes ----------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                peer, address = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                return self._rest(error)
            try:
                peer.setblocking(False)
                self._take_in(peer, address)
            except OSError:  # it is gone again
                peer.close()

    def _rest(self, error: OSError) -> None:
        """Where no descriptor is left somebody has to go; until then nobody is accepted."""
        if error.errno not in _NO_DESCRIPTOR:
            return
        self._desk.crowd.make_room()
        self._loop.remove_reader(self._socket)
        self._loop.call_later(_PAUSE_S, self._go_on)

    def _go_on(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._accept)

    def _take_in(self, peer: socket.socket, address: object) -> None:
        if peer.family == socket.AF_UNIX:
            uid = uid_of(peer)
            is_ours = uid == os.geteuid()
            guest = Connection(self._desk, f"uid:{uid}", None if is_ours else _FOREIGN)
            place = "" if is_ours else f"uid:{uid}"
        else:
            shown = str(address[0]) if isinstance(address, tuple) else ""
            place = "" if ip_address(shown.partition("%")[0]).is_loopback else shown
            guest = Connection(self._desk, shown)
            _keep_an_eye_on(peer)
        self._desk.crowd.enter(guest, place)
        guest.opening = self._loop.create_task(self._open(guest, peer))
        # A task that is cancelled before its first step never sees it.
        guest.opening.add_done_callback(lambda task: self._opened(task, guest, peer))

    async def _open(self, guest: Connection, peer: socket.socket) -> None:
        """Gives a guest its transport; with TLS, once its handshake is done."""
        if self._context is None:
            await self._loop.connect_accepted_socket(lambda: guest, peer)
            return
        limits = self._desk.limits
        await self._loop.connect_accepted_socket(
            lambda: guest,
            peer,
            ssl=self._context,
            ssl_handshake_timeout=limits.head_s,
            ssl_shutdown_timeout=limits.drain_s,
        )

    def _opened(self, task: asyncio.Task[None], guest: Connection, peer: socket.socket) -> None:
        """Where there is no transport, for want of a handshake or of room, nothing of the guest is left."""
        if task.cancelled() or task.exception() is not None:
            if self._context is None:
                with suppress(OSError):
                    peer.send(EVICTED)
            peer.close()
            self._desk.crowd.leave(guest)

    async def _sweep(self) -> None:
        """One look at all, a few times a second: a timer for each of ten thousand would cost more."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = time.monotonic()
            for one in self._guests():
                if one.is_late(now):
                    self._expire(one)
            self._desk.journal.settle()

    def _expire(self, one: Connection) -> None:
        """What fails at one guest must not keep the others for ever."""
        try:
            one.expire()
        except Exception as error:
            self._desk.journal.fault(error)
            one.abort()


def uid_of(peer: socket.socket) -> int:
    """Whose process connected, by the kernel's word (unix(7), SO_PEERCRED)."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(raw)[1])


def _keep_an_eye_on(peer: socket.socket) -> None:
    """A stream on which nothing happens for hours is told from one whose client's machine is gone."""
    with suppress(OSError):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


# --- the socket -----------------------------------------------------------------------------------------


_ANY_PORT = "`--listen localhost:0` takes any free port"


@contextmanager
def bound(address: Address) -> Iterator[socket.socket]:
    """A socket that listens there; a unix socket's name goes with it."""
    try:
        sock = _bound_to_path(address.path) if address.path else _bound_to_host(address)
    except OSError as error:
        where = f"unix:{address.path}" if address.path else f"{address.host}:{address.port}"
        free = "another front listens there: name another path" if address.path else _ANY_PORT
        hint = free if error.errno == errno.EADDRINUSE else ""
        raise SandboxNotBuilt("cannot-listen", f"`{where}`: {error.strerror}", hint=hint) from error
    own = os.lstat(address.path).st_ino if address.path else 0
    try:
        sock.listen(BACKLOG)
        sock.setblocking(False)
        yield sock
    finally:
        with suppress(OSError):  # the next front may have begun already, while this one's sandboxes ended
            if address.path and os.lstat(address.path).st_ino == own:
                os.unlink(address.path)
        sock.close()


def _bound_to_host(address: Address) -> socket.socket:
    host = "127.0.0.1" if address.host == "localhost" else address.host
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, address.port))
    except OSError:
        sock.close()
        raise
    return sock


def _bound_to_path(path: str) -> socket.socket:
    _make_folder(os.path.dirname(os.path.abspath(path)))
    _remove_dead(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        # Before it has a name: bind(2) gives the name the mode that the socket has by then.
        os.fchmod(sock.fileno(), 0o600)
        sock.bind(path)
    except OSError:
        sock.close()
        raise
    return sock


def _make_folder(folder: str) -> None:
    """The folder is ours and nobody else's, or nothing is put there."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    status = os.stat(folder)
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        what = f"`{folder}` is open to other users, who could put a socket of theirs in the place of ours"
        raise SandboxNotBuilt("socket-folder", what, hint=f"chmod 700 {folder}, or name a folder of your own")


def _remove_dead(path: str) -> None:
    """A socket that a killed front left is taken away; one that somebody answers on is not."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "there is a file of this name already")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


def raise_descriptors(wanted: int = 1 << 14) -> None:
    """As many descriptors as the machine lets us have: connections and children need them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
