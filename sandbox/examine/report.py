"""What an examination is told as: lines for a person, one JSON document, SARIF 2.1.0 (P)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sandbox.examine.judging import Examined, Seen

SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
SEVERE, NOTABLE = 7.0, 4.0
"""Scores from which on a finding is an error, a warning."""
_WORDS = {"tools": "tool", "prompts": "prompt", "resources": "resource", "resourceTemplates": "template"}


def headline(examined: Examined) -> str:
    """Who the server says that it is, and how much it lists."""
    listed = ", ".join(_counted(count, _WORDS.get(member, member)) for member, count in examined.listed)
    who = f"{examined.name or 'a server without a name'} {examined.version}".strip()
    return f"{who} ({', '.join(examined.revisions)}): {listed}"


def total(examined: Examined) -> str:
    """How much was found."""
    if not examined.found:
        return "no findings"
    items = len({(seen.kind, seen.name) for seen in examined.found})
    return f"{_counted(len(examined.found), 'finding')} in {_counted(items, 'item')}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def by_item(examined: Examined) -> Iterator[tuple[str, list[Seen]]]:
    """The findings of each item together, the most severe item first."""
    items: dict[tuple[str, str], list[Seen]] = {}
    for seen in examined.found:
        items.setdefault((seen.kind, seen.name), []).append(seen)
    for (kind, name), found in sorted(items.items(), key=_severity):
        yield (f"{kind} `{name}`" if name else kind), found


def _severity(item: tuple[tuple[str, str], list[Seen]]) -> float:
    return -max(seen.finding.score for seen in item[1])


def told(seen: Seen) -> list[str]:
    """One finding in lines: where, what, why, and the text with what is hidden in it made visible."""
    finding = seen.finding
    score = f", score {finding.score:g}" if finding.score else ""
    lines = [f"{seen.field or 'itself'}  {finding.rule}{score}, {seen.consequence}", f"  {finding.reason}"]
    return [*lines, f"  > {finding.shown}"] if finding.shown else lines


# --- documents -------------------------------------------------------------------------------------------


def document(examined: Examined, server: str, profile: str) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {
        "server": server,
        "profile": profile,
        "name": examined.name,
        "version": examined.version,
        "revisions": list(examined.revisions),
        "listed": dict(examined.listed),
        "cut": list(examined.cut),
        "findings": [_entry(seen) for seen in examined.found],
    }


def _entry(seen: Seen) -> dict[str, Any]:
    finding = seen.finding
    return {
        "rule": finding.rule,
        "inspector": finding.inspector,
        "kind": seen.kind,
        "item": seen.name,
        "field": seen.field,
        "place": finding.place,
        "reason": finding.reason,
        "score": finding.score,
        "shown": finding.shown,
        "consequence": seen.consequence,
    }


def sarif(examined: Examined, server: str, version: str, file: str) -> dict[str, Any]:
    """The findings for a code scanner (OASIS SARIF 2.1.0); `file` is what they are shown at."""
    rules = list(dict.fromkeys(seen.finding.rule for seen in examined.found))
    driver = {
        "name": "mcp-sandbox",
        "version": version,
        "rules": [{"id": rule, "name": _camel(rule)} for rule in rules],
    }
    results = [_result(seen, rules, server, file) for seen in examined.found]
    run = {"tool": {"driver": driver}, "results": results, "columnKind": "unicodeCodePoints"}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(seen: Seen, rules: Sequence[str], server: str, file: str) -> dict[str, Any]:
    finding = seen.finding
    words = f"{finding.reason}: {finding.shown}" if finding.shown else finding.reason
    item = f"{seen.kind} {seen.name}".strip()
    named = f"`{seen.name}`" in finding.reason
    return {
        "ruleId": finding.rule,
        "ruleIndex": rules.index(finding.rule),
        "level": level(seen),
        "message": {"text": words if named else f"{item}: {words}"},
        "locations": [_location(seen, item, server, file)],
        "partialFingerprints": {"place/v1": f"{server}/{item}{seen.field}/{finding.rule}"},
        "properties": {"score": finding.score, "place": finding.place, "consequence": seen.consequence},
    }


def _location(seen: Seen, item: str, server: str, file: str) -> Mapping[str, Any]:
    logical = {"name": item, "fullyQualifiedName": f"{server}/{item}{seen.field}", "kind": "member"}
    physical = {"artifactLocation": {"uri": file}, "region": {"startLine": 1}}
    return {"physicalLocation": physical, "logicalLocations": [logical]}


def level(seen: Seen) -> str:
    """SARIF's word for how severe a finding is."""
    if seen.finding.score >= SEVERE or (not seen.finding.score and seen.consequence == "withheld"):
        return "error"
    return "warning" if seen.finding.score >= NOTABLE or seen.consequence != "told" else "note"


def _camel(rule: str) -> str:
    return "".join(word.capitalize() for word in rule.replace(".", "-").split("-"))
