"""Finds secrets that were cut: over the texts of one message, and over one message and the next (P).

What has passed cannot be called back: of a secret that is spread over messages, the part goes that comes
after it can be told, `LEAST` letters and digits of a session's own, all that makes a credential's form.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any, Final

from sandbox.inspect.known import KEPT
from sandbox.inspect.needles import FOLD, OTHERS, folded
from sandbox.inspect.redaction import Found, Redaction, Span, known_span
from sandbox.inspect.walking import strings
from sandbox.records import dataclass
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.splice import Place

ALL_TEXTS: Final = 1 << 16
"""Bytes of a message up to which all its texts are put together; of a larger one its content's are."""
TAIL: Final = 256
LEAST_WORD: Final = 16
"""No credential that has a form of its own is shorter."""
HEAD: Final = 1024
EDGE: Final = 256
"""Characters at either end of a long text that are put together with its neighbours, or more."""
LEAST_PART: Final = 4
"""Letters and digits that a part has at least, unless it is all of its text: fewer are chance."""
_OF_WORDS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+/=.~"
_BETWEEN: Final = b"\xff"  # in no UTF-8
_BUT_BETWEEN: Final = OTHERS.replace(_BETWEEN, b"")
_NOTHING: Mapping[Place, str] = {}

Texts = Sequence[tuple[Place, str]]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one text adds to the joined one, from `start` to `end` of it."""

    place: Place
    text: str
    start: int
    end: int


class Flow:
    """One direction of one session."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._folded: dict[str | None, bytes] = {}
        self._tails: dict[str | None, str] = {}
        self.found: list[Found] = []
        """What the last message held a part of."""

    def parted(self, frame: Frame) -> Mapping[Place, str]:
        """The texts of a message that hold a part of a secret whose rest is elsewhere, without that part."""
        known, message = self._redaction.known, frame.message
        only = _only_text(message)
        if not known and only:
            # What most answers are: here every tenth of a microsecond counts.
            before, self._tails[None] = self._tails.get(None, ""), only[-TAIL:]
            if not (before and _goes_on(before, only)):
                return _NOTHING
            self._tails[None] = before
        content = _content(message)
        if not content:
            return self._in_any_text(frame) if known else _NOTHING
        stream, parts = frame.method, _NOTHING
        before, self._tails[stream] = self._tails.get(stream, ""), content[-1][1][-TAIL:]
        if len(content) > 1 or (before and _goes_on(before, content[0][1])):
            self.found = []
            parts = {**self._patterns(content[:1], before), **self._patterns(content, "")}
        if known:
            self.found = self.found if parts else []
            if not only:
                parts = {**parts, **self._in_any_text(frame)}
            parts = {**parts, **self._in_stream(stream, content)}
        return parts

    def line(self, text: str) -> tuple[str, list[Found]]:
        """The same of one line of a stream that has nothing but lines, and what it held a part of."""
        if not text:
            return text, []
        content, before, self.found = (((), text),), self._tails.get(None, ""), []
        self._tails[None] = text[-TAIL:]
        parts = self._patterns(content, before) if before and _goes_on(before, text) else {}
        if self._redaction.known:
            parts |= self._in_stream(None, content)
        return parts.get((), text), self.found

    def forget(self, frame: Frame) -> None:
        """What was found in a message is not found again with the next one."""
        self._tails.pop(frame.method, None)

    def _patterns(self, content: Texts, before: str) -> dict[Place, str]:
        if not before and len(content) < 2:
            return {}
        start = before.encode("utf-8", "surrogatepass")
        # What goes on with the text before is at the beginning of this one.
        most = HEAD if before else None
        views = [text[:most].encode("utf-8", "surrogatepass") for _, text in content]
        joined = start + b"".join(views)
        if not self._redaction.rules.match(joined):
            return {}
        return self._cut(self._redaction.spans(joined), [*_pieces(views, content, len(start))], None)

    def _in_any_text(self, frame: Frame) -> dict[Place, str]:
        """A session's secret that is spread over the texts of one message."""
        if len(frame.data) > ALL_TEXTS:
            return {}
        content = [*_all(frame.message)]
        return self._known(content, b"")[0] if len(content) > 1 else {}

    def _in_stream(self, stream: str | None, content: Texts) -> dict[Place, str]:
        """The same over what a reader puts one after another, in this message and the ones before."""
        parts, self._folded[stream] = self._known(content, self._folded.get(stream, b""))
        return parts

    def _known(self, content: Texts, before: bytes) -> tuple[dict[Place, str], bytes]:
        known = self._redaction.known
        edge = max(EDGE, 2 * known.longest)
        joined = before + b"".join([_edges(text, edge) for _, text in content])
        if not known.worth_folded(joined):
            return {}, joined[-known.longest :]
        views = [folded(text.encode("utf-8", "surrogatepass")) for _, text in content]
        joined = before + b"".join(views)
        spans = [Span(left, right, known_span(form)) for form, left, right in known.find_folded(joined)]
        parts = self._cut(spans, [*_pieces(views, content, len(before))], KEPT)
        return parts, joined[-known.longest :]

    def _cut(self, spans: Sequence[Span], pieces: Sequence[_Piece], kept: bytes | None) -> dict[Place, str]:
        """The texts without what of these spans is in them; a span within one text is found in it anyway."""
        made: dict[Place, str] = {}
        found = dict.fromkeys(self.found)
        # In order and apart from each other: of thousands of each, only neighbours are compared.
        starts, ends = [span.start for span in spans], [span.end for span in spans]
        for piece in pieces:
            near = spans[bisect_right(ends, piece.start) : bisect_left(starts, piece.end)]
            inside = [span for span in near if _crosses(span, piece)]
            if inside:
                found.update(dict.fromkeys(span.found for span in inside))
                made[piece.place] = self._without(piece, inside, kept)
        self.found = [*found]
        return made

    def _without(self, piece: _Piece, spans: Sequence[Span], kept: bytes | None) -> str:
        data = piece.text.encode("utf-8", "surrogatepass")
        places = None if kept is None else list(compress(range(len(data)), data.translate(kept)))
        for span in sorted(spans, key=lambda span: -span.start):
            left, right = max(span.start, piece.start) - piece.start, min(span.end, piece.end) - piece.start
            start, end = (left, right) if places is None else (places[left], places[right - 1] + 1)
            mark = self._redaction.marks.of(span.found.rule, span.found.group, data[start:end])
            data = data[:start] + mark + data[end:]
        return data.decode("utf-8", "surrogatepass")


def _crosses(span: Span, piece: _Piece) -> bool:
    start, end = max(span.start, piece.start), min(span.end, piece.end)
    part = end - start >= min(LEAST_PART, piece.end - piece.start) > 0
    return part and (span.start < piece.start or span.end > piece.end)


def _pieces(views: Sequence[bytes], content: Texts, start: int) -> Iterator[_Piece]:
    for view, (place, text) in zip(views, content, strict=True):
        yield _Piece(place, text, start, start + len(view))
        start += len(view)


def _goes_on(before: str, text: str) -> bool:
    """Whether a text may go on with the word that the one before ended in, and both make a long one."""
    head = text[:TAIL]
    begun = len(before) - len(before.rstrip(_OF_WORDS))
    going = len(head) - len(head.lstrip(_OF_WORDS))
    return begun > 0 and going > 0 and begun + going >= LEAST_WORD


def _edges(text: str, edge: int) -> bytes:
    """Letters and digits of a text, of a long one those near its ends."""
    if len(text) <= 2 * edge:
        return folded(text.encode("utf-8", "surrogatepass"))
    ends = (text[:edge].encode("utf-8", "surrogatepass"), text[-edge:].encode("utf-8", "surrogatepass"))
    return _BETWEEN.join(ends).translate(FOLD, _BUT_BETWEEN)


def _all(message: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    for body in ("params", "result", "error"):
        if body in message:
            yield from ((place, text) for place, text, name in strings(message[body], (body,)) if not name)


def _only_text(message: Mapping[str, Any]) -> str | None:
    """The text of an answer that has one and nothing else."""
    result = message.get("result")
    if result is None:
        return None
    content = result.get("content")
    if type(content) is not list or len(content) != 1 or type(content[0]) is not dict:
        return None
    if len(result) > 1 + ("isError" in result) or len(content[0]) > 2:
        return None
    text = content[0].get("text")
    return text if type(text) is str else None


def _content(message: Mapping[str, Any]) -> Texts:
    """The texts of a message that a reader puts one after another."""
    result = message.get("result")
    if result is not None:
        content = result.get("content")
        return _texts(content) if type(content) is list else ()
    params = message.get("params")
    if params:
        for name in ("data", "message"):
            if type(params.get(name)) is str and params[name]:
                return ((("params", name), params[name]),)
    return ()


def _texts(content: Sequence[Any]) -> Texts:
    return [
        (("result", "content", at, "text"), item["text"])
        for at, item in enumerate(content)
        if type(item) is dict and type(item.get("text")) is str and item["text"]
    ]
