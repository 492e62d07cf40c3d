"""docs/backends.md cannot say more than the tests showed, and leaves out no difference that they know of."""

from __future__ import annotations

import json
import re
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

from tests.backends import BACKENDS
from tests.differences import DIFFERENCES, differs

ROOT = Path(__file__).resolve().parent.parent
FILES = "tests/attacks/test_files.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, with a page and outcomes of its own."""
    loader = SourceFileLoader("backends_script", str(ROOT / "scripts" / "backends"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "PAGE", tmp_path / "backends.md")
    monkeypatch.setattr(sys, "argv", ["backends", "--outcomes", str(tmp_path)])
    monkeypatch.delenv("CI", raising=False)
    marks = "".join(f"<!-- {one} -->\n<!-- /{one} -->\n" for one in ("run", "differences"))
    module.PAGE.write_text(f"by hand\n{marks}by hand too\n")
    return module


def leave(place: Path, *outcomes: tuple[str, str, str]) -> None:
    """The cases of one test, as a run of the tests leaves them: backend, caller, outcome."""
    cases = [
        {"test": f"{FILES}::test_it", "backend": backend, "caller": caller, "outcome": outcome}
        for backend, caller, outcome in outcomes
    ]
    (place / "root.json").write_text(json.dumps({"cases": cases}))


def row(script: ModuleType) -> list[str]:
    """The page's one row, without its first cell."""
    assert script.main() == 0
    (line,) = [line for line in script.PAGE.read_text().splitlines() if FILES in line]
    return [word.strip(" |") for word in line.split(" | ")[1:]]


def test_a_cell_names_the_callers_that_it_passed_for(script: ModuleType, tmp_path: Path) -> None:
    leave(tmp_path, ("native", "root", "passed"), ("native", "user", "passed"), ("docker", "user", "passed"))
    assert row(script) == ["1: root, user", "1: user", "-"]


@pytest.mark.parametrize("outcome", ["failed", "xpassed"])
def test_a_failed_case_is_named(outcome: str, script: ModuleType, tmp_path: Path) -> None:
    leave(tmp_path, ("docker", "root", "passed"), ("docker", "user", outcome))
    assert row(script)[1] == "**failed**: test_it"


@pytest.mark.parametrize("ci", [False, True])
def test_a_backend_that_is_not_here_keeps_its_cell_but_in_ci(
    ci: bool, script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, ("native", "user", "passed"), ("docker", "user", "passed"))
    assert row(script)[1] == "1: user"
    leave(tmp_path, ("native", "user", "passed"), ("docker", "user", "skipped"))
    if ci:
        monkeypatch.setenv("CI", "1")
    assert row(script)[1] == ("-" if ci else "1: user")


def test_check_writes_nothing(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(tmp_path, ("native", "user", "passed"), ("docker", "user", "passed"))
    before = script.PAGE.read_text()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--check"])
    assert (script.main(), script.PAGE.read_text()) == (1, before)
    assert "scripts/backends" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", sys.argv[:-1])
    script.main()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--check"])
    assert script.main() == 0
    assert script.PAGE.read_text().startswith("by hand\n")
    assert script.PAGE.read_text().endswith("by hand too\n")


def test_every_difference_is_on_the_page(script: ModuleType) -> None:
    page = (ROOT / "docs" / "backends.md").read_text()
    assert all(line in page for line in script.differences())


def test_every_difference_is_proved_by_a_test() -> None:
    asked = re.compile(r'differs\(\s*"([^"]+)"')
    found = {what for file in (ROOT / "tests").rglob("test_*.py") for what in asked.findall(file.read_text())}
    directories = {what for what in DIFFERENCES if what.startswith("/")}  # asked for by their paths
    assert found | directories == set(DIFFERENCES)


@pytest.mark.parametrize("what", DIFFERENCES)
def test_a_difference_differs_and_says_why(what: str) -> None:
    row = DIFFERENCES[what]
    assert row.why
    assert len({row.on(one) for one in BACKENDS}) > 1
    with pytest.raises(AssertionError, match="another answer of native's"):
        differs(what, "native", f"not {row.native}")
