"""A client's file: its bytes, its entries, and the bytes with some values changed and nothing else (P)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sandbox.clients import shapes
from sandbox.clients.brackets import Brackets, Splice
from sandbox.clients.tree import (
    ALIAS,
    ARRAY,
    OBJECT,
    Member,
    Node,
    Unreadable,
    again,
    behind,
    plain,
    repeated,
    same,
)
from sandbox.clients.words import REMOVED, ConfigError, Edit, Entry, Path, Row

MAX_BYTES: Final = 32 << 20
MAX_BYTES_OF: Final = {"toml": 1 << 20, "yaml": 256 << 10}
"""What people write by hand; their parsers are ten times as slow as JSON's."""
_BOM: Final = "\ufeff"
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")


def parse(content: bytes, format: str, where: str = "the file") -> Document:
    """The document in `content` (`json`, `jsonc`, `toml`, `yaml`), or a `ConfigError`: file, line, fix."""
    text = _text(content, format, where)
    bom = _BOM if text.startswith(_BOM) else ""
    body = text.removeprefix(_BOM)
    syntax = _syntax(format)
    try:
        return Document(content, format, where, body, bom, syntax, syntax.scan(body))
    except Unreadable as error:
        raise _unreadable(where, body, error) from None


def _syntax(format: str) -> Brackets:
    # Imported where it is needed: a machine with JSON only never loads the YAML parser.
    if format == "toml":
        from sandbox.clients.toml_text import Toml

        return Toml()
    if format == "yaml":
        from sandbox.clients.yaml_text import Yaml

        return Yaml()
    from sandbox.clients.json_text import Json

    return Json()


def _text(content: bytes, format: str, where: str) -> str:
    limit = MAX_BYTES_OF.get(format, MAX_BYTES)
    if len(content) > limit:
        raise ConfigError("config-size", f"{where} has {len(content)} bytes; more than {limit} are not read")
    if content.startswith(_WIDE) or b"\0" in content[:4]:
        raise ConfigError("config-encoding", f"{where} is UTF-16", hint="save it as UTF-8")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"{where}:{line}: byte {error.start} is not UTF-8"
        raise ConfigError("config-encoding", what, hint="save it as UTF-8") from None


def _unreadable(where: str, text: str, error: Unreadable) -> ConfigError:
    line, column = place(text, error.at)
    return ConfigError("config-malformed", f"{where}:{line}:{column}: {error.what}", hint=error.fix)


def place(text: str, at: int) -> tuple[int, int]:
    """Line and column, from one, of an index."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


class Document:
    """One file as it was read; it never changes."""

    def __init__(
        self, content: bytes, format: str, where: str, text: str, bom: str, syntax: Brackets, root: Node
    ) -> None:
        self.content = content
        self.format = format
        self.where = where
        self._text = text
        self._bom = bom
        self._syntax = syntax
        self._root = root

    def data(self) -> Any:
        """Everything as plain values."""
        return plain(self._root)

    def entries(self, row: Row) -> list[Entry]:
        """The servers that the client of `row` finds in it, in the order of the file."""
        for key in row.keys:
            for node in self._under(self._root, key):
                self._refuse_repeated(repeated(node))
        return shapes.entries(row, self.data())

    def line(self, path: Path) -> int:
        """The line on which the value of `path`, or the nearest around it that exists, begins."""
        node = self._root
        for part in path:
            inner = _inner(behind(node), part)
            if inner is None:
                break
            node = inner
        return place(self._text, node.start)[0]

    def edited(self, edits: Sequence[Edit]) -> bytes:
        """The bytes with these values; all bytes outside of what changed are the same."""
        if not edits:
            return self.content
        content = self._at_once(edits)
        rounds = _rounds(edits)
        if content is None and len(rounds) > 1:
            # What stands side by side, such as two members that go, is changed one after the other.
            content = self.content
            for one in rounds:
                content = parse(content, self.format, self.where).edited(one)
        if content is None:
            raise self._not_edited(edits[0].path, "it is written in a way that cannot be changed safely")
        return content

    def _at_once(self, edits: Sequence[Edit]) -> bytes | None:
        """The bytes with all edits; None where these are in each other's way."""
        try:
            text = self._spliced([splice for edit in edits for splice in self._splices(edit)])
            right = same(plain(self._syntax.scan(text)), self._expected(edits))
        except (Unreadable, ValueError):
            return None
        return (self._bom + text).encode() if right else None

    def _expected(self, edits: Sequence[Edit]) -> Any:
        data = self.data()
        for edit in edits:
            data = _set(data, edit)
        return data

    # --- reading --------------------------------------------------------------------------------------

    def _under(self, node: Node, key: Sequence[str]) -> Iterator[Node]:
        """Every node that a key of the table leads to; none may be ambiguous on the way."""
        node = behind(node)
        if self.format == "yaml":
            self._refuse_merged(node)
        if not key:
            yield node
            return
        if key[0] == "*":
            self._refuse_repeated(again(node))
            for member in node.members:
                yield from self._under(member.node, key[1:])
            return
        named = node.named(key[0])
        self._refuse_repeated(iter(named[1:]))
        for member in named:
            yield from self._under(member.node, key[1:])

    def _refuse_repeated(self, members: Iterator[Member]) -> None:
        found = next(members, None)
        if found is None:
            return
        line, column = place(self._text, found.start)
        what = f"{self.where}:{line}:{column}: `{found.name}` stands in the same object twice"
        raise ConfigError(
            "config-duplicate-key", what, hint="remove one: which of them counts is not certain"
        )

    def _refuse_merged(self, node: Node) -> None:
        for member in node.named("<<"):
            line, column = place(self._text, member.start)
            what = (
                f"{self.where}:{line}:{column}: `<<` takes servers from elsewhere, and not for every client"
            )
            raise ConfigError("config-merge", what, hint="write the servers where they are used")

    # --- writing --------------------------------------------------------------------------------------

    def _splices(self, edit: Edit) -> list[Splice]:
        parent = self._root
        for part in edit.path[:-1]:
            inner = _inner(parent, part)
            if inner is None or inner.kind == ALIAS:
                why = "it is an alias of another value" if inner else f"`{part}` is not there any more"
                raise self._not_edited(edit.path, why)
            parent = inner
        name = edit.path[-1]
        node = _inner(parent, name)
        if node is None:
            return self._inserted(parent, edit)
        if edit.value is REMOVED:
            if parent.kind != OBJECT:
                raise self._not_edited(edit.path, "an item of a list is not taken away alone")
            return [self._syntax.removed(self._text, parent, parent.named(str(name))[-1])]
        if node.kind == ARRAY and isinstance(edit.value, list):
            splice = self._syntax.relisted(self._text, node, edit.value)
            return [splice] if splice else []
        return [] if same(plain(node), edit.value) else [self._syntax.replaced(self._text, node, edit.value)]

    def _inserted(self, parent: Node, edit: Edit) -> list[Splice]:
        name = edit.path[-1]
        if edit.value is REMOVED:
            return []
        if parent.kind != OBJECT or isinstance(name, int) or not self._text.strip():
            raise self._not_edited(edit.path, "what it belongs to is not there any more")
        candidates = parent.named(edit.after) or parent.members
        after = candidates[-1] if candidates else None
        return [self._syntax.inserted(self._text, parent, after, name, edit.value)]

    def _spliced(self, splices: list[Splice]) -> str:
        pieces, at = [], 0
        for splice in sorted(splices, key=lambda one: (one.start, one.end)):
            if splice.start < at:
                raise ValueError("two edits overlap")
            pieces += [self._text[at : splice.start], splice.text]
            at = splice.end
        return "".join([*pieces, self._text[at:]])

    def _not_edited(self, path: Path, why: str) -> ConfigError:
        name = ".".join(map(str, path))
        what = f"{self.where}:{self.line(path)}: `{name}` was not changed: {why}"
        return ConfigError(
            "config-not-editable", what, hint="write the entry in the plain form, and try again"
        )


def _rounds(edits: Sequence[Edit]) -> list[list[Edit]]:
    """The edits such that no two of one round are of the same object; in their order."""
    rounds: list[list[Edit]] = []
    had: dict[Path, int] = {}
    for edit in edits:
        number = had.get(edit.path[:-1], 0)
        had[edit.path[:-1]] = number + 1
        rounds[number:] = rounds[number:] or [[]]
        rounds[number].append(edit)
    return rounds


def _inner(node: Node, part: str | int) -> Node | None:
    if isinstance(part, int):
        return node.items[part] if node.kind == ARRAY and 0 <= part < len(node.items) else None
    named = node.named(part)
    return named[-1].node if named else None


def _set(data: Any, edit: Edit) -> Any:
    """A copy of `data` with the edit made, and its path alone copied."""
    name, *rest = edit.path
    made = copy.copy(data)
    if rest:
        made[name] = _set(data[name], Edit(tuple(rest), edit.value, edit.after))
    elif edit.value is REMOVED:
        made.pop(name, None)
    elif isinstance(data, dict) and name not in data:
        made = {}
        for key, value in data.items():
            made[key] = value
            if key == edit.after:
                made[name] = edit.value
        made.setdefault(name, edit.value)
    else:
        made[name] = edit.value
    return made
