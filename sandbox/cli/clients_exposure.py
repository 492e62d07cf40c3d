"""How exposed a client's server leaves its host, by the policy that its entry's own options make."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from sandbox.errors import SandboxError
from sandbox.records import replace

if TYPE_CHECKING:
    from sandbox.clients.gather import Around
    from sandbox.clients.report import Exposed
    from sandbox.clients.scan import Server


def exposed(server: Server, around: Around) -> Exposed:
    """Now, and in the sandbox that `wrap` would give it."""
    from sandbox.clients.engine_entry import Contained, contained
    from sandbox.clients.report import Exposed
    from sandbox.clients.wrapping import Wrapped, ours, words_of, wrapped
    from sandbox.policy.score import UNSANDBOXED

    entry = server.entry
    if not entry.command:
        return Exposed(None, None)
    if server.contained:
        inside = _inside(ours(entry.command, entry.args) or (), server, around)
        return replace(inside, now=inside.contained)
    by_engine = contained(entry, "mcp-sandbox", server.fit, words_of(entry))
    if isinstance(by_engine, Contained):
        inside = _inside(_unwritten(by_engine.wrapped.args[1:], server), server, around)
        return replace(inside, now=UNSANDBOXED)
    made = by_engine or wrapped(entry, "mcp-sandbox", server.fit)
    inside = _inside(made.args[1:], server, around) if isinstance(made, Wrapped) else Exposed(None, None)
    return replace(inside, now=UNSANDBOXED)


def _unwritten(args: Sequence[str], server: Server) -> list[str]:
    """The options for an image, whose profile is not there yet: with the one that it would extend."""
    at = args.index("--profile")
    rest = args[at + 2 : args.index("--")] if "--" in args else args[at + 2 :]
    return [*args[:at], "--profile", server.fit.profile or "base", *rest, "--", "an-image"]


def _inside(args: Sequence[str], server: Server, around: Around) -> Exposed:
    """As `mcp-sandbox run ARGS` would have it; nothing is known where that would not start."""
    from sandbox.choice import choose
    from sandbox.cli import options
    from sandbox.clients.report import Exposed, reach
    from sandbox.supplied import scored

    locked = server.lock is not None and server.lock.state in ("locked", "bypassed")
    try:
        wish = options.wish(parsed(args), around.environ, around.cwd)
        chosen = choose(wish)
        asked = replace(wish, cwd=server.cwd or wish.cwd, locks="use" if locked else "never")
        return Exposed(None, scored(chosen, asked).total, reach(chosen.policy))
    except (SandboxError, SystemExit, ValueError):
        return Exposed(None, None)


def parsed(args: Sequence[str]) -> argparse.Namespace:
    """The options of `mcp-sandbox run ARGS`; `SystemExit`, and not a word, where they are none."""
    import contextlib

    with open(os.devnull, "w") as nowhere:
        with contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):  # `--help`
            return _parser().parse_args(list(args))


@cache
def _parser() -> argparse.ArgumentParser:
    from sandbox.cli.run import parser

    return parser()
