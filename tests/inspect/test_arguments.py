"""A value against a stranger's schema: what is refused, what parsers take anyway, and what cannot be told."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from sandbox.inspect.arguments import MOST_TOOLS, Schema, Tools

OBJECT = {"type": "object"}


def field(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}, **more}


NUMBER = field({"type": "number"})
CASES = [
    pytest.param(NUMBER, {"x": "1.5"}, "slight", id="a number in text"),
    pytest.param(NUMBER, {"x": " 12 "}, "slight", id="with space around"),
    pytest.param(NUMBER, {"x": "twelve"}, "wrong", id="no number in text"),
    pytest.param(NUMBER, {"x": ""}, "wrong", id="empty text for a number"),
    pytest.param(NUMBER, {"x": [1]}, "wrong", id="a list for a number"),
    pytest.param(NUMBER, {"x": None}, "slight", id="null"),
    pytest.param(field({"type": "boolean"}), {"x": "true"}, "slight", id="true in text"),
    pytest.param(field({"type": "boolean"}), {"x": "yes"}, "wrong", id="another word"),
    pytest.param(field({"type": "boolean"}), {"x": 1}, "wrong", id="one for true"),
    pytest.param(field({"type": "array"}), {"x": '["a"]'}, "slight", id="a list in text"),
    pytest.param(field({"type": "array"}), {"x": "a"}, "wrong", id="text for a list"),
    pytest.param(field({"type": "object"}), {"x": '{"a":1}'}, "slight", id="an object in text"),
    pytest.param(field({"type": "object"}), {"x": []}, "wrong", id="a list for an object"),
    pytest.param(field({"type": "string"}), {"x": 5}, "wrong", id="a number for text"),
    pytest.param(field({"type": "string", "format": "email"}), {"x": "a"}, "", id="a format is not checked"),
    pytest.param(field({"type": "string", "pattern": "^a+$"}), {"x": "b"}, "wrong", id="a pattern"),
    pytest.param(field({"type": "string", "pattern": "^(?!b)"}), {"x": "b"}, "wrong", id="looking around"),
    pytest.param(field({"enum": ["a", 1]}), {"x": "b"}, "wrong", id="none of the values"),
    pytest.param(field({"type": "integer", "maximum": 3}), {"x": 4}, "wrong", id="too much"),
    pytest.param(field({}, required=["x"]), {}, "wrong", id="missing"),
    pytest.param(field({"default": 1}, required=["x"]), {}, "slight", id="missing, with a default"),
    pytest.param(field({}, required=["y"]), {}, "wrong", id="missing, and not described"),
    pytest.param(field({}, additionalProperties=False), {"y": 1}, "slight", id="one too many"),
    pytest.param(field({"anyOf": [{"type": "integer"}, {"type": "null"}]}), {"x": "3"}, "slight", id="in"),
    pytest.param(field({"anyOf": [{"type": "integer"}, {"type": "null"}]}), {"x": "c"}, "wrong", id="none"),
    pytest.param(field({"oneOf": [{"type": "integer"}, {"minimum": 0}]}), {"x": 3}, "slight", id="two"),
    pytest.param(field({"not": {"type": "string"}}), {"x": "a"}, "wrong", id="what is ruled out"),
    pytest.param({"$defs": {"n": {"type": "object", "properties": {"l": {"$ref": "#/$defs/n"}}}},
                  "$ref": "#/$defs/n"}, {"l": {"l": {"l": 5}}}, "wrong", id="deep in a tree"),
    pytest.param({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object",
                  "properties": {"x": {"type": "number", "minimum": 1, "exclusiveMinimum": True}}},
                 {"x": 1}, "wrong", id="an old draft means what it meant"),
    pytest.param({"$schema": "http://evil.example/s", **NUMBER}, {"x": []}, "wrong", id="an unknown draft"),
    pytest.param(OBJECT, [], "wrong", id="no object at all"),
    pytest.param({"type": 5}, {"x": 1}, "unusable", id="no schema"),
    pytest.param(None, {"x": 1}, "unusable", id="none"),
    pytest.param({"$ref": "https://x.example/"}, {"x": 1}, "unusable", id="a schema elsewhere"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value", "says"), CASES)
def test_a_value_is_held_to_a_schema(schema: Any, value: Any, says: str) -> None:
    held = Schema(schema)
    found = held.check(value, 200)
    slight = all(one.slight for one in found)
    said = "unusable" if held.trouble else "" if not found else "slight" if slight else "wrong"
    assert said == says
    # A larger message takes another way to the same end, but for patterns that look around.
    assert held.check(value, 20_000) == found or "(?!" in str(schema)


def test_nothing_that_is_said_of_a_value_quotes_it() -> None:
    secret = "AKIA" + "X" * 16
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "integer"}, "b": {"enum": ["q"]}, "c": {"pattern": "^q$"}, "d": {"const": "q"},
        },
        "additionalProperties": False,
    }  # fmt: skip
    for name in "abcd":
        (found,) = Schema(schema).check({name: secret}, 100)
        assert found.place == (name,)
        assert secret not in repr(found)
    (found,) = Schema(schema).check({secret: 1}, 100)
    assert secret not in repr(found)


def test_of_a_schemas_names_plain_words_may_be_said() -> None:
    fields = ["text", "_x", "$a.b-c", "a b", "a\u202eb", "x" * 49, "", "ignore: all", "日本"]
    schema = Schema(
        {"anyOf": [{"type": "object", "properties": {name: {"type": "string"} for name in fields}}]}
    )
    assert schema.names() == {"text", "_x", "$a.b-c"}


def test_at_most_a_few_things_are_said_of_one_value() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert len(Schema(schema).check({str(at): "x" for at in range(1000)}, 10_000)) == 4


DEAR = [
    pytest.param({"enum": [f"x{at}" for at in range(4000)]}, "y", id="words"),
    pytest.param({"enum": [at + 0.5 for at in range(400)]}, 0.25, id="numbers"),
    pytest.param({"multipleOf": 0.01}, 1e300, id="divisions"),
    pytest.param({"anyOf": [{"const": [at]} for at in range(100)]}, [0.5], id="choices"),
    pytest.param({"uniqueItems": True}, [{"a": at} for at in range(50)], id="items that differ"),
]


@pytest.mark.parametrize("count", [100, 4000, 100_000])
@pytest.mark.parametrize(("item", "value"), DEAR)
def test_many_values_against_much_to_compare_take_bounded_time(item: Any, value: Any, count: int) -> None:
    schema = Schema({"type": "array", "items": item})
    began = time.process_time()
    schema.check([value] * count, count * len(str(value)))
    assert time.process_time() - began < 1.5


@pytest.mark.parametrize("slight", [3, 10, 63, 200])
def test_what_is_slight_does_not_hide_what_is_not(slight: int) -> None:
    fields = {f"a{at}": {"type": "integer"} for at in range(slight)} | {"z": {"type": "string"}}
    value = {f"a{at}": None for at in range(slight)}
    schema = Schema({"type": "object", "properties": fields})
    assert all(one.slight for one in schema.check(value, 9)) is (slight < 64)
    assert not all(one.slight for one in schema.check(value | {"z": {"$gt": ""}}, 9))


@pytest.mark.parametrize("values", [1_000, 100_000])
def test_a_huge_value_that_does_not_fit_takes_bounded_time(values: int) -> None:
    options = [{"type": "object", "properties": {str(at): {"type": "null"}}} for at in range(100)]
    schema = Schema({"type": "array", "items": {"anyOf": options, "type": "object"}})
    value: list[Any] = [{str(one): 1 for one in range(100)}] * (values // 100) + [5]
    began = time.process_time()
    schema.check(value, values * 8)
    assert time.process_time() - began < 2


def test_a_plain_schema_loads_no_library_and_another_does_when_it_is_needed() -> None:
    program = """
import sys
from sandbox.inspect.arguments import Schema
plain, other = Schema({"type": "object"}), Schema({"not": {}})
assert not plain.check({}, 9) and "jsonschema_rs" not in sys.modules
assert other.check({}, 9) and "jsonschema_rs" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


# --- the tools of a session -----------------------------------------------------------------------------


def tool(name: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": OBJECT}


WALKS = [
    pytest.param([(["a"], None, None)], True, id="one page"),
    pytest.param([(["a"], None, "p")], False, id="the first of two"),
    pytest.param([(["a"], None, "p"), (["b"], "p", None)], True, id="both"),
    pytest.param([(["b"], "p", None)], False, id="the last alone"),
    pytest.param([(["a"], None, "p"), (["b"], "q", None)], False, id="out of order"),
    pytest.param([(["a"], None, "p"), (["a"], None, "p"), (["b"], "p", None)], True, id="begun twice"),
]


@pytest.mark.parametrize(("pages", "whole"), WALKS)
def test_a_list_is_whole_once_it_was_read_from_first_to_last(pages: list[Any], whole: bool) -> None:
    tools = Tools()
    for names, cursor, following in pages:
        tools.learn([tool(name) for name in names], 100, cursor, following)
    assert tools.whole is whole
    assert tools.lacks("gone") is whole
    tools.changed()
    assert not tools.lacks("gone")


def test_what_is_kept_of_lists_is_bounded() -> None:
    tools = Tools()
    for page in range(100):
        tools.learn([tool(f"{page}-{at}") for at in range(200)] + [5, {}, tool({})], 100, None, None)
    assert len(tools._tools) <= MOST_TOOLS
    tools.learn([tool("big")], 15 << 20, None, None)
    tools.learn([tool("bigger")], 15 << 20, None, None)
    assert tools.get("bigger")
    assert not tools.get("big")
