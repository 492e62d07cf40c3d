"""A database of advisories on disk: a directory, a zip or a file, whole or broken, fresh or changed."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import SandboxNotBuilt
from sandbox.supply import advisories

Lay = Callable[[Path, list[Any]], Path]


def record(id: str, name: str = "pkg", ecosystem: str = "npm", **more: Any) -> dict[str, Any]:
    ranges = [{"type": "SEMVER", "events": [{"introduced": "0"}]}]
    affected = [{"package": {"ecosystem": ecosystem, "name": name}, "ranges": ranges}]
    return {"id": id, "modified": "2026-11-01T00:00:00Z", "affected": affected, **more}


def _directory(at: Path, records: list[Any]) -> Path:
    place = at / "db"
    (place / "2026").mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(records):
        (place / "2026" / f"{number}.json").write_text(json.dumps(one))
    (place / "README.md").write_text("no record")
    return place


def _zip(at: Path, records: list[Any]) -> Path:
    place = at / "all.zip"
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, one in enumerate(records):
            archive.writestr(f"npm/{number}.json", json.dumps(one))
    return place


def _file(at: Path, records: list[Any]) -> Path:
    place = at / "osv.json"
    place.write_text(json.dumps({"vulns": records}))
    return place


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}


FORMS = [
    pytest.param(_directory, id="directory"),
    pytest.param(_zip, id="zip"),
    pytest.param(_file, id="file"),
]


@pytest.mark.parametrize("lay", FORMS)
def test_a_database_is_found_by_package_in_every_form(
    lay: Lay, tmp_path: Path, environ: dict[str, str]
) -> None:
    place = lay(tmp_path, [record("A"), record("B", "other"), record("C", "My.Pkg", "PyPI"), {"id": 3}])
    database = advisories.opened(str(place), environ)
    assert (database.records, database.broken) == (3, 1)
    assert database.packages == {"npm": 2, "PyPI": 1}
    assert database.newest == "2026-11-01T00:00:00Z"
    found = database.about("npm", [("pkg", "1.0.0"), ("none", "1.0.0")])
    assert [one.id for one in found["pkg", "1.0.0"]] == ["A"]
    assert found["none", "1.0.0"] == ()
    assert [one.id for one in database.about("pypi", [("my-pkg", "1")])["my-pkg", "1"]] == ["C"]


@pytest.mark.parametrize("lay", FORMS)
def test_a_database_that_changed_is_read_again(lay: Lay, tmp_path: Path, environ: dict[str, str]) -> None:
    place = lay(tmp_path, [record("A")])
    before = advisories.opened(str(place), environ)
    assert advisories.opened(str(place), environ).index == before.index
    lay(tmp_path, [record("A"), record("B")])
    after = advisories.opened(str(place), environ)
    assert [one.id for one in after.about("npm", [("pkg", "1.0.0")])["pkg", "1.0.0"]] == ["A", "B"]


def test_an_index_is_read_no_second_time(tmp_path: Path, environ: dict[str, str]) -> None:
    place = _file(tmp_path, [record("A")])
    index = Path(advisories.opened(str(place), environ).index)
    written = index.stat().st_mtime_ns
    assert advisories.opened(str(place), environ).records == 1
    assert index.stat().st_mtime_ns == written
    assert index.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + b"x" * 4096])
def test_a_broken_index_is_made_again(damage: bytes, tmp_path: Path, environ: dict[str, str]) -> None:
    place = _file(tmp_path, [record("A")])
    index = Path(advisories.opened(str(place), environ).index)
    index.write_bytes(damage)
    assert advisories.opened(str(place), environ).records == 1


def test_an_index_that_others_may_write_is_made_again(tmp_path: Path, environ: dict[str, str]) -> None:
    place = _file(tmp_path, [record("A")])
    index = Path(advisories.opened(str(place), environ).index)
    index.chmod(0o666)
    advisories.opened(str(place), environ)
    assert index.stat().st_mode & 0o777 == 0o600


def _deep(at: Path) -> Path:
    (at / "x.json").write_text("[" * 100_000)
    return at / "x.json"


def _bomb(at: Path) -> Path:
    with zipfile.ZipFile(at / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.json", b" " * (advisories.LARGEST + 1))
    return at / "x.zip"


def _pipe(at: Path) -> Path:
    os.mkfifo(at / "x.json")
    return at / "x.json"


def _written(text: str) -> Callable[[Path], Path]:
    def make(at: Path) -> Path:
        (at / "x.json").write_text(text)
        return at / "x.json"

    return make


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda at: at / "gone", id="no such place"),
        pytest.param(lambda at: at, id="a directory without records"),
        pytest.param(_written("{}"), id="no record"),
        pytest.param(_written("{"), id="no JSON"),
        pytest.param(_written('{"vulns": 3}'), id="no list"),
        pytest.param(_deep, id="nested deeper than anything"),
        pytest.param(_bomb, id="a zip of one huge record"),
        pytest.param(_pipe, id="a pipe"),
    ],
)
def test_what_is_no_database_is_an_error_that_names_it(
    make: Callable[[Path], Path], tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "place").mkdir()
    place = make(tmp_path / "place")
    with pytest.raises(SandboxNotBuilt) as caught:
        advisories.opened(str(place), environ)
    assert caught.value.code == "unreadable-advisories"
    assert str(place) in caught.value.what


def test_a_record_that_is_gone_since_is_no_silence(tmp_path: Path, environ: dict[str, str]) -> None:
    place = _directory(tmp_path, [record("A")])
    database = advisories.opened(str(place), environ)
    (place / "2026/0.json").unlink()
    with pytest.raises(SandboxNotBuilt, match="cannot be read"):
        database.about("npm", [("pkg", "1.0.0")])


def test_a_file_whose_name_is_no_text_is_a_broken_record(tmp_path: Path, environ: dict[str, str]) -> None:
    place = _directory(tmp_path, [record("A")])
    Path(os.fsdecode(os.fsencode(place) + b"/\xff.json")).write_text(json.dumps(record("B")))
    database = advisories.opened(str(place), environ)
    assert (database.records, database.broken) == (1, 1)


def test_a_link_in_a_database_leads_nowhere(tmp_path: Path, environ: dict[str, str]) -> None:
    place = _directory(tmp_path, [record("A")])
    (tmp_path / "secret.json").write_text(json.dumps(record("B")))
    (place / "linked.json").symlink_to(tmp_path / "secret.json")
    assert advisories.opened(str(place), environ).records == 1
