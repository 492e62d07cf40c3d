"""The demo from start to end: a server works in its sandbox, then that sandbox tries what it must not."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from sandbox.audit import read
from sandbox.audit.read import Checked
from sandbox.demo import measure
from sandbox.demo.attempts import attempts
from sandbox.demo.canaries import VARIABLE, World
from sandbox.demo.client import Session, own_program, talk
from sandbox.demo.measure import Row
from sandbox.demo.servers import Server, candidates
from sandbox.errors import SandboxError
from sandbox.policy.flags import Flags
from sandbox.prepare import prepare
from sandbox.prepared import Prepared, Wish
from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Played:
    """Everything the demo measured."""

    server: Server
    session: Session
    rows: tuple[Row, ...]
    audit: Checked | None
    fell_back: str = ""
    """Why the first choice of server could not be used, or nothing."""

    @property
    def ok(self) -> bool:
        """The server worked, every attempt was made and none succeeded, and the log is as it was written."""
        logged = self.audit is not None and self.audit.finding is None
        return self.session.worked and logged and all(row.blocked for row in self.rows)

    def config(self) -> dict[str, object]:
        """What goes into an MCP client's config for this server."""
        program = own_program()
        return {"command": program[0], "args": [*program[1:], *self.server.config]}


def play(environ: Mapping[str, str], progress: Callable[[str], None]) -> Played:
    """Runs it all; when it returns or raises, no file, process or socket of the demo is left."""
    with ExitStack() as stack:
        world = World(environ, stack)
        server, prepared, session, name, why = _serve(world, progress)
        measured = measure.rows(prepared, world, attempts(world), progress)
        return Played(server, session, tuple(measured), _audit(name, environ), why)


def _serve(world: World, progress: Callable[[str], None]) -> tuple[Server, Prepared, Session, str, str]:
    """The first server that can be had; the last resort needs no registry, and its failure is the demo's."""
    why = ""
    *first, last = candidates(world.granted, world.token, world.environ)
    for server in first:
        try:
            return (*_one(server, world, progress), why)
        except SandboxError as error:
            why = error.what
            progress(f"{server.title}, cannot be used here:\n{error}\n\ngoing on with {last.title}")
    return (*_one(last, world, progress), why)


def _one(
    server: Server, world: World, progress: Callable[[str], None]
) -> tuple[Server, Prepared, Session, str]:
    environ = {**world.environ, VARIABLE: world.token}
    # `base`, and not what matches the server: what is shown holds for any server.
    flags = Flags(allow_read=(world.granted,))
    # Built here and not by the client's start: a client's patience is for starting, not for installing.
    wish = Wish(server.command, environ, world.granted, profile="base", flags=flags)
    prepared = prepare(wish, progress)
    progress(f"starting `mcp-sandbox run -- {shlex.join(server.command)}` as an MCP client does")
    name = f"demo-{secrets.token_hex(4)}"
    return server, prepared, talk(server, world.granted, name, environ), name


def _audit(name: str, environ: Mapping[str, str]) -> Checked | None:
    log = next((log for log in read.logs(environ) if f"-{name}-" in log.session), None)
    return read.check(log) if log else None
