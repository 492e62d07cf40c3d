"""What a stranger's file may tell the program that starts its package; everything else is refused (P).

A runner's options choose registries, settings, interpreters and mounts: those are the user's to choose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sandbox.supply.hostile_json import Malformed, spelt

# Each changes nothing of what is installed and started.
_NPX = frozenset("-y --yes -q --quiet -s --silent --no-audit --no-fund --no-update-notifier".split())
_UVX = frozenset("-y --yes -q --quiet -v --verbose -n --no-cache --isolated --no-progress --no-build".split())
_DOCKER = frozenset("-i --interactive -t --tty -it -ti --rm --init -q --quiet".split())
_FLAGS: Mapping[str, frozenset[str]] = {
    "npx": _NPX,
    "bunx": frozenset({"-y", "--yes", "--silent"}),
    "pnpx": frozenset({"-y", "--yes", "-s", "--silent"}),
    "uvx": _UVX,
    "pipx": frozenset("-y --yes -q --quiet -v --verbose --no-cache".split()),
    "docker": _DOCKER,
    "podman": _DOCKER,
}

# A path to a Python is none: it is asked for its version outside of any sandbox.
_PYTHON = re.compile(r"(?:python|cpython@)?(?:[<>=~!]=?)?[0-9]{1,3}(?:\.[0-9]{1,3}){0,2}", re.ASCII)
_PACKAGES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\[\],<>=~!*+-]*", re.ASCII)
_PRERELEASE = re.compile(r"allow|disallow|explicit|if-necessary(?:-or-explicit)?")
# Without `=` it would be the caller's own variable, because a stranger names it.
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.ASCII | re.DOTALL)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*", re.ASCII)
_PIPX = {"--python": _PYTHON, "--with": _PACKAGES}
_RUN = {"-e": _VARIABLE, "--env": _VARIABLE, "--name": _WORD, "--platform": _WORD, "--pull": _WORD}
_VALUES: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "uvx": {**_PIPX, "-p": _PYTHON, "-w": _PACKAGES, "--prerelease": _PRERELEASE},
    "pipx": _PIPX,
    "docker": _RUN,
    "podman": _RUN,
}


def harmless(runner: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """The same words; Malformed names the first that is not on the runner's list."""
    left = list(words)
    while left:
        word = left.pop(0)
        if word in _FLAGS[runner]:
            continue
        option, equals, value = word.partition("=")
        meant = _VALUES.get(runner, {}).get(option)
        if meant is None:
            raise _refused(runner, option)
        if not equals:
            value = left.pop(0) if left else ""
        if not meant.fullmatch(value):
            raise _refused(runner, f"{option} {value}".rstrip())
    return words


def _refused(runner: str, word: str) -> Malformed:
    return Malformed(
        f"has `{spelt(word)}` among its `runtimeArguments`, which no file may tell `{runner}`: "
        "what is to hold of it goes into a profile, or into a command of your own"
    )
