"""What a module needs: every module of ours, and of chosen packages, that it can import at any time."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from sandbox.backend.docker.bundle import path_of, source


def closure(roots: Iterable[str], others: Iterable[str] = ()) -> tuple[str, ...]:
    """The modules that `roots` import at any time, of ours and of the packages `others`; sorted by name."""
    ours = ("sandbox", *others)
    found: set[str] = set()
    waiting = [*roots]
    while waiting:
        name = waiting.pop()
        if name in found or name.partition(".")[0] not in ours or path_of(name) is None:
            continue
        found.add(name)
        waiting += _imported(name)
        waiting += [name.rpartition(".")[0]]
    return tuple(sorted(found))


def _imported(name: str) -> Iterator[str]:
    """Every module that may be meant by an import of `name`: what follows `from a import` can be one."""
    is_package = str(path_of(name)).endswith("__init__.py")
    around = name.split(".") if is_package else name.split(".")[:-1]
    for node in ast.walk(ast.parse(source(name))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = around[: len(around) - node.level + 1] if node.level else []
            base = ".".join([*parent, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
