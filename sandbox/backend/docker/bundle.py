"""Modules of ours as one text for `python3 -c`: an image's version can then never differ from the code.

Inside they are imported under their real names; the same source gives the same text.
"""

from __future__ import annotations

import binascii
import os
import zlib
from collections.abc import Iterable

import sandbox

HOLDER = "sandbox.backend.docker.holder_program"
HOLDS = (
    "sandbox.backend.docker.handover",
    "sandbox.backend.near",
    "sandbox.netlink",
    "sandbox.observer",
    "sandbox.records",
    "sandbox.trap",
    HOLDER,
)
MOST = 128 << 10
"""Of one argument, its final zero included (execve(2), MAX_ARG_STRLEN)."""

# `_frozen_importlib`: `importlib` itself would be one import more; `eval`: there is no `json` in every image.
_LOADER = """\
import sys
from _frozen_importlib import ModuleSpec
from binascii import a2b_base64
from zlib import decompress

class Bundle:
    sources = eval(decompress(a2b_base64({packed!r})))

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in cls.sources:
            return None
        package = any(one.startswith(name + ".") for one in cls.sources)
        return ModuleSpec(name, cls, origin="bundle", is_package=package)

    @staticmethod
    def create_module(spec):
        return None

    @classmethod
    def exec_module(cls, module):
        exec(compile(cls.sources[module.__name__], f"<{{module.__name__}}>", "exec"), module.__dict__)

sys.meta_path.insert(0, Bundle)
{last}
"""


def text(modules: Iterable[str] = HOLDS, main: str = HOLDER) -> str:
    """A program for one argument that calls `main` of that module, and finds `modules` in itself."""
    found = program(modules, f"from {main} import main\nmain()")
    if len(found.encode()) >= MOST:
        raise ValueError(f"a program of {len(found)} characters does not fit into one argument")
    return found


def program(modules: Iterable[str], last: str) -> str:
    """One of any length, that ends with the lines `last`."""
    packed = binascii.b2a_base64(zlib.compress(repr(sources(modules)).encode(), 9), newline=False).decode()
    return _LOADER.format(packed=packed, last=last)


def sources(modules: Iterable[str]) -> dict[str, str]:
    """The source of every module and of the packages around them, sorted by name."""
    names = {*modules}
    for name in tuple(names):
        parts = name.split(".")
        names |= {".".join(parts[:count]) for count in range(1, len(parts))}
    return {name: source(name) for name in sorted(names)}


def source(name: str) -> str:
    path = path_of(name)
    if path is None:
        raise ValueError(f"there is no module `{name}`")
    with open(path, encoding="utf-8") as file:
        return file.read()


def path_of(name: str) -> str | None:
    """The file of a module that is written in Python."""
    place = os.path.join(_home(name.partition(".")[0]), *name.split("."))
    found = (f"{place}/__init__.py", f"{place}.py")
    return next((path for path in found if os.path.isfile(path)), None)


def _home(package: str) -> str:
    """The folder that `package` lies in."""
    if package == "sandbox":
        return os.path.dirname(os.path.dirname(sandbox.__file__))
    from importlib.util import find_spec  # nothing of it is needed at a usual start

    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"there is no package `{package}`")
    return os.path.dirname(spec.submodule_search_locations[0])
