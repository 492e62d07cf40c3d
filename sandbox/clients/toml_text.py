"""TOML 1.0: `tomllib` says what it means, a scanner of our own where everything stands (P)."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

from sandbox.clients.brackets import Brackets, Splice
from sandbox.clients.json_text import Json
from sandbox.clients.tree import ARRAY, MAX_DEPTH, OBJECT, SCALAR, Member, Node, Unreadable, plain, same

_SPACE, _BLANK = " \t", " \t\r\n"
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_ATOM: Final = re.compile(r"[^,\]}#\r\n]*")
# The standard parser's time grows with the square of a key's parts.
_PART: Final = r"(?:[A-Za-z0-9_-]+|\"[^\"\n]*\"|'[^'\n]*')"
_LONG_KEY: Final = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*\.[ \t]*{_PART}){{{MAX_DEPTH}}}")
_AT: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


class Toml(Brackets):
    """Inline values are edited between their brackets, what belongs to a table by whole lines."""

    def scan(self, text: str) -> Node:
        """The tree of `text`; what the scanner and `tomllib` do not agree on is refused."""
        if found := _LONG_KEY.search(text):
            raise Unreadable(found.start(), f"a key of more than {MAX_DEPTH} parts")
        try:
            data = tomllib.loads(text)
        except RecursionError:
            raise Unreadable(0, f"nested deeper than {MAX_DEPTH}") from None
        except ValueError as error:
            raise _not_toml(text, error) from None
        root = _Scan(text).document()
        if not same(_unordered(plain(root)), _unordered(data)):
            raise Unreadable(0, "written in a way that is not understood")
        return root

    def render(self, value: Any) -> str:
        if isinstance(value, dict):
            return (
                "{" + ", ".join(f"{self.key(one)}{self.render(inner)}" for one, inner in value.items()) + "}"
            )
        if isinstance(value, list):
            return "[" + ", ".join(map(self.render, value)) + "]"
        if value is None:
            raise ValueError("TOML has no null")
        return Json().render(value)  # every escape of JSON's strings is one of TOML's

    def key(self, name: str) -> str:
        return (name if _BARE.fullmatch(name) else Json().render(name)) + " = "

    def replaced(self, text: str, node: Node, value: Any) -> Splice:
        if node.style == "'" and isinstance(value, str) and value.isprintable() and "'" not in value:
            return Splice(node.start, node.end, f"'{value}'")
        return super().replaced(text, node, value)

    def inserted(self, text: str, node: Node, after: Member | None, name: str, value: Any) -> Splice:
        if node.style != "table":
            return super().inserted(text, node, after, name, value)
        if after is None or after.node.style == "table":
            # Behind the table's own header; where there is none, what is read back differs, and is refused.
            at = line_end(text, node.start)
            return Splice(at, at, newline(text) + self.key(name) + self.render(value))
        begin = text.rfind("\n", 0, after.start) + 1
        line = text[begin : after.last] + self.key(name) + self.render(value)
        at = line_end(text, after.node.end)
        return Splice(at, at, newline(text) + line)

    def removed(self, text: str, node: Node, member: Member) -> Splice:
        if node.style != "table":
            return super().removed(text, node, member)
        if member.node.style == "table":
            raise Unreadable(member.start, "a table is not taken away")
        return without_lines(text, member.start, member.node.end)


def newline(text: str) -> str:
    """The line ending of the text's first line."""
    at = text.find("\n")
    return "\r\n" if at > 0 and text[at - 1] == "\r" else "\n"


def line_end(text: str, at: int) -> int:
    """Where the line of `at` ends, before its line break."""
    end = text.find("\n", at)
    if end < 0:
        return len(text)
    return end - 1 if end > at and text[end - 1] == "\r" else end


def without_lines(text: str, start: int, end: int) -> Splice:
    """The lines from `start` to `end` away, with the line break before them."""
    end = line_end(text, end)
    before = text.rfind("\n", 0, start)
    if before < 0:
        after = text.find("\n", end)
        return Splice(0, len(text) if after < 0 else after + 1, "")
    return Splice(before - 1 if text[before - 1 : before] == "\r" else before, end, "")


def _unordered(value: Any) -> Any:
    """Tables that are written in pieces have their keys in another order in a tree than in a dict."""
    if isinstance(value, dict):
        return {key: _unordered(value[key]) for key in sorted(value)}
    return [_unordered(one) for one in value] if isinstance(value, list) else value


def _not_toml(text: str, error: ValueError) -> Unreadable:
    found = _AT.search(str(error))
    what = str(error)[: found.start()] if found else "a number that is too long"
    at = len(text)
    if found and found[1]:
        lines = text.split("\n")[: int(found[1]) - 1]
        at = sum(len(line) + 1 for line in lines) + int(found[2]) - 1
    return Unreadable(at, f"not TOML: {what[:1].lower()}{what[1:]}")


class _Scan:
    """One pass over a text that is known to be TOML."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def document(self) -> Node:
        root = Node(OBJECT, 0, len(self.text), style="table")
        table = root
        while self.skip(_BLANK):
            if self.text[self.at] == "[":
                table = self.header(root)
            else:
                self.pair(table, 0)
        return root

    def skip(self, blank: str) -> bool:
        """Past `blank` and, where lines may end, comments; False at the end."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "#" and "\n" in blank:
                self.at = line_end(self.text, self.at)
            elif char in blank:
                self.at += 1
            else:
                return True
        return False

    def header(self, root: Node) -> Node:
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        table, keys = root, self.keys()
        for number, (name, start, end) in enumerate(keys, 1):
            table = self.enter(table, name, start, end, many=array and number == len(keys))
        self.at = self.text.index("]", self.at) + (2 if array else 1)
        return table

    def enter(self, table: Node, name: str, start: int, end: int, *, many: bool) -> Node:
        """The table of that name, made where it is new; of an array the last, or one more."""
        found = table.named(name)
        if not found:
            node = Node(ARRAY if many else OBJECT, start, end, style="table")
            found = [Member(name, node, start, end)]
            table.members += found
        node = found[0].node
        if many:
            node.items.append(Node(OBJECT, start, end, style="table"))
        return node.items[-1] if node.kind == ARRAY else node

    def pair(self, table: Node, depth: int) -> None:
        *outer, (name, last, end) = self.keys()
        first = outer[0][1] if outer else last
        for part, start, stop in outer:
            table = self.enter(table, part, start, stop, many=False)
        self.at = self.text.index("=", self.at) + 1
        table.members.append(Member(name, self.value(depth), first, end, last))

    def keys(self) -> list[tuple[str, int, int]]:
        parts = []
        while True:
            self.skip(_SPACE)
            start = self.at
            parts.append((self.part(), start, self.at))
            self.skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def part(self) -> str:
        if self.text[self.at] in "\"'":
            return str(self.string().value)
        found = _BARE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found[0] if found else ""

    def value(self, depth: int) -> Node:
        self.skip(_SPACE)
        first = self.text[self.at]
        if depth >= MAX_DEPTH:
            raise Unreadable(self.at, f"nested deeper than {MAX_DEPTH}")
        if first in "\"'":
            return self.string()
        if first in "[{":
            return self.array(depth + 1) if first == "[" else self.inline(depth + 1)
        return self.atom()

    def atom(self) -> Node:
        start = self.at
        found = _ATOM.match(self.text, start)
        raw = found[0].rstrip(_SPACE) if found else ""
        self.at = start + len(raw)
        return Node(SCALAR, start, self.at, tomllib.loads("k=" + raw)["k"])

    def string(self) -> Node:
        start, quote = self.at, self.text[self.at]
        many = self.text.startswith(quote * 3, start)
        closing = quote * 3 if many else quote
        self.at += len(closing)
        while not self.text.startswith(closing, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(closing)
        # Up to two more quotes in front of the closing ones belong to the string.
        while many and self.text.startswith(quote, self.at):
            self.at += 1
        value = tomllib.loads("k=" + self.text[start : self.at])["k"]
        return Node(SCALAR, start, self.at, value, style="" if many else quote)

    def array(self, depth: int) -> Node:
        node = Node(ARRAY, self.at)
        self.at += 1
        while self.skip(_BLANK + ",") and self.text[self.at] != "]":
            node.items.append(self.value(depth))
        self.at += 1
        node.end = self.at
        return node

    def inline(self, depth: int) -> Node:
        node = Node(OBJECT, self.at)
        self.at += 1
        while self.skip(_BLANK + ",") and self.text[self.at] != "}":
            self.pair(node, depth)
        self.at += 1
        node.end = self.at
        return node
