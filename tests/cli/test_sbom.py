"""`sbom`: the bill of materials of an accepted lock, or of any lock by its path."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from sandbox.cli.main import main
from sandbox.records import replace
from sandbox.supply import accepted
from sandbox.supply.lock import Lock
from sandbox.supply.lock_text import spell
from tests.supply.test_sbom import NPM


@pytest.fixture
def lock(own_home: Path) -> Lock:
    made = replace(NPM, keys=("npm @scope/server",))
    path = accepted.path_of(made.name, accepted.user_dir(os.environ))
    accepted.put(path, made, os.environ)
    return made


def _printed(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["sbom", *words]) == 0
    text = capsys.readouterr().out
    made: dict[str, Any] = json.loads(text)
    assert main(["sbom", *words]) == 0
    assert capsys.readouterr().out == text  # whenever it is asked for
    return made


def test_cyclonedx_by_the_name_of_a_lock(lock: Lock, capsys: pytest.CaptureFixture[str]) -> None:
    document = _printed(capsys, lock.name)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None
    assert len(document["components"]) == 4


def test_spdx_by_the_path_of_a_file(lock: Lock, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.lock"
    path.write_text(spell(lock))
    assert _printed(capsys, "--format", "spdx", str(path))["spdxVersion"] == "SPDX-2.3"


def test_another_lock_is_another_document(
    lock: Lock, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.lock"
    path.write_text(spell(replace(lock, made="2027-01-01T00:00:00Z")))
    one, other = _printed(capsys, lock.name), _printed(capsys, str(path))
    assert one["serialNumber"] != other["serialNumber"]


@pytest.mark.parametrize("name", ["nothing", "./nothing.lock"])
def test_what_is_not_there_is_said(own_home: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sbom", name]) in (2, 125)
    assert "nothing" in capsys.readouterr().err
