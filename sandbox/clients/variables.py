"""What becomes of the variables that a client gives to a server, once mcp-sandbox stands between (P).

A client puts them into the environment of what it starts, and that is mcp-sandbox itself, outside of any
sandbox: what decides which code, profiles, programs or registries it uses may not come that way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal

from sandbox.clients.credential import is_secret, literal, looked
from sandbox.plan.environment import PROXIES, loads

Fate = Literal["pass", "move", "drop", "keep"]
"""Passed on by name; moved into our own command, where it reaches the server alone; dropped; or kept for
mcp-sandbox, while the sandbox has one of its own."""

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_OURS: Final = frozenset(("USER", "LOGNAME", "SHELL", "PWD", "TMPDIR", "TEMP", "TMP"))
"""What the sandbox has of its own, and what decides nothing outside."""
_OURS_TO_READ: Final = re.compile(r"XDG_(?:CONFIG|STATE|CACHE|DATA)_HOME")
"""Whose profiles and logs it reads; with `loads`, which code it runs."""
_PLACES: Final = re.compile(r"PATH|HOME|PATHEXT|COMSPEC|DOCKER_\w+|XDG_RUNTIME_DIR|CONTAINER_HOST|DBUS_\w+")
"""Which programs, engine and bus it uses: the user's own file may say, a stranger's may not."""
_SOURCES: Final = re.compile(
    r"NODE_EXTRA_CA_CERTS|SSL_CERT_\w+|(?:REQUESTS|CURL)_CA_BUNDLE|NETRC|SSLKEYLOGFILE"
    r"|HOSTALIASES|LOCALDOMAIN|RES_OPTIONS|NODE_V8_COVERAGE|NODE_REDIRECT_WARNINGS"
    r"|PYTHON_KEYRING_BACKEND|KEYRING_PROPERTY_\w+"
    r"|(?i:npm_config_\w+)|CARGO_HOME|GO(?:BIN|PATH|ROOT)|VIRTUAL_ENV"
    r"|(?:UV|PIP|PIPX|BUN|DENO|PNPM|VOLTA|NVM|FNM|N|ASDF|MISE|PYENV|NODENV|RBENV|CONDA|HOMEBREW|MCP_SANDBOX)_\w+"
)
"""Where packages, runtimes, trust, secrets, addresses come from, and where node and TLS write: the same."""


def fate(name: str, *, stranger: bool) -> Fate:
    """What becomes of one variable of an entry, which may come with a stranger's project."""
    if not NAME.fullmatch(name):
        return "drop" if loads(name) else "keep"  # `BASH_FUNC_exec%%`, which no option of ours can name
    if loads(name) or _OURS_TO_READ.fullmatch(name) or (stranger and _SOURCES.fullmatch(name)):
        return "move"
    if name.lower() in PROXIES or _PLACES.fullmatch(name):
        return "drop" if stranger else "keep"
    return "keep" if name in _OURS else "pass"


def steers(name: str, *, stranger: bool) -> bool:
    """Whether it may not be in the environment of mcp-sandbox."""
    return fate(name, stranger=stranger) in ("move", "drop")


def options(given: Mapping[str, str], *, stranger: bool, skipped: frozenset[str]) -> list[str]:
    """The options of `run` for variables with their values."""
    words: list[str] = []
    for name, value in given.items():
        what = fate(name, stranger=stranger)
        if what == "move":
            words += ["--set-env", f"{name}={value}"]
        elif what == "pass" and name not in skipped:
            words += passing(name, value)
    return words


def passing(name: str, value: str) -> list[str]:
    """A variable as it passes, a credential as such; one that may be empty is no obstacle."""
    if is_secret(name, value):
        return ["--secret", name if literal(value) else f"{name}?"]
    return ["--allow-env", name]


def removed(given: Mapping[str, str], *, stranger: bool) -> tuple[str, ...]:
    """Those that the entry may not have any more."""
    return tuple(name for name in given if steers(name, stranger=stranger))


def obstacle(given: Mapping[str, str], named: Sequence[str], *, stranger: bool) -> str | None:
    """Why a server's variables cannot be taken over; `named` are a file's, and stay there."""
    for name in named:
        if steers(name, stranger=stranger):
            return f"its file of variables sets `{name}`, which would decide for mcp-sandbox itself"
    for name, value in given.items():
        if fate(name, stranger=stranger) == "move" and looked(value):
            return f"its variable `{name}` holds a credential, and would have to be an argument"
    return None


def notes(given: Mapping[str, str], named: Sequence[str], *, stranger: bool) -> list[str]:
    """What has to be said of variables that the server does not get, or gets otherwise."""
    told = []
    for name in given:
        if not NAME.fullmatch(name):
            told.append(f"`{name}` is no variable's name, and is not passed on")
        elif fate(name, stranger=stranger) == "drop":
            told.append(f"`{name}` is taken out: a project does not choose it for mcp-sandbox")
    if named and stranger:
        told.append("the project's file of variables reaches mcp-sandbox too")
    return told


def moved_back(args: Sequence[str]) -> dict[str, str]:
    """The variables that stand in the options of `run`."""
    texts = (text.partition("=") for option, text in pairwise(args) if option == "--set-env")
    return {name: value for name, equals, value in texts if equals}
