"""`mcp-sandbox check`: is a profile one that could start here and now, before a client tries."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from typing import Any

from sandbox.cli.output import document, emit, paint
from sandbox.errors import ProfileError
from sandbox.plan.enforceable import unenforceable
from sandbox.policy import paths
from sandbox.policy.load import read
from sandbox.policy.model import PathRule, Policy

EPILOG = """examples:
  mcp-sandbox check filesystem .mcp-sandbox/ours.toml
  mcp-sandbox check --deep"""


def parser() -> argparse.ArgumentParser:
    """The arguments of `check`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox check",
        description="Validate profiles and the paths they name. Exit 1 when something is found.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("profiles", nargs="*", metavar="PROFILE", help="a profile's name or path")
    what = "read every byte that locks hold: of all locks, or of those called as a PROFILE"
    built.add_argument("--deep", action="store_true", help=what)
    built.add_argument("--json", action="store_true", help="one JSON document")
    return built


def main(args: argparse.Namespace) -> int:
    """0 when every profile is sound, 1 when one is not; a name that means no profile is a usage error."""
    import sys

    checked = list(_checked(args))
    if args.json:
        document({"profiles": [{"name": name, "findings": found} for name, found in checked]})
    else:
        for name, found in checked:
            emit(f"{name}: {paint('ok', 'green', sys.stdout)}" if not found else f"{name}:")
            for one in found:
                emit(f"  {paint(one['code'], 'red', sys.stdout)}: {one['what']}".replace("\n", "\n    "))
                for part in ("rule", "hint"):
                    if one[part]:
                        emit(f"    {part}: {one[part]}")
    return 1 if any(found for _, found in checked) else 0


def _checked(args: argparse.Namespace) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Each profile by its name and, with `--deep`, each lock by its own."""
    from sandbox.errors import UsageError

    if not args.deep:
        if not args.profiles:
            raise UsageError("nothing-to-check", "name a profile, or `--deep` for the locks",
                             hint="mcp-sandbox check --help")  # fmt: skip
        yield from ((name, findings(name)) for name in args.profiles)
        return
    from sandbox.cli import check_locks

    locks = check_locks.chosen(args.profiles)
    yield from ((f"lock {one.name}", check_locks.findings(one)) for one in locks)
    named = {one.name for one in locks}
    yield from ((name, findings(name)) for name in args.profiles if name not in named)


def findings(name: str) -> list[dict[str, str]]:
    """Everything wrong with one profile, seen from the current directory; trust is not asked for."""
    try:
        policy = read(name, environ=os.environ, cwd=os.getcwd(), trusted_only=False)
    except ProfileError as error:
        if error.code in ("profile-not-found", "invalid-profile-name") and "extends" not in error.what:
            raise
        return [_finding(error.code, error.what, error.rule, error.hint)]
    return _unenforceable(policy) + _paths(policy)


def _unenforceable(policy: Policy) -> list[dict[str, str]]:
    """Keys that are right in themselves and that this version refuses, because nothing can enforce them."""
    found = unenforceable(policy)
    return [_finding("cannot-enforce", f"`{key}` {why}", str(origin)) for key, why, origin in found]


def _paths(policy: Policy) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    mounts: dict[str, PathRule] = {}
    for rule in (*policy.files.read, *policy.files.write, *policy.files.programs):
        path = _expanded(rule.source, str(rule.origin), found)
        if path and not os.path.exists(path):
            if rule not in policy.files.programs:
                found.append(_finding("mount-missing", f"`{path}` does not exist", str(rule.origin)))
        elif path:
            mounts[os.path.realpath(path)] = rule
    origin = str(policy.origin("files.expose"))
    expose = {path: text for text in policy.files.expose if (path := _expanded(text, origin, found))}
    return found + _secrets(mounts, expose, origin)


def _secrets(mounts: dict[str, PathRule], expose: dict[str, str], origin: str) -> list[dict[str, str]]:
    home = os.path.realpath(os.environ.get("HOME", ""))
    named = paths.secret_places(home, os.environ)
    # A place that is a link is secret under both names: mounts are compared as what they really are.
    places = {**named, **{os.path.realpath(place): why for place, why in named.items()}}
    real = {os.path.realpath(path): text for path, text in expose.items()}
    judged = paths.judge(mounts, list(real), home=home, places=places)
    told = dict.fromkeys(one.mount for one in judged.refused)
    reasons = {mount: next(one for one in judged.refused if one.mount == mount) for mount in told}
    found = [
        _finding(
            "secret-place",
            f"`{mounts[mount].source}` would expose {one.reason} (`{one.place}`)",
            str(mounts[mount].origin),
            "mount a directory that holds no secrets" + _waiver(one, judged.refused),
        )
        for mount, one in reasons.items()
    ]
    return found + [
        _finding("waiver-idle", f"`{real[entry]}` waives nothing", origin) for entry in judged.idle
    ]


def _waiver(one: paths.Exposure, found: Iterable[paths.Exposure]) -> str:
    name = paths.waiver(one, found)
    return f', or waive it by name: `[files] expose = ["{name}"]`' if name else ""


def _expanded(text: str, origin: str, found: list[dict[str, str]]) -> str:
    try:
        return paths.expand(text, home=os.environ.get("HOME", ""), cwd=os.getcwd(), environ=os.environ)
    except ValueError as error:
        found.append(_finding("path-malformed", str(error), origin))
        return ""


def _finding(code: str, what: str, rule: str = "", hint: str = "") -> dict[str, Any]:
    return {"code": code, "what": what, "rule": rule, "hint": hint}
