"""The notation of shapes, and that what mcp-types takes for a message fits the shapes made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp_types import methods
from pydantic import TypeAdapter

from sandbox.inspect.revisions import CAME, LAST_LEGACY, LEGACY, MODERN, shapes
from sandbox.inspect.shapes import Fault, Faults, Shapes

ROOT = Path(__file__).resolve().parent.parent.parent

TEXT = """\
> go Params? Answer
< ask [s] {}
-> note {n}
Params = name:s count?:i
Answer = parts:[Word|Box] one?:'x'|'y' any?:* role?:'a'|'b'
Word = type:'word' text:s
Box = type:'box'
  inner?:{s|[i]} limit:i|0
"""


def faults(kind: str, value: Any) -> list[Fault]:
    found = Faults()
    Shapes(TEXT).shape(kind).faults(value, (), found)
    return [*found.grave, *found.slight]


CASES = [
    ("s", "a", ""), ("s", 1, "slight"), ("s", None, "slight"), ("s", [], "grave"), ("s", {}, "grave"),
    ("i", 1, ""), ("i", 1.0, ""), ("i", 1.5, "slight"), ("i", True, "slight"), ("n", 1.5, ""),
    ("b", True, ""), ("b", 0, "slight"), ("*", [{}], ""), ("{}", {"a": 1}, ""),
    ("{}", [], "grave"), ("{}", "a", "grave"),
    ("[s]", ["a"], ""), ("[s]", ["a", 1], "slight"), ("[s]", [["a"]], "grave"), ("[s]", {}, "grave"),
    ("{s}", {"a": "b"}, ""), ("{s}", {"a": {}}, "grave"), ("s|i", 1, ""), ("s|i", 1.5, "slight"),
    ("s|i", [], "grave"), ("'x'|'y'", "x", ""), ("'x'|'y'", "z", "slight"), ("'x'|'y'", ["x"], "grave"),
    ("Params", {"name": "a"}, ""), ("Params", {"name": "a", "more": [[]]}, ""),
    ("Params", {"name": "a", "count": None}, ""), ("Params", {}, "slight"), ("Params", [], "grave"),
    ("Answer", {"parts": [{"type": "word", "text": "a"}]}, ""),
    ("Answer", {"parts": [{"type": "box", "limit": None}]}, ""),
    ("Answer", {"parts": [{"type": "box"}]}, "slight"),
    ("Answer", {"parts": [{"type": "box", "limit": 1, "inner": {"a": [1], "b": "c"}}]}, ""),
    ("Answer", {"parts": [{"type": "box", "limit": 1, "inner": {"a": [{}]}}]}, "grave"),
    ("Answer", {"parts": [{"type": "ball"}]}, "slight"), ("Answer", {"parts": [{}]}, "slight"),
    ("Answer", {"parts": [{"type": {"word": 1}}]}, "grave"), ("Answer", {"parts": ["word"]}, "grave"),
    ("Answer", {"parts": [], "role": "c"}, "grave"), ("Answer", {"parts": [], "one": "z"}, "slight"),
    ("Answer", {"parts": [], "any": {"a": []}}, ""),
    ("Params", {"name": "a", "Name": "b"}, "grave"), ("Params", {"name": "a", "NAME": "b"}, "grave"),
    ("Params", {"name": "a", "names": "b"}, ""), ("Answer", {"parts": [], "part\u017f": []}, "grave"),
    ("Answer", {"parts": [{"type": "word", "text": "a", "Text": "b"}]}, "grave"),
    ("{}", {"Name": 1, "name": 2}, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "says"), [pytest.param(*one, id=f"{one[0]} {one[1]}") for one in CASES]
)
def test_a_value_fits_its_kind_or_says_where_it_does_not(kind: str, value: Any, says: str) -> None:
    found = faults(kind, value)
    assert Shapes(TEXT).shape(kind).fits(value) is (says == "")
    assert ("grave" if any(one.grave for one in found) else "slight" if found else "") == says


def test_a_fault_names_its_place() -> None:
    value = {"parts": [{"type": "word", "text": "a"}, {"type": "box", "limit": 1, "inner": {"a": [{}]}}]}
    assert [one.place for one in faults("Answer", value)] == [("parts", 1, "inner", "a", 0)]


def test_a_grave_fault_is_found_behind_many_slight_ones() -> None:
    value = {"parts": [{"type": "ball"}] * 500 + [{"type": "word", "text": {}}] + [{"type": "ball"}] * 500}
    found = faults("Answer", value)
    assert found[0].place == ("parts", 500, "text")
    assert len(found) < 20


def test_methods_belong_to_a_side() -> None:
    known = Shapes(TEXT)
    going = known.method(">", "go")
    assert going is not None
    assert going.optional
    assert known.method("<", "go") is None
    assert known.has("<", "ask")
    assert Shapes(TEXT, frozenset({"ask"})).method("<", "ask") is None
    assert not Shapes(TEXT, frozenset({"box"})).shape("Answer").fits({"parts": [{"type": "box", "limit": 1}]})


def test_every_shape_of_every_revision_can_be_built() -> None:
    for revision in (*LEGACY, MODERN):
        known = shapes(revision)
        assert known is not None
        for mark, method in known.methods():
            assert known.method(mark, method) is not None
    assert shapes("2031-01-01") is None


@pytest.mark.parametrize("revision", LEGACY)
def test_a_revision_has_the_methods_that_the_sdk_has_in_it(revision: str) -> None:
    known = shapes(revision)
    assert known is not None
    ours = {(mark, method) for mark, method in known.methods() if "tasks/" not in method}
    theirs = {
        (mark, method)
        for mark, table in (
            (">", methods.CLIENT_REQUESTS), ("<", methods.SERVER_REQUESTS),
            ("->", methods.CLIENT_NOTIFICATIONS), ("<-", methods.SERVER_NOTIFICATIONS),
        )
        for method, version in table
        if version == revision
    }  # fmt: skip
    assert ours == theirs
    tasks = {method for _, method in known.methods() if "tasks/" in method}
    assert bool(tasks) is (revision == LAST_LEGACY)
    assert all(came <= LAST_LEGACY for came in CAME.values())


def test_the_shapes_are_what_the_script_writes() -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "build-shapes", "--check"], check=True, timeout=60)


RESULTS = [
    pytest.param(method, version, model, id=f"{version} {method}")
    for (method, version), models in methods.SERVER_RESULTS.items()
    for model in get_args(models) or (models,)
    # Anything is a question to the models: its one field that has to be there may hold any word.
    if version in (LAST_LEGACY, MODERN) and model.__name__ != "InputRequiredResult"
]
NAMES = st.sampled_from(
    "content type text tools name inputSchema description contents uri messages role prompts resources "
    "resourceTemplates uriTemplate completion values structuredContent isError nextCursor resultType ttlMs "
    "cacheScope capabilities supportedVersions protocolVersion serverInfo version _meta data mimeType "
    "blob".split()
)
WORDS = st.sampled_from(
    "text image audio resource resource_link user assistant object complete public private a:b".split()
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
CONTENT = st.lists(st.fixed_dictionaries({"type": WORDS, "text": JSON}, optional={"data": JSON, "uri": JSON}))
LIKELY = st.fixed_dictionaries(
    {"content": CONTENT | JSON, "resultType": st.just("complete"), "ttlMs": st.just(1), "cacheScope": WORDS},
    optional={"tools": JSON, "messages": JSON, "contents": JSON, "_meta": JSON, "isError": JSON},
)


@pytest.mark.parametrize(("method", "version", "model"), RESULTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=LIKELY | st.dictionaries(NAMES, JSON, max_size=8))
def test_what_the_sdk_takes_has_no_grave_fault(method: str, version: str, model: Any, value: Any) -> None:
    known = shapes(version)
    assert known is not None
    built = known.method(">", method)
    assert built is not None
    assert built.result is not None
    try:
        TypeAdapter(model).validate_python(value, strict=True)
    except ValueError:
        return
    found = Faults()
    built.result.faults(value, (), found)
    assert not found.grave
