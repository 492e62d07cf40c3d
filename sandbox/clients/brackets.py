"""The edits of what stands between brackets: JSON, TOML's arrays and inline tables, YAML's flow style (P)."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from sandbox.clients.tree import Member, Node, plain, same

_GAP: Final = re.compile(r"[ \t\r\n]*,[ \t\r\n]*")
_LINE: Final = re.compile(r"(\r?\n)[ \t]*\Z")


class Splice(NamedTuple):
    """`text` takes the place of `start:end`."""

    start: int
    end: int
    text: str


class Brackets:
    """A format: subclasses say how they are scanned and how a value and a name are written."""

    comma_or_comment = re.compile(r",|#[^\r\n]*")
    may_be_tight = True
    """Whether a name and its value may stand without a space between them."""

    def scan(self, text: str) -> Node:
        """The tree of `text`, or `Unreadable`."""
        raise NotImplementedError

    def render(self, value: Any) -> str:
        """`value` as it is written on one line."""
        raise NotImplementedError

    def key(self, name: str) -> str:
        """The name with what stands between it and its value."""
        raise NotImplementedError

    # --- one value ------------------------------------------------------------------------------------

    def replaced(self, text: str, node: Node, value: Any) -> Splice:
        """Another value in the place of `node`."""
        return Splice(node.start, node.end, self.render(value))

    # --- lists ----------------------------------------------------------------------------------------

    def relisted(self, text: str, node: Node, values: list[Any]) -> Splice | None:
        """What is new of `values` and nothing of what is there already at either end."""
        first, last, fresh = changed(node, values)
        if first == last and not fresh:
            return None
        if first < last:
            return self._exchanged(text, node, first, last, fresh)
        rendered = [self.render(one) for one in fresh]
        if not node.items:
            return Splice(node.start + 1, node.start + 1, ", ".join(rendered))
        gap = self._gap(text, node)
        if first < len(node.items):
            at = node.items[first].start
            return Splice(at, at, "".join(one + gap for one in rendered))
        at = node.items[-1].end
        return Splice(at, at, "".join(gap + one for one in rendered))

    def _exchanged(self, text: str, node: Node, first: int, last: int, fresh: list[Any]) -> Splice:
        start, end = node.items[first].start, node.items[last - 1].end
        if fresh:
            return Splice(start, end, self._gap(text, node).join(self.render(one) for one in fresh))
        if last < len(node.items):
            return Splice(start, node.items[last].start, "")
        if first:
            return Splice(node.items[first - 1].end, end, "")
        return self._emptied(text, node, start, end)

    def _gap(self, text: str, node: Node) -> str:
        """What separates two items, in the list's own manner."""
        if len(node.items) > 1:
            between = text[node.items[0].end : node.items[1].start]
            if _GAP.fullmatch(between):
                return between
        return "," + line_before(text, node.items[0].start, " ")

    # --- objects --------------------------------------------------------------------------------------

    def inserted(self, text: str, node: Node, after: Member | None, name: str, value: Any) -> Splice:
        """A new member behind `after`, or the first of an empty object."""
        if after is None:
            return Splice(node.start + 1, node.start + 1, self.key(name) + self.render(value))
        tight = self.may_be_tight and text[after.end : after.node.start] in (":", "=")
        key = self.key(name)
        key = key.replace(" ", "") if tight else key
        gap = "," + line_before(text, after.start, "" if tight else " ")
        return Splice(after.node.end, after.node.end, gap + key + self.render(value))

    def removed(self, text: str, node: Node, member: Member) -> Splice:
        """No member and no comma of its own; what comes after `inserted` gives the text before it."""
        index = node.members.index(member)
        if index:
            return Splice(node.members[index - 1].node.end, member.node.end, "")
        if len(node.members) > 1:
            return Splice(member.start, node.members[1].start, "")
        return self._emptied(text, node, member.start, member.node.end)

    def _emptied(self, text: str, node: Node, start: int, end: int) -> Splice:
        """Nothing left, not even a trailing comma, which may not stand alone."""
        for found in self.comma_or_comment.finditer(text, end, node.end - 1):
            if found[0] == ",":
                return Splice(start, found.end(), text[end : found.start()])
        return Splice(start, end, "")


def changed(node: Node, values: list[Any]) -> tuple[int, int, list[Any]]:
    """The items `first:last` that make way for fresh ones, so that as many as possible stay as they are.

    What is common at the end counts first: a command that is wrapped keeps its own arguments there.
    """
    old = [plain(one) for one in node.items]
    tail = 0
    while tail < min(len(old), len(values)) and same(old[-1 - tail], values[-1 - tail]):
        tail += 1
    head = 0
    while head < min(len(old), len(values)) - tail and same(old[head], values[head]):
        head += 1
    return head, len(old) - tail, values[head : len(values) - tail]


def line_before(text: str, at: int, otherwise: str) -> str:
    """The line break and indentation in front of `at` where it is the first on its line."""
    found = _LINE.search(text, max(0, at - 1000), at)
    return found[0] if found else otherwise
