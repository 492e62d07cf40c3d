"""The text that carries our modules into a container says what the source says, and fits."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sandbox
from sandbox.backend.docker import bundle

SOURCE = Path(sandbox.__file__).parent.parent
# In place of the program that a bundle ends with: what it finds in itself, and from where.
SHOW = """
import importlib, sys
def main():
    for name in sorted(Bundle_of(sys.meta_path).sources):
        module = importlib.import_module(name)
        print(name, module.__spec__.origin, module.__name__)
def Bundle_of(path):
    return path[0]
"""


def inside(program: str) -> str:
    """What the program prints; isolated, and far from our own source."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd="/", text=True, capture_output=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_imported_under_its_name_from_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = bundle.source
    monkeypatch.setattr(bundle, "source", lambda name: SHOW if name == "sandbox.show" else plain(name))
    printed = inside(bundle.text((*bundle.HOLDS, "sandbox.show"), "sandbox.show"))
    found = [line.split() for line in printed.splitlines()]
    assert {*bundle.HOLDS, "sandbox", "sandbox.backend.docker"} < {name for name, _, _ in found}
    assert all(origin == "bundle" and name == called for name, origin, called in found)


def test_what_is_carried_is_the_source() -> None:
    carried = bundle.sources(bundle.HOLDS)
    assert {name: text for name, text in carried.items() if text} == {
        name: (SOURCE / f"{name.replace('.', '/')}.py").read_text() for name in bundle.HOLDS
    }


def test_the_text_is_always_the_same() -> None:
    assert bundle.text() == bundle.text(reversed(bundle.HOLDS))
    assert bundle.text() != bundle.text((*bundle.HOLDS, "sandbox.errors"))


def test_it_holds_all_that_it_imports_of_ours() -> None:
    carried = bundle.sources(bundle.HOLDS)
    wanted = {
        node.module
        for text in carried.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sandbox")
    }
    assert wanted
    assert wanted <= carried.keys()


def test_what_does_not_fit_into_one_argument_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(bundle.text()) < bundle.MOST // 4
    noise = os.urandom(bundle.MOST).hex()
    monkeypatch.setattr(bundle, "source", lambda _name: noise)
    with pytest.raises(ValueError, match="does not fit"):
        bundle.text()
