"""Finds text that wants a model to do what its user did not ask for, in all that a server says (P).

A definition (a tool, a prompt, the instructions) that does is withheld. A result is text of the world, which
may be about such things: it is labelled, and withheld only where it hides what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sandbox.inspect.judged import Asked, Edit, Finding, Judged, denied
from sandbox.inspect.label import cut, labels
from sandbox.inspect.poison_texts import Found, Looker
from sandbox.inspect.texts import DEFINITIONS, LISTED, Kind, Part, parts
from sandbox.verdict import Action, Verdict
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.splice import DROP

TOLD: Final = 3.0
WITHHELD: Final = 6.0
HIDDEN: Final = 9.0
"""The scores from which something is told, a definition is withheld, and a result is."""
MOST_FINDINGS: Final = 16
MOST_REMEMBERED: Final = 4096

_OPENING = frozenset({"initialize", "server/discover"})
_USES: Mapping[str, tuple[tuple[Kind, ...], str]] = {
    "tools/call": (("tool",), "name"),
    "prompts/get": (("prompt",), "name"),
    "resources/read": (("resource", "template"), "uri"),
    "resources/subscribe": (("resource", "template"), "uri"),
}
"""By request: what it uses, and the parameter that names it."""
_ASKING = frozenset({"elicitation", "sampling", "request"})


class Poison:
    """One session's inspector; `looker` is asked for at the first message that it looks at."""

    name = "poison"

    def __init__(self, mode: str, looker: Callable[[], Looker]) -> None:
        self._mode = mode
        self._make = looker
        self._looker: Looker | None = None
        self._withheld: dict[tuple[Kind, str], Finding] = {}
        self._told: set[tuple[str, str]] = set()
        self.tainted: str | None = None
        """The first rule that matched in something that the client was given, or None so far."""

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        """Refuses the use of what is withheld."""
        if not self._withheld or frame.method not in _USES:
            return None
        kinds, parameter = _USES[str(frame.method)]
        params = frame.message.get("params")
        name = params.get(parameter) if type(params) is dict else None
        if type(name) is not str or (finding := self._of(kinds, name)) is None:
            return None
        why = f"{finding.reason}; its definition is withheld"
        return denied(Finding(self.name, finding.rule, "/params/" + parameter, why, finding.score))

    def _of(self, kinds: tuple[Kind, ...], name: str) -> Finding | None:
        """Why what is called so is withheld, if it is: by its name, or as what a withheld template makes."""
        for kind in kinds:
            if finding := self._withheld.get((kind, name)):
                return finding
        if "template" not in kinds:
            return None
        made = (
            (key[1].partition("{")[0], why) for key, why in self._withheld.items() if key[0] == "template"
        )
        return next((why for before, why in made if name.startswith(before)), None)

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        """Looks at what the server says; most messages are done with after one search of their bytes."""
        looker = self._looker
        if looker is None:
            looker = self._looker = self._make()
        method = asked.method if asked is not None else ""
        if method not in LISTED and method not in _OPENING and not looker.may_hold(frame.data):
            return None
        return self._judged(frame, asked, looker)

    def _judged(self, frame: Frame, asked: Asked | None, looker: Looker) -> Judged | None:
        looker.begin()
        kept: list[Found] = []
        edits: list[Edit] = []
        for part in parts(frame, asked):
            found = looker.look(part)
            score = total(found, definition=part.kind in DEFINITIONS)
            withheld = self._mode == "block" and score >= _limit(part.kind)
            if part.kind in DEFINITIONS:
                self._remember(part, found if withheld else [])
            if score < TOLD:
                continue
            kept += found
            if withheld and not _droppable(part):
                return denied(*self._findings(found, again=True))
            edits += self._edits(part, found, withheld=withheld)
        return self._concluded(frame, asked, kept, edits) if kept else None

    def _edits(self, part: Part, found: list[Found], *, withheld: bool) -> list[Edit]:
        if withheld and part.kind != "server":
            return [Edit(part.place, DROP)]
        if self._mode == "strip" or withheld:
            return _cuts(found)
        return []

    def _concluded(
        self, frame: Frame, asked: Asked | None, kept: list[Found], edits: list[Edit]
    ) -> Judged | None:
        kept = sorted(kept, key=lambda one: -one.score)
        ours = asked is not None and asked.ours
        listed = asked is not None and (asked.method in LISTED or asked.method in _OPENING)
        if not ours and not (listed and edits):
            self.tainted = self.tainted or kept[0].rule.id
        told = self._findings(kept)
        if frame.kind == "response" and not listed and asked is not None:
            every = [one.finding for one in kept]
            edits += labels(frame, every, asked.method, aloud=kept[0].score >= WITHHELD)
        first = kept[0].finding
        if edits:
            return Judged(Verdict(Action.REDACT, first.rule, first.reason), told, tuple(edits))
        return Judged(Verdict.allow(first.rule, first.reason), told) if told else None

    def _findings(self, found: list[Found], *, again: bool = False) -> tuple[Finding, ...]:
        """Worst first; of a definition, which is listed again and again, each only once."""
        chosen = []
        for one in sorted(found, key=lambda one: -one.score)[:MOST_FINDINGS]:
            key = (one.finding.rule, one.finding.reason + one.finding.shown)
            if again or not one.definition or key not in self._told:
                chosen.append(one.finding)
            if one.definition and len(self._told) < MOST_REMEMBERED:
                self._told.add(key)
        return tuple(chosen)

    def _remember(self, part: Part, found: list[Found]) -> None:
        """Keep what is withheld, so that it is not used either; or forget it, once it is clean."""
        key = (part.kind, part.name)
        if found and len(self._withheld) < MOST_REMEMBERED:
            self._withheld[key] = max(found, key=lambda one: one.score).finding
        else:
            self._withheld.pop(key, None)


def total(found: Iterable[Found], *, definition: bool) -> float:
    """What the findings of one part weigh together: the worst, and less of every other group's worst."""
    worst: dict[str, float] = {}
    for one in found:
        worst[one.rule.group] = max(one.score, worst.get(one.rule.group, 0.0))
    if not worst:
        return 0.0
    first, *rest = sorted(worst.values(), reverse=True)
    together = min(10.0, first + 0.4 * sum(score for score in rest if score >= TOLD))
    # However many there are in a text about such things: only what hides is kept from a reader.
    return together if definition else max(first, min(together, HIDDEN - 0.5))


def _limit(kind: Kind) -> float:
    return WITHHELD if kind in DEFINITIONS or kind in _ASKING else HIDDEN


def _droppable(part: Part) -> bool:
    """Whether the message is one without it: an item of a list, the instructions; a server has a name."""
    return part.kind in DEFINITIONS


def _cuts(found: list[Found]) -> list[Edit]:
    """The texts without what was found in them; names of members cannot be cut and go."""
    spans: dict[Any, list[tuple[int, int]]] = {}
    texts: dict[Any, str] = {}
    edits = []
    for one in found:
        if one.text.sort == "opaque":
            continue
        if one.text.sort == "key":
            edits.append(Edit(one.text.place, DROP))
        else:
            texts[one.text.place] = one.text.text
            # What nobody sees leaves no mark: it is taken out with all of its kind.
            seen = one.rule.group != "hidden" or one.rule.detector == "padding"
            spans.setdefault(one.text.place, []).extend([(one.start, one.end)] if seen else [])
    return [*edits, *(Edit(place, cut(text, spans[place])) for place, text in texts.items())]
