"""Whatever a server does in whatever order, a client sees and calls only what holds."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.inspect.canonical import canonical, digest
from sandbox.inspect.judged import Asked
from tests.inspect.pinning import LISTS, Memory, Session, frame, tool

NAMES = ("a", "b", "c")
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ITEM = st.builds(tool, st.sampled_from(NAMES), st.sampled_from(("good", "evil", "worse"))) | JUNK
CURSOR = st.sampled_from((None, "1", "2"))
PAGE = st.tuples(st.just("page"), st.lists(ITEM, max_size=4), CURSOR, CURSOR)
STEP = st.one_of(
    PAGE, PAGE,
    st.tuples(st.just("changed")),
    st.tuples(st.just("call"), st.sampled_from(NAMES)),
    st.tuples(st.just("approve")),
    st.tuples(st.just("session"), st.booleans()),
    st.tuples(st.just("full")),
)  # fmt: skip


def _held(store: Memory, item: Any) -> bool:
    """Whether a definition is what holds."""
    found = store.pinned.holds("tool").get(item["name"]) if type(item) is dict and "name" in item else None
    return found is not None and found.digest == digest("tool", item)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEP, max_size=25))
def test_a_client_sees_only_what_holds(steps: list[Any]) -> None:
    store = Memory()
    session = Session(store)
    told: dict[str, str] = {}
    for step in steps:
        if step[0] == "page":
            _, items, following, cursor = step
            seen = session.page(items, following=following, cursor=cursor)["tools"]
            assert all(_held(store, one) for one in seen)
            given_ = [canonical(one) for one in items]
            assert all(canonical(one) in given_ for one in seen)
            told |= {one["name"]: "" for one in seen}
        elif step[0] == "changed":
            session.changed()
        elif step[0] == "call":
            became = session.call(step[1])
            withheld = session.pins._views["tool"].withheld
            assert became != "passes" or step[1] not in withheld
        elif step[0] == "approve":
            store.approve_all()
        elif step[0] == "session":
            session = Session(store, locked=step[1])
        else:
            store.full = not store.full


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(LISTS.values())) | st.just("initialize") | st.just("server/discover"),
    JUNK,
    JUNK,
    JUNK,
)
def test_no_answer_is_too_strange(method: str, items: Any, more: Any, cursor: Any) -> None:
    for locked in (False, True):
        session = Session(Memory(), locked=locked)
        members = dict.fromkeys(LISTS, items)
        result = {
            **members,
            "nextCursor": cursor,
            "ttlMs": more,
            "instructions": items,
            "serverInfo": more,
            "_meta": more,
        }
        asked = Asked(method, params={"cursor": cursor, "protocolVersion": more})
        session._answer(asked, result)
        session._answer(asked, {"nothing": more})


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(("tools/call", "prompts/get", "resources/read")),
    st.dictionaries(st.text(max_size=5), JUNK),
)
def test_no_request_is_too_strange(method: str, params: Any) -> None:
    session = Session(Memory(), locked=True)
    session.pins.to_server(frame({"id": 1, "method": method, "params": params | {"name": "x", "uri": "y"}}))
    session.pins.to_server(frame({"id": 1, "method": method, "params": params}))
