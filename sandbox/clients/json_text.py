"""JSON (RFC 8259) as clients read it: with comments and trailing commas where they allow them (P)."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from sandbox.clients.brackets import Brackets
from sandbox.clients.tree import ARRAY, MAX_DEPTH, MAX_VALUES, OBJECT, SCALAR, Member, Node, Unreadable

# Each alternative begins with another character, so that nothing is tried twice. Possessive groups would say
# so, but Python 3.11.2 matches them wrongly.
_BLANK: Final = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING: Final = re.compile(r'"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*"')
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD: Final = re.compile(r"[A-Za-z0-9_$.+-]+")
_ODD_BREAK: Final = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
_WORDS: Final = {"true": True, "false": False, "null": None}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# A terminal or an editor must not be moved by what we write.
_CONTROL: Final = re.compile("[\x7f-\x9f\u2028\u2029]")


class Json(Brackets):
    """Scans, and writes values the way JSON has them."""

    comma_or_comment = re.compile(r",|//[^\r\n]*|/\*.*?\*/", re.DOTALL)

    def scan(self, text: str) -> Node:
        """The one value in `text`; an empty text is an empty object, as editors leave it behind."""
        scan = _Scan(text)
        at = scan.blank(0)
        if at == len(text):
            return Node(OBJECT, at, at)
        node = scan.value(at, 0)
        if (end := scan.blank(node.end)) != len(text):
            raise Unreadable(end, "something follows the end of the document", "remove it")
        return node

    def render(self, value: Any) -> str:
        """`value` on one line; characters outside ASCII stay readable."""
        text = json.dumps(value, ensure_ascii=False)
        return _CONTROL.sub(_escaped, _SURROGATE.sub(_escaped, text))

    def key(self, name: str) -> str:
        return self.render(name) + ": "


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


class _Scan:
    """One pass over a text; every method takes where it begins and says where it ends."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.left = MAX_VALUES
        self.odd = bool(_ODD_BREAK.search(text))

    def blank(self, at: int) -> int:
        """Past white space and comments."""
        found = _BLANK.match(self.text, at)
        end = found.end() if found else at
        if self.text.startswith("/*", end):
            raise Unreadable(end, "a comment that does not end", "close it with `*/`")
        if self.odd and "//" in self.text[at:end] and (odd := _ODD_BREAK.search(self.text, at, end)):
            # What one client takes for the comment's end another reads on: a server could hide there.
            raise Unreadable(odd.start(), "a line break that not every client knows, beside a comment")
        return end

    def value(self, at: int, depth: int) -> Node:
        self.left -= 1
        if self.left < 0:
            raise Unreadable(at, f"more than {MAX_VALUES} values")
        first = self.text[at : at + 1]
        if first == '"':
            end = self.string(at)
            return Node(SCALAR, at, end, self.decoded(at, end))
        if first in ("{", "["):
            if depth >= MAX_DEPTH:
                raise Unreadable(at, f"nested deeper than {MAX_DEPTH}")
            return self.object(at, depth + 1) if first == "{" else self.array(at, depth + 1)
        return self.word(at)

    def word(self, at: int) -> Node:
        found = _WORD.match(self.text, at)
        word = found[0] if found else ""
        if word in _WORDS:
            return Node(SCALAR, at, at + len(word), _WORDS[word])
        if _NUMBER.fullmatch(word):
            return Node(SCALAR, at, at + len(word), _number(word))
        raise Unreadable(at, *_not_a_value(self.text, at))

    def string(self, at: int) -> int:
        found = _STRING.match(self.text, at)
        if not found:
            raise Unreadable(at, "a string that does not end on its line", 'close it with `"`')
        return found.end()

    def decoded(self, at: int, end: int) -> str:
        raw = self.text[at:end]
        if "\\" not in raw:
            return raw[1:-1]
        try:
            return str(json.loads(raw))
        except ValueError:
            raise Unreadable(at, "a string with an escape that JSON does not have") from None

    def object(self, at: int, depth: int) -> Node:
        node, at = Node(OBJECT, at), self.blank(at + 1)
        while self.text[at : at + 1] != "}":
            if self.text[at : at + 1] != '"':
                raise Unreadable(at, *_not_a_name(self.text, at))
            start, end = at, self.string(at)
            name, at = self.decoded(start, end), self.blank(end)
            if self.text[at : at + 1] != ":":
                raise Unreadable(at, "a name without a colon behind it", "put `:` between name and value")
            value = self.value(self.blank(at + 1), depth)
            node.members.append(Member(name, value, start, end))
            at = self.next(value.end, "}")
        node.end = at + 1
        return node

    def array(self, at: int, depth: int) -> Node:
        node, at = Node(ARRAY, at), self.blank(at + 1)
        while self.text[at : at + 1] != "]":
            value = self.value(at, depth)
            node.items.append(value)
            at = self.next(value.end, "]")
        node.end = at + 1
        return node

    def next(self, at: int, closing: str) -> int:
        """Past one comma, or onto the closing bracket; `at` is the end of a value."""
        end, at = at, self.blank(at)
        if self.text[at : at + 1] == ",":
            return self.blank(at + 1)
        if self.text[at : at + 1] != closing:
            what = "the file ends too early" if at == len(self.text) else "a comma is missing"
            raise Unreadable(end, what, f"put `,` or `{closing}` here")
        return at


def _number(word: str) -> int | float:
    # Python refuses to convert thousands of digits; as for JavaScript such a number is a float.
    whole = len(word) < 400 and not any(char in word for char in ".eE")
    return int(word) if whole else float(word)


def _not_a_value(text: str, at: int) -> tuple[str, str]:
    if at == len(text):
        return "the file ends where a value should be", "close every `{` and `[`"
    if text[at] == "'":
        return "a string in single quotes", 'JSON strings stand in `"`'
    if text[at] in "}],":
        return "a value is missing", "write one, or remove the comma or colon before it"
    return "this is no JSON value", 'strings stand in `"`; other words are `true`, `false` and `null`'


def _not_a_name(text: str, at: int) -> tuple[str, str]:
    if at == len(text):
        return "the file ends inside an object", "close it with `}`"
    if text[at] == ",":
        return "a comma too many", "remove it"
    return "a name without quotes", 'names stand in `"`'
