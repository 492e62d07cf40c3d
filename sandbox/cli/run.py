"""`mcp-sandbox run`: the program that an MCP client starts in place of the server."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from contextlib import ExitStack

from sandbox.cli import fronting, leaving, options
from sandbox.cli.output import failure, note
from sandbox.errors import SandboxError, SandboxNotBuilt, UsageError

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from sandbox.backend.docker.launch import Early
    from sandbox.plan.spec import Spec
    from sandbox.prepared import Prepared, Wish


class _Parser(argparse.ArgumentParser):
    """Tells a client, too, which option it is that does not exist."""

    def error(self, message: str) -> NoReturn:
        if sys.stderr is not None and sys.stderr.isatty():
            super().error(message)
        raise UsageError("unknown-option", message, hint="mcp-sandbox run --help")


def parser() -> argparse.ArgumentParser:
    """The options of `run`."""
    built = _Parser(
        prog="mcp-sandbox run",
        usage="mcp-sandbox run [options] -- COMMAND [ARGUMENT…]\n"
        "       mcp-sandbox run [options] URL | FILE.mcpb | server.json | --profile NAME",
        description="Starts an MCP server in its sandbox and relays stdin and stdout.",
        epilog="example: mcp-sandbox run --allow-read . -- npx -y @modelcontextprotocol/server-filesystem .",
        formatter_class=options.Help,
    )
    options.add(built)
    fronting.add_listen(built)
    return built


def main(args: argparse.Namespace) -> int:
    """Prepares, starts and relays; returns the server's status or one of ours."""
    if args.listen is not None:
        from sandbox.cli.serve import listen

        return listen(parser(), args)
    fronting.require_listen(args)
    # Nothing is garbage yet: looking for it takes a tenth of the start. The session turns it on again.
    gc.disable()
    _check_streams()
    with ExitStack() as stack:
        # Before all else: it loads beside this process, and takes longer to get ready than the plan.
        status = _run(args, _early(args, stack))
    return leaving.leave(status)


def refuse(error: SandboxError) -> int:
    """Says why nothing started, in the log and to the client, which waits for an answer; the exit status."""
    from sandbox.relay.unstarted import answer

    failure(error)
    answer(error)
    return error.exit_status


def _run(args: argparse.Namespace, early: Early | None) -> int:
    quiet = bool(args.quiet)

    def tell(text: str) -> None:
        if not quiet:
            note(text)

    wish = options.wish(args, dict(os.environ), os.getcwd())
    prepared = _prepare(wish, early, lambda text: tell(f"mcp-sandbox: {text}"))
    for line in said(prepared, verbose=bool(args.verbose)):
        note(f"mcp-sandbox: {line}")
    if prepared.policy.server.url is not None:
        prepared = _with_login(prepared, prepared.policy.server.url)
    if prepared.policy.server.restart != "never":
        return _run_again(prepared, early)
    from sandbox.session import run

    return run(prepared, note, early)


def _prepare(wish: Wish, early: Early | None, progress: Callable[[str], None]) -> Prepared:
    """Beside the import of what comes next; where a docker keeper was forked, it has the second core."""
    if early is None:
        from sandbox.preparing import prepare_beside

        return prepare_beside(wish, progress)
    from sandbox.prepare import prepare

    return prepare(wish, progress)


def _with_login(prepared: Prepared, url: str) -> Prepared:
    """The same, where there is a login able to ask for its token each time that it starts.

    A token lasts an hour, and clients keep servers for days: a session with a login is started again.
    """
    from sandbox.login.address import typed
    from sandbox.login.keeping import known
    from sandbox.login.tokens import token_for
    from sandbox.records import replace

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


def _early(args: argparse.Namespace, stack: ExitStack) -> Early | None:
    """A docker keeper, where it is known already that one is wanted: it gets ready while we plan."""
    if args.backend != "docker":
        return None
    from sandbox.backend.docker.launch import Early

    early = Early(dict(os.environ))
    stack.callback(early.close)
    return early


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
