"""Which tool may be called, and with which arguments; deny outranks ask, ask outranks allow."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.policy.arguments import Real, fault
from sandbox.policy.model import Tools
from sandbox.verdict import Action, Verdict


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
    if tools.only is not None and not any(glob(pattern, name) for pattern in tools.only):
        return Verdict.deny("tools.only", "no `--only-tools` of this run names the tool")
    for pattern in tools.deny:
        if glob(pattern, name):
            return Verdict.deny("tools.deny", f"`{pattern}` denies the tool")
    for pattern in tools.ask:
        if glob(pattern, name):
            return Verdict(Action.ASK, "tools.ask", f"`{pattern}` asks before the tool is called")
    for pattern in tools.allow:
        if glob(pattern, name):
            return Verdict.allow("tools.allow", f"`{pattern}` allows the tool")
    return Verdict.deny("tools.allow", "no pattern allows the tool")


def decide_call(
    tools: Tools,
    name: str,
    arguments: Mapping[str, object],
    *,
    cwd: str,
    real: Real = lambda path: path,
) -> Verdict:
    """What the name patterns and then every argument rule for the tool say; `cwd` is the server's."""
    verdict = decide(tools, name)
    return verdict if verdict.action is Action.DENY else judge(tools, name, arguments, cwd, real) or verdict


def judge(tools: Tools, name: str, arguments: Mapping[str, object], cwd: str, real: Real) -> Verdict | None:
    """The denial of the first argument rule that the call does not keep, or None."""
    for rule in tools.arguments:
        if glob(rule.tool, name) and (found := fault(rule, arguments, cwd, real)):
            key = f"tools.arguments.{rule.tool}.{rule.argument}"
            return Verdict.deny(key, f"argument `{rule.argument}` {found}")
    return None
