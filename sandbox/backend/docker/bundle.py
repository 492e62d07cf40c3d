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
from {main} import main
main()
"""


def text(modules: Iterable[str] = HOLDS, main: str = HOLDER) -> str:
    """A program that calls `main` of the module of that name, and finds `modules` in itself."""
    found = sources(modules)
    packed = binascii.b2a_base64(zlib.compress(repr(found).encode(), 9), newline=False).decode()
    program = _LOADER.format(packed=packed, main=main)
    if len(program.encode()) >= MOST:
        raise ValueError(f"a program of {len(program)} characters does not fit into one argument")
    return program


def sources(modules: Iterable[str]) -> dict[str, str]:
    """The source of every module and of the packages around them, sorted by name."""
    names = {*modules}
    for name in tuple(names):
        parts = name.split(".")
        names |= {".".join(parts[:count]) for count in range(1, len(parts))}
    return {name: _source(name) for name in sorted(names)}


def _source(name: str) -> str:
    place = os.path.join(os.path.dirname(os.path.dirname(sandbox.__file__)), *name.split("."))
    path = f"{place}/__init__.py" if os.path.isdir(place) else f"{place}.py"
    with open(path, encoding="utf-8") as file:
        return file.read()
