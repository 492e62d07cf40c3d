"""Tool rules: deny over ask over allow, and arguments that must match."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.policy.model import ArgumentRule, Tools
from sandbox.policy.tools import decide, decide_call, glob
from sandbox.verdict import Action

TOOLS = Tools(allow=("read_*", "push_x", "delete_all"), ask=("push_*",), deny=("delete_*",))
DECISIONS = [
    pytest.param("read_file", Action.ALLOW, "tools.allow", id="allowed"),
    pytest.param("push_x", Action.ASK, "tools.ask", id="ask outranks allow"),
    pytest.param("delete_all", Action.DENY, "tools.deny", id="deny outranks allow"),
    pytest.param("write_file", Action.DENY, "default", id="no pattern"),
    pytest.param("Read_file", Action.DENY, "default", id="case matters"),
    pytest.param("", Action.DENY, "default", id="no name"),
]


@pytest.mark.parametrize(("name", "action", "rule"), DECISIONS)
def test_decides_by_name(name: str, action: Action, rule: str) -> None:
    verdict = decide(TOOLS, name)
    assert (verdict.action, verdict.rule) == (action, rule)


def test_nothing_is_allowed_where_nothing_is_listed() -> None:
    assert decide(Tools(allow=()), "read").action is Action.DENY


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_a_pattern_means_what_the_shell_means_by_it(pattern: str, name: str) -> None:
    assert glob(pattern, name) == fnmatch.fnmatchcase(name, pattern)


@pytest.mark.parametrize(("pattern", "name"), [("*?***", ""), ("a*b*", "b"), ("*ab*ab*", "ab"), ("a*a", "a")])
def test_a_part_that_is_not_there_is_not_forgotten(pattern: str, name: str) -> None:
    assert not glob(pattern, name)


def test_brackets_are_plain_characters() -> None:
    assert glob("a[b]", "a[b]")
    assert not glob("a[b]", "ab")


def _rule(**keys: object) -> Tools:
    return Tools(arguments=(ArgumentRule("t*", "a", **keys),))


ARGUMENTS = [
    pytest.param({"pattern": "acme/.*"}, "acme/x", True, id="pattern matches"),
    pytest.param({"pattern": "acme/.*"}, "xacme/x", False, id="pattern must match from the start"),
    pytest.param({"pattern": "acme"}, "acme\n", False, id="pattern must match to the very end"),
    pytest.param({"pattern": ".*"}, 5, False, id="pattern of a number"),
    pytest.param({"pattern": ".*"}, "x" * 70000, False, id="too long to judge"),
    pytest.param({"enum": ("x", "y")}, "y", True, id="one of the values"),
    pytest.param({"enum": ("x", "y")}, "z", False, id="none of the values"),
    pytest.param({"enum": ("x",)}, ["x", "x"], True, id="a list of values"),
    pytest.param({"enum": ("x",)}, ["x", "z"], False, id="one bad value in a list"),
    pytest.param({"enum": ("x",)}, [], False, id="an empty list"),
    pytest.param({"within": ("/data",)}, "/data/x", True, id="path below"),
    pytest.param({"within": ("/data",)}, "/data_evil/x", False, id="prefix collision"),
    pytest.param({"within": ("/data",)}, "/data/../etc", False, id="dots"),
    pytest.param({"within": ("/data",)}, "x", False, id="relative to a directory outside"),
    pytest.param({"within": ("/work",)}, "x/y", True, id="relative to a directory inside"),
    pytest.param({"within": ("/work",)}, "~/x", False, id="somebody's home"),
    pytest.param({"within": ("/work",)}, "/work/x\0", False, id="NUL"),
    pytest.param({"minimum": 1, "maximum": 3}, 2, True, id="in range"),
    pytest.param({"minimum": 1, "maximum": 3}, 4, False, id="above the range"),
    pytest.param({"minimum": 1}, float("nan"), False, id="NaN"),
    pytest.param({"minimum": 0}, True, False, id="true is no number"),
    pytest.param({"minimum": 0}, "3", False, id="text is no number"),
]


@pytest.mark.parametrize(("keys", "value", "allowed"), ARGUMENTS)
@pytest.mark.threat("T1", proves="arguments outside the rule never pass")
def test_arguments_must_match(keys: dict, value: object, allowed: bool) -> None:
    assert decide_call(_rule(**keys), "tool", {"a": value}, cwd="/work").allowed is allowed


def test_a_missing_argument_is_refused_because_the_server_would_choose() -> None:
    verdict = decide_call(_rule(enum=("x",)), "tool", {}, cwd="/work")
    assert (verdict.action, verdict.rule) == (Action.DENY, "tools.arguments.t*.a")


def test_a_rule_concerns_its_tool_only() -> None:
    assert decide_call(_rule(enum=("x",)), "other", {}, cwd="/work").allowed


def test_an_argument_rule_does_not_lift_a_denial() -> None:
    tools = Tools(allow=(), arguments=(ArgumentRule("*", "a", enum=("x",)),))
    assert decide_call(tools, "t", {"a": "x"}, cwd="/").action is Action.DENY
