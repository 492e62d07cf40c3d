"""`mcp-sandbox trust`: a person reads a project's own profiles and locks and accepts them, at a terminal."""

from __future__ import annotations

import argparse
import os
import sys

from sandbox.cli import trust_locks
from sandbox.cli.output import emit, note
from sandbox.cli.profile import printable
from sandbox.errors import ProfileError, UsageError
from sandbox.policy import load, search, trust
from sandbox.policy.search import Found
from sandbox.supply import accepted

EPILOG = """example, in a project that brings `.mcp-sandbox/`:
  mcp-sandbox trust"""


def parser() -> argparse.ArgumentParser:
    """The arguments of `trust`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox trust",
        description="Show a project's own profiles and locks and, once you agree, allow them to be used.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "a profile, a lock, or a directory of them (the project's .mcp-sandbox unless given)"
    built.add_argument("path", nargs="?", metavar="PATH", help=what)
    built.add_argument("--list", action="store_true", help="show what has been accepted, and ask nothing")
    return built


def main(args: argparse.Namespace) -> int:
    """0 when all of it is trusted, 1 when the person said no."""
    if args.list:
        return _list()
    locks = trust_locks.pending(args.path)
    trust_locks.refuse_elsewhere(locks)
    # What is shown is what is hashed: a file that changes meanwhile is not what was accepted.
    texts = {os.path.realpath(one.path): load.text_of(one.path) for one in _profiles(args.path)}
    known = trust.remembered(os.environ)
    new = {path: text for path, text in texts.items() if known.get(path) != load.digest(text.encode())}
    if not new and not locks:
        emit("already trusted, and unchanged")
        return 0
    _refuse_without_terminal()
    for path, text in new.items():
        _show(path, text)
    for path, raw in locks.items():
        trust_locks.show(path, raw)
    if not _agreed(len(new), len(locks)):
        note("nothing was trusted")
        return 1
    return _remember(new, locks)


def _list() -> int:
    for path, digest in sorted(trust.remembered(os.environ).items()):
        emit(f"{digest[:16]}  {printable(path)}")
    for path, one in sorted(accepted.every(os.environ).items()):
        emit(f"{one.hashes[0][:16]}  {printable(path)}")
    return 0


def _profiles(path: str | None) -> list[Found]:
    """The profiles that are meant; none where a lock is, or where a project has locks alone."""
    if path is not None and trust_locks.is_lock(path):
        return []
    try:
        return _named(path) if path else _project()
    except ProfileError as error:
        if error.code == "nothing-to-trust" and trust_locks.named(path):
            return []
        raise


def _remember(new: dict[str, str], locks: trust_locks.Shown) -> int:
    if new:
        kept = trust.remember({path: load.digest(text.encode()) for path, text in new.items()}, os.environ)
        emit(f"trusted {_counted(len(new), 'profile')} (remembered in {kept})")
    if locks:
        trust_locks.accept(locks)
        emit(f"trusted {_counted(len(locks), 'lock')}")
    return 0


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _refuse_without_terminal() -> None:
    """A pipe is how a program answers, and a program (a model in a shell) must not trust for a person."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        what = "`trust` asks a person, and there is no terminal to ask at"
        raise UsageError("no-terminal", what, hint="run `mcp-sandbox trust` in a terminal of your own")


def _show(path: str, text: str) -> None:
    note(f"--- {printable(path)}")
    for line in text.splitlines():
        note(f"    {printable(line)}")
    note("")


def _agreed(profiles: int, locks: int) -> bool:
    things = [_counted(count, what) for count, what in ((profiles, "profile"), (locks, "lock")) if count]
    named = " and ".join(things)
    if locks == 0:
        named = "this profile" if profiles == 1 else f"these {profiles} profiles"
    sys.stderr.write(
        f"they decide what servers {'may read, write and reach' if profiles else 'start from'}; "
        f"trust {named}? type `yes`: "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "yes"


def _project() -> list[Found]:
    places = [place for place in search.places(os.environ, os.getcwd()) if place[0] == "project"]
    found = [one for _, directory in places for one in _in(directory)]
    if not found:
        where = ", ".join(directory for _, directory in places)
        raise ProfileError("nothing-to-trust", "this project brings no profiles", rule=f"searched {where}")
    return found


def _named(path: str) -> list[Found]:
    if not os.path.isdir(path):
        one = search.find(path if "/" in path else f"./{path}", environ=os.environ, cwd=os.getcwd())
        found = [one]
    else:
        inner = os.path.join(path, search.PROJECT_DIR)
        found = _in(os.path.abspath(inner if os.path.isdir(inner) else path))
    if not found or not all(trust.needs_trust(one) for one in found):
        rule = f"only profiles in a `{search.PROJECT_DIR}` directory need trust"
        raise ProfileError(
            "nothing-to-trust", f"`{printable(path)}` holds no profile that needs trust", rule=rule
        )
    return found


def _in(directory: str) -> list[Found]:
    names = search.names_in(directory)
    return [Found(name, os.path.join(directory, name + search.SUFFIX), "project") for name in sorted(names)]
