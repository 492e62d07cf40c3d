"""Whether a lock holds a client's server, by the very check that its start would make; nothing is started."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sandbox.cli.clients_exposure import parsed
from sandbox.cli.clients_found import shown
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    import argparse

    from sandbox.choice import Choice
    from sandbox.clients.gather import Around
    from sandbox.clients.scan import Held
    from sandbox.clients.words import Entry
    from sandbox.clients.wrapping import Fit
    from sandbox.prepared import Wish

_ELSEWHERE = re.compile(r"HOME|XDG_\w+|MCP_SANDBOX_\w+")
"""Variables of an entry that may lead to other locks than ours."""
_LONGEST = 300
_MOST_NAMED = 8


def held(entry: Entry, fit: Fit, around: Around, cwd: str, client: str = "") -> Held | None:
    """The lock of an entry's server, as `run` would find it in `cwd`; None where there is nothing to lock."""
    from sandbox.clients.engine_entry import contained
    from sandbox.clients.scan import Held
    from sandbox.clients.wrapping import Wrapped, is_wrapped, named, ours, words_of, wrapped

    if not entry.command or fit.impostor or any(map(_ELSEWHERE.fullmatch, _variables(entry, fit))):
        return None
    if is_wrapped(entry):
        return _held(ours(entry.command, entry.args) or (), fit, around, cwd)
    if contained(entry, "mcp-sandbox", fit, words_of(entry)) is not None:
        return None  # its profile, for which alone a lock would hold, is written by `wrap`
    made = wrapped(entry, "mcp-sandbox", fit)
    found = _held(made.args[1:], fit, around, cwd) if isinstance(made, Wrapped) else None
    if found is not None and found.state == "locked":
        # A name may begin as an option does.
        which = [client, entry.name] if client and named(entry) else [client] if client else []
        return Held("bypassed", found.path, shlex.join(["mcp-sandbox", "clients", "wrap", *which]))
    return found


def _variables(entry: Entry, fit: Fit) -> Iterable[str]:
    return (*dict(entry.env), *entry.passed, *fit.names)


def _held(args: Sequence[str], fit: Fit, around: Around, cwd: str) -> Held | None:
    """As `mcp-sandbox run ARGS` would have it; None where that would not start, or can have no lock."""
    from sandbox.choice import choose
    from sandbox.cli import options
    from sandbox.clients.scan import Held
    from sandbox.lock_keys import keys
    from sandbox.supplied import counted

    try:
        given = parsed(args)
        wish = options.wish(given, around.environ, cwd)
        chosen = choose(wish)
        lockable = keys(chosen, wish)
    except (SandboxError, SystemExit, ValueError):
        return None
    own = fit.own_program and chosen.request is not None  # it would be executed outside
    chose = fit.stranger and (own or given.profile not in (None, fit.profile))
    fix = _fix(given, wish, chosen, stranger=fit.stranger) if lockable and not chose else ""
    try:
        found = counted(chosen, wish)
    except SandboxError as error:
        return Held(
            error.code, _path_of(error), fix if error.code == "not-locked" else error.hint, error.what
        )
    except ValueError:
        return None  # a directory that no path can be spelt with
    if found is not None:
        return Held("locked", found.path)
    return Held("none", fix=fix) if lockable else None


def _path_of(error: SandboxError) -> str:
    """The lock's file that an error names; last, behind what was asked for, which an entry chooses."""
    named = re.findall(r"`(/[^`]*)`", error.what)
    return next((path for path in reversed(named) if path.endswith(".lock")), "")


# --- the command that locks it ----------------------------------------------------------------------


def _fix(given: argparse.Namespace, wish: Wish, chosen: Choice, *, stranger: bool) -> str:
    """`mcp-sandbox lock …` as a shell takes it: no credential, and no grant that a project's file chose."""
    options = [f"--{name}={value}" for name in ("name", "profile") if (value := getattr(given, name))]
    options += ["--backend=docker"] if wish.backend == "docker" else []
    if not stranger:
        for name in ("net", "read", "write"):
            options += [f"--allow-{name}={value}" for value in getattr(given, f"allow_{name}")]
    command = _command(wish, chosen)
    if (wish.command and not command) or not _sayable(options):
        return "mcp-sandbox lock -- COMMAND"
    words = [*options, "--", *command] if command else options
    return shlex.join(["mcp-sandbox", "lock", *words])


def _command(wish: Wish, chosen: Choice) -> tuple[str, ...]:
    """The command with its arguments; without them where one is a credential, or the client's to replace."""
    from sandbox.clients.credential import in_arguments
    from sandbox.supply.shell import behind_env

    behind = behind_env(wish.command)
    whole = wish.command if behind is None else behind[1]
    request = chosen.request
    bare = whole[: len(whole) - len(request.args)] if request is not None and request.args else whole
    for words in (whole, bare):
        if _sayable(words) and not in_arguments(words) and not any("://" in word for word in words):
            return tuple(words)
    return ()


def _sayable(words: Iterable[str]) -> bool:
    """Whether a shell would get what is shown: no word that a terminal changes or a client replaces."""
    held_ = list(words)
    plain = all(
        word.isascii() and word.isprintable() and not re.search(r"\$\{|\{env:", word) for word in held_
    )
    return plain and sum(map(len, held_)) <= _LONGEST


def told(found: Held) -> str:
    """What a lock is to a server, in a line; nothing where there is none."""
    if found.state == "none":
        return ""
    at = f" by {shown(found.path)}"
    if found.state == "locked":
        return f"locked{at}"
    if found.state == "bypassed":
        return (
            f"locked{at}, which holds what mcp-sandbox starts and not what the client starts: `{found.fix}`"
        )
    return (
        f"not locked ({found.state}): {found.what}: `{found.fix}`"
        if found.fix
        else f"not locked: {found.what}"
    )


def hint(unlocked: Sequence[tuple[str, Held]]) -> str:
    """One line for the servers that no lock holds, by their names."""
    names = ", ".join(name for name, _ in unlocked[:_MOST_NAMED])
    more = f" and {len(unlocked) - _MOST_NAMED} more" if len(unlocked) > _MOST_NAMED else ""
    return f"hint: `{unlocked[0][1].fix}` freezes a server as it is now; not locked: {names}{more}"
