"""The servers of this machine's clients, each with the profile that fits and the paths that it may get."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatch
from typing import Final

from sandbox.clients import codec, keep
from sandbox.clients.codec import Document
from sandbox.clients.engine_entry import sources
from sandbox.clients.variables import fate
from sandbox.clients.words import Entry, Found
from sandbox.clients.wrapping import (
    Fit,
    candidates,
    inner,
    is_place,
    is_wrapped,
    profiles_named,
    reads_as_path,
    started,
)
from sandbox.errors import SandboxError
from sandbox.matching import match
from sandbox.places import config_dir
from sandbox.policy.load import read as read_profile
from sandbox.policy.model import Policy
from sandbox.policy.paths import below, protected, secret_places
from sandbox.records import dataclass, field

IN_A_PROJECT: Final = frozenset(
    "claude-code codex gemini gemini-cli copilot-cli opencode goose crush vscode cursor".split()
)
"""Clients that start servers in the project's directory, also those of the user's own file."""
Texts = tuple[str, ...]
_LARGEST_ENV_FILE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Around:
    """Whose machine it is."""

    home: str
    platform: str
    environ: Mapping[str, str]
    cwd: str
    program: str = ""
    """The mcp-sandbox that asks: what is this very file is no impostor."""
    policies: dict[str, Policy | None] = field(default_factory=dict)
    """Profiles that were read before."""


@dataclass(frozen=True, slots=True)
class Config:
    """A client's file as it was read."""

    found: Found
    held: keep.Held
    document: Document
    entries: tuple[Entry, ...]


def opened(found: Found) -> Config:
    """The file with its servers; `ConfigError` or `NotChanged` where it cannot be read."""
    held = keep.read(found.path)
    document = codec.parse(held.content, found.format, found.path)
    return Config(found, held, document, tuple(document.entries(found.row)))


def fit(entry: Entry, found: Found, around: Around) -> Fit:
    """What is known of one entry's server."""
    words = inner(entry)
    base = directory_of(entry, found, around)
    matched = match(words, around.environ, base) if words else None
    fitting = policy_of(matched.profile, around) if matched else None
    if matched and fitting:
        paths: Texts = ()  # a profile that fits mounts what the command names by itself
        writes, notes = _own_places(entry, fitting, found, around)
        notes += _too_wide(words, found, around) if matched.access != "none" else ()
    else:
        paths, notes = _paths(entry, (*candidates(words), *_in_variables(entry, found)), found, around)
        writes = ()
    return Fit(
        profile=matched.profile if matched else "",
        package=matched.package if matched else "",
        version=matched.version if matched else None,
        paths=paths,
        writes=writes,
        known=_taken_by(fitting),
        stranger=found.scope == "project",
        impostor=_is_impostor(entry, found, around),
        foreign=foreign_profile(entry, found, around),
        unmounted=_unmounted(words, entry, found, around),
        own_program=bool(words) and _own_program(started(words)[0], entry, found, around),
        notes=notes,
        names=_names_of_file(entry, found, around),
    )


def _in_variables(entry: Entry, found: Found) -> tuple[str, ...]:
    """The values of variables that read as paths, and what lists of them hold."""
    stranger = found.scope == "project"
    handed = [(name, value) for name, value in entry.env if fate(name, stranger=stranger) in ("pass", "move")]
    parts = (part for name, value in handed for part in (value.split(":") if "PATH" in name else [value]))
    return tuple(part for part in parts if part.startswith(("/", "~/")) and reads_as_path(part))


def _own_places(entry: Entry, policy: Policy, found: Found, around: Around) -> tuple[Texts, Texts]:
    """Where an entry has a server write that writes elsewhere by its profile: the directory, writable.

    A file alone would not do: servers write another one, and give it the name.
    """
    writes, notes = [], []
    places = {name for name, value in policy.env.fixed if value.startswith("/")}
    for name, value in entry.env:
        path = os.path.normpath(_expanded(value, found, around))
        if name not in places or not path.startswith("/") or "${" in path:
            continue
        folder = path if os.path.isdir(path) else os.path.dirname(path)
        why = refused_path(folder, around)
        if why is None:
            writes.append(folder)
        else:
            words = "does not exist" if not why else f"cannot be mounted ({why}): give it a folder of its own"
            notes.append(f"the place that `{name}` names {words}")
    return tuple(writes), tuple(notes)


def contained(entry: Entry, found: Found, around: Around) -> bool:
    """Whether it is ours that the client starts, and not a file of the project's that is called so."""
    return is_wrapped(entry) and not _is_impostor(entry, found, around)


def _is_impostor(entry: Entry, found: Found, around: Around) -> bool:
    if found.scope != "project" or not is_wrapped(entry):
        return False
    if foreign_profile(entry, found, around):
        return True
    if not entry.command.startswith("/"):
        return False
    project = project_of(found, around)
    real = _real(entry.command)
    if around.program and real == os.path.realpath(around.program):
        return False
    names = (os.path.normpath(entry.command), real)
    return any(below(name, place) for name in names for place in (project, os.path.realpath(project)))


def foreign_profile(entry: Entry, found: Found, around: Around) -> str:
    """The file that a project's wrapped entry names as profile, unless it is one of the user's own.

    A profile may have commands run outside of the sandbox, for its secrets and notices.
    """
    if found.scope != "project" or not is_wrapped(entry):
        return ""
    own = os.path.join(config_dir(around.environ), "profiles")
    for path in profiles_named(entry):
        if "/" in path and not _inside(path, own):
            return path
    return ""


def _own_program(command: str, entry: Entry, found: Found, around: Around) -> bool:
    """Whether a command is, or may be, a file of the project's; a bare name is looked up in PATH."""
    path = _expanded(command, found, around)
    if "/" not in path and "\\" not in path:
        return False
    return "${" in path or _inside(
        os.path.join(directory_of(entry, found, around), path), project_of(found, around)
    )


def _taken_by(policy: Policy | None) -> frozenset[str]:
    """The variables that a profile takes from its caller by itself."""
    if policy is None:
        return frozenset()
    return frozenset((*policy.env.passed, *(one.name for one in policy.secrets)))


def policy_of(profile: str, around: Around) -> Policy | None:
    """A profile resolved; None where it cannot be read."""
    if profile not in around.policies:
        around.policies[profile] = _read(profile, around)
    return around.policies[profile]


def _read(profile: str, around: Around) -> Policy | None:
    try:
        return read_profile(profile, environ=around.environ, cwd=around.cwd, trusted_only=False)
    except SandboxError:
        return None


def directory_of(entry: Entry, found: Found, around: Around) -> str:
    """Where the client starts the server, as far as that is known."""
    named = _expanded(entry.cwd, found, around) if entry.cwd else ""
    if named.startswith("/"):
        return named
    if entry.path[:1] == ("projects",) and str(entry.path[1]).startswith("/"):
        return str(entry.path[1])  # Claude Code's own servers of one project
    return project_of(found, around) if found.scope == "project" else around.home or "/"


def project_of(found: Found, around: Around) -> str:
    """The directory of the project whose file it is."""
    for template in found.row.project:
        inside = template.count("/") + 1
        if fnmatch(found.path, f"*/{template}"):
            return found.path.rsplit("/", inside)[0] or "/"
    return around.cwd


def leads_away(found: Found, around: Around) -> bool:
    """Whether a project's file is a link out of it: a stranger's choice of what we write."""
    return found.scope == "project" and not _inside(found.real, project_of(found, around))


def _expanded(text: str, found: Found, around: Around) -> str:
    """The path that is meant, where the client's own variables for directories are all that it holds."""
    for name in ("workspaceFolder", "workspaceRoot", "PWD", "CLAUDE_PROJECT_DIR"):
        if found.scope == "project":
            text = text.replace(f"${{{name}}}", project_of(found, around))
    for name in ("userHome", "env:HOME", "HOME"):
        text = text.replace(f"${{{name}}}", around.home)
    return around.home + text[1:] if text == "~" or text.startswith("~/") else text


def _too_wide(words: tuple[str, ...], found: Found, around: Around) -> tuple[str, ...]:
    """What is said of paths that no profile mounts."""
    named = ((text, _expanded(text, found, around)) for text in candidates(words))
    refused = ((text, refused_path(path, around)) for text, path in named if path.startswith("/"))
    return tuple(
        f"`{text}` shows {why}: it does not start until its command names something narrower"
        for text, why in refused
        if why
    )


def _paths(entry: Entry, texts: Texts, found: Found, around: Around) -> tuple[Texts, Texts]:
    """What the entry names and may be mounted, and what is said of the rest."""
    kept, notes = [], []
    for text in dict.fromkeys(texts):
        why = _refused(text, entry, found, around)
        if why is None:
            kept.append(text)
        elif why:
            notes.append(f"`{text}` cannot be mounted: {why}")
    return tuple(kept), tuple(notes)


def _refused(text: str, entry: Entry, found: Found, around: Around) -> str | None:
    """Why a path is not mounted; empty where there is nothing to say, None where it is."""
    path = _expanded(text, found, around)
    if "${" in path:
        if found.scope == "project" and (".." in path.split("/") or ":-" in path):
            return "nobody knows whether it lies in the project"
        known = is_place(text) and found.row.variables and re.search(found.row.variables, text)
        return None if known else "nobody knows where it leads"
    if not path.startswith("/"):
        if found.scope != "project" and not entry.cwd and found.row.id not in IN_A_PROJECT:
            return "it depends on where the client starts it: write an absolute path"
        path = os.path.normpath(os.path.join(directory_of(entry, found, around), path))
        if found.scope != "project" and not entry.cwd:
            return None  # some project's
    if found.scope == "project" and not _inside(path, project_of(found, around)):
        return "it lies outside of the project, whose file names it" if os.path.lexists(path) else ""
    return refused_path(path, around)


def _unmounted(words: Texts, entry: Entry, found: Found, around: Around) -> Mapping[str, str]:
    """What a project's file would have an engine mount, and we do not."""
    if found.scope != "project":
        return {}
    outside = "it lies outside of the project, whose file names it"
    why = {source: _refused(source, entry, found, around) for source in sources(words)}
    # What does not exist yet may do so later.
    away = {source for source in why if not _in_project(source, entry, found, around)}
    return {source: text or outside for source, text in why.items() if text or source in away}


def _in_project(source: str, entry: Entry, found: Found, around: Around) -> bool:
    path = os.path.join(directory_of(entry, found, around), _expanded(source, found, around))
    return _inside(path, project_of(found, around))


def _inside(path: str, folder: str) -> bool:
    return below(_real(path), _real(folder))


def _real(path: str) -> str:
    """Where a path leads; itself where no path can be spelt so."""
    try:
        return os.path.realpath(path)
    except ValueError:  # NUL, half of a surrogate pair
        return path


def refused_path(path: str, around: Around) -> str | None:
    """Why an absolute path is not mounted: empty where it does not exist."""
    if not os.path.lexists(path):
        return ""
    places = secret_places(around.home, around.environ)
    named = protected(os.path.normpath(path), home=around.home, places=places)
    return named or protected(os.path.realpath(path), home=around.home, places=places)


def _names_of_file(entry: Entry, found: Found, around: Around) -> tuple[str, ...]:
    """The variables that the client reads for it from a file, by name."""
    path = _expanded(entry.env_file, found, around)
    if not path.startswith("/"):
        return ()
    if found.scope == "project" and not _inside(path, project_of(found, around)):
        return ()  # a stranger's file would have us show what another one holds
    lines: list[str] = []
    with suppress(OSError), open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        lines = file.read(_LARGEST_ENV_FILE).decode(errors="replace").splitlines()
    names = (line.removeprefix("export ").partition("=")[0].strip() for line in lines if "=" in line)
    return tuple(dict.fromkeys(name for name in names if name.isidentifier() and name.isascii()))
