"""Prepares in a process of its own, while this one loads what the session will need.

Half of a start is the plan and half is the import of what carries and inspects the messages; neither needs
the other, and most machines have a second core. The process says over a pipe what a person is to hear, and
at last what was prepared, or why nothing will be. It never outlives this one: a pipe that nobody else holds
closes with us, and the kernel then ends it (fcntl(2), `O_ASYNC`).
"""

from __future__ import annotations

import _pickle as pickle
import fcntl
import os
import select
import signal
from importlib import import_module

from sandbox.errors import SandboxError, SandboxNotBuilt
from sandbox.records import replace

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from sandbox.prepared import Prepared, Wish

    Prepare = Callable[[Wish, Callable[[str], None]], Prepared]

NEEDED = (
    *("sandbox.linux", "sandbox.plan.spec", "sandbox.backend.native.keeper", "sandbox.session"),
    *("sandbox.audit.clerk", "sandbox.evidence", "sandbox.metering", "sandbox.breaches", "sandbox.outbound"),
    *("sandbox.wire.structs", "sandbox.wire.jsonrpc", "sandbox.relay.limits", "sandbox.relay.stdio"),
    *("sandbox.status", "sandbox.watch", "sandbox.secrecy", "re2", "sandbox.inspect.secrets"),
    *("sandbox.inspect.protocol", "sandbox.inspect.schemas.legacy", "sandbox.pins", "sandbox.inspect.pins"),
    *("sandbox.pin_telling", "sandbox.inspect.poison", "sandbox.inspect.poison_texts"),
    *("sandbox.inspect.features", "sandbox.host.inside", "sandbox.relay.inspection", "sandbox.relay.asking"),
)
"""What any session imports, inner modules first, so that each takes a few milliseconds at most."""
_SIZE = 4


def prepare_beside(wish: Wish, progress: Callable[[str], None], prepare: Prepare | None = None) -> Prepared:
    """`prepare`, by a child; call it before any thread exists. Its `process` is still to be waited for."""
    told, tell = os.pipe()
    lifeline, held = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        os.close(held)
        _child(wish, prepare, tell, lifeline)
    os.close(tell)
    os.close(lifeline)
    try:
        made, trees = _outcome(told, progress)
        if trees:
            from sandbox.supply.store import hold

            for path in trees:
                hold(path)  # before the one ends who has held it until now
    except BaseException as error:
        _end(child, interrupted=isinstance(error, KeyboardInterrupt))
        raise
    finally:
        os.close(told)
        os.close(held)
    return replace(made, process=child)


def wait_for(prepared: Prepared) -> Prepared:
    """The same, once the process that has made it is gone."""
    if not prepared.process:
        return prepared
    os.waitpid(prepared.process, 0)
    return replace(prepared, process=0)


def _end(child: int, *, interrupted: bool) -> None:
    """A build that is interrupted takes away what it has begun; whoever is impatient interrupts again."""
    os.kill(child, signal.SIGINT if interrupted else signal.SIGKILL)
    os.waitpid(child, 0)


# --- the parent's side -----------------------------------------------------------------------------


def _outcome(told: int, progress: Callable[[str], None]) -> tuple[Prepared, list[str]]:
    """What was prepared, and the files that are to be held; every refusal as if it had been made here."""
    poll = select.poll()
    poll.register(told, select.POLLIN)
    needed = iter(NEEDED)
    while True:
        if not poll.poll(0) and (name := next(needed, None)) is not None:
            import_module(name)
            continue
        kind, *said = _hear(told)
        if kind == "said":
            progress(said[0])
        elif kind == "refused":
            raise _refusal(*said)
        else:
            return said[0], said[1]


def _hear(told: int) -> Any:
    size = int.from_bytes(_read(told, _SIZE), "little")
    return pickle.loads(_read(told, size))


def _read(told: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(told, size)
        if not part:
            what = "the process that plans the session ended without a word"
            raise SandboxNotBuilt("not-prepared", what, hint="mcp-sandbox plan -- COMMAND")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _refusal(kind: type[SandboxError], args: tuple[Any, ...], held: dict[str, Any]) -> SandboxError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(held)
    return error


# --- the child's side ------------------------------------------------------------------------------


def _child(wish: Wish, prepare: Prepare | None, tell: int, lifeline: int) -> NoReturn:
    status = 1
    try:
        _live_by(lifeline)
        _say(tell, *_prepared(wish, prepare, lambda text: _say(tell, "said", text)))
        status = 0
        os.read(lifeline, 1)  # until our parent holds what we hold; then its end is closed
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 0  # nobody wants it any more
    except BaseException as error:
        import traceback

        traceback.print_exception(error)
    finally:
        os._exit(status)


def _prepared(wish: Wish, prepare: Prepare | None, progress: Callable[[str], None]) -> tuple[Any, ...]:
    from sandbox import prepare as usual
    from sandbox.supply.store import held

    try:
        return "prepared", (prepare or usual.prepare)(wish, progress), held
    except SandboxError as error:
        return "refused", type(error), error.args, error.__dict__


def _say(tell: int, *said: Any) -> None:
    body = pickle.dumps(said)
    rest = memoryview(len(body).to_bytes(_SIZE, "little") + body)
    while rest:
        rest = rest[os.write(tell, rest) :]


def _live_by(lifeline: int) -> None:
    """Ends this process as soon as nobody holds the other end; a terminal's signals are the parent's."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # its default is the end
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGIO,))
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):
        os._exit(1)  # it was closed before we asked
