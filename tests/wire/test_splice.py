"""Edits change what they name and nothing else, not even how a number is spelt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.wire.splice import DROP, Edit, Place, splice

LINE = (
    b'{ "jsonrpc" : "2.0","id":1, "result":{"tools":'
    b'[{"name":"a\\u0041","n":1E5} , {"name":"b"}],"x":1e-400}}\n'
)


@pytest.mark.parametrize(
    ("edits", "line"),
    [
        pytest.param(
            [Edit(("result", "tools", 1), DROP)],
            b'{"jsonrpc" : "2.0","id":1,"result":{"tools":[{"name":"a\\u0041","n":1E5}],"x":1e-400}}\n',
            id="an item goes and numbers stay as they were",
        ),
        pytest.param(
            [Edit(("result", "tools", 0), DROP), Edit(("result", "tools", 1), DROP)],
            b'{"jsonrpc" : "2.0","id":1,"result":{"tools":[],"x":1e-400}}\n',
            id="all items",
        ),
        pytest.param(
            [Edit(("result", "tools", 0, "name"), "z"), Edit(("result", "x"), DROP)],
            b'{"jsonrpc" : "2.0","id":1,"result":{"tools":[{"name":"z","n":1E5} , {"name":"b"}]}}\n'.replace(
                b" , ", b","
            ),
            id="a member's value",
        ),
        pytest.param(
            [Edit(("result", "_meta"), {"k": [1]})],
            b'{"jsonrpc" : "2.0","id":1,"result":{"tools":[{"name":"a\\u0041","n":1E5} , {"name":"b"}],'
            b'"x":1e-400,"_meta":{"k":[1]}}}\n',
            id="a new member; a list that is not edited keeps its spaces",
        ),
        pytest.param(
            [Edit(("result", "tools", 2), 7)],
            b'{"jsonrpc" : "2.0","id":1,"result":{"tools":[{"name":"a\\u0041","n":1E5},{"name":"b"},7],'
            b'"x":1e-400}}\n',
            id="an item at the end",
        ),
        pytest.param(
            [Edit(("result", "tools", 9, "name"), 7), Edit(("id", "deeper"), 1)],
            b'{"jsonrpc" : "2.0","id":1,"result":{"tools":[{"name":"a\\u0041","n":1E5},{"name":"b"}],'
            b'"x":1e-400}}\n',
            id="what is not there is passed over",
        ),
        pytest.param(
            [Edit(("result",), {"new": True}), Edit(("result", "tools", 0), DROP)],
            b'{"jsonrpc" : "2.0","id":1,"result":{"new":true}}\n',
            id="an edit inside a replaced value is lost",
        ),
    ],
)
def test_an_edit_changes_what_it_names(edits: list[Edit], line: bytes) -> None:
    assert splice(LINE, edits) == line


def _places(value: Any, at: Place = ()) -> list[Place]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for step, one in inner for place in [(*at, step), *_places(one, (*at, step))]]


def _without(value: Any, place: Place) -> Any:
    if len(place) == 1:
        value.pop(place[0])
    else:
        _without(value[place[0]], place[1:])
    return value


_TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), _TREES, min_size=1), st.data())
def test_any_value_can_be_replaced_or_taken_out(tree: dict[str, Any], data: st.DataObject) -> None:
    line = json.dumps(tree, ensure_ascii=data.draw(st.booleans())).encode() + b"\n"
    place = data.draw(st.sampled_from(_places(tree)))
    assert json.loads(splice(line, [Edit(place, DROP)])) == _without(json.loads(line), place)
    changed = json.loads(splice(line, [Edit(place, "new")]))
    at = changed
    for step in place:
        at = at[step]
    assert at == "new"
    assert json.loads(splice(line, [])) == tree
