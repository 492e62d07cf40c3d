"""Our finder executes what the interpreter would, and at the least doubt leaves it to the usual one."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path

import pytest

from sandbox.importing import Finder

NAME = "sandbox.made_here"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """The source of a module, with the compiled file that the interpreter would write."""
    source = tmp_path / "made_here.py"
    source.write_text("word = 'first'\n")
    py_compile.compile(str(source))
    return source


def found(source: Path, name: str = NAME) -> ModuleSpec | None:
    return Finder.find_spec(name, [str(source.parent)])


def word(spec: ModuleSpec) -> str:
    made = importlib.util.module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(made)
    assert (made.__file__, made.__cached__) == (spec.origin, spec.cached)
    return str(made.word)


def test_a_compiled_module_is_found_and_executed(module: Path) -> None:
    spec = found(module)
    assert spec is not None
    assert spec.origin == str(module)
    assert word(spec) == "first"


def test_it_is_what_the_usual_finder_would_find(module: Path) -> None:
    ours, usual = found(module), importlib.util.spec_from_file_location(NAME, module)
    assert ours is not None
    assert usual is not None
    for name in ("name", "origin", "cached", "has_location", "parent", "submodule_search_locations"):
        assert getattr(ours, name) == getattr(usual, name), name


def test_a_large_one_is_read_to_its_end(module: Path) -> None:
    module.write_text("word = 'last'\nmuch = " + repr(os.urandom(200_000)) + "\n")
    py_compile.compile(str(module))
    spec = found(module)
    assert spec is not None
    assert word(spec) == "last"


def test_a_package_is_found_with_its_place(module: Path) -> None:
    package = module.parent / "made_package"
    package.mkdir()
    (package / "__init__.py").write_text("word = 'package'\n")
    py_compile.compile(str(package / "__init__.py"))
    spec = found(module, "sandbox.made_package")
    assert spec is not None
    assert spec.submodule_search_locations == [str(package)]
    assert word(spec) == "package"


def _newer(source: Path) -> None:
    os.utime(source, (0, 0))


def _longer(source: Path) -> None:
    times = source.stat()
    source.write_text("word = 'another'\n")
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))


def _held_to_a_hash(source: Path) -> None:
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def _of_another_interpreter(source: Path) -> None:
    compiled = Path(importlib.util.cache_from_source(str(source)))
    compiled.write_bytes(b"\0\0\0\0" + compiled.read_bytes()[4:])


def _cut(source: Path) -> None:
    compiled = Path(importlib.util.cache_from_source(str(source)))
    compiled.write_bytes(compiled.read_bytes()[:12])


def _absent(source: Path) -> None:
    Path(importlib.util.cache_from_source(str(source))).unlink()


def _without_source(source: Path) -> None:
    source.unlink()


@pytest.mark.parametrize(
    "change",
    [_newer, _longer, _held_to_a_hash, _of_another_interpreter, _cut, _absent, _without_source],
)
def test_at_the_least_doubt_nothing_is_found(module: Path, change: Callable[[Path], None]) -> None:
    assert found(module) is not None
    change(module)
    assert found(module) is None


@pytest.mark.parametrize("name", ["made_here", "sandboxes.made_here", "sandbox"])
def test_other_modules_are_not_looked_for(module: Path, name: str) -> None:
    assert found(module, name) is None


SHOWN = "import sandbox.cli.main, sandbox.plan.spec as one; print(type(one.__spec__.loader).__module__)"


def started(*options: str, **environ: str) -> str:
    argv = [sys.executable, *options, "-c", SHOWN]
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        argv, env={**os.environ, **environ}, cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_a_start_uses_it_where_the_modules_are_compiled(tmp_path: Path) -> None:
    for source in ("plan/__init__.py", "plan/spec.py"):
        _compiled(source)
    assert started() == "sandbox.importing"


@pytest.mark.parametrize("option", ["-O", "-OO"])
def test_an_interpreter_with_other_compiled_files_goes_the_usual_way(option: str) -> None:
    assert "sandbox" not in started(option)


def test_so_does_one_that_has_them_elsewhere(tmp_path: Path) -> None:
    assert "sandbox" not in started(PYTHONPYCACHEPREFIX=str(tmp_path))


def _compiled(name: str) -> None:
    source = Path(__file__).resolve().parent.parent / "sandbox" / name
    if not os.access(source.parent, os.W_OK):
        pytest.skip("this tree is another's")
    py_compile.compile(str(source))


def test_what_was_compiled_elsewhere_is_told_of_by_its_own_place(module: Path) -> None:
    """A traceback reads the file that the code names: a relative one would be read where the client is."""
    py_compile.compile(str(module), dfile="made_here.py")
    spec = found(module)
    assert spec is not None
    assert isinstance(spec.loader, SourceFileLoader)
    code = spec.loader.get_code(NAME)
    assert code is not None
    assert code.co_filename == str(module)


def test_the_loader_gives_its_code_more_than_once(module: Path) -> None:
    spec = found(module)
    assert spec is not None
    assert isinstance(spec.loader, SourceFileLoader)
    assert spec.loader.get_code(NAME) == spec.loader.get_code(NAME)
