"""A package runner inside `sh -c "…"`: what the shell would start, known without running a shell."""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence

from sandbox.errors import SandboxError

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh"))
# What is literal to every shell: between single quotes, and between double ones without `$`, `` ` `` and `\`.
_QUOTED = re.compile(r"""'[^']*'|"[^"$`\\]*\"""")
_SPECIAL = re.compile(r"[$`\\;&|<>(){}\[\]*?~#!\n\r\"']")
_RUNNER = re.compile(
    r"(?:^|[;&|({\n`]|\b(?:exec|then|else|do)\s)\s*(?:\w+=\S*\s+)*(?:\S*/)?"
    r"(npx|bunx|pnpx|uvx|npm\s+(?:exec|x)|pnpm\s+dlx|yarn\s+dlx|bun\s+x|uv\s+tool\s+run|pipx\s+run)(?=\s|$)"
)


def unwrapped(command: Sequence[str]) -> tuple[str, ...]:
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
    found = _RUNNER.search(script)
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
