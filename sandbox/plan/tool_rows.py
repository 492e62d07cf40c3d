"""What holds for tools, their arguments and what a server asks of the client, as rows (P)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sandbox.plan.rows import Row, duration
from sandbox.policy.model import ArgumentRule, ClientFeatures, Policy, Tools

_REFUSED = "neither listed nor passed on"
_FORM = {"client": "by the client's form, else `mcp-sandbox answer`", "terminal": "by `mcp-sandbox answer`"}


def tool_rows(policy: Policy) -> Iterator[Row]:
    """Tools first, then arguments, then the client."""
    yield from _names(policy.tools)
    for rule in policy.tools.arguments:
        what = f"`{rule.argument}` of `{rule.tool}` {', '.join(_words(rule))}"
        yield Row("calls", what, "refused otherwise", f"tools.arguments.{rule.tool}.{rule.argument}")
    yield from _client(policy.client, policy.tools)


def _names(tools: Tools) -> Iterator[Row]:
    if tools.only is not None:
        yield Row("calls", f"in this run only {_listed(tools.only)}", _REFUSED, "tools.only")
    if tools.allow != ("*",):
        only = f"only {_listed(tools.allow)}" if tools.allow else "none"
        yield Row("calls", only, _REFUSED, "tools.allow")
    if tools.deny:
        yield Row("calls", f"never {_listed(tools.deny)}", _REFUSED, "tools.deny")
    if tools.ask:
        yield Row("calls", f"a person is asked about {_listed(tools.ask)}", _how(tools), "tools.ask")
    if tools.ask_tainted:
        what = f"a person is asked about {_listed(tools.ask_tainted)} once anything was found"
        yield Row("calls", what, _how(tools), "tools.ask_tainted")


def _how(tools: Tools) -> str:
    return f"{_FORM[tools.ask_at]}; after {duration(tools.answer)} refused"


def _listed(patterns: Sequence[str]) -> str:
    return ", ".join(f"`{pattern}`" for pattern in patterns)


def _words(rule: ArgumentRule) -> Iterator[str]:
    if rule.optional:
        yield "may be absent"
    if rule.within:
        yield f"within {_listed(rule.within)}"
    if rule.hosts:
        yield f"leads to {_listed(rule.hosts)}"
    if rule.pattern is not None:
        yield f"matches `{rule.pattern}`"
    if rule.enum:
        yield f"is one of {_listed(rule.enum)}"
    for least, most, unit in (
        (rule.minimum, rule.maximum, ""),
        (rule.min_length, rule.max_length, " characters"),
    ):
        if least is not None:
            yield f"at least {least:g}{unit}"
        if most is not None:
            yield f"at most {most:g}{unit}"


def _client(client: ClientFeatures, tools: Tools) -> Iterator[Row]:
    roots = {"mounted": "its roots that are mounted", "all": "all its roots", "deny": "none of its roots"}
    yield Row("client", f"tells {roots[client.roots]}", "filtered by the relay", "client.roots")
    for feature, what in (("sampling", "has its model write"), ("elicitation", "asks its person")):
        action = getattr(client, feature)
        words = {"allow": what, "ask": f"{what} once somebody agreed", "deny": f"never {what}"}[action]
        how = {"allow": "passed on", "ask": _how(tools), "deny": "refused by the relay"}[action]
        if feature == "elicitation" and action != "deny":
            how = f"{how}; no form for a password, key or card number"
        yield Row("client", words, how, f"client.{feature}")
