"""The variables that a package's own source names: what it may read of its environment, which nobody sees."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

from sandbox.prepared import Prepared
from sandbox.supply.request import Request
from sandbox.supply.spec import npm_name, pypi_base

MOST_FILES, LARGEST, MOST_NAMES = 400, 1 << 20, 40
_SOURCES: Final = (".js", ".mjs", ".cjs", ".ts", ".py")
_NAME = r"([A-Z][A-Z0-9_]{2,63})"
_READS: Final = re.compile(
    rf"""process\.env\.{_NAME}\b|process\.env\[\s*["']{_NAME}["']|"""
    rf"""environ(?:\.get\(|\[)\s*["']{_NAME}["']|getenv\(\s*["']{_NAME}["']"""
)
# What the language's own tools read, and what every sandbox sets.
_EVERYWHERE: Final = frozenset(
    "HOME PATH USER SHELL TERM LANG TZ TMPDIR PWD NODE_ENV DEBUG CI NO_COLOR".split()
)


def variables(prepared: Prepared) -> tuple[str, ...]:
    """The names in the package that the command is for, not in what it depends on; sorted, bounded."""
    if prepared.frozen is None or prepared.request is None:
        return ()
    found: set[str] = set()
    for path in _sources(prepared.frozen.tree, prepared.request):
        found |= _names(path)
    return tuple(sorted(found - _EVERYWHERE))[:MOST_NAMES]


def _names(path: str) -> set[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(LARGEST)
    except OSError:
        return set()
    return {name for match in _READS.finditer(text) for name in match.groups() if name}


def _sources(tree: str, request: Request) -> Iterator[str]:
    left = MOST_FILES
    for place in _places(tree, request):
        for directory, below, files in os.walk(place):
            below[:] = [name for name in below if name not in ("node_modules", "__pycache__")]
            for name in sorted(files):
                if name.endswith(_SOURCES) and left:
                    left -= 1
                    yield f"{directory}/{name}"


def _places(tree: str, request: Request) -> Iterator[str]:
    """Where the first package of the command has its own files."""
    if request.ecosystem == "npm":
        yield f"{tree}/node_modules/{npm_name(request.specs[0])}"
        return
    module = pypi_base(request.specs[0]).replace("-", "_").lower()
    for directory, below, _ in os.walk(tree):
        if os.path.basename(directory) == "site-packages":
            yield from (f"{directory}/{name}" for name in sorted(below) if name.lower() == module)
            below[:] = []


def package(prepared: Prepared) -> tuple[str, str] | None:
    """The package that the command is for, as `[match]` names it, and the version that the store resolved."""
    if prepared.frozen is None or prepared.request is None:
        return None
    first = prepared.request.specs[0]
    npm = prepared.request.ecosystem == "npm"
    name = npm_name(first) if npm else pypi_base(first)
    for one in prepared.frozen.resolved:
        found, version = _parted(one)
        if _spelt(found) == _spelt(name):
            return f"{'npm' if npm else 'pypi'}:{name}", version
    return None


def _parted(resolved: str) -> tuple[str, str]:
    at = resolved.find("@", 1)
    if at > 0:
        return resolved[:at], resolved[at + 1 :]
    name, _, version = resolved.partition("==")
    return name, version


def _spelt(name: str) -> str:
    return name.lower().replace("_", "-")
