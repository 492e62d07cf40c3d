"""Runs the inspectors over a conversation and keeps what they find, with the item it was found in (P)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sandbox.inspect.judged import DROP, Asked, Edit, Finding, Inspector, Judged, pointer
from sandbox.inspect.texts import Part, parts
from sandbox.records import dataclass, replace
from sandbox.verdict import Action
from sandbox.wire.jsonrpc import Frame

T = TypeVar("T")

_CONSEQUENCES = {
    Action.ALLOW: "told",
    Action.ASK: "asked about",
    Action.DENY: "withheld",
    Action.KILL: "ends the sandbox",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding, what it is about, and what `run` would do."""

    finding: Finding
    kind: str
    """`tool`, `prompt`, `instructions`, …: the sort of thing it was found in."""
    name: str
    """Which one; empty where there is only one. The server's word."""
    field: str
    """The rest of the way to it, as a JSON Pointer inside that thing."""
    consequence: str

    @property
    def key(self) -> tuple[str, ...]:
        """The same for the same finding in another session."""
        found = self.finding
        return found.inspector, found.rule, self.kind, self.name, self.field, found.reason, found.shown


@dataclass(frozen=True, slots=True)
class Examined:
    """What a server is, what it lists, and what was found in that."""

    name: str
    version: str
    revisions: tuple[str, ...]
    listed: tuple[tuple[str, int], ...]
    """By member of the lists' results: how many items."""
    cut: tuple[str, ...]
    """Lists whose end was not reached."""
    found: tuple[Seen, ...]


class Judge:
    """The inspectors of one session; each sees every message as it came. `clean` takes out secrets."""

    def __init__(self, inspectors: Sequence[Inspector], clean: Callable[[str], str] = str) -> None:
        self._inspectors = inspectors
        self._clean = clean
        self.seen: dict[tuple[str, ...], Seen] = {}

    def said(self, frame: Frame) -> None:
        """A message of ours: inspectors follow a conversation by both sides of it."""
        for inspector in self._inspectors:
            inspector.to_server(frame)

    def heard(self, frame: Frame, asked: Asked | None) -> None:
        """A message of the server's."""
        for inspector in self._inspectors:
            judged = inspector.to_client(frame, asked)
            if judged is not None:
                self._keep(frame, asked, judged)

    def _keep(self, frame: Frame, asked: Asked | None, judged: Judged) -> None:
        places = {pointer(part.place): part for part in parts(frame, asked)} if judged.findings else {}
        edits = {pointer(edit.place): edit for edit in judged.edits}
        for finding in judged.findings:
            part = _around(places, finding.place)
            kind, name, field = _described(part, frame, asked, finding.place)
            told = replace(
                finding,
                place=self._clean(finding.place),
                reason=self._clean(finding.reason),
                shown=self._clean(finding.shown),
            )
            consequence = _consequence(judged, edits, finding.place)
            one = Seen(told, kind, self._clean(name), self._clean(field), consequence)
            self.seen.setdefault(one.key, one)


def _consequence(judged: Judged, edits: Mapping[str, Edit], place: str) -> str:
    """What becomes of what is at `place`: an item is withheld by taking it out of its list."""
    if judged.verdict.action is not Action.REDACT:
        return _CONSEQUENCES[judged.verdict.action]
    edit = _around(edits, place)
    if edit is None:
        return "told"
    return "withheld" if edit.value is DROP else "changed"


def _around(places: Mapping[str, T], place: str) -> T | None:
    """What holds `place`: the longest, where one is inside another."""
    while place not in places:
        if not place:
            return None
        place = place.rpartition("/")[0]
    return places[place]


def _described(part: Part | None, frame: Frame, asked: Asked | None, place: str) -> tuple[str, str, str]:
    if part is None:
        return "message", _about(frame, asked), place
    name = part.name if part.kind not in ("result", "error", "rest") else _about(frame, asked)
    return part.kind, name, place[len(pointer(part.place)) :]


def _about(frame: Frame, asked: Asked | None) -> str:
    """What an answer or a message is called: its method, and what was asked for."""
    if asked is None:
        return frame.method or ""
    params = asked.params or {}
    named = params.get("name") or params.get("uri")
    return f"{asked.method} {named}" if type(named) is str else asked.method
