"""docs/clients.md: every client has a section, and its example is what really happens, there and back."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sandbox.clients import changing, codec, find, gather, table, wrapping

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "client-docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _script() -> ModuleType:
    loader = SourceFileLoader("client_docs", str(SCRIPT))
    spec = importlib.util.spec_from_loader("client_docs", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["client_docs"] = module
    loader.exec_module(module)
    return module


docs = _script()
EXAMPLES = [pytest.param(one, id=one.row.id) for one in docs.examples()]


def blocks(example: Any) -> list[str]:
    """The code in the page's section of this client."""
    page = docs.PAGE.read_text()
    section = page.split(f"\n## {example.row.name}\n", 1)[1].split("\n## ", 1)[0]
    return [code for language, code in BLOCK.findall(section) if language]


def test_the_page_is_what_the_code_does_today() -> None:
    assert docs.PAGE.read_text() == docs.page(), "run scripts/client-docs"


def test_every_client_of_the_table_has_a_section() -> None:
    assert re.findall(r"^## (.+)$", docs.PAGE.read_text(), re.MULTILINE) == [row.name for row in table.ROWS]


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_the_page_shows_can_be_pasted(example: Any) -> None:
    """Both are files that the client's own format reads, and no process of the second is uncontained."""
    before, after = blocks(example)
    assert before == example.before
    found = [entries(example, text) for text in (before, after)]
    assert [one.name for one in found[0]] == [one.name for one in found[1]]
    for was, is_now in zip(*found, strict=True):
        if was.command:
            assert wrapping.inner(is_now) == wrapping.words_of(was)
            assert is_now.command == docs.PROGRAM
            assert dict(is_now.env) == dict(was.env), "variables are the client's to replace"
    assert any(one.command for one in found[0])


def entries(example: Any, text: str) -> list[Any]:
    format = find.FORMATS[os.path.splitext(example.place)[1]]
    return codec.parse(text.encode(), format, example.file).entries(example.row)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_goes_back_to_the_very_bytes(example: Any, tmp_path: Path) -> None:
    _, plan = docs.wrapped(example, tmp_path)
    here = docs.around(tmp_path)
    changing.carry_out(plan, here)
    assert Path(plan.config.found.path).read_text() == blocks(example)[1]

    again = gather.opened(plan.config.found)
    assert changing.to_wrap(again, here, docs.PROGRAM, lambda entry: True).changes == ()
    changing.carry_out(changing.to_unwrap(again, here, lambda entry: True), here)

    assert Path(plan.config.found.path).read_bytes() == example.before.encode()
