"""Who stays, who goes, and what is written of those who were refused."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sandbox.audit.sink import Sink
from sandbox.errors import AuditError
from sandbox.serve.budget import Budget
from sandbox.serve.crowd import Crowd
from sandbox.serve.journal import Journal
from sandbox.serve.limits import Limits
from sandbox.serve.words import Principal, Refused

LIMITS = Limits(unknown_max=3, unknown_per_peer=2, known_max=4, known_per_principal=2)
ANN, BOB, CID = Principal("ann"), Principal("bob"), Principal("cid")


class One:
    def __init__(self, *, rests: bool = False) -> None:
        self.is_out = False
        self._rests = rests

    def evict(self) -> None:
        self.is_out = True

    def give_way(self) -> bool:
        self.is_out = self.is_out or self._rests
        return self._rests


def test_the_stranger_that_came_first_goes() -> None:
    crowd, ones = Crowd(LIMITS), [One() for _ in range(5)]
    for one in ones:
        crowd.enter(one, "")
    assert [one.is_out for one in ones] == [True, True, False, False, False]


def test_of_one_address_only_its_own_go() -> None:
    crowd, local, far = Crowd(LIMITS), One(), [One() for _ in range(4)]
    crowd.enter(local, "")
    for one in far:
        crowd.enter(one, "192.0.2.1")
    assert not local.is_out
    assert [one.is_out for one in far] == [True, True, False, False]


def test_the_known_are_never_sent_away_for_others() -> None:
    crowd, known = Crowd(LIMITS), One()
    crowd.enter(known, "")
    assert crowd.recognise(known, ANN) is None
    for _ in range(50):
        crowd.enter(One(), "")
    assert not known.is_out
    assert len(crowd) == 4


def test_a_connection_that_rests_gives_way_to_another_of_its_client() -> None:
    crowd, busy, resting, newer = Crowd(LIMITS), One(), One(rests=True), One()
    for one in (busy, resting, newer):
        crowd.enter(one, "")
        assert crowd.recognise(one, ANN) is None
    assert [one.is_out for one in (busy, resting, newer)] == [False, True, False]
    assert len(crowd) == 2


def test_caps_of_the_known() -> None:
    crowd = Crowd(LIMITS)

    def came(principal: Principal) -> Refused | None:
        crowd.enter(one := One(), "")
        return crowd.recognise(one, principal)

    assert [came(ANN), came(ANN)] == [None, None]
    more = came(ANN)
    assert more is not None
    assert more.status == 429
    assert [came(BOB), came(BOB)] == [None, None]
    full = came(CID)
    assert full is not None
    assert full.status == 503
    assert dict(full.headers)["Retry-After"]


@given(
    st.lists(
        st.tuples(st.sampled_from("elkm"), st.integers(0, 5), st.sampled_from(["", "a", "b"])), max_size=60
    )
)
def test_the_counts_are_those_of_who_is_there(steps: list[tuple[str, int, str]]) -> None:
    crowd, ones = Crowd(LIMITS), [One() for _ in range(6)]
    inside: set[int] = set()
    for what, number, peer in steps:
        one = ones[number]
        if what == "e" and number not in inside:
            crowd.enter(one, peer)
            inside.add(number)
        elif what == "l":
            crowd.leave(one)
            inside.discard(number)
        elif what == "k" and number in inside and not one.is_out:
            crowd.recognise(one, (ANN, BOB, CID)[number % 3])
        elif what == "m":
            crowd.make_room()
        inside -= {at for at in inside if ones[at].is_out}
        for at, each in enumerate(ones):
            each.is_out = each.is_out and at in inside
        assert set(map(id, crowd.everybody())) == {id(ones[at]) for at in inside}
        assert sum(crowd._from.values()) + sum(crowd._of.values()) == len(crowd)
        assert all(count > 0 for count in (*crowd._from.values(), *crowd._of.values()))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60)), max_size=30))
def test_a_budget_holds_what_was_taken(takes: list[tuple[str, int]]) -> None:
    budget, held = Budget(Limits(bodies_max=100, bodies_each=70)), {"a": 0, "b": 0}
    for who, size in takes:
        refused = budget.take(who, size)
        fits = held[who] + size <= 70 and sum(held.values()) + size <= 100
        assert (refused is None) is fits
        held[who] += size if fits else 0
    for who, size in held.items():
        budget.give_back(who, size)
    assert budget.take("a", 70) is None


# --- the log -----------------------------------------------------------------------------------------------

REFUSED = Refused(401, "bad-token", "the bearer token is not known")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line)["detail"] for line in path.read_text().splitlines()]


def test_refusals_are_logged_at_a_rate_and_counted_beyond_it(tmp_path: Path) -> None:
    now = [0.0]
    with Sink("s", "serve", environ={}, path=str(tmp_path / "log")) as sink:
        limits = Limits(refusals_at_once=2, refusals_per_s=0.5, counted_s=10)
        journal = Journal(sink, limits, lambda error: None, lambda: now[0])
        for _ in range(10):
            journal.refused(REFUSED, "127.0.0.1", "POST", "/mcp?token=secret", "ann")
            journal.settle()
        now[0] += 10
        journal.settle()
        journal.refused(REFUSED, "127.0.0.1")
        journal.settle(is_last=True)
    first, second, counted, last = lines(tmp_path / "log")
    assert first == second
    assert first == {
        "status": 401, "why": REFUSED.why, "peer": "127.0.0.1", "method": "POST", "path": "/mcp",
        "principal": "ann",
    }  # fmt: skip
    assert counted == {"counted": {"401 bad-token": 8}}
    assert last["peer"] == "127.0.0.1"


def test_a_log_that_fails_is_told_once(tmp_path: Path) -> None:
    told: list[AuditError] = []
    sink = Sink("s", "serve", environ={}, path=str(tmp_path / "log"))
    journal = Journal(sink, Limits(), told.append)
    sink.close()
    for _ in range(3):
        journal.refused(REFUSED, "")
    assert len(told) == 1
