"""`mcp-sandbox clients wrap`: the clients start their servers in sandboxes from now on."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sandbox.cli import clients_diff
from sandbox.cli.clients_found import around, configs, files, is_chosen, require_server, shown
from sandbox.cli.output import document, emit, note
from sandbox.errors import SandboxError, UsageError

if TYPE_CHECKING:
    from sandbox.clients.changing import Plan
    from sandbox.clients.gather import Config

Planner = Callable[["Config"], "Plan"]


def add(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    built = "also get the packages of contained servers now, so that no client waits for it"
    parser.add_argument("--build", action="store_true", help=built)
    what = "what the clients start (default: this program's absolute path)"
    parser.add_argument("--program", metavar="PATH", help=what)


def main(args: argparse.Namespace) -> int:
    """0 when it is done or was done before; 1 when declined or where a file could not be changed."""
    from sandbox.clients.changing import to_wrap

    here = around(args.program)
    program = here.program
    _require(program, named=bool(args.program))
    status = change(
        args, lambda config: to_wrap(config, here, program, lambda entry: is_chosen(args, entry)), "contain"
    )
    return max(status, _built(args)) if args.build and not args.dry_run else status


def _require(program: str, *, named: bool) -> None:
    """What is written into files for good has to be there for good, and to be known again."""
    from sandbox.clients.wrapping import ours

    if ours(program, ("run",)) is None:
        what = f"`{program}` is neither the whole path of an `mcp-sandbox` nor that name alone"
        raise UsageError("no-program", what, hint="--program /usr/local/bin/mcp-sandbox")
    if not named and not os.access(program, os.X_OK):
        what = f"`{program}` is not there for clients to start"
        raise UsageError("no-program", what, hint="name it with `--program PATH`")
    cache = os.environ.get("XDG_CACHE_HOME") or "/.cache"
    caches = (f"{cache}/uv/", f"{cache}/pipx/", "/.cache/uv/", "/pipx/.cache/")
    if not named and any(place in program for place in caches):
        what = f"`{program}` lies in a cache, and clients would not find it once that is cleared"
        raise UsageError("no-program", what, hint="pipx install mcp-sandbox")


def _built(args: argparse.Namespace) -> int:
    from sandbox.cli.clients_build import build

    here = around(args.program)
    return 1 if build(list(configs(files(args), [])), lambda entry: is_chosen(args, entry), here) else 0


def change(args: argparse.Namespace, planned: Planner, verb: str) -> int:
    """Plans every file, shows it, asks once, and does it; all under the lock."""
    from sandbox.clients.keep import alone

    with alone(os.environ):
        failed: list[tuple[Any, SandboxError]] = []
        # What an administrator has put there is changed by those who ask for it.
        found = [one for one in files(args) if one.scope != "system" or args.scope == "system"]
        opened = list(configs(found, failed))
        require_server(args, [entry.name for one in opened for entry in one.entries])
        plans = [plan for one in opened if (plan := _planned(planned, one, failed)) is not None]
        status = _settle(args, plans, verb, failed)
    return 1 if failed else status


def _planned(planned: Planner, config: Config, failed: list[tuple[Any, SandboxError]]) -> Plan | None:
    try:
        return planned(config)
    except SandboxError as error:
        note(str(error))
        failed.append((config.found, error))
        return None


def _settle(
    args: argparse.Namespace, plans: list[Plan], verb: str, failed: list[tuple[Any, SandboxError]]
) -> int:
    count = sum(len(plan.changes) for plan in plans)
    if not args.json:
        for plan in plans:
            clients_diff.show(plan)
    if count and not args.dry_run and not agreed(args, count, verb):
        note("nothing was changed")
        return 1
    done = set() if args.dry_run else {id(plan) for plan in plans if _done(args, plan, failed)}
    if args.json:
        document({"files": [clients_diff.described(plan, done=id(plan) in done) for plan in plans]})
    elif not count:
        emit("nothing to change")
    elif done:
        emit("restart the clients that are running: they read their files when they start")
        for line in (*_told(plans), *_unlocked(plans)):
            note(line)
    return 0


def _unlocked(plans: list[Plan]) -> list[str]:
    """One line where a server that is contained from now on may be another one tomorrow."""
    from sandbox.cli.clients_locked import held, hint
    from sandbox.clients.gather import directory_of, fit
    from sandbox.clients.wrapping import is_wrapped

    here, found = around(), []
    for plan in plans:
        file = plan.config.found
        for entry in (change.then for change in plan.changes if is_wrapped(change.then)):
            lock = held(entry, fit(entry, file, here), here, directory_of(entry, file, here))
            if lock is not None and lock.state == "none" and lock.fix:
                found.append((clients_diff.one_line(entry.name), lock))
    return [hint(found)] if found else []


def _told(plans: list[Plan]) -> list[str]:
    """What is otherwise where clients start us."""
    lines = []
    if any(plan.changes and plan.config.found.scope == "project" for plan in plans):
        lines.append("a project's file was changed: others who share it need mcp-sandbox at the same place")
    home = os.environ.get("HOME", "")
    for variable, usual in _USUAL.items():
        if os.environ.get(variable, "").startswith("/") and os.environ[variable] != f"{home}/{usual}":
            what = "a client that a desktop starts may not have it, and then looks below"
            lines.append(f"`{variable}` is set here: {what} ~/{usual}")
    return lines


_USUAL = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_STATE_HOME": ".local/state",
    "XDG_CACHE_HOME": ".cache",
}


def _done(args: argparse.Namespace, plan: Plan, failed: list[tuple[Any, SandboxError]]) -> bool:
    from sandbox.clients.changing import carry_out

    if not plan.changes:
        return False
    try:
        kept = carry_out(plan, around())
    except SandboxError as error:
        note(str(error))
        failed.append((plan.config.found, error))
        return False
    if not args.json:
        backup = f" (as it was: {shown(kept)})" if kept else ""
        emit(f"changed {shown(plan.config.found.path)}{backup}")
    return True


def agreed(args: argparse.Namespace, count: int, verb: str) -> bool:
    """A person's word, at a terminal; or `--yes`."""
    if args.yes:
        return True
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        hint = f"mcp-sandbox clients {args.action} --yes"
        raise UsageError("no-terminal", "this asks a person, and there is no terminal to ask at", hint=hint)
    sys.stderr.write(f"{verb} {count} {'server' if count == 1 else 'servers'}? type `yes`: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("yes", "y")
