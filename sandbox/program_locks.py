"""Locked programs that are in no store: which places of this machine a command starts from."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sandbox.errors import SandboxNotBuilt
from sandbox.host.closure import language_of
from sandbox.host.lookup import is_system
from sandbox.host.trees import is_prefix, venv_base
from sandbox.places import state_dir
from sandbox.plan.facts import Closure
from sandbox.supply.lock import Place

STORES = ("/nix/store", "/gnu/store")
"""Their paths are hashes of what is in them, and nobody writes there."""


def places(closure: Closure, environ: Mapping[str, str]) -> tuple[Place, ...]:
    """Everything of this machine that the command starts from, but for its interpreter; raises where that
    is nothing, since nothing would hold such a lock."""
    from sandbox.supply.places import place

    needed = roots(closure)
    if not needed:
        raise SandboxNotBuilt(
            "nothing-to-lock",
            f"`{' '.join(closure.argv[:2])}` starts from nothing but the system's own files",
            rule="a lock of a program holds the files that it starts from",
            hint="give the script or the program by its path",
        )
    return tuple(place(path, notes(environ)) for path in needed)


def check(
    locked: tuple[Place, ...],
    closure: Closure,
    environ: Mapping[str, str],
    *,
    name: str = "",
    deep: bool = False,
) -> None:
    """The places of a command are those of the lock `name` and unchanged, else exit 125 naming the path."""
    from sandbox.supply.places import check as held

    held(locked, roots(closure), notes(environ), name=name, deep=deep)


def notes(environ: Mapping[str, str]) -> str:
    """Where lists and stamps of places are kept: a memory for speed, checked by the lock's digest."""
    return f"{state_dir(environ)}/places"


def roots(closure: Closure) -> tuple[str, ...]:
    """The paths to lock: the closure's own trees, and a program or script of the system's directories."""
    own = _own_files(closure)
    used = _interpreters(closure)
    # `python -m` looks in the working directory: what is around it is the server's.
    around = [*own, *([os.path.realpath(closure.cwd)] if closure.cwd else [])]
    trees = [source for source, _ in closure.binds if not _exempt(source, around, used)]
    files = [file for file in own if _alone(file) and not any(_within(file, tree) for tree in trees)]
    return tuple(dict.fromkeys([*trees, *files]))


def _own_files(closure: Closure) -> list[str]:
    """The real paths of the program and of the script that an interpreter is given."""
    program, *words = closure.argv
    found = [os.path.realpath(program)]
    if language_of(program) or language_of(found[0]):
        script = next((word for word in words if not word.startswith("-")), "")
        found = [os.path.realpath(script)] if os.path.isabs(script) and os.path.isfile(script) else []
    return found


def _interpreters(closure: Closure) -> list[str]:
    """The directories where the interpreters are that the command needs."""
    named = [os.path.dirname(closure.argv[0])] if language_of(closure.argv[0]) else []
    bases = [venv_base(source) for source, _ in closure.binds if os.path.isfile(f"{source}/pyvenv.cfg")]
    return [os.path.realpath(one) for one in (*named, *bases, *closure.path) if os.path.isabs(one)]


def _exempt(tree: str, own: list[str], used: list[str]) -> bool:
    """An installation of node or python that the server's own files are no part of: known by its ABI.

    A project that only looks like one is none: the interpreter has to be there.
    """
    if tree in STORES:
        return True
    if not os.path.isdir(tree) or not is_prefix(tree) or any(_within(file, tree) for file in own):
        return False
    return any(_within(folder, tree) for folder in used)


def _alone(file: str) -> bool:
    return is_system(file) or any(_within(file, store) for store in STORES)


def _within(path: str, tree: str) -> bool:
    return path == tree or path.startswith(f"{tree}/")
