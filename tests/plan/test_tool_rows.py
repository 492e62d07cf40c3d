"""What `plan` says of tools, arguments and the client."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.plan.tool_rows import tool_rows
from sandbox.policy.model import ArgumentRule, ClientFeatures, Policy, Tools
from sandbox.records import replace

DEFAULT = {
    "client.roots": "tells its roots that are mounted",
    "client.sampling": "never has its model write",
    "client.elicitation": "asks its person",
}
SAID = [
    ({"allow": ("a", "b*")}, "tools.allow", "only `a`, `b*`"),
    ({"allow": ()}, "tools.allow", "none"),
    ({"only": ("a", "b*")}, "tools.only", "in this run only `a`, `b*`"),
    ({"deny": ("a",)}, "tools.deny", "never `a`"),
    ({"ask": ("a",)}, "tools.ask", "a person is asked about `a`"),
    ({"ask_tainted": ("a",)}, "tools.ask_tainted", "a person is asked about `a` once anything was found"),
]


def said(tools: dict[str, Any] | None = None, **client: Any) -> dict[str, str]:
    policy = replace(Policy("web"), tools=Tools(**(tools or {})), client=ClientFeatures(**client))
    return {row.key: row.what for row in tool_rows(policy)}


@pytest.mark.parametrize(("tools", "key", "words"), SAID)
def test_what_is_said_of_tools(tools: dict[str, Any], key: str, words: str) -> None:
    assert said(tools) == {key: words, **DEFAULT}


def test_what_is_said_of_arguments() -> None:
    rule = ArgumentRule(
        "t", "a", pattern="x+", enum=("b",), within=("/w",), minimum=1, maximum=2.5, hosts=("h.example",),
        min_length=3, max_length=4, optional=True,
    )  # fmt: skip
    assert said({"arguments": (rule,)})["tools.arguments.t.a"] == (
        "`a` of `t` may be absent, within `/w`, leads to `h.example`, matches `x+`, is one of `b`, at least "
        "1, at most 2.5, at least 3 characters, at most 4 characters"
    )


@pytest.mark.parametrize("at", ["client", "terminal"])
def test_how_a_person_is_asked(at: str) -> None:
    policy = replace(Policy("web"), tools=Tools(ask=("a",), ask_at=at, answer=5.0))  # type: ignore[arg-type]
    (row,) = (row for row in tool_rows(policy) if row.key == "tools.ask")
    assert row.mechanism.endswith("`mcp-sandbox answer`; after 5 s refused")
    assert ("form" in row.mechanism) is (at == "client")


def test_what_is_said_of_the_client() -> None:
    assert said(roots="deny", sampling="ask", elicitation="deny") == {
        "client.roots": "tells none of its roots",
        "client.sampling": "has its model write once somebody agreed",
        "client.elicitation": "never asks its person",
    }
