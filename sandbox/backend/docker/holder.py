"""The keeper's side of the holder: take a spare one, else make one; keep one spare for the next session.

Spares lie in a folder of the caller's, one folder each, named for the container and for all that it was
made from: a spare of another version or another engine is never taken. Two that ask for the same spare:
the holder answers one. Before its answer nothing of the session is handed over, so every failure until
then means the next spare, or a holder of one's own; after it, the start fails.
"""

from __future__ import annotations

import json
import os
import stat
import time
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET
from collections.abc import Iterable, Iterator
from contextlib import suppress
from socket import socket
from typing import Any, Protocol

from sandbox.backend.docker import bundle
from sandbox.backend.docker.handover import ask, hand_over
from sandbox.backend.process import is_gone, spelt
from sandbox.digest import sha256
from sandbox.errors import SandboxNotBuilt
from sandbox.records import dataclass

HOSTNAME = "sandbox"
CAPABILITIES = ("NET_ADMIN", "NET_BIND_SERVICE", "NET_RAW", "SETUID")
MEMORY = 64 << 20
PROCESSES = 8
ASK_S = 0.25
"""A living spare answers in well under a millisecond; one that does not is passed over."""
START_S = 15.0
_PAUSE_S, _LOOK_S = 0.002, 0.25
_IPV6 = "/proc/sys/net/ipv6/conf/all/disable_ipv6"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Engine(Protocol):
    """What of docker.APIClient is needed."""

    def create_container_from_config(self, config: Any, name: str) -> Any: ...
    def start(self, container: str) -> Any: ...
    def inspect_container(self, container: str) -> Any: ...
    def remove_container(self, container: str, *, v: bool = False, force: bool = False) -> Any: ...


@dataclass(frozen=True, slots=True)
class Making:
    """What a holder is made from: the image's id, the folder of spares, the engine, its limits, labels."""

    image: str
    folder: str
    engine: str
    limits: tuple[str, ...] = ("memory", "pids")
    labels: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[tuple[str, int], ...] = ()
    """Of an engine that would raise them beyond what the caller may have."""


@dataclass(frozen=True, slots=True)
class Held:
    """A holder with the trap set; closing `connection` ends it, and with it the sandbox's network."""

    container: str
    connection: socket
    warm: bool


@dataclass(frozen=True, slots=True)
class Spare:
    """A holder that waits; `connection` reads an end of file once somebody took it, or it died."""

    container: str
    connection: socket
    folder: str

    def close(self) -> None:
        """Ends it, unless somebody took it; its folder goes either way."""
        self.connection.close()
        _discard(self.folder)


def take(api: Engine, making: Making, name: str, ports: Iterable[int], trap: int, own: int = 0) -> Held:
    """A holder that has sent the trap's sockets over `trap`; `name` is for one that had to be made.

    `trap` stays the caller's, who reads the gateway's word from it. `own`: where the server will listen.
    """
    _check(making.folder)
    _sweep_unfinished(making.folder)
    held = _taken(making) or _made(api, making, name)
    try:
        hand_over(held.connection, ports, trap, own)
    except BaseException as error:
        held.connection.close()
        if isinstance(error, OSError):
            raise _failed(str(error)) from error
        raise
    return held


def spare(api: Engine, making: Making) -> Spare | None:
    """One for the next session, which lives while the caller keeps its connection; None where one waits."""
    _check(making.folder)
    sweep(making.folder)
    if any(_lives(folder) for _, folder in _spares(making)):
        return None
    made_of = _key(making)
    made = _start(api, making, f"mcp-sandbox-spare-{os.urandom(6).hex()}")
    ready = f"{making.folder}/{made.container}~{made_of}"
    try:
        # Its name is how others find it: only now that its owner is connected, before everyone else.
        os.rename(made.folder, ready)
    except BaseException:
        made.close()
        raise
    return Spare(made.container, made.connection, ready)


def sweep(folder: str) -> None:
    """Removes what the spares of killed sessions left in `folder`; those that live stay."""
    _sweep_unfinished(folder)
    for name in _names(folder):
        if not name.startswith("."):
            _lives(f"{folder}/{name}")


def _sweep_unfinished(folder: str) -> None:
    """The folders whose makers died over them."""
    for name in _names(folder):
        if name.startswith(".") and is_gone(name[1:].rpartition("~")[0]):
            _discard(f"{folder}/{name}")


# --- what the engine is asked for ------------------------------------------------------------------


def body(making: Making, mounted: dict[str, Any], *, ipv6: bool) -> dict[str, Any]:
    """The body of `POST /containers/create` for a holder; `mounted` says what lies at `/s`."""
    limits = {"memory": {"Memory": MEMORY}, "pids": {"PidsLimit": PROCESSES}}
    host: dict[str, Any] = {
        "NetworkMode": "none",
        "AutoRemove": True,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "CapAdd": list(CAPABILITIES),
        # SELinux lets no container listen in a folder of the user's; this one runs no word of the server's.
        "SecurityOpt": ["no-new-privileges", "label=disable"],
        "IpcMode": "private",
        "LogConfig": {"Type": "none"},
        # The server's container has its own; this keeps the host's out of the files that the two share.
        "Dns": ["127.0.0.53"],
        "DnsSearch": ["."],
        "Sysctls": {f"net.ipv6.conf.{one}.disable_ipv6": "0" for one in ("all", "default", "lo") if ipv6},
        "Ulimits": [{"Name": name, "Soft": most, "Hard": most} for name, most in making.ulimits],
        **mounted,
    }
    for limit in making.limits:
        host |= limits.get(limit, {})
    return {
        "Image": making.image,
        "Entrypoint": ["python3", "-I", "-S", "-c", bundle.text()],
        "Cmd": [],
        "Env": [],
        "Hostname": HOSTNAME,
        "User": "0:0",
        "WorkingDir": "/",
        "Labels": dict(making.labels),
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGKILL",
        "HostConfig": host,
    }


def _bound(folder: str) -> dict[str, Any]:
    return {"Mounts": [{"Type": "bind", "Source": folder, "Target": "/s"}]}


def _has_ipv6() -> bool:
    return os.path.exists(_IPV6)


def _key(making: Making) -> str:
    """The same for spares that are the same: of one engine, image and code."""
    made_of = {**body(making, {}, ipv6=_has_ipv6()), "Labels": {}, "Engine": making.engine}
    return sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]


# --- one that must be made -------------------------------------------------------------------------


def _made(api: Engine, making: Making, name: str) -> Held:
    one = _start(api, making, name)
    _discard(one.folder)
    if ask(one.connection):
        return Held(one.container, one.connection, warm=False)
    one.connection.close()
    raise _failed("it listened and did not answer")


def _start(api: Engine, making: Making, name: str) -> Spare:
    """A holder that listens, and is ours; nothing is left of one that does not come up."""
    folder = _new_folder(making.folder)
    try:
        config = body(making, _bound(folder), ipv6=_has_ipv6())
        container = str(api.create_container_from_config(config, name)["Id"])
        try:
            api.start(container)
            return Spare(container, _reached(api, container, folder), folder)
        except BaseException:
            with suppress(OSError):  # the engine's errors are OSErrors too
                api.remove_container(container, force=True)
            raise
    except BaseException:
        _discard(folder)
        raise


def _reached(api: Engine, container: str, folder: str) -> socket:
    until = time.monotonic() + START_S
    look = time.monotonic() + _LOOK_S
    while (now := time.monotonic()) < until:
        with suppress(OSError):  # it does not listen yet
            return _connected(folder)
        if now > look:
            look = now + _LOOK_S
            if not api.inspect_container(container)["State"]["Running"]:
                raise _failed("it ended before it listened")
        time.sleep(_PAUSE_S)
    raise _failed(f"it did not listen within {START_S:g} s")


def _failed(text: str) -> SandboxNotBuilt:
    what = f"the container that holds the sandbox's network failed: {text}"
    return SandboxNotBuilt("network-not-held", what, hint="mcp-sandbox doctor --refresh")


# --- one that waits --------------------------------------------------------------------------------


def _taken(making: Making) -> Held | None:
    for container, folder in _spares(making):
        connection = _living(folder)
        if connection is None:
            continue
        # Either it is ours now, or somebody else's: no third one needs to find it.
        _discard(folder)
        if ask(connection):
            return Held(container, connection, warm=True)
        connection.close()
    return None


def _spares(making: Making) -> Iterator[tuple[str, str]]:
    """The container and the folder of every spare that is of this version and engine."""
    names = _names(making.folder)
    key = _key(making) if names else ""
    for name in names:
        container, _, made_of = name.partition("~")
        if made_of == key:
            yield container, f"{making.folder}/{name}"


def _lives(folder: str) -> bool:
    connection = _living(folder)
    if connection is not None:
        connection.close()
    return connection is not None


def _living(folder: str) -> socket | None:
    """A connection to the spare there; the folder of a dead one is removed."""
    try:
        return _connected(folder)
    except (FileNotFoundError, ConnectionRefusedError):
        _discard(folder)
    except OSError:
        pass  # not ours, or too busy to answer
    return None


def _connected(folder: str) -> socket:
    fd = os.open(folder, _FOLDER)
    try:
        _check_owner(os.fstat(fd), folder)
        one = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
        try:
            one.settimeout(ASK_S)
            # The folder's own path may be longer than the 108 bytes of an address (unix(7)).
            one.connect(f"/proc/self/fd/{fd}/s")
        except BaseException:
            one.close()
            raise
        return one
    finally:
        os.close(fd)


# --- folders ---------------------------------------------------------------------------------------


def _check(folder: str) -> None:
    """Makes the folder of spares; one that others can reach stops the start."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fd = os.open(folder, _FOLDER)
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    try:
        _check_owner(found, folder)
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(1, f"`{folder}` is open to others")
    except PermissionError as error:
        raise SandboxNotBuilt("folder-not-safe", error.strerror or "", hint=f"chmod 700 {folder}") from error


def _check_owner(found: os.stat_result, folder: str) -> None:
    if found.st_uid != os.geteuid():
        raise PermissionError(1, f"`{folder}` is not yours")


def _new_folder(parent: str) -> str:
    """One for a holder, whose root may override no mode: all may write, and only the caller gets there."""
    folder = f"{parent}/.{spelt(os.getpid())}~{os.urandom(8).hex()}"
    os.mkdir(folder)
    os.chmod(folder, 0o777)  # noqa: S103 - as said
    return folder


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _discard(folder: str) -> None:
    """Removes a holder's folder; what is in it is not followed."""
    for name in _names(folder):
        with suppress(OSError):
            os.unlink(f"{folder}/{name}")
    with suppress(OSError):
        os.rmdir(folder)
