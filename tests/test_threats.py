"""docs/threats.md cannot say more than the tests showed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
DESIGN_ROWS = """
S1 S2 S3 K6 S4 C2 S5 S6 S7 S8 C1 C3 C4 H1 H2 D1 D2 D3 K2 K3 T1 T2 T3 K1 P1 K4 K5 K7
""".split()

Record = Callable[..., None]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, over a tree of its own with the real rows."""
    loader = SourceFileLoader("threats_script", str(ROOT / "scripts" / "threats"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, loader.name, module)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "PAGE", tmp_path / "threats.md")
    monkeypatch.setattr(module, "OUTCOMES", tmp_path / "outcomes")
    monkeypatch.setattr(sys, "argv", ["threats"])
    monkeypatch.delenv("CI", raising=False)
    return module


@pytest.fixture
def record(script: ModuleType, tmp_path: Path) -> Record:
    """Leaves the outcome of one proof of D2 behind, as a run of the tests does."""
    (tmp_path / "test_files.py").write_text("")
    (tmp_path / "outcomes").mkdir()

    def leave(caller: str, *outcomes: str, backend: str = "native") -> None:
        proof = {"row": "D2", "proves": "EROFS", "test": "test_files.py::test_readonly", "backend": backend}
        sha = script.digest("test_files.py")
        document = {
            "caller": caller,
            "proofs": [{**proof, "outcome": one, "sha256": sha} for one in outcomes],
        }
        (tmp_path / "outcomes" / f"{caller}.json").write_text(json.dumps(document))

    return leave


def page(script: ModuleType) -> str:
    assert script.main() == 0
    text: str = script.PAGE.read_text()
    return text


CLAIM = "- EROFS (`test_files.py::test_readonly`, native, as {})\n"


def test_every_row_of_the_design_is_there(script: ModuleType) -> None:
    rows = script.tomllib.loads(script.ROWS.read_text())["row"]
    assert [one for row in rows for one in row["ids"]] == DESIGN_ROWS


def test_a_passing_proof_is_named_with_its_callers(script: ModuleType, record: Record) -> None:
    record("root", "passed", "passed")
    record("user", "passed")
    text = page(script)
    assert CLAIM.format("root, user") in text
    assert "| D2 | data integrity | L2 | 1 proof |" in text
    assert "| D1 | weak access control on data | L6 | not yet |" in text


def test_a_proof_of_a_part_alone_is_said_to_be_one(script: ModuleType, record: Record) -> None:
    record("root", "passed", backend="part")
    text = page(script)
    assert "| D2 | data integrity | L2 | 1 proof, of parts alone |" in text
    assert (
        "**Of 23 rows 0 have a passing proof in a running sandbox, 1 more of parts alone, 22 none yet.**"
        in text
    )


@pytest.mark.parametrize(
    "outcomes",
    [
        pytest.param(["failed"], id="a failed test"),
        pytest.param(["passed", "failed"], id="one failed case among passing ones"),
        pytest.param(["passed", "skipped"], id="one skipped case among passing ones"),
        pytest.param(["skipped"], id="a skipped test"),
        pytest.param(["not-run"], id="a run that was cut short"),
        pytest.param(["xpassed"], id="a test that was expected to fail"),
    ],
)
def test_what_did_not_pass_proves_nothing(script: ModuleType, record: Record, outcomes: list[str]) -> None:
    record("root", *outcomes)
    assert "| D2 | data integrity | L2 | not yet |" in page(script)


def test_a_test_changed_since_its_run_proves_nothing(
    script: ModuleType, record: Record, tmp_path: Path
) -> None:
    record("root", "passed")
    (tmp_path / "test_files.py").write_text("# weakened\n")
    assert "| D2 | data integrity | L2 | not yet |" in page(script)


def test_check_fails_on_a_stale_page_and_names_the_line(
    script: ModuleType, record: Record, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record("user", "passed")
    page(script)
    record("user", "failed")
    monkeypatch.setattr(sys, "argv", ["threats", "--check"])
    assert script.main() == 1
    message = capsys.readouterr().err
    assert "-" + CLAIM.format("user") in message
    assert message.endswith("error: docs/threats.md is stale\n\nhint: scripts/threats\n")


def test_a_caller_that_cannot_be_tried_is_believed_on_a_laptop_and_not_in_ci(
    script: ModuleType, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record("root", "passed")
    record("user", "passed")
    both = page(script)
    (tmp_path / "outcomes" / "root.json").unlink()
    assert page(script) == both
    monkeypatch.setenv("CI", "true")
    assert CLAIM.format("user") in page(script)


def test_no_recorded_run_is_an_error(script: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no recorded outcomes"):
        script.main()


def run_pytest(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A pytest of its own over one test file, with our conftest as a plugin."""
    test = folder / "test_one.py"
    test.write_text("import pytest\n" + source)
    argv = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-q"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    argv += [*options, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), str(test)]
    return subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize(
    "mark",
    [
        pytest.param('"Z9", proves="x"', id="a row that does not exist"),
        pytest.param('"D2"', id="nothing proved"),
        pytest.param('"D1", "D2", proves="x"', id="two rows in one mark"),
        pytest.param('"D2", proves="x", standard="y"', id="an unknown key"),
    ],
)
def test_a_wrong_mark_stops_the_run(tmp_path: Path, mark: str) -> None:
    done = run_pytest(tmp_path, f"@pytest.mark.threat({mark})\ndef test_it() -> None: ...\n")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "ERROR" in done.stderr
    assert "test_one.py" in done.stderr


def test_a_run_records_the_outcome_of_each_marked_test(tmp_path: Path) -> None:
    source = """
@pytest.mark.threat("D1", proves="one")
@pytest.mark.threat("D2", proves="two")
@pytest.mark.parametrize("backend", ["native", "docker"])
def test_both(backend): assert backend == "native"

@pytest.mark.threat("S7", proves="three", backend="any")
def test_skipped(): pytest.skip("not here")

@pytest.fixture
def broken():
    yield
    raise RuntimeError

@pytest.mark.threat("K4", proves="four")
def test_teardown(broken): ...

def test_plain(): ...
"""
    target = tmp_path / "outcomes.json"
    run_pytest(tmp_path, source, f"--threat-outcomes={target}")
    document: dict[str, Any] = json.loads(target.read_text())
    assert document["caller"] == ("root" if os.geteuid() == 0 else "user")
    seen = {(one["row"], one["backend"], one["outcome"]) for one in document["proofs"]}
    assert seen == {
        ("D1", "native", "passed"),
        ("D2", "native", "passed"),
        ("D1", "docker", "failed"),
        ("D2", "docker", "failed"),
        ("S7", "any", "skipped"),
        ("K4", "part", "failed"),
    }


def test_what_is_run_again_takes_the_place_of_its_former_outcome(tmp_path: Path) -> None:
    target, mark = tmp_path / "outcomes.json", '@pytest.mark.threat("D2", proves="two")'
    source = f"""
import pathlib
@pytest.mark.parametrize("one", ["sound", "unlucky"])
{mark}
def test_now(one):
    been = pathlib.Path({str(tmp_path)!r}, one)
    again = been.exists()
    been.touch()
    assert again or one == "sound"
"""
    for more, outcomes in (((), {"passed", "failed"}), (("-k", "unlucky"), {"passed"})):
        run_pytest(tmp_path, source, f"--threat-outcomes={target}", *more)
        document = json.loads(target.read_text())
        assert len(document["proofs"]) == 2
        assert {one["outcome"] for one in document["proofs"]} == outcomes
