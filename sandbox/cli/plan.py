"""`mcp-sandbox plan`: what would be enforced, by which mechanism, and which line asked for it."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sandbox.cli import options
from sandbox.cli.output import document, emit, harmless, note, paint

if TYPE_CHECKING:
    from sandbox.plan.rows import Row
    from sandbox.prepared import Prepared


def parser() -> argparse.ArgumentParser:
    """The options of `run`, and two of its own."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox plan",
        usage="mcp-sandbox plan [--json] [--all] [options of run] -- COMMAND [ARGUMENT…]",
        description="Shows what `run` would enforce; starts and builds nothing.",
        epilog="example: mcp-sandbox plan --allow-read . -- node server.js",
        formatter_class=options.Help,
    )
    built.add_argument("--json", action="store_true", help="one JSON document with every step")
    built.add_argument(
        "--all", action="store_true", help="one line a step, also for files of /etc and devices"
    )
    options.add(built)
    return built


def main(args: argparse.Namespace) -> int:
    """Prints the plan; whatever would stop `run` stops this with the same message and status."""
    from sandbox.plan.container_rows import arguments
    from sandbox.plan.describe import rows, summary
    from sandbox.prepare import prepare

    prepared = prepare(options.wish(args, dict(os.environ), os.getcwd()), note, build=False)
    described = rows(prepared.spec, prepared.facts, prepared.policy)
    body = _create(prepared)
    if body is not None:
        described = (*described, *arguments(body))
    if args.json:
        document({**_document(prepared, described), "create": body})
        return 0
    emit(_headline(prepared))
    _print(described if args.all else summary(described))
    return 0


def _create(prepared: Prepared) -> dict[str, Any] | None:
    """The body of the create call; the session's name and its holder are known at the start."""
    if prepared.spec.backend != "docker":
        return None
    from sandbox.containers import create_body

    body = create_body(prepared.spec, "SESSION", os.environ)
    return {**body, "Env": [_named(text, prepared) for text in body["Env"]]}


def _named(variable: str, prepared: Prepared) -> str:
    """A variable of the caller's or the profile's without its value, which may be a token."""
    name, env = variable.partition("=")[0], prepared.policy.env
    return f"{name}=…" if name in (*env.passed, *dict(env.fixed)) else variable


def unbuilt(prepared: Prepared) -> str:
    """A sentence where `run` would first build the command's package, else nothing."""
    if prepared.request is None or prepared.frozen is not None:
        return ""
    return (
        f"{prepared.request.title} is not frozen yet: `run` first installs it in a build sandbox that "
        "reaches its registries alone, with no project, no home and no secrets; its own trees are shown "
        "here by its runner's"
    )


def _headline(prepared: Prepared) -> str:
    name = paint(prepared.spec.server, "bold", sys.stdout)
    text = f"{name}: profile {prepared.policy.name}, {prepared.spec.backend} backend"
    if prepared.lock is not None:
        text += f"\nheld to the lock `{harmless(prepared.lock.name)}`: {harmless(prepared.lock.path)}"
    missing = unbuilt(prepared)
    return f"{text}\n{paint('note', 'yellow', sys.stdout)}: {missing}" if missing else text


def _document(prepared: Prepared, described: tuple[Row, ...]) -> dict[str, Any]:
    missing = unbuilt(prepared)
    return {
        "server": prepared.spec.server,
        "profile": prepared.policy.name,
        "package": prepared.matched.package if prepared.matched else None,
        "backend": prepared.spec.backend,
        "command": list(prepared.spec.argv),
        "cwd": prepared.spec.cwd,
        "lock": _lock(prepared),
        "unbuilt": missing or None,
        "steps": [asdict(row) for row in described],
    }


def _lock(prepared: Prepared) -> dict[str, Any] | None:
    held = prepared.lock
    return {"name": held.name, "file": held.path, "sha256": held.sha256} if held is not None else None


def _print(described: tuple[Row, ...]) -> None:
    width = min(56, max(len(row.what) for row in described))
    group = ""
    for row in described:
        if row.group != group:
            group = row.group
            emit("")
            emit(paint(group, "bold", sys.stdout))
        emit(_line(row, width))


def _line(row: Row, width: int) -> str:
    mechanism = row.mechanism if row.enforced else paint(row.mechanism, "yellow", sys.stdout)
    origin = "" if row.origin in ("", "default") else f"  [{' '.join(filter(None, (row.key, row.origin)))}]"
    # A long subject takes its own line, so that the mechanisms stay in their column.
    gap = f"\n  {'':<{width}}" if len(row.what) > width and mechanism else ""
    return f"  {row.what:<{width}}{gap}  {mechanism}{origin}".rstrip()
