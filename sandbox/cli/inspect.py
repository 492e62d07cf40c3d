"""`mcp-sandbox inspect`: what a server says of itself, judged before any client sees it."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from sandbox.cli import leaving, options
from sandbox.cli.output import document, emit, harmless, note, paint

if TYPE_CHECKING:
    from sandbox.examine.judging import Examined
    from sandbox.prepared import Prepared

FOUND = 1


def parser() -> argparse.ArgumentParser:
    """The options of `run`, and three of its own."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox inspect",
        usage="mcp-sandbox inspect [--json | --sarif] [options of run] -- COMMAND [ARGUMENT…]",
        description="Lists all that a server offers, and says what is suspicious in it: then exit 1.",
        epilog="example: mcp-sandbox inspect -- npx -y @modelcontextprotocol/server-everything",
        formatter_class=options.Help,
    )
    shape = built.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON document with every finding")
    shape.add_argument("--sarif", action="store_true", help="SARIF 2.1.0, for code scanners")
    built.add_argument("--read", action="store_true", help="also read the listed resources and prompts")
    options.add(built)
    return built


def main(args: argparse.Namespace) -> int:
    """Starts the server once for each era; returns 1 where anything was found."""
    return leaving.leave(_examined(args))  # the inspectors get ready in threads


def _examined(args: argparse.Namespace) -> int:
    from sandbox.examine.examine import ERAS, Ended, examine
    from sandbox.prepare import prepare

    prepared = prepare(options.wish(args, dict(os.environ), os.getcwd()), lambda text: _tell(args, text))
    for waiver in prepared.spec.waivers:
        note(f"mcp-sandbox: waived: {waiver}")
    try:
        examined = examine(prepared, ERAS, note, read=args.read)
    except Ended as ended:
        return ended.status
    if args.json:
        from sandbox.examine.report import document as made

        document(made(examined, prepared.spec.server, prepared.policy.name))
    elif args.sarif:
        _sarif(examined, prepared)
    else:
        _print(examined)
    return FOUND if examined.found else 0


def _tell(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        note(f"mcp-sandbox: {text}")


def _sarif(examined: Examined, prepared: Prepared) -> None:
    """SARIF has a schema of its own, so ours is not in front of it."""
    import json
    from importlib.metadata import version

    from sandbox.examine.report import sarif

    made = sarif(examined, prepared.spec.server, version("mcp-sandbox"), _shown_at(prepared))
    emit(json.dumps(made, indent=2, ensure_ascii=False))


def _shown_at(prepared: Prepared) -> str:
    """The file that names the server, below the working directory; else a name that is no file of it."""
    from urllib.parse import quote

    for file, _ in reversed(prepared.policy.sources):
        near = os.path.relpath(file, prepared.wish.cwd) if os.path.isabs(file) else file
        if not near.startswith("..") and os.path.exists(os.path.join(prepared.wish.cwd, near)):
            return quote(near)
    return quote(f"mcp-server/{prepared.spec.server}")


def _print(examined: Examined) -> None:
    from sandbox.examine.report import by_item, headline, told, total

    emit(harmless(headline(examined)))
    for method in examined.cut:
        note(f"mcp-sandbox: `{method}` does not end: its first pages were judged")
    for item, found in by_item(examined):
        emit("")
        emit(paint(_one_line(item), "bold", sys.stdout))
        for seen in found:
            for line in told(seen):
                emit(f"  {_one_line(line)}")
    emit(paint(total(examined), "yellow" if examined.found else "green", sys.stdout))


def _one_line(text: str) -> str:
    """What a server has chosen can neither drive the terminal nor begin a line of its own."""
    return harmless(text).replace("\n", "\\n").replace("\t", "\\t")
