"""What has to be remembered of a session to judge a later message: tokens, cursors, rounds (P)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from sandbox.digest import sha256

MOST_TOKENS: Final = 4096
MOST_LATE: Final = 1024
MOST_CURSORS: Final = 4096
MOST_PAGES: Final = 100
MOST_PAGES_OF: Final = {"resources/list": 1000}
"""Pages of one list; a tree of files is one that honest servers list by the thousand."""
MOST_ROUNDS: Final = 8
MOST_STATE: Final = 64 << 10
MOST_STATES: Final = 1024
_LONG: Final = 256


class Tokens:
    """The progress tokens of one side's requests: open ones, and the latest that are done."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, None] = OrderedDict()
        self._of: dict[object, str] = {}
        self._late: OrderedDict[str, None] = OrderedDict()

    def asked(self, id: object, token: object) -> None:
        """A request came with a token. A number and its digits are one: SDKs read them alike."""
        if type(token) not in (int, str):
            return
        key = _short(str(token))
        self._of[id] = key
        self._open[key] = None
        self._late.pop(key, None)
        if len(self._open) > MOST_TOKENS:
            self._close(self._open.popitem(last=False)[0])
        if len(self._of) > 2 * MOST_TOKENS:
            self._of.pop(next(iter(self._of)))

    def answered(self, id: object) -> None:
        """The request is done, or was given up; an id may be anything in who gives up."""
        if self._of and type(id) in (int, str) and (key := self._of.pop(id, None)) is not None:
            self._open.pop(key, None)
            self._close(key)

    def _close(self, key: str) -> None:
        self._late[key] = None
        if len(self._late) > MOST_LATE:
            self._late.popitem(last=False)

    def is_open(self, token: object) -> bool:
        """Whether a request with this token is open."""
        return _short(str(token)) in self._open

    def was_open(self, token: object) -> bool:
        """Whether one was, not long ago: what a server says last can cross its own answer."""
        return _short(str(token)) in self._late


class Pages:
    """How one list was read: each cursor with the one that led to it."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], tuple[str | None, int]] = OrderedDict()

    def turn(self, method: str, cursor: object, following: object) -> str | None:
        """Why the page asked for with `cursor` must not lead to `following`; None where it may."""
        if type(following) is not str or (not following and cursor != following):
            # Some servers end with an empty cursor, where most clients stop.
            return None
        at = _short(cursor) if type(cursor) is str else None
        then = _short(following)
        _, depth = self._seen.get((method, at), (None, 0)) if at is not None else (None, 0)
        most = MOST_PAGES_OF.get(method, MOST_PAGES)
        if depth + 1 >= most:
            return f"the list goes on after {most} pages"
        if then == at or self._leads_to(method, then, at, most):
            return "the list leads back to a page that was read"
        self._seen[method, then] = (at, depth + 1)
        self._seen.move_to_end((method, then))
        if len(self._seen) > MOST_CURSORS:
            self._seen.popitem(last=False)
        return None

    def _leads_to(self, method: str, cursor: str, at: str | None, most: int) -> bool:
        for _ in range(most):
            if at is None or at == cursor:
                return at is not None
            at = self._seen.get((method, at), (None, 0))[0]
        return False


class Rounds:
    """How often one call was answered with a question (MCP 2026-07-28, multi round-trip requests)."""

    def __init__(self) -> None:
        self._after: OrderedDict[object, int] = OrderedDict()
        self._open: OrderedDict[object, int] = OrderedDict()

    def asked(self, id: object, method: str, tool: str | None, params: dict[str, Any]) -> None:
        """A request goes on with what an earlier one was asked for."""
        rounds = self._after.get(_thread(params.get("requestState"), method, tool), 0)
        if rounds:
            self._open[id] = rounds
            _trim(self._open)

    def answered(self, id: object) -> None:
        """The request was answered otherwise."""
        if self._open:
            self._open.pop(id, None)

    def again(self, id: object, method: str, tool: str | None, state: object) -> str | None:
        """Why the request must not be answered with a question; None where it may."""
        if type(state) is str and len(state) > MOST_STATE:
            return f"`requestState` is longer than {MOST_STATE} characters"
        rounds = self._open.pop(id, 0) + 1
        if rounds > MOST_ROUNDS:
            return f"the call was answered with a question {MOST_ROUNDS} times"
        self._after[_thread(state, method, tool)] = rounds
        _trim(self._after)
        return None


def _thread(state: object, method: str, tool: str | None) -> object:
    """What ties a request to the question before it: the state that it carries, else what is called."""
    return _short(state) if type(state) is str else (method, tool)


def _trim(table: OrderedDict[object, int]) -> None:
    if len(table) > MOST_STATES:
        table.popitem(last=False)


def _short(text: str) -> str:
    """The text, or what stands for a long one: hostile servers choose how much is kept of them."""
    return text if len(text) <= _LONG else sha256(text.encode()).hexdigest()
