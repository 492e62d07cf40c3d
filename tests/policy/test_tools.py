"""Tool rules: deny over ask over allow, and arguments that must match."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.policy.model import ArgumentRule, Tools
from sandbox.policy.tools import decide, decide_call, glob
from sandbox.records import replace
from sandbox.verdict import Action

TOOLS = Tools(allow=("read_*", "push_x", "delete_all"), ask=("push_*",), deny=("delete_*",))
DECISIONS = [
    pytest.param("read_file", Action.ALLOW, "tools.allow", id="allowed"),
    pytest.param("push_x", Action.ASK, "tools.ask", id="ask outranks allow"),
    pytest.param("delete_all", Action.DENY, "tools.deny", id="deny outranks allow"),
    pytest.param("write_file", Action.DENY, "tools.allow", id="no pattern"),
    pytest.param("Read_file", Action.DENY, "tools.allow", id="case matters"),
    pytest.param("", Action.DENY, "tools.allow", id="no name"),
]


@pytest.mark.parametrize(("name", "action", "rule"), DECISIONS)
def test_decides_by_name(name: str, action: Action, rule: str) -> None:
    verdict = decide(TOOLS, name)
    assert (verdict.action, verdict.rule) == (action, rule)


def test_nothing_is_allowed_where_nothing_is_listed() -> None:
    assert decide(Tools(allow=()), "read").action is Action.DENY


@pytest.mark.parametrize(
    ("only", "name", "said"),
    [
        pytest.param(("read_*",), "read_file", (Action.ALLOW, "tools.allow"), id="named and allowed"),
        pytest.param(("read_*",), "push_x", (Action.DENY, "tools.only"), id="allowed, not named"),
        pytest.param(("*",), "delete_all", (Action.DENY, "tools.deny"), id="named, denied"),
        pytest.param(("*",), "write_file", (Action.DENY, "tools.allow"), id="named, not allowed"),
        pytest.param(("push_*",), "push_x", (Action.ASK, "tools.ask"), id="named, still asked about"),
        pytest.param((), "read_file", (Action.DENY, "tools.only"), id="nothing is named"),
    ],
)
def test_a_narrowed_run_allows_what_both_allow(only: tuple[str, ...], name: str, said: object) -> None:
    verdict = decide(replace(TOOLS, only=only), name)
    assert (verdict.action, verdict.rule) == said


@given(st.lists(st.text("ab*", min_size=1, max_size=4), max_size=3), st.text("ab", max_size=4))
def test_narrowing_never_widens(only: list[str], name: str) -> None:
    wide = Tools(allow=("a*",), deny=("ab*",))
    if decide(replace(wide, only=tuple(only)), name).action is Action.ALLOW:
        assert decide(wide, name).action is Action.ALLOW


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
    pytest.param({"pattern": "(a+)+b"}, "a" * 60000, False, id="a pattern that explodes elsewhere"),
    pytest.param({"enum": ("x", "y")}, "y", True, id="one of the values"),
    pytest.param({"enum": ("x", "y")}, "z", False, id="none of the values"),
    pytest.param({"enum": ("x",)}, ["x", "x"], True, id="a list of values"),
    pytest.param({"enum": ("x",)}, ["x", "z"], False, id="one bad value in a list"),
    pytest.param({"enum": ("x",)}, [], False, id="an empty list"),
    pytest.param({"enum": ("x",)}, ["x"] * 1001, False, id="more values than are judged"),
    pytest.param({"pattern": "x*"}, ["x" * 60_000] * 5, False, id="more text than is judged"),
    pytest.param({"within": ("/data",)}, "/data/x", True, id="path below"),
    pytest.param({"within": ("/data",)}, "/data_evil/x", False, id="prefix collision"),
    pytest.param({"within": ("/data",)}, "/data/../etc", False, id="dots"),
    pytest.param({"within": ("/data",)}, "x", False, id="relative to a directory outside"),
    pytest.param({"within": ("/work",)}, "x/y", True, id="relative to a directory inside"),
    pytest.param({"within": ("/work",)}, "~/x", False, id="somebody's home"),
    pytest.param({"within": ("/work",)}, "/work/x\0", False, id="NUL"),
    pytest.param({"within": ("/work",)}, "", False, id="no path"),
    pytest.param({"within": ("/work",)}, " /etc/passwd", False, id="a blank that a server strips"),
    pytest.param({"within": ("/work",)}, "/work/x\n", False, id="a line end"),
    pytest.param({"within": ("/work",)}, "$HOME/x", False, id="a variable"),
    pytest.param({"within": ("/work",)}, "a\\..\\..\\x", False, id="dots behind backslashes"),
    pytest.param({"within": ("/work",)}, "a..b/...", True, id="dots that lead nowhere"),
    pytest.param({"within": ("/work",)}, "file:///work/x", True, id="a file's URI"),
    pytest.param({"within": ("/work",)}, "FILE://localhost/work/a%20b", True, id="of this host, encoded"),
    pytest.param({"within": ("/work",)}, "file:///etc/passwd", False, id="a file's URI outside"),
    pytest.param({"within": ("/work",)}, "file:///work/%2e%2e/etc", False, id="encoded dots"),
    pytest.param({"within": ("/work",)}, "file:///work/%252e%252e/etc", False, id="dots encoded twice"),
    pytest.param({"within": ("/work",)}, "file://other/work/x", False, id="of another host"),
    pytest.param({"within": ("/work",)}, "file:work/x", False, id="a URI with no root"),
    pytest.param({"within": ("/work",)}, "http://a.example/work", False, id="no path at all"),
    pytest.param({"within": ("/work",)}, {"path": "/work"}, False, id="an object"),
    pytest.param({"within": ("/work",)}, [["/work"]], False, id="a list in a list"),
    pytest.param({"hosts": ("a.example",)}, "https://a.example/x?y#z", True, id="a URL"),
    pytest.param({"hosts": ("a.example",)}, "https://A.Example.:443", True, id="other spellings"),
    pytest.param({"hosts": ("a.example",)}, "a.example", True, id="a host alone"),
    pytest.param({"hosts": ("*.a.example",)}, "wss://x.y.a.example", True, id="below a wildcard"),
    pytest.param({"hosts": ("a.example:80",)}, "http://a.example", True, id="the port of a scheme"),
    pytest.param({"hosts": ("a.example",)}, "http://a.example", False, id="another port by the scheme"),
    pytest.param({"hosts": ("a.example",)}, "https://a.example:8443", False, id="another port"),
    pytest.param({"hosts": ("a.example",)}, "https://b.example", False, id="another host"),
    pytest.param(
        {"hosts": ("a.example",)}, "https://a.example@b.example/", False, id="a user that looks like it"
    ),
    pytest.param({"hosts": ("a.example",)}, "https://u:p@a.example/", False, id="a password"),
    pytest.param({"hosts": ("a.example",)}, "https://b.example\\@a.example/", False, id="a backslash"),
    pytest.param({"hosts": ("a.example",)}, "https://a.example%2eb.example", False, id="an encoded dot"),
    pytest.param({"hosts": ("a.example",)}, "https://a.example.b.example", False, id="a longer name"),
    pytest.param({"hosts": ("a.example",)}, "https://b.example#a.example", False, id="in the fragment"),
    pytest.param({"hosts": ("a.example",)}, "https://b.example/a.example", False, id="in the path"),
    pytest.param({"hosts": ("a.example",)}, "ht\ttps://a.example", False, id="a tab that parsers drop"),
    pytest.param({"hosts": ("a.example",)}, "//a.example", False, id="no scheme before the slashes"),
    pytest.param({"hosts": ("a.example",)}, "gopher://a.example", False, id="a scheme unknown here"),
    pytest.param({"hosts": ("a.example",)}, "gopher://a.example:443", False, id="and with a port"),
    pytest.param({"hosts": ("a.example",)}, "file://a.example:443/etc", False, id="a file of a host"),
    pytest.param({"hosts": ("db.example:5432",)}, "postgres://db.example/x", True, id="a database"),
    pytest.param({"hosts": ("a.example",)}, "javascript:alert(1)", False, id="a script"),
    pytest.param({"hosts": ("*.a.example",)}, "*.a.example", False, id="the pattern itself"),
    pytest.param({"hosts": ("127.0.0.1:80",)}, "http://0x7f.1", False, id="another spelling of an address"),
    pytest.param({"hosts": ("a.example",)}, "https://\uff41.example", False, id="a look-alike"),
    pytest.param({"min_length": 2, "max_length": 3}, "ab", True, id="long enough"),
    pytest.param({"min_length": 2, "max_length": 3}, "abcd", False, id="too long"),
    pytest.param({"min_length": 2}, "a", False, id="too short"),
    pytest.param({"max_length": 3}, 5, False, id="the length of a number"),
    pytest.param({"max_length": 1 << 20}, "x" * 70000, True, id="a length alone needs no judging"),
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


def test_an_optional_argument_may_be_absent() -> None:
    assert decide_call(_rule(enum=("x",), optional=True), "t", {}, cwd="/").allowed
    assert not decide_call(_rule(enum=("x",), optional=True), "t", {"a": "y"}, cwd="/").allowed


@pytest.mark.parametrize(
    ("led", "allowed"),
    [
        pytest.param({}, True, id="no link"),
        pytest.param({"/work/link": "/etc"}, False, id="a link that leads out"),
        pytest.param({"/work/link": "/work/x"}, True, id="a link that stays"),
        pytest.param({"/work/link": None}, False, id="a link that leads nowhere"),
    ],
)
def test_links_are_followed(led: dict[str, str | None], allowed: bool) -> None:
    verdict = decide_call(
        _rule(within=("/work",)), "t", {"a": "/work/link"}, cwd="/", real=lambda path: led.get(path, path)
    )
    assert verdict.allowed is allowed


@given(st.text(max_size=40))
def test_what_is_judged_to_lie_within_has_no_way_out(value: str) -> None:
    seen: list[str] = []

    def real(path: str) -> str:
        seen.append(path)
        return path

    if decide_call(_rule(within=("/work",)), "t", {"a": value}, cwd="/work", real=real).allowed:
        assert seen
        assert all(one.startswith("/work") and ".." not in one.split("/") for one in seen)
