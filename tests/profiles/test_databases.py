"""What the profile of a database keeps its server from, with a real database on the other side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Ready
from tests.profiles.database_servers import MONGODB, POSTGRES, REDIS, THIS
from tests.profiles.databases import told
from tests.profiles.served import Call, Served, Shown, dialled, failed, session, text

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(300)]

ENDS_ITS_TRANSACTION = "COMMIT; DROP TABLE people"


def _asked(row: Served, calls: list[Call], here: Path) -> Shown:
    with row.ground(here) as words:
        return session(row, "native", here, {"here": str(here), **words}, calls)


@pytest.mark.parametrize("row", [POSTGRES, REDIS], ids=["postgres", "redis"])
def test_another_port_of_this_machine_is_not_reached(row: Served, tmp_path: Path, engaged: Ready) -> None:
    engaged("native")
    call = row.calls[0]
    (refused,) = _asked(replace(row, flags=""), [call], tmp_path).answers
    (reached,) = _asked(row, [call], tmp_path).answers
    assert failed(refused) or call.says not in text(refused)
    assert call.says in text(reached)


@pytest.mark.parametrize(
    ("profile", "more", "left"),
    [
        pytest.param("postgres", "", "people\n", id="its profile lets one statement through"),
        pytest.param("node", " --secret PGPASSWORD", "\n", id="and without it the table is gone"),
    ],
)
def test_a_query_does_not_end_the_transaction_that_keeps_it_from_writing(
    profile: str, more: str, left: str, tmp_path: Path, engaged: Ready
) -> None:
    engaged("native")
    row = replace(POSTGRES, profile=profile, flags=THIS + more)
    attack = Call("query", {"sql": ENDS_ITS_TRANSACTION})
    with row.ground(tmp_path) as words:
        session(row, "native", tmp_path, words, [attack])
        assert told(int(words["port"]), words["password"], "SELECT to_regclass('people')") == left


def test_what_dials_mongodb_dials_this_machine(tmp_path: Path, engaged: Ready) -> None:
    engaged("native")
    where = "mongodb://localhost:27017/?serverSelectionTimeoutMS=500"
    assert dialled(_asked(MONGODB, [Call("connect", {"connectionString": where})], tmp_path)) == {"localhost"}
