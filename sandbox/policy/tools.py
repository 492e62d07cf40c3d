"""Which tool may be called, and with which arguments; deny outranks ask, ask outranks allow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sandbox.policy.model import ArgumentRule, Tools
from sandbox.verdict import Action, Verdict

LONGEST_SUBJECT = 64 << 10


def glob(pattern: str, name: str) -> bool:
    """True when `*` (any run) and `?` (any one character) make the whole of `name`."""
    head, *rest = pattern.split("*")
    if not rest:
        return len(pattern) == len(name) and _fits(head, name, 0)
    *middle, tail = rest
    at, end = len(head), len(name) - len(tail)
    if at > end or not _fits(head, name, 0) or not _fits(tail, name, end):
        return False
    for part in middle:
        # The first place is as good as any: what it leaves over is the most there can be.
        found = next((start for start in range(at, end - len(part) + 1) if _fits(part, name, start)), None)
        if found is None:
            return False
        at = found + len(part)
    return True


def _fits(part: str, name: str, at: int) -> bool:
    return all(wanted in ("?", char) for wanted, char in zip(part, name[at : at + len(part)], strict=True))


def decide(tools: Tools, name: str) -> Verdict:
    """What the name patterns say about calling `name`."""
    for pattern in tools.deny:
        if glob(pattern, name):
            return Verdict.deny("tools.deny", f"`{pattern}` denies the tool")
    for pattern in tools.ask:
        if glob(pattern, name):
            return Verdict(Action.ASK, "tools.ask", f"`{pattern}` asks before the tool is called")
    for pattern in tools.allow:
        if glob(pattern, name):
            return Verdict.allow("tools.allow", f"`{pattern}` allows the tool")
    return Verdict.deny("default", "no pattern allows the tool")


def decide_call(tools: Tools, name: str, arguments: Mapping[str, object], *, cwd: str) -> Verdict:
    """What the name patterns and then every argument rule for the tool say; `cwd` is the server's."""
    verdict = decide(tools, name)
    if verdict.action is Action.DENY:
        return verdict
    for rule in tools.arguments:
        if glob(rule.tool, name) and (fault := _fault(rule, arguments, cwd)):
            key = f"tools.arguments.{rule.tool}.{rule.argument}"
            return Verdict.deny(key, f"argument `{rule.argument}` {fault}")
    return verdict


def _fault(rule: ArgumentRule, arguments: Mapping[str, object], cwd: str) -> str:
    if rule.argument not in arguments:
        # What a server takes instead is its own choice, which no rule has seen.
        return "is missing"
    value = arguments[rule.argument]
    values = value if isinstance(value, list) else [value]
    if not values:
        return "is empty"
    return next((fault for one in values if (fault := _value_fault(rule, one, cwd))), "")


def _value_fault(rule: ArgumentRule, value: object, cwd: str) -> str:
    if rule.minimum is not None or rule.maximum is not None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return "is not a number"
        # Written so that NaN, for which every comparison is false, is refused.
        if not (_or(rule.minimum, value) <= value <= _or(rule.maximum, value)):
            return "is out of range"
    if rule.pattern is None and not rule.enum and not rule.within:
        return ""
    if not isinstance(value, str):
        return "is not text"
    return _text_fault(rule, value, cwd)


def _text_fault(rule: ArgumentRule, value: str, cwd: str) -> str:
    if len(value) > LONGEST_SUBJECT:
        return "is too long to judge"
    if rule.enum and value not in rule.enum:
        return "is none of the values allowed"
    if rule.pattern is not None and not re.fullmatch(rule.pattern, value):
        return f"does not match `{rule.pattern}`"
    if rule.within and not _within(value, rule.within, cwd):
        return f"lies outside {', '.join(f'`{root}`' for root in rule.within)}"
    return ""


def _within(value: str, roots: Iterable[str], cwd: str) -> bool:
    path = value if value.startswith("/") else f"{cwd}/{value}"
    # `..` and `~` are refused rather than resolved: the server may see links, and homes, that we do not.
    if ".." in path.split("/") or value.startswith("~") or "\0" in value:
        return False
    normal = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
    return any(normal == root or normal.startswith(root.rstrip("/") + "/") for root in roots)


def _or(limit: float | None, value: float) -> float:
    return value if limit is None else limit
