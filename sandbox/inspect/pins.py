"""Holds a server to what it first was, or to what a person approved: every definition, and who it says it is.

What differs is taken out of lists, calls of it are refused, and both wait until a person has approved it
(`mcp-sandbox approve`). A call of a tool that this session has not seen listed is held until the list was
read: a client that calls from its memory is no way around a pin.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from sandbox.inspect.canonical import (
    KINDS,
    REVISION,
    SERVER,
    Kind,
    covers,
    measured,
    said,
)
from sandbox.inspect.canonical import key as key_of
from sandbox.inspect.judged import DROP, Asked, Edit, Finding, Judged, changed, denied, found, pointer
from sandbox.inspect.pin_diff import quoted, spelt, word
from sandbox.inspect.pin_keeping import Keeping
from sandbox.inspect.pin_view import Read, Store, Telling, View
from sandbox.inspect.pinned import MOST_WAITING, Item, Pinned
from sandbox.verdict import Verdict
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.splice import Place

LONGEST_TTL_MS: Final = 3_600_000
"""A client may keep a list for that long, and not at all while anything of it is withheld."""
MOST_NAMED: Final = 100
"""Characters of what a server says of itself, in a finding."""
MOST_TOLD: Final = 16
"""Findings about one message; the last one counts the others."""
MOST_REMEMBERED: Final = 20_000

_BY_METHOD = {kind.method: kind for kind in KINDS}
_BY_CHANGE: dict[str, list[str]] = {}
for _kind in KINDS:
    _BY_CHANGE.setdefault(_kind.changed, []).append(_kind.name)
_METHODS = {kind.name: kind.method for kind in KINDS}
_OPENING = frozenset({"initialize", "server/discover"})
_USES = {
    "tools/call": ("tool", "name"),
    "prompts/get": ("prompt", "name"),
    "resources/read": ("resource", "uri"),
    "resources/subscribe": ("resource", "uri"),
}
_LISTED_FIRST = frozenset({"tool", "prompt"})
"""What is called by its definition; a resource is read by its address."""
_REFUSED = Verdict.deny("tools.pin")


class Pins:
    """The inspector; `name` is what `mcp-sandbox approve` calls the server."""

    name = "pins"

    def __init__(
        self,
        name: str,
        store: Store,
        telling: Telling,
        *,
        locked: bool,
        revisions: Literal["as-locked", "first-use"] = "as-locked",
    ) -> None:
        """`revisions`: which of a `locked` server's answers to a client's revision hold without a yes."""
        self._server = name
        self._store = store
        self._keeping = Keeping(store)
        self._telling = telling
        self._locked = locked
        self._answers_grow = not locked or revisions == "first-use"
        self._views = {kind.name: View() for kind in KINDS}
        self._begins: bool | None = None
        """Whether nothing was known of the server itself when it first answered."""
        self._told: set[tuple[str, str, str]] = set()
        self._fault = ""
        """Why the last attempt to pin something failed."""

    # --- to the client ------------------------------------------------------------------------------

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        """Takes out of a list what is not what holds; of the server's introduction, its instructions."""
        if asked is None:
            for name in _BY_CHANGE.get(frame.method or "", ()):
                self._views[name].change()
            return None
        kind = _BY_METHOD.get(asked.method)
        if kind is None and asked.method not in _OPENING:
            return None
        result = frame.message.get("result")
        if type(result) is not dict:
            return None
        self._keeping.begin()
        return self._opening(result, asked) if kind is None else self._list(kind, result, asked)

    def _list(self, kind: Kind, result: dict[str, Any], asked: Asked) -> Judged | None:
        items = result.get(kind.member)
        if items is None:
            return None
        if type(items) is not list:
            # Who reads this as a list, item by item, nobody knows.
            place: Place = ("result", kind.member)
            odd = Finding(self.name, "pins.unnamed", pointer(place), f"a list of {kind.name}s that is none")
            return changed([Edit(place, [])], odd)
        view = self._views[kind.name]
        read = [self._read(kind, at, item) for at, item in enumerate(items)]
        bad = self._sorted(kind, view, read)
        view.page((asked.params or {}).get("cursor"), result.get("nextCursor"))
        edits = [Edit(("result", kind.member, one.at), DROP) for one, _ in bad]
        findings = [finding for _, finding in bad]
        self._cut_ttl(result, edits, findings, limit=0 if view.withheld or bad else LONGEST_TTL_MS)
        return changed(edits, *_few(findings)) if edits else None

    def _read(self, kind: Kind, at: int, item: Any) -> Read:
        key = key_of(kind, item)
        return Read(at, key, self._keeping.name(key), *measured(kind.name, item), item)

    def _sorted(self, kind: Kind, view: View, read: list[Read]) -> list[tuple[Read, Finding]]:
        """Notes what is as it was, pins what may be, and gives the rest with what is wrong with it."""
        pinned = self._known(kind, view, read)
        section = pinned.holds(kind.name)
        bad: list[tuple[Read, Finding]] = []
        gone_back: list[str] = []
        for one in read:
            held = section.get(one.kept)
            if one.key and held is not None and held.digest == one.digest:
                self._is_fine(kind.name, view, one)
                if one.kept in pinned.waits(kind.name):
                    gone_back.append(one.kept)
            else:
                bad.append((one, self._differs(kind, one, held, brief=len(bad) > MOST_TOLD)))
        if gone_back:
            self._store.withdraw(kind.name, gone_back)
        self._withhold(kind.name, pinned, [one for one, _ in bad])
        return bad

    def _known(self, kind: Kind, view: View, read: list[Read]) -> Pinned:
        """What holds, after what this list brings for the first time was pinned."""
        pinned = self._store.read()
        if view.grows is None:
            view.grows = not self._locked and kind.name not in pinned.begun
        if not (view.grows or kind.name in pinned.open):
            return pinned
        section = pinned.holds(kind.name)
        new: dict[str, Item] = {}
        for one in read:
            if one.key and one.kept not in section and one.kept not in new:
                new[one.kept] = self._keeping.item(kind.name, one)
        return self._first(kind.name, new, pinned) if new or kind.name not in pinned.begun else pinned

    def _first(self, kind: str, new: dict[str, Item], pinned: Pinned) -> Pinned:
        try:
            after = self._store.first(kind, new)
        except OSError as error:
            self._fault = str(error.strerror or error)
            return pinned  # what cannot be kept was not pinned: it waits
        self._fault = ""
        if new:
            self._telling.pinned(kind, [*new])
        return after

    def _is_fine(self, kind: str, view: View, one: Read) -> None:
        if len(view.fine) < MOST_REMEMBERED:
            view.fine.add(one.key)
        if view.withheld and view.withheld.pop(one.key, None) == one.digest:
            self._telling.approved(kind, one.kept)

    def _differs(self, kind: Kind, one: Read, held: Item | None, *, brief: bool) -> Finding:
        place: Place = ("result", kind.member, one.at)
        if not one.key:
            return Finding(self.name, "pins.unnamed", pointer(place), f"a {kind.name} without a usable name")
        what = f"{kind.name} {quoted(one.kept)}"
        if held is None and self._fault:
            why = f"{what} cannot be pinned: {self._fault}"
            return Finding(self.name, "pins.unkept", pointer(place), why)
        if held is None:
            return Finding(self.name, "pins.new", pointer(place), f"{what} was never approved")
        if brief:
            return Finding(self.name, "pins.changed", pointer(place), f"{what} is not what was approved")
        return self._keeping.difference(kind.name, what, place, held, one)

    def _withhold(self, kind: str, pinned: Pinned, bad: list[Read]) -> None:
        """Keeps what is bad for a person to look at, and refuses it from now on."""
        view = self._views.get(kind)
        waits = pinned.waits(kind)
        room = MOST_WAITING - len(waits)
        new: dict[str, Item] = {}
        for one in bad:
            if not one.key:
                continue
            if view is not None:
                view.fine.discard(one.key)
                # What was approved once is always remembered: nothing else may push it out.
                if len(view.withheld) < MOST_REMEMBERED or one.kept in pinned.holds(kind):
                    view.withheld[one.key] = one.digest
            known = waits.get(one.kept)
            if known is None or known.digest != one.digest:
                room -= known is None
                if room >= 0:
                    new[one.kept] = self._keeping.item(kind, one)
        if new:
            self._store.hold(kind, new)
        self._tell(kind, pinned, bad)

    def _tell(self, kind: str, pinned: Pinned, bad: list[Read]) -> None:
        for one in bad:
            known = (kind, one.kept, one.digest)
            if known not in self._told and len(self._told) < MOST_REMEMBERED:
                self._told.add(known)
                what = "has changed" if one.kept in pinned.holds(kind) else "is new"
                if self._fault and what == "is new":
                    what = f"cannot be pinned ({self._fault})"
                self._telling.withheld(kind, one.kept, what)

    # --- who the server says it is --------------------------------------------------------------------

    def _opening(self, result: dict[str, Any], asked: Asked) -> Judged | None:
        """Keeps changed instructions from the client; a changed name or revision is told."""
        told = said(result, asked.method, asked.params or {})
        read = [Read(at, key, key, *measured(SERVER, value), value) for at, (key, value) in enumerate(told)]
        pinned = self._introduced(read)
        section = pinned.holds(SERVER)
        bad = [one for one in read if one.key not in section or section[one.key].digest != one.digest]
        if back := [one.key for one in read if one not in bad and one.key in pinned.waits(SERVER)]:
            self._store.withdraw(SERVER, back)
        self._withhold(SERVER, pinned, bad)
        findings = [self._self_differs(one, section.get(one.key)) for one in bad]
        gone = any(one.key == "instructions" for one in bad)
        edits = [Edit(("result", "instructions"), DROP)] if gone else []
        self._cut_ttl(result, edits, findings, limit=0 if bad else LONGEST_TTL_MS)
        if edits:
            return changed(edits, *findings)
        return found(*findings) if findings else None

    def _introduced(self, read: list[Read]) -> Pinned:
        pinned = self._store.read()
        if self._begins is None:
            self._begins = not self._locked and SERVER not in pinned.begun
        section = pinned.holds(SERVER)
        new = {
            one.key: self._keeping.item(SERVER, one)
            for one in read
            # Which revisions a client asks for is its own affair: an answer not heard before is pinned.
            if one.key not in section
            and (self._begins or (self._answers_grow and one.key.startswith(REVISION)))
        }
        if not new and (SERVER in pinned.begun or self._locked):
            return pinned
        self._begins = False
        return self._first(SERVER, new, pinned)

    def _self_differs(self, one: Read, held: Item | None) -> Finding:
        members = {"instructions": "instructions", "identity": "serverInfo"}
        place: Place = ("result", members.get(one.key, "protocolVersion"))
        what = f"the server's {spelt(one.key, MOST_NAMED)}"  # a client names the revision it asks for
        if held is None:
            return Finding(self.name, "pins.new", pointer(place), f"{what} was never approved")
        return self._keeping.difference(SERVER, what, place, held, one)

    def _cut_ttl(
        self, result: dict[str, Any], edits: list[Edit], findings: list[Finding], *, limit: int
    ) -> None:
        """No copy of a list outlives a pin for long, and none at all one that lacks something."""
        ttl = result.get("ttlMs")
        if type(ttl) not in (int, float) or ttl <= limit:  # type: ignore[operator]  # a number by now
            return
        edits.append(Edit(("result", "ttlMs"), limit))
        why = f"the answer was to be kept for {ttl} ms"
        findings.append(Finding(self.name, "pins.ttl", "/result/ttlMs", why))

    # --- to the server ---------------------------------------------------------------------------------

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        """Refuses the use of what is withheld, and reads the list first where it was not read yet."""
        use = _USES.get(frame.method or "")
        if use is None:
            return None
        if frame.kind != "request":
            why = f"`{frame.method}` without an id is no request, and some servers do it all the same"
            return denied(Finding(self.name, "pins.unanswerable", "/id", why))
        kind, member = use
        key = frame.message.get("params", {}).get(member)
        if type(key) is not str:
            return None
        view = self._views[kind]
        if key in view.fine and (view.complete or view.tried or not view.grows):
            return None
        return self._unseen(frame, kind, key, view)

    def _unseen(self, frame: Frame, kind: str, key: str, view: View) -> Judged | None:
        """Of an item that this session has not seen as it should be."""
        pinned = self._store.read()
        if key in view.withheld:
            return self._still_withheld(kind, key, view, pinned)
        if (
            kind in _LISTED_FIRST
            and not view.complete
            and (kind in pinned.begun or self._locked or view.grows)
        ):
            if view.asks(frame.id):
                return Judged(_REFUSED, fetch=(_METHODS[kind],))
            if key not in view.fine and (self._keeping.name(key) in pinned.holds(kind) or self._locked):
                return denied(self._unread(kind, key))
        if kind == "resource":
            return self._address(key, pinned)
        if key not in view.fine and self._locked:
            return denied(self._refusal("pins.unlisted", kind, key, "is in no list that was approved"))
        return None

    def _still_withheld(self, kind: str, key: str, view: View, pinned: Pinned) -> Judged | None:
        held = pinned.holds(kind).get(self._keeping.name(key))
        if held is None or held.digest != view.withheld[key]:
            rule, why = (
                ("pins.new", "was never approved")
                if held is None
                else ("pins.changed", "is not what was approved")
            )
            return denied(self._refusal(rule, kind, key, why))
        del view.withheld[key]
        view.fine.add(key)
        self._telling.approved(kind, self._keeping.name(key))
        return None

    def _address(self, uri: str, pinned: Pinned) -> Judged | None:
        """Of an address that is in no list of this session: it may come from a template."""
        if self._keeping.name(uri) in pinned.holds("resource") or any(
            covers(one, uri) for one in pinned.holds("template")
        ):
            return None
        withheld = any(covers(one, uri) for one in self._views["template"].withheld)
        if not withheld and not self._locked:
            return None
        why = "belongs to no template that was approved"
        return denied(self._refusal("pins.unlisted", "resource", uri, why))

    def _unread(self, kind: str, key: str) -> Finding:
        return self._refusal("pins.unread", kind, key, "could not be held against the server's list")

    def _refusal(self, rule: str, kind: str, key: str, why: str) -> Finding:
        """Without a word of the server's: whoever called reads it, and the model knows the name already."""
        name = self._keeping.name(key)
        words = f"{kind} {quoted(name)} {why}; hint: mcp-sandbox approve {self._server}{word(name)}"
        return Finding(self.name, rule, f"/params/{_member(kind)}", words)


def _few(findings: list[Finding]) -> list[Finding]:
    if len(findings) <= MOST_TOLD:
        return findings
    last = findings[MOST_TOLD - 1]
    more = len(findings) - MOST_TOLD + 1
    return [*findings[: MOST_TOLD - 1], Finding("pins", last.rule, last.place, f"{more} more items differ")]


def _member(kind: str) -> str:
    return "uri" if kind == "resource" else "name"
