"""What an update is told as: sentences for a person, one JSON document, SARIF 2.1.0 (P)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sandbox.examine.report import SARIF_SCHEMA
from sandbox.inspect.canonical import SERVER
from sandbox.inspect.pin_diff import quoted
from sandbox.records import dataclass
from sandbox.supply.lock import Lock
from sandbox.update.difference import Difference
from sandbox.update.sources import Source

ITEMS: Final = frozenset({"server", "tool", "prompt", "resource", "template"})
"""Differences that are shown as `approve` shows them, field by field."""
_TRIES: Final = {
    "host": "it tries to reach `{}`",
    "path": "it tries to open what it does not have: {}",
    "call": "it makes the system call `{}`, which its tier does not",
}
_WAS: Final = {
    "host": "it does not try to reach `{}` any more",
    "path": "it does not try to open any more: {}",
    "call": "it does not make the system call `{}` any more",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One lock, and what an update of it would change."""

    name: str
    path: str
    old: Lock
    new: Lock
    differences: tuple[Difference, ...]
    sources: tuple[Source, ...] = ()

    @property
    def versions(self) -> tuple[str, str]:
        """What was asked for, at the version of each."""
        return _asked(self.old), _asked(self.new)


def _asked(lock: Lock) -> str:
    """The versions of what was asked for, or the content where nothing has a version."""
    from sandbox.supply import spec

    bare = {"npm": spec.npm_name, "pypi": spec.pypi_base}.get(lock.kind)
    if bare is not None:
        wanted = {bare(each) for each in lock.asked}
        found = [f"{one.name} {one.version}" for one in lock.packages if _is_top(one.name, one.place, wanted)]
        return ", ".join(dict.fromkeys(found))
    content = lock.image.id if lock.image else lock.bundle or (lock.places[0].digest if lock.places else "")
    return content[:19]


def _is_top(name: str, place: str, wanted: set[str]) -> bool:
    return name in wanted and place in ("", f"node_modules/{name}")


def sentence(one: Difference) -> str:
    """One difference in words; whatever is in them must still be made harmless for a terminal."""
    if one.words:
        return one.words
    if one.rule in _TRIES:
        return (_WAS if one.sort == "removed" else _TRIES)[one.rule].format(one.name)
    if one.rule in ITEMS:
        what = f"the server's {one.name}" if one.rule == SERVER else f"{one.rule} {quoted(one.name)}"
        return f"{one.sort}: {what}"
    if one.rule == "package":
        return _package(one)
    return f"{one.sort}: {one.rule} `{one.name}`"


def _package(one: Difference) -> str:
    if one.sort == "removed":
        return f"{one.name} {_versions(one.old)} is gone"
    new = f"{_versions(one.new)}{_by(one.new)}"
    return f"{one.name} {new} is new" if one.sort == "added" else f"{one.name} {_versions(one.old)} → {new}"


def _versions(told: Mapping[str, Any]) -> str:
    return ", ".join(told["versions"])


def _by(told: Mapping[str, Any]) -> str:
    """When and by whom, where the registry says so."""
    known = [
        f"published {told['published']}" if told.get("published") else "",
        f"by {told['publisher']}" if told.get("publisher") else "",
    ]
    said = " ".join(filter(None, known))
    return f" ({said})" if said else ""


# --- documents -------------------------------------------------------------------------------------------


def document(outcomes: Iterable[Outcome], failed: Mapping[str, str]) -> dict[str, Any]:
    """Everything, for `--json`."""
    locks = [_entry(one) for one in outcomes]
    return {"locks": locks, "failed": [{"name": name, "error": why} for name, why in failed.items()]}


def _entry(one: Outcome) -> dict[str, Any]:
    old, new = one.versions
    return {
        "name": one.name,
        "lock": one.path,
        "old": old,
        "new": new,
        "differences": [_told(each) for each in one.differences],
        "sources": [
            {"path": each.path, "change": each.sort, "lines": [list(line) for line in each.lines],
             "unread": each.unread}
            for each in one.sources
        ],
    }  # fmt: skip


def _told(one: Difference) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "change": one.sort,
        "name": one.name,
        "level": one.level,
        "message": sentence(one),
        "old": one.old,
        "new": one.new,
    }


def sarif(
    outcomes: Sequence[Outcome], version: str, shown_at: Mapping[str, str], failed: Mapping[str, str]
) -> dict[str, Any]:
    """The differences for a code scanner (OASIS SARIF 2.1.0); `shown_at`: a relative URI by lock."""
    found = [(one, each) for one in outcomes for each in one.differences]
    rules = list(dict.fromkeys(f"update.{each.rule}" for _, each in found))
    driver = {"name": "mcp-sandbox", "version": version, "rules": [{"id": rule} for rule in rules]}
    results = [_result(one, each, rules, shown_at[one.path]) for one, each in found]
    run = {
        "tool": {"driver": driver},
        "invocations": [_invocation(failed)],
        "results": results,
        "columnKind": "unicodeCodePoints",
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _invocation(failed: Mapping[str, str]) -> dict[str, Any]:
    """Whether everything could be looked at, and why something could not: no results alone are no praise."""
    told = [
        {"level": "error", "message": {"text": f"{name}: {why}" if name else why}}
        for name, why in failed.items()
    ]
    return {"executionSuccessful": not failed, "toolExecutionNotifications": told}


def _result(of: Outcome, one: Difference, rules: Sequence[str], file: str) -> dict[str, Any]:
    rule = f"update.{one.rule}"
    logical = {"name": one.name, "fullyQualifiedName": f"{of.name}/{one.rule}/{one.name}", "kind": "member"}
    physical = {"artifactLocation": {"uri": file}, "region": {"startLine": 1}}
    return {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": one.level,
        "message": {"text": f"{of.name}: {sentence(one)}"},
        "locations": [{"physicalLocation": physical, "logicalLocations": [logical]}],
        "partialFingerprints": {"difference/v1": f"{of.name}/{one.rule}/{one.sort}/{one.name}"},
        "properties": {"change": one.sort},
    }
