"""Keeps credentials and the session's own secrets from the model, and the model's from the server (P).

Towards the client they are taken out (`redact`), or the message is kept back (`block`). Towards the server
nothing is rewritten, since a call that does something else than was asked is worse than none: a call that
carries a credential in a text is denied; what servers are meant to get (a connection string, a value under
a name that asks for one) is told of and passes, and so do the session's secrets, which the server has.

The server may get a mark back that stood for what it had said itself: in what only it reads (a cursor, a
state, an address of its own) the value comes back, in a text the call is denied, since a file would be
written with the mark in place of the secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from threading import Thread
from typing import Any, Final

from sandbox.inspect.flow import Flow
from sandbox.inspect.judged import Asked, Edit, Finding, Judged, changed, denied, found, pointer
from sandbox.inspect.redaction import LEAST_NAMED, Found, Redaction, told
from sandbox.inspect.walking import strings
from sandbox.patterns import regex
from sandbox.policy.model import SecretMode
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.splice import Place

MOST_TOLD: Final = 8
"""Findings of one message; further ones are counted."""
LABELLED: Final = frozenset(("tools/call", "tasks/result", "resources/read", "prompts/get"))
LABEL: Final = "mcp-sandbox/redacted"
_CALLS: Final = frozenset(("tools/call", "prompts/get"))
_ASKS_FOR_ONE = regex(
    r"token|passw|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|^key$|credential|auth(?!or)|cookie|header"
    r"|dsn|connection|conn[_-]?str|database[_-]?url|^pwd$|^pin$|certificate|webhook",
    re.IGNORECASE,
)
_ITS_OWN: Final = ("cursor", "requestState", "uri", "taskId", "ref")
"""Parameters that only the server reads, or that name what is the server's."""
_OPAQUE: Final = (("result", "nextCursor"), ("result", "requestState"))
"""Of the server's own, and made to look random: of these only the session's secrets are taken out."""
_GIVEN_BACK: Final = ("context", "session")
"""What a server gives out to be handed back in its next call, such as the token of an upload."""
_ENVELOPE: Final = ("jsonrpc", "id", "method")
TOGETHER: Final = 1 << 14
"""Characters of texts that are looked at in one pass."""

_Text = tuple[Place, str, bool]


class Secrets:
    """The inspector; `decoys` are values that nobody can have come by honestly."""

    name = "secrets"

    def __init__(self, mode: SecretMode, redaction: Redaction, decoys: Redaction | None = None) -> None:
        self._mode = mode
        self._redaction = redaction
        self._decoys = decoys
        self._flow = Flow(redaction)
        self._match: Any = None
        self._known = bool(redaction.known)
        self._needle = redaction.marks.needle
        self._begun: tuple[Frame, Thread, list[Any]] | None = None

    # --- towards the client -------------------------------------------------------------------------------

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        """What becomes of a message of the server's."""
        match = self._match or self._matcher()
        data = frame.data
        if type(data) is not bytes:
            data = bytes(data)  # what came in several reads
        parted = self._flow.parted(frame)
        matched = match(data) if self._begun is None else self._looked(frame, data)
        if not (matched or parted or (self._known and self._redaction.known.worth(data))):
            return None
        return self._judge(frame, asked, parted)

    def ahead(self, frame: Frame) -> None:
        """Begin to look through a long message of the server's while the inspectors before this one do."""
        match, found = self._match or self._matcher(), list[Any]()
        data = bytes(frame.data)
        thread = Thread(target=lambda: found.append(match(data)), name="secrets-ahead", daemon=True)
        thread.start()
        self._begun = frame, thread, found

    def _looked(self, frame: Frame, data: bytes) -> Any:
        """What `match` says, which may know already; nothing of a message that another one was made of."""
        begun, self._begun = self._begun, None
        if begun is None or begun[0] is not frame:
            return self._match(data)
        begun[1].join()
        # A failure was told by the thread, and is one here.
        return begun[2][0] if begun[2] else self._match(data)

    def _matcher(self) -> Any:
        self._match = self._redaction.rules.match
        return self._match

    def _judge(self, frame: Frame, asked: Asked | None, parted: Mapping[Place, str]) -> Judged | None:
        said: list[tuple[Place, Found]] = []
        fixed = [*self._unchangeable(frame)]
        bodies = [name for name in frame.message if name not in _ENVELOPE]
        edits = [edit for body in bodies for edit in self._edits(frame, body, parted, said)]
        said += fixed
        if not said:
            return None
        self._flow.forget(frame)
        findings = self._findings(said)
        if self._mode == "log":
            return found(*findings)
        # A name or an id cannot be changed: whoever answers would answer something else.
        if self._mode == "block" or fixed:
            return denied(*findings)
        if frame.kind == "response" and asked is not None and asked.method in LABELLED:
            edits += _label(frame.message.get("result"), [one.rule for _, one in said])
        return changed(edits, *findings)

    def _edits(
        self, frame: Frame, body: str, parted: Mapping[Place, str], said: list[tuple[Place, Found]]
    ) -> Iterator[Edit]:
        """Edits of one member of the message; an object whose names hold a secret is written anew, whole."""
        anew: set[Place] = set()
        for place, text, is_name in self._suspects(frame.message.get(body), body, parted):
            if is_name:
                inside = self._redaction.clean(text)[1]
                # Once, with all that is in it: an object comes before what it holds.
                if inside and not any(place[:end] in anew for end in range(1, len(place))):
                    anew.add(place[:-1])
                    yield Edit(place[:-1], self._anew(_at(frame.message, place[:-1])))
            else:
                clean, inside = self._cleaned(place, parted.get(place, text))
                inside += self._flow.found if place in parted else ()
                if inside and type(number := _at(frame.message, place)) is int:
                    clean = clean.rpartition(": ")[2]
                    inside = inside if clean != str(number) else []
                if inside:
                    yield Edit(place, clean)
            said += [(place, one) for one in inside]

    def _suspects(self, value: Any, body: str, parted: Mapping[Place, str]) -> Iterator[_Text]:
        """The texts that are worth a look of their own; many short ones are looked at together first."""
        group: list[_Text] = []
        size = 0
        for one in strings(value, (body,)):
            group.append(one)
            size += len(one[1])
            if size > TOGETHER:
                yield from self._worth(group, parted)
                group, size = [], 0
        yield from self._worth(group, parted)

    def _worth(self, group: list[_Text], parted: Mapping[Place, str]) -> Iterator[_Text]:
        together = "\n".join([text for _, text, _ in group]).encode("utf-8", "surrogatepass")
        if self._redaction.worth(together):
            yield from group
            return
        for one in group:
            if one[0] in parted or (not one[2] and self._is_named(one[0], one[1])):
                yield one

    def _is_named(self, place: Place, text: str) -> bool:
        name = place[-1]
        return type(name) is str and len(text) >= LEAST_NAMED and bool(self._redaction.named(name, text)[1])

    def _anew(self, value: Any) -> Any:
        """The value without secrets in names and texts; its numbers are spelt as we spell them."""
        if isinstance(value, str):
            return self._redaction.clean(value)[0]
        if isinstance(value, dict):
            return {self._redaction.clean(name)[0]: self._anew(one) for name, one in value.items()}
        return [self._anew(one) for one in value] if isinstance(value, list) else value

    def _cleaned(self, place: Place, text: str) -> tuple[str, list[Found]]:
        if place[:2] in _OPAQUE:
            return self._redaction.clean_known(text)
        clean, inside = self._redaction.clean(text)
        name = place[-1]
        return self._redaction.named(name, text) if not inside and type(name) is str else (clean, inside)

    def _unchangeable(self, frame: Frame) -> Iterator[tuple[Place, Found]]:
        texts = [frame.method, frame.id if frame.kind == "request" else None, *frame.message]
        for text in texts:
            if type(text) is str:
                yield from (((), one) for one in self._redaction.clean(text)[1])

    # --- towards the server -------------------------------------------------------------------------------

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        """What becomes of a message of the client's."""
        match = self._match or self._matcher()
        data = frame.data
        matched = match(data if type(data) is bytes else bytes(data))
        if not matched and self._decoys is None and self._needle not in data:
            return None
        bodies = [name for name in frame.message if name not in _ENVELOPE]
        texts = [one for body in bodies for one in strings(frame.message[body], (body,))]
        return (
            self._decoyed(frame, texts)
            or self._given_back(frame, texts)
            or (self._carried(frame, texts) if matched else None)
        )

    def _decoyed(self, frame: Frame, texts: list[tuple[Place, str, bool]]) -> Judged | None:
        if self._decoys is None or not self._decoys.known.worth(bytes(frame.data)):
            return None
        for place, text, _ in texts:
            for one in self._decoys.clean_known(text)[1]:
                reason = f"a decoy of this sandbox, {one.reason}: somebody carries out what was planted in it"
                return denied(Finding("secrets", "secrets.decoy", self._shown(place), reason))
        return None

    def _given_back(self, frame: Frame, texts: list[tuple[Place, str, bool]]) -> Judged | None:
        marks = self._redaction.marks
        edits = []
        for place, text, is_name in texts:
            if not marks.mentioned(text):
                continue
            if is_name or not self._may_come_back(place, text):
                reason = "holds a mark that stands for a secret which was taken out of an answer"
                return denied(Finding("secrets", "secrets.mark", pointer(place), reason))
            edits.append(Edit(place, marks.restored(text)))
        if not edits:
            return None
        places = ", ".join(pointer(edit.place) for edit in edits[:MOST_TOLD])
        reason = f"{len(edits)} values that the server had said itself went back to it"
        return changed(edits, Finding("secrets", "secrets.restored", places, reason))

    def _may_come_back(self, place: Place, text: str) -> bool:
        if place[0] == "params" and len(place) >= 2 and place[1] in _ITS_OWN:
            return True
        return self._redaction.marks.group(text) in _GIVEN_BACK

    def _carried(self, frame: Frame, texts: list[tuple[Place, str, bool]]) -> Judged | None:
        said: list[tuple[Place, Found]] = []
        worst: tuple[Place, Found] | None = None
        for place, text, _ in texts:
            for one in self._redaction.clean(text)[1]:
                if one.group == "known":
                    continue
                said.append((place, one))
                if worst is None and one.upward == "deny" and not _asked_for(place):
                    worst = place, one
        if not said:
            return None
        if worst is not None and self._mode != "log" and frame.kind == "request" and frame.method in _CALLS:
            place, one = worst
            reason = f"{one.reason} in what would be sent to the server"
            return denied(Finding("secrets", f"secrets.{one.rule}", self._shown(place), reason))
        return found(*self._findings(said))

    # --- what is told -------------------------------------------------------------------------------------

    def _findings(self, said: list[tuple[Place, Found]]) -> list[Finding]:
        kinds = told([one for _, one in said])
        first = {one: place for place, one in reversed(said)}
        findings = [
            Finding("secrets", f"secrets.{one.rule}", self._shown(first[one]), one.reason)
            for one in kinds[:MOST_TOLD]
        ]
        if len(kinds) > MOST_TOLD:
            reason = f"{len(kinds) - MOST_TOLD} further kinds"
            findings.append(Finding("secrets", "secrets.more", "", reason))
        return findings

    def _shown(self, place: Place) -> str:
        """The place as a pointer, in which no name holds a secret."""
        return pointer(tuple(self._redaction.clean(one)[0] if type(one) is str else one for one in place))


def _at(message: Any, place: Place) -> Any:
    for step in place:
        message = message[step]
    return message


def _asked_for(place: Place) -> bool:
    """Whether an argument asks for a credential by its name, or is none of the model's."""
    names = [step for step in place[1:] if type(step) is str]
    return "_meta" in names or any(_ASKS_FOR_ONE.search(name) for name in names)


def _label(result: Any, rules: list[str]) -> Iterator[Edit]:
    """Says in the result itself what was taken out of it."""
    kinds = [*dict.fromkeys(rules)][:MOST_TOLD]
    if not isinstance(result, dict):
        return
    if isinstance(result.get("_meta"), dict):
        yield Edit(("result", "_meta", LABEL), kinds)
    else:
        yield Edit(("result", "_meta"), {LABEL: kinds})
