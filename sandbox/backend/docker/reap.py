"""Takes from an engine what killed sessions left there: by the names in a lease, or by labels.

An engine is asked for a bounded time, and one that failed is not asked again: whatever stays is there for
the next start.
"""

from __future__ import annotations

import os
import time
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from typing import Any

from sandbox.backend import process
from sandbox.records import dataclass

SESSION, ROLE = "io.mcp-sandbox.session", "io.mcp-sandbox.role"
OWNER, LEASE = "io.mcp-sandbox.owner", "io.mcp-sandbox.lease"
MACHINE = "io.mcp-sandbox.machine"
"""Another machine's processes, which may share the engine, cannot be asked for from here."""
SPARE = "mcp-sandbox-spare-"
ANSWER_S = 1.0
_LISTENS_S = 0.2
_PAUSE_S = 0.01
_UNIX = "unix://"


def labels(session: str, role: str) -> tuple[tuple[str, str], ...]:
    """How a container, volume or network says whose it is."""
    return (
        (SESSION, session),
        (ROLE, role),
        (OWNER, str(os.getuid())),
        (LEASE, process.spelt(os.getpid())),
        (MACHINE, process.machine()),
    )


def removed(
    api: Any, container: str, until: float, failed: Callable[[BaseException], None] = lambda _: None
) -> bool:
    """Whether the engine has no such container any more; it is killed if it runs."""
    from sandbox import engine

    while time.monotonic() < until:
        try:
            api.remove_container(container, force=True, v=True)
        except engine.NotFound:
            return True
        except engine.Conflict:
            time.sleep(_PAUSE_S)  # the engine is removing it already
        except engine.Failed as error:
            failed(error)
            return False
    return False


class Engines:
    """The engines that leases name, asked for `seconds` in all."""

    def __init__(self, environ: Mapping[str, str], seconds: float) -> None:
        self._environ = environ
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._known: dict[str, Any] = {}

    def here(self) -> str:
        """Where the caller's environment says that an engine is; empty where it says nothing sensible."""
        from sandbox import engine
        from sandbox.errors import SandboxError

        try:
            return engine.endpoint(self._environ)
        except SandboxError:
            return ""

    def remove(self, endpoint: str, containers: Iterable[str]) -> bool:
        """Whether none of the containers is left at that engine."""
        api = self._client(endpoint)
        if api is None:
            return False
        gone = [removed(api, one, self._until) for one in containers]
        return all(gone)

    def abandoned(self, endpoint: str) -> list[Found]:
        """The containers there that no process of ours answers for; none where no engine answers."""
        from sandbox import engine

        api = self._client(endpoint)
        if api is None:
            return []
        mine = [f"{OWNER}={os.getuid()}", f"{MACHINE}={process.machine()}"]
        with suppress(*engine.Failed):
            return dead(api.containers(all=True, filters={"label": mine}), process.is_gone, os.path.exists)
        return []

    def remove_abandoned(self) -> list[Found]:
        """Removes what nobody answers for, at every engine that was asked already; what was removed."""
        found = [(endpoint, one) for endpoint in [*self._known] for one in self.abandoned(endpoint)]
        return [one for endpoint, one in found if self.remove(endpoint, [one.id])]

    def close(self) -> None:
        """Lets go of every engine."""
        for api in self._known.values():
            if api is not None:
                api.close()

    def _client(self, endpoint: str) -> Any:
        if endpoint not in self._known:
            self._known[endpoint] = self._connected(endpoint)
        return self._known[endpoint]

    def _connected(self, endpoint: str) -> Any:
        # The SDK costs a fifth of a second: only once somebody listens there.
        if time.monotonic() >= self._until or not listens(endpoint):
            return None
        from sandbox import engine
        from sandbox.errors import SandboxError

        environ = dict(self._environ)
        with suppress(SandboxError):
            if engine.endpoint(environ) != endpoint:
                environ["DOCKER_HOST"] = endpoint
            return engine.connect(environ, timeout=min(ANSWER_S, self._seconds))
        return None


def listens(endpoint: str) -> bool:
    """Whether it is worth while to speak to the engine; of one that is no local socket: yes."""
    if not endpoint.startswith(_UNIX):
        return bool(endpoint)
    with closing(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)) as one:
        one.settimeout(_LISTENS_S)
        try:
            one.connect(endpoint.removeprefix(_UNIX))
        except OSError:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Found:
    """A container that nobody answers for."""

    id: str
    name: str
    role: str


def dead(
    listed: Iterable[Mapping[str, Any]], gone: Callable[[str], bool], exists: Callable[[str], bool]
) -> list[Found]:
    """Those of `GET /containers/json` that are nobody's: their process is gone, and nobody took them over.

    A spare holder outlives its maker's session in the hands of who took it, and ends by itself with that one.
    Its folder tells: it is removed when somebody takes it. One that does not run is nobody's.
    """
    return [
        Found(str(one["Id"]), _name(one), one["Labels"].get(ROLE, ""))
        for one in listed
        if gone(one["Labels"].get(LEASE, "")) and not _in_other_hands(one, exists)
    ]


def _name(one: Mapping[str, Any]) -> str:
    return str((one.get("Names") or ["/"])[0]).lstrip("/")


def _in_other_hands(one: Mapping[str, Any], exists: Callable[[str], bool]) -> bool:
    if not _name(one).startswith(SPARE) or one.get("State") != "running":
        return False
    return not any(exists(mount.get("Source", "")) for mount in one.get("Mounts") or ())
