"""From a client's entry to the same server in its sandbox, and back (P)."""

from __future__ import annotations

import os.path
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from sandbox.clients import variables
from sandbox.clients.words import Entry
from sandbox.errors import SandboxError
from sandbox.records import dataclass, field, replace
from sandbox.supply.request import parse
from sandbox.supply.shell import unwrapped as plain

PROGRAM: Final = "mcp-sandbox"
_OUR_PROGRAM: Final = re.compile(r"(?:(?:[A-Za-z]:[\\/]|/)(?:.*[\\/])?)?mcp-sandbox(?:\.exe)?", re.DOTALL)
"""By its name or its whole path: `./mcp-sandbox` is some project's."""
_SWITCHES: Final = ("--quiet", "--verbose", "--refresh", "--locked", "--insecure-http", "--help")
"""Options of `run` without a value; each may be shortened."""
_LETTERS: Final = re.compile(r"-[qvh]+")
"""Their letters, in any grouping."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PLACE: Final = re.compile(
    r"\$\{(?:workspaceFolder|workspaceRoot|userHome|env:HOME|HOME|PWD|CLAUDE_PROJECT_DIR(?::-[^}]*)?)\}[^$%{}:]*"
)
"""An argument that the client makes a path of, whatever it will be."""
_SCRIPTED: Final = re.compile(r"(?:node|nodejs|deno|bun|tsx|ts-node|python[\d.]*|ruby|perl|java)(?:\.exe)?")


@dataclass(frozen=True, slots=True)
class Fit:
    """What is known of an entry's server: the profile that fits, and what its command names."""

    profile: str = ""
    """Empty: none fits, and the server gets `base`."""
    package: str = ""
    version: str | None = None
    paths: tuple[str, ...] = ()
    """What to mount read-only; a profile that fits mounts what the command names by itself."""
    writes: tuple[str, ...] = ()
    """What to mount writable: where the entry has the server write, by a variable that its profile sets."""
    known: frozenset[str] = frozenset()
    """Variables that the profile itself passes."""
    stranger: bool = False
    """The entry may come with a project of somebody else's."""
    impostor: bool = False
    """What it calls mcp-sandbox is a file of that project's, or has `foreign`."""
    foreign: str = ""
    """The file that such an entry names as its profile, where that is none of the user's."""
    own_program: bool = False
    """The command is a file of that project's."""
    unmounted: Mapping[str, str] = field(default_factory=dict)
    """What an engine would mount for it and we do not, and why."""
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Further variables that the client gives to the server, by name: those of its `envFile`."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What the client is to start instead."""

    command: str
    args: tuple[str, ...]
    notes: tuple[str, ...] = ()
    env: Mapping[str, str | None] = field(default_factory=dict)
    """What changes of the entry's variables: values that come back, None for what goes."""

    def on(self, entry: Entry) -> Entry:
        """The entry as the client reads it then."""
        env = {**dict(entry.env), **self.env}
        pairs = tuple((name, value) for name, value in env.items() if value is not None)
        return replace(entry, command=self.command, args=self.args, env=pairs)


@dataclass(frozen=True, slots=True)
class Left:
    """Why an entry stays as it is; `contained` where it needs no change."""

    why: str
    contained: bool = False


def wrapped(entry: Entry, program: str, fit: Fit) -> Wrapped | Left:
    """The entry's server in its sandbox, or why it cannot be put there."""
    if is_wrapped(entry) and not fit.impostor:
        return Left("contained already", contained=True)
    if (why := obstacle(entry, fit)) is not None:
        return Left(why)
    words = words_of(entry)
    args = ("run", *_options(entry, fit), "--", *words)
    removed = variables.removed(dict(entry.env), stranger=fit.stranger)
    return Wrapped(program, args, _notes(entry, fit), dict.fromkeys(removed))


def is_wrapped(entry: Entry) -> bool:
    """Whether it is ours that the client starts."""
    return ours(entry.command, entry.args) is not None


def ours(command: str, args: Sequence[str]) -> tuple[str, ...] | None:
    """The arguments of `mcp-sandbox run` where a command starts that, else None.

    By `uvx` or `npx` it would be whoever has the name in a registry.
    """
    if not _OUR_PROGRAM.fullmatch(command) or args[:1] not in (["run"], ("run",)):
        return None
    return tuple(args[1:])


def _base(word: str) -> str:
    return word.replace("\\", "/").rpartition("/")[2].removesuffix(".exe")


def inner(entry: Entry) -> tuple[str, ...]:
    """The server's own command line, of a wrapped entry too; empty where its profile has it."""
    args = ours(entry.command, entry.args)
    if args is None:
        return words_of(entry)
    rest = args[_options_end(args) :]
    return rest[1:] if rest[:1] == ("--",) else rest


def options_of(entry: Entry) -> tuple[str, ...]:
    """Our own options of a wrapped entry."""
    args = ours(entry.command, entry.args) or ()
    return args[: _options_end(args)]


def profiles_named(entry: Entry) -> tuple[str, ...]:
    """What our own options of a wrapped entry name as its profile, however the option is spelt."""
    words = options_of(entry)
    pairs = ((word.partition("="), after) for word, after in zip(words, (*words[1:], ""), strict=False))
    named = ((option, value if equals else after) for (option, equals, value), after in pairs)
    return tuple(value for option, value in named if len(option) > 2 and "--profile".startswith(option))


def _options_end(args: Sequence[str]) -> int:
    """Where our options end: at their `--`, which an entry that somebody wrote may lack."""
    at = 0
    while at < len(args) and args[at].startswith("-") and args[at] not in ("-", "--"):
        at += 1 if _is_switch(args[at]) or "=" in args[at] else 2
    return min(at, len(args))


def _is_switch(word: str) -> bool:
    """An option without a value; what is short for others too is an error of `run`'s."""
    return bool(_LETTERS.fullmatch(word)) or any(one.startswith(word) for one in _SWITCHES)


def words_of(entry: Entry) -> tuple[str, ...]:
    """Program and arguments; a whole command line in `command`, which some clients accept, is taken apart."""
    if entry.args or not re.search(r"\s", entry.command.strip()) or entry.command.startswith("/"):
        return (entry.command, *entry.args)
    try:
        return tuple(shlex.split(entry.command))
    except ValueError:
        return (entry.command,)


def started(words: Sequence[str]) -> tuple[str, ...]:
    """The words of the program that counts, behind `env` and a shell's plain line."""
    try:
        return plain(words)
    except SandboxError:
        return tuple(words)


def obstacle(entry: Entry, fit: Fit) -> str | None:
    """Why the entry cannot be wrapped; None where it can."""
    if entry.faults:
        return entry.faults[0]
    if entry.url and not entry.command:
        return "a remote server: no command of its own"
    if entry.url:
        return "it has a command and a URL: which of them its client takes is not certain"
    if not entry.command.strip() or entry.kind not in ("stdio", ""):
        return "not a server that is started by a command"
    if any(map(_unspeakable, (entry.command, *entry.args, *(text for pair in entry.env for text in pair)))):
        return "it holds characters that no command line can hold"
    try:
        request = parse(words_of(entry))
    except SandboxError as error:
        return f"it would not start in a sandbox: {error.what}"
    if request is not None and fit.stranger and fit.own_program:
        return f"`{request.runner}` is a program of the project's, and would get packages for mcp-sandbox"
    return variables.obstacle(dict(entry.env), fit.names, stranger=fit.stranger)


def _unspeakable(text: str) -> bool:
    """NUL, and half of a surrogate pair."""
    return "\0" in text or any("\ud800" <= char <= "\udfff" for char in text)


def _options(entry: Entry, fit: Fit) -> list[str]:
    options = named(entry)
    if fit.profile:
        options += ["--profile", fit.profile]
    for path in dict.fromkeys(fit.paths):
        options += ["--allow-read", path]
    for path in dict.fromkeys(fit.writes):
        options += ["--allow-write", path]
    given = {**handed_on(entry, fit), **dict(entry.env)}
    return options + variables.options(given, stranger=fit.stranger, skipped=fit.known)


def handed_on(entry: Entry, fit: Fit) -> dict[str, str]:
    """The variables whose values the client has elsewhere; what decides which code runs never passes."""
    names = (*entry.passed, *fit.names)
    return {name: "" for name in names if variables.fate(name, stranger=False) == "pass"}


def named(entry: Entry) -> list[str]:
    """The name that the server has in messages and in the log: the client's own for it."""
    return ["--name", entry.name] if _NAME.fullmatch(entry.name) else []


def _notes(entry: Entry, fit: Fit) -> tuple[str, ...]:
    told = list(fit.notes)
    if not fit.profile:
        told.append("no profile fits: it gets no network, and reads only what it names")
    return (*told, *variables.notes(dict(entry.env), fit.names, stranger=fit.stranger))


def candidates(words: Sequence[str]) -> tuple[str, ...]:
    """What among a command's arguments reads as a path: absolute, `~/…`, `./…`, `.`, and in `--x=PATH`.

    A script that an interpreter is given comes with its own tree, and is none.
    """
    left = list(words[1:])
    if words and _SCRIPTED.fullmatch(_base(words[0])):
        script = next((i for i, word in enumerate(left) if not word.startswith("-")), None)
        if script is not None:
            del left[script]
    parts = (word.partition("=")[2] if re.match(r"--?[\w-]+=", word) else word for word in left)
    return tuple(dict.fromkeys(part for part in parts if reads_as_path(part)))


def reads_as_path(text: str) -> bool:
    """Whether a text is spelt as a path that an option of ours can name."""
    if is_place(text):
        return True
    if ":" in text or any(ord(char) < 32 for char in text):
        return False  # `--allow-read` takes what follows a colon for a place inside
    return text in (".", "..", "~") or text.startswith(("/", "~/", "./", "../"))


def is_place(text: str) -> bool:
    """Whether the client makes a path of it that nobody knows before."""
    return _PLACE.fullmatch(text) is not None


def unwrapped(
    entry: Entry, before: Entry | None, written: tuple[str, tuple[str, ...]] | None
) -> Wrapped | None:
    """What the client started before us; None where nobody knows.

    While the entry is as we wrote it, that is what the file had; else what follows our own `--`.
    """
    known = before if before is not None and not is_wrapped(before) else None
    if known is not None and written == (entry.command, entry.args):
        return Wrapped(known.command, known.args, env=_back(entry, known))
    words = inner(entry)
    if words and not _of_an_engine(entry):
        return Wrapped(words[0], words[1:], env=_back(entry, known))
    if known is not None:
        return Wrapped(known.command, known.args, env=_back(entry, known))
    return None


def _back(entry: Entry, before: Entry | None) -> dict[str, str | None]:
    """The variables that we took out, with their values."""
    taken = variables.moved_back(options_of(entry))
    had = dict(before.env) if before is not None else {}
    gone = {name: value for name, value in had.items() if variables.steers(name, stranger=True)}
    have = dict(entry.env)
    return {name: value for name, value in {**taken, **gone}.items() if name not in have}


def _of_an_engine(entry: Entry) -> bool:
    """Whether it stands for an engine's `run`: what follows our `--` is not the whole command."""
    return ("--backend", "docker") in pairwise(options_of(entry))


def our_program(argv0: str, executable: str) -> str:
    """The absolute path by which a client that knows no PATH starts us; links are kept, since upgrades move
    what is behind them."""
    named = os.path.abspath(argv0) if "/" in argv0 else ""
    return named if _base(named) == PROGRAM else os.path.join(os.path.dirname(executable), PROGRAM)
