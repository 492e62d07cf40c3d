"""What is odd about the tools of one page of a list: schemas that nobody can use, a name twice (P)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sandbox.inspect.arguments import Schema
from sandbox.inspect.schema_guard import Budget, Unfit, refers_elsewhere
from sandbox.patterns import regex
from sandbox.records import dataclass
from sandbox.wire.splice import Place
from sandbox.wire.strict import Bytes

_REFERENCE: Final = regex(rb'"\$(?:ref|dynamicRef|recursiveRef)"\s*:\s*"[^#]')
_SPELT_OTHERWISE: Final = regex(rb"\\u00")
"""A `$` or a letter of `$ref` can be written as an escape."""
_ELSEWHERE: Final = Unfit("protocol.reference", "refers to a schema elsewhere, which is never fetched")


@dataclass(frozen=True, slots=True)
class Odd:
    """One thing about the tool at `index`; `twice`: it has the name of an earlier one."""

    rule: str
    index: int
    place: Place
    reason: str
    twice: bool = False


def odd_tools(data: Bytes, tools: list[Any], *, thorough: bool) -> Iterator[Odd]:
    """What is odd about each; schemas are compiled only if `thorough`, else at the first call."""
    suspect = _REFERENCE.search(data) or _SPELT_OTHERWISE.search(data)
    budget = Budget() if thorough else None
    names = set()
    for index, tool in enumerate(tools):
        if type(tool) is not dict:
            continue
        name = tool.get("name")
        if type(name) is str:
            if name in names:
                reason = "a tool has the name of another one of the list"
                yield Odd("protocol.duplicate", index, ("name",), reason, twice=True)
            names.add(name)
        if suspect or thorough:
            yield from _odd_schemas(index, tool, budget)


def _odd_schemas(index: int, tool: dict[str, Any], budget: Budget | None) -> Iterator[Odd]:
    for member in ("inputSchema", "outputSchema"):
        if member not in tool:
            continue
        why = _ELSEWHERE if refers_elsewhere(tool[member]) else None
        if why is None and budget is not None:
            why = Schema(tool[member]).compile(budget)
        if why is not None:
            yield Odd(why.rule, index, (member,), f"the tool's schema {why.reason}")
