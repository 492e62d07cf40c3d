"""How `run` begins: a child of ours reads the options and plans, while this process loads (`preparing`)."""

from __future__ import annotations

import gc
import os
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import partial

from sandbox.cli import leaving
from sandbox.cli.output import failure, note
from sandbox.errors import SandboxError, SandboxNotBuilt, UsageError
from sandbox.records import replace

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence

    from sandbox.backend.early import Early
    from sandbox.plan.spec import Spec
    from sandbox.prepared import Prepared
    from sandbox.preparing import Child

    Asked = tuple[Prepared, dict[str, str | None], bool]
else:
    import _signal as signal  # the enums of `signal` take half a millisecond of a start

_OURS = ("--backend", "--help", "--listen", "-h")
"""Options of which this process has to know before anything is planned."""


def start(words: Sequence[str]) -> int:
    """Prepares, starts and relays; returns the server's status or one of ours."""
    if _is_ours(words) or not _streams_are_open():
        return _by_itself(words)
    _begin()
    from sandbox.preparing import beside

    with ExitStack() as stack:
        keeper: list[Early] = []
        found: tuple[Asked | None, Child] = beside(
            partial(_asked, tuple(words)), note, lambda close: _fork(keeper, close, stack)
        )
        asked, child = found
        if asked is not None:
            made, changed, verbose = asked
            wish = replace(made.wish, environ=_changed(changed))
            status = go(replace(made, wish=wish, child=child), *keeper, verbose=verbose)
    if asked is None:
        child.wait()
        return _by_itself(words)
    return leaving.leave(status)


def _fork(keeper: list[Early], close: tuple[int, ...], stack: ExitStack) -> None:
    """Those of the native backend, while this process is still small; they are ended where none is wanted."""
    from sandbox.backend.native.early import Early
    from sandbox.gateway import run_once_told

    keeper.append(Early(close, gateway=run_once_told))
    stack.callback(keeper[0].close)


def prepared_here(
    plan: Callable[[], Prepared], early: Callable[[ExitStack], Early | None], verbose: bool
) -> int:
    """The same by this process alone; a keeper that is forked `early` gets ready while we plan."""
    _begin()
    with ExitStack() as stack:
        # Before all else: it loads beside this process, and takes longer to get ready than the plan.
        keeper = early(stack)
        status = go(plan(), keeper, verbose=verbose)
    return leaving.leave(status)


def go(prepared: Prepared, early: Early | None = None, *, verbose: bool = False) -> int:
    """Runs what was prepared, as often as its profile says; the exit status."""
    for line in said(prepared, verbose=verbose):
        note(f"mcp-sandbox: {line}")
    if prepared.policy.server.url is not None:
        prepared = _with_login(prepared, prepared.policy.server.url)
    if prepared.policy.server.restart != "never":
        return _run_again(prepared, early)
    from sandbox.session import run

    return run(prepared, note, early)


def refuse(error: SandboxError) -> int:
    """Says why nothing started, in the log and to the client, which waits for an answer; the exit status."""
    from sandbox.relay.unstarted import answer

    failure(error)
    answer(error)
    return error.exit_status


def telling(*, quiet: bool, to: Callable[[str], None] = note) -> Callable[[str], None]:
    """What says on the way what a person may want to hear."""
    return (lambda _text: None) if quiet else (lambda text: to(f"mcp-sandbox: {text}"))


def _begin() -> None:
    # Nothing is garbage yet: looking for it takes a tenth of the start. The session turns it on again.
    gc.disable()
    # An exception within an import may be swallowed, or crash a library; all that is begun ends with us.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    _check_streams()


def _is_ours(words: Sequence[str]) -> bool:
    """Whether one of those options may be among the words before the server's."""
    ahead = words[: words.index("--")] if "--" in words else words
    return any(word.startswith(_OURS) for word in ahead)


def _by_itself(words: Sequence[str]) -> int:
    from sandbox.cli import run

    return run.main(run.parser().parse_args(words))


def _asked(
    words: tuple[str, ...], tell: Callable[[str], None], checks: list[Callable[[], None]]
) -> Asked | None:
    """By the child: what was prepared, what of the environment it has changed, and whether to say more of it.

    The environment itself stays with each of us: a copy on the way would be one more that a bridge, which is
    forked from this process, has in its memory. None where this is no session.
    """
    from sandbox.cli import fronting, options, run
    from sandbox.prepare import prepare

    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            args = run.parser().parse_args(words)
            fronting.require_listen(args)
        except (UsageError, SystemExit):
            return None  # our parent comes to the same, and says it
    if args.backend == "docker" or args.listen is not None:
        return None  # it was spelt shorter
    wish = options.wish(args, dict(os.environ), os.getcwd())
    made = prepare(wish, telling(quiet=args.quiet, to=tell), later=checks.append)
    changed = _changes(made.wish.environ)
    return replace(made, wish=replace(made.wish, environ={})), changed, bool(args.verbose)


def _changes(environ: Mapping[str, str]) -> dict[str, str | None]:
    """What differs from the environment of this process; None for what is not there any more."""
    names = os.environ.keys() | environ.keys()
    return {name: environ.get(name) for name in names if environ.get(name) != os.environ.get(name)}


def _changed(changes: Mapping[str, str | None]) -> dict[str, str]:
    """The environment of this process with these changes."""
    found = {**os.environ, **changes}
    return {name: value for name, value in found.items() if value is not None}


# --- once it is prepared ---------------------------------------------------------------------------


def _with_login(prepared: Prepared, url: str) -> Prepared:
    """The same, where there is a login able to ask for its token each time that it starts.

    A token lasts an hour, and clients keep servers for days: a session with a login is started again.
    """
    from sandbox.login.address import typed
    from sandbox.login.keeping import known
    from sandbox.login.tokens import token_for

    policy, environ = prepared.policy, prepared.wish.environ
    try:
        asked = str(typed(url))
    except SandboxError:
        return prepared  # such as with a name in it: nobody logs in there
    # Outside of that: a login that is kept and cannot be trusted stops the start.
    if not known(asked, environ):
        return prepared
    if "server.restart" not in dict(policy.origins):
        policy = replace(policy, server=replace(policy.server, restart="on-crash"))
    return replace(prepared, policy=policy, login=lambda: token_for(url, environ))


def _run_again(prepared: Prepared, early: Early | None) -> int:
    from sandbox.preparing import wait_for
    from sandbox.restart import run

    if early is not None:
        early.close()  # a session that is started again has its keeper in its own process
    return run(wait_for(prepared), note, refuse)


def said(prepared: Prepared, *, verbose: bool) -> list[str]:
    """What a person is told before the start: every waiver, always; the rest of the plan on request."""
    spec = prepared.spec
    lines = [f"waived: {waiver}" for waiver in spec.waivers]
    if verbose:
        limits = f"quotas by {spec.limits.mechanism}, system calls of tier {spec.syscalls}"
        lines.append(f"`{spec.server}`: profile {prepared.policy.name}, {_reach(spec)}, {limits}")
        if prepared.lock is not None:
            lines.append(f"held to the lock `{prepared.lock.name}` ({prepared.lock.path})")
        lines += spec.notes
        lines.append("`mcp-sandbox audit show` has what happened, `mcp-sandbox plan` every step")
    return lines


def _reach(spec: Spec) -> str:
    if not spec.egress.allow:
        return "no network but its own"
    from sandbox.policy.hosts import spelt

    return f"may connect to {', '.join(spelt(rule.host, rule.port) for rule in spec.egress.allow)}"


def _streams_are_open() -> bool:
    try:
        for number in range(3):
            os.fstat(number)
    except OSError:
        return False
    return True


def _check_streams() -> None:
    """Whatever is opened next would get the number of a closed stream, and the relay would speak into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError as error:
            if name == "stderr":
                os.open(os.devnull, os.O_WRONLY)  # the lowest free number: 2
                continue
            what = f"{name} is closed: there is no client to speak to"
            hint = "start it as an MCP client does, with pipes as stdin and stdout"
            closed = SandboxNotBuilt("stream-closed", what, hint=hint)
            closed.answerable = False
            raise closed from error
