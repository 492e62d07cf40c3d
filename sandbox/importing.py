"""Our own modules, found where they are known to be: the usual way looks through `sys.path` for each.

A start imports two hundred and thirty modules, and a fifth of that goes into finding them. What is executed
is what the interpreter would execute: the compiled file beside the source, where it names the interpreter
and the source's time and size (the `importlib` documentation, "cached bytecode"). At the least doubt the
finder finds nothing, and the usual one does its work.
"""

from __future__ import annotations

import _frozen_importlib_external as usual
import sys
from _frozen_importlib import ModuleSpec
from posix import O_CLOEXEC, O_RDONLY, close, open, read, stat

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

_PREFIX = "sandbox."
_CHUNK = 1 << 16
_HEADER = 16
_BY_TIME = usual.MAGIC_NUMBER + b"\0\0\0\0"
"""How a compiled file begins that is held to its source's time and size (PEP 552)."""
_TAG = f".{sys.implementation.cache_tag}.pyc"


class _Loader(usual.SourceFileLoader):
    """The usual loader, which has read the compiled file already."""

    compiled = b""

    def get_code(self, fullname: str) -> CodeType | None:
        """What was read, once; the usual loader's own for whoever asks again."""
        held, self.compiled = self.compiled, b""
        if not held:
            return super().get_code(fullname)
        body = memoryview(held)[_HEADER:]
        code: CodeType = usual._compile_bytecode(body, name=fullname, source_path=self.path)  # type: ignore[attr-defined]
        return code


class Finder:
    """Finds a module of ours in the one directory where it can be."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, _target: object = None) -> ModuleSpec | None:
        """Its spec, or None where the usual finder is to look."""
        if not name.startswith(_PREFIX) or not path:
            return None
        directory, stem = path[0], name.rpartition(".")[2]
        return _found(name, directory, stem) or _found(name, f"{directory}/{stem}", "__init__")


def _found(name: str, directory: str, stem: str) -> ModuleSpec | None:
    source = f"{directory}/{stem}.py"
    compiled = f"{directory}/__pycache__/{stem}{_TAG}"
    try:
        status = stat(source)
        held = _read(compiled)
    except OSError:
        return None
    if held[:_HEADER] != _BY_TIME + _number(int(status.st_mtime)) + _number(status.st_size):
        return None
    loader = _Loader(name, source)
    loader.compiled = held
    package = stem == "__init__"
    spec = ModuleSpec(name, loader, origin=source, is_package=package)
    if package:
        spec.submodule_search_locations = [directory]
    spec.has_location = True
    spec.cached = compiled
    return spec


def _number(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "little")


def _read(path: str) -> bytes:
    fd = open(path, O_RDONLY | O_CLOEXEC)
    try:
        held = part = read(fd, _CHUNK)
        while len(part) == _CHUNK:
            part = read(fd, _CHUNK)
            held += part
    finally:
        close(fd)
    return held


def module(name: str) -> ModuleType:
    """`importlib.import_module`, whose own import takes half a millisecond."""
    __import__(name)
    return sys.modules[name]


def install() -> None:
    """From now on; the usual way stays where compiled files lie elsewhere, or are others."""
    package = sys.modules["sandbox"]
    plain = type(package.__spec__.loader) is usual.SourceFileLoader if package.__spec__ else False
    if plain and not sys.flags.optimize and sys.pycache_prefix is None and Finder not in sys.meta_path:
        sys.meta_path.insert(0, Finder)
