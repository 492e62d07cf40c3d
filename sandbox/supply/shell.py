"""What `sh -c "…"` and `env NAME=VALUE… …` would start, known without running either."""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence

from sandbox.errors import SandboxError
from sandbox.patterns import regex

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh"))
# What is literal to every shell: between single quotes, and between double ones without `$`, `` ` `` and `\`.
_QUOTED = regex(r"""'[^']*'|"[^"$`\\]*\"""")
_SPECIAL = regex(r"[$`\\;&|<>(){}\[\]*?~#!\n\r\"']")
# No part crosses where another command begins: each begins a search, and a hostile script has thousands.
_BLANK, _WORD = r"[^\S\n]", r"[^\s;&|({`]"
_RUNNER = regex(
    r"(?:^|[;&|({\n`]|\b(?:exec|then|else|do)\s)"
    rf"{_BLANK}*(?:(?:{_WORD}*/)?env{_BLANK}+)?(?:\w+={_WORD}*{_BLANK}+)*(?:{_WORD}*/)?"
    r"(npx|bunx|pnpx|uvx|npm\s+(?:exec|x)|pnpm\s+dlx|yarn\s+dlx|bun\s+x|uv\s+tool\s+run|pipx\s+run)(?=\s|$)"
)


# By its own place alone: another file that is called so is another program.
_ENV = frozenset(("env", "/usr/bin/env", "/bin/env"))
_ASSIGNED = regex(r"([A-Za-z_][A-Za-z0-9_]{0,127})=(.*)", re.ASCII | re.DOTALL)
# A home has packages of the user's own, which python imports before a program's first line.
_FINDS = frozenset(
    "PATH HOME VIRTUAL_ENV PYTHONCASEOK NODE_PRESERVE_SYMLINKS NODE_PRESERVE_SYMLINKS_MAIN DENO_DIR GEM_HOME"
    " TSX_TSCONFIG_PATH TS_NODE_PROJECT XDG_CONFIG_HOME XDG_CACHE_HOME GEM_PATH BUNDLE_GEMFILE".split()
)
_DEEPEST = 8
"""What is nested deeper is nobody's way to start a server, and is left as it is."""


def unwrapped(command: Sequence[str]) -> tuple[str, ...]:
    """The words of the program that counts: see `apart`."""
    return apart(command)[1]


def apart(command: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The variables that `env NAME=VALUE…` sets, and the words that it, or `sh -c`, then starts.

    `env` with an option is left as it is, and so is one that decides which program or which code is meant.
    """
    variables, words = taken_apart(command)
    return ({}, _out_of_shell(command)) if any(map(decides, variables)) else (variables, words)


def taken_apart(command: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The same, whatever the variables are."""
    variables, words = dict[str, str](), _out_of_shell(command)
    for _ in range(_DEEPEST):
        given, inner = _assigned(words)
        if not inner:
            return variables, words
        variables |= given
        words = _out_of_shell(inner)
    return ({}, _out_of_shell(command)) if _assigned(words)[1] else (variables, words)


def decides(name: str) -> bool:
    """Whether a variable says which program is found, or what runs before its first line."""
    from sandbox.plan.environment import loads  # only where a command begins with `env`

    return name in _FINDS or loads(name)


def behind_env(command: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]] | None:
    """What `apart` finds, where an `env` stands before the program that counts."""
    variables, words = apart(command)
    return None if words == _out_of_shell(command) else (variables, words)


def _assigned(words: tuple[str, ...]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What `env` sets, and what it starts; nothing of both where it does more than that."""
    if words[:1] and words[0] in _ENV:
        at = next((n for n, word in enumerate(words) if n and "=" not in word), len(words))
        found = [_ASSIGNED.fullmatch(word) for word in words[1:at]]
        given = {one[1]: one[2] for one in found if one is not None}
        if None not in found and at < len(words) and words[at] and not words[at].startswith("-"):
            return given, words[at:]
    return {}, ()


def _out_of_shell(command: Sequence[str]) -> tuple[str, ...]:
    """The words that `sh -c SCRIPT` runs where the script is one plain command, else `command` itself.

    A script that does more and starts a package runner is refused: in the sandbox, which has no
    network and no package cache, the runner would wait for the network and then fail.
    """
    script = _script(command)
    if script is None:
        return tuple(command)
    words = _plain(script)
    if words is not None:
        return words
    found = _RUNNER.search(_QUOTED.sub("''", script))
    if found is None:
        return tuple(command)
    shell, runner = os.path.basename(command[0]), found[1]
    raise SandboxError(
        "runner-in-shell",
        f"`{shell} -c` starts `{runner}` in a script, so its package cannot be frozen",
        hint=f"write `{runner} PACKAGE…` as the command; variables belong in the profile's `[env] set`",
    )


def _script(command: Sequence[str]) -> str | None:
    """The script of `sh -c SCRIPT`, with the shell's one-letter options before it in any grouping."""
    if not command or os.path.basename(command[0]) not in _SHELLS:
        return None
    for n, word in enumerate(command[1:], 2):
        if not re.fullmatch(r"-[a-zA-Z]+", word):
            return None
        if "c" in word:
            return command[n] if n < len(command) else None
    return None


def _plain(script: str) -> tuple[str, ...] | None:
    """The words of a script that is one command without variables, patterns, redirections or assignments."""
    if _SPECIAL.search(_QUOTED.sub("", script)):
        return None
    import shlex  # only where a shell is the command

    words = shlex.split(script)
    if words[:1] == ["exec"]:
        words = words[1:]
    if not words or "=" in words[0]:
        return None
    return tuple(words)
