"""YAML 1.2: the events of `ruamel.yaml` with their marks, made a tree (P)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from sandbox.clients.brackets import Brackets, Splice, changed
from sandbox.clients.json_text import Json
from sandbox.clients.toml_text import line_end, newline
from sandbox.clients.tree import ALIAS, ARRAY, MAX_DEPTH, MAX_VALUES, OBJECT, SCALAR, Member, Node, Unreadable

# What no revision of YAML reads as anything but text, between brackets too.
_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./@-]*")
_NOT_TEXT: Final = frozenset("true false null yes no on off y n".split())
_CORE: Final = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,400}")
_BASED: Final = re.compile(r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ODD_BREAK: Final = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
_COLON: Final = re.compile(r"[ \t]*:")
_SPECIAL: Final = {".inf": float("inf"), "-.inf": float("-inf"), "+.inf": float("inf"), ".nan": float("nan")}


class Yaml(Brackets):
    """Flow style is edited between its brackets, block style by its lines."""

    may_be_tight = False

    def scan(self, text: str) -> Node:
        """The tree of the one document in `text`."""
        if odd := _ODD_BREAK.search(text):
            # Two revisions, two sets of line breaks: a comment of one may be a server of the other.
            raise Unreadable(
                odd.start(), "a line break that not every client knows", "end lines with a newline"
            )
        try:
            return _Build(text).document()
        except ReaderError as error:
            raise Unreadable(error.position, "a character that YAML does not allow") from None
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = str(error.problem or error.context or "").partition("\n")[0]
            raise Unreadable(mark.index if mark else 0, f"not YAML: {what}") from None
        except (YAMLError, ValueError, RecursionError):
            raise Unreadable(0, "not YAML") from None

    def render(self, value: Any) -> str:
        if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
            return value
        return Json().render(value)  # JSON is a subset, and quoted text has the same escapes

    def key(self, name: str) -> str:
        return self.render(name) + ": "

    def replaced(self, text: str, node: Node, value: Any) -> Splice:
        if node.style == "block":
            raise Unreadable(node.start, "a block cannot be replaced by a value")
        space = " " if node.start == node.end else ""  # nothing may stand directly behind the colon
        return Splice(node.start, node.end, space + self.like(node, value))

    def like(self, node: Node, value: Any) -> str:
        """`value` in the quotes of `node`, where they can hold it."""
        if node.style == '"':
            return Json().render(value)
        if node.style == "'" and isinstance(value, str) and value.isprintable():
            return "'" + value.replace("'", "''") + "'"
        return self.render(value)

    # --- lists ----------------------------------------------------------------------------------------

    def relisted(self, text: str, node: Node, values: list[Any]) -> Splice | None:
        if node.style != "block":
            return super().relisted(text, node, values)
        first, last, fresh = changed(node, values)
        items = node.items
        if any(one.start == one.end for one in items):
            raise Unreadable(node.start, "an item without a value")
        if not fresh:
            return self._shortened(text, items, first, last) if first < last else None
        gap = newline(text) + " " * _column(text, _dash(text, node, 0)) + "- "
        rendered = [self.like(items[0], one) for one in fresh]
        if first < last:
            return Splice(items[first].start, items[last - 1].end, gap.join(rendered))
        if first < len(items):
            _dash(text, node, first)
            return Splice(items[first].start, items[first].start, "".join(one + gap for one in rendered))
        at = line_end(text, items[-1].end)
        return Splice(at, at, "".join(gap + one for one in rendered))

    def _shortened(self, text: str, items: list[Node], first: int, last: int) -> Splice:
        if last < len(items):
            return Splice(items[first].start, items[last].start, "")
        if first:
            return Splice(line_end(text, items[first - 1].end), line_end(text, items[-1].end), "")
        start = len(text[: items[0].start].rstrip(" \t\r\n").removesuffix("-").rstrip(" \t\r\n"))
        return Splice(start, items[-1].end, " []")

    # --- objects --------------------------------------------------------------------------------------

    def inserted(self, text: str, node: Node, after: Member | None, name: str, value: Any) -> Splice:
        if node.style != "block" or after is None:
            return super().inserted(text, node, after, name, value)
        indent = " " * _column(text, after.start)
        at = line_end(text, after.node.end)
        return Splice(at, at, newline(text) + indent + self.key(name) + self.render(value))

    def removed(self, text: str, node: Node, member: Member) -> Splice:
        if node.style != "block":
            return super().removed(text, node, member)
        index = node.members.index(member)
        if index:
            start = line_end(text, node.members[index - 1].node.end)
            return Splice(start, line_end(text, member.node.end), "")
        if len(node.members) > 1:
            return Splice(member.start, node.members[1].start, "")
        return Splice(member.start, member.node.end, "{}")


def _column(text: str, at: int) -> int:
    return at - text.rfind("\n", 0, at) - 1


def _dash(text: str, node: Node, index: int) -> int:
    """Where the dash of an item stands."""
    start = node.items[index - 1].end if index else node.start
    before = text[start : node.items[index].start].rstrip(" \t\r\n")
    if not before.endswith("-"):
        raise Unreadable(node.items[index].start, "a comment between a dash and its item")
    return start + len(before) - 1


def resolved(text: str) -> Any:
    """What a plain scalar means in the core schema (YAML 1.2.2, 10.3.2)."""
    if text in _CORE:
        return _CORE[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)


def _joined(text: str) -> str:
    """A pair of surrogates that was escaped as in JSON is one character, which the parser leaves in two."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


class _Build:
    """Builds the tree from events; an alias costs what it stands for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))
        self.anchors: dict[str, Node] = {}
        self.weights: dict[int, tuple[int, int]] = {}
        self.left = MAX_VALUES

    def document(self) -> Node:
        root: Node | None = None
        for event in self.events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                if root is not None:
                    raise Unreadable(event.start_mark.index, "more than one document in the file")
                root = self.node(next(self.events), 0)[0]
        if root is None or (root.kind == SCALAR and root.start == root.end):
            return Node(OBJECT, len(self.text), len(self.text))
        return root

    def node(self, event: Any, depth: int) -> tuple[Node, int, int]:
        """The node that begins with `event`, how many values it stands for and how deep they go."""
        start, kind = event.start_mark.index, type(event).__name__
        if kind == "AliasEvent":
            return self.alias(event, start, depth)
        if kind == "ScalarEvent":
            node = self.scalar(event, start)
            size, height = 1, 0
        else:
            node, size, height = self.collection(event, start, depth + 1)
        self.bounded(start, size if kind == "ScalarEvent" else 1, depth + height)
        if event.anchor:
            self.anchors[event.anchor] = node
            self.weights[id(node)] = (size, height)
        return node, size, height

    def bounded(self, at: int, more: int, depth: int) -> None:
        self.left -= more
        if self.left < 0:
            raise Unreadable(at, f"more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            raise Unreadable(at, f"nested deeper than {MAX_DEPTH}")

    def alias(self, event: Any, start: int, depth: int) -> tuple[Node, int, int]:
        target = self.anchors.get(event.anchor)
        if target is None:
            raise Unreadable(start, "an alias of a value that is not complete before it")
        size, height = self.weights[id(target)]
        self.bounded(start, size, depth + height)
        return Node(ALIAS, start, event.end_mark.index, target), size, height

    def scalar(self, event: Any, start: int) -> Node:
        end = event.end_mark.index
        if event.style in ("|", ">"):  # its mark is behind the line breaks that follow
            end = start + len(self.text[start:end].rstrip(" \t\r\n"))
        plain = event.style is None and event.implicit[0]
        value = resolved(event.value) if plain else _joined(event.value)
        return Node(SCALAR, start, end, value, event.style or "")

    def collection(self, event: Any, start: int, depth: int) -> tuple[Node, int, int]:
        if depth > MAX_DEPTH:
            raise Unreadable(start, f"nested deeper than {MAX_DEPTH}")
        mapping = type(event).__name__ == "MappingStartEvent"
        node = Node(OBJECT if mapping else ARRAY, start, style="" if event.flow_style else "block")
        size, height, end = 1, 0, start
        while not type(inner := next(self.events)).__name__.endswith("EndEvent"):
            name = self.name(inner) if mapping else None
            value, more, below = self.node(next(self.events) if mapping else inner, depth)
            if name is not None:
                self.behind_colon(inner.end_mark.index, value)
                node.members.append(Member(name, value, inner.start_mark.index, inner.end_mark.index))
            else:
                node.items.append(value)
            size, height, end = size + more, max(height, below + 1), value.end
        node.end = inner.end_mark.index if event.flow_style else end
        return node, size, height

    def behind_colon(self, key_end: int, value: Node) -> None:
        """An empty value stands behind its colon; the parser puts it where the next one begins."""
        if value.start == value.end and (found := _COLON.match(self.text, key_end)):
            value.start = value.end = found.end()

    def name(self, event: Any) -> str:
        if type(event).__name__ != "ScalarEvent":
            raise Unreadable(event.start_mark.index, "a key that is not text")
        return str(event.value)
