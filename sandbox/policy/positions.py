"""The line of every key of a TOML document, which the standard parser does not keep (TOML 1.0.0)."""

from __future__ import annotations

import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]

_SPACE = " \t"
_BLANK = " \t\r\n"


def positions(text: str) -> dict[Path, int]:
    """Maps key paths (array items by index) to line numbers; `text` must already have been parsed."""
    return _Scan(text).document()


def nearest(lines: dict[Path, int], path: Path) -> int:
    """The line of `path`, or of the closest table or list around it; 0 where nothing was written."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0)


class _Scan:
    """A single pass that knows where keys, values and strings begin and end, and nothing of their meaning."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.newlines = [i for i, char in enumerate(text) if char == "\n"]
        self.lines: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}

    def document(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip(_BLANK):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.lines

    def _skip(self, blank: str) -> bool:
        """Moves past `blank` and, between lines, comments; False at the end."""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "#" and "\n" in blank:
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif char in blank:
                self.at += 1
            else:
                return True
        return False

    def _note(self, path: Path, at: int) -> None:
        # The first mention wins: `[a.b]` before `[a]` still shows where `a` began.
        self.lines.setdefault(path, bisect_right(self.newlines, at - 1) + 1)

    def _header(self) -> Path:
        start, array = self.at, self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        path = self._enter(self._key(), start)
        if array:
            index = self.counts.get(path, 0)
            self.counts[path] = index + 1
            path = (*path, index)
            self._note(path, start)
        self.at = self.text.index("]", self.at) + (2 if array else 1)
        return path

    def _enter(self, key: list[str], start: int) -> Path:
        """The path a header means: through an array of tables it goes into the last one."""
        path: Path = ()
        for number, part in enumerate(key):
            path = (*path, part)
            self._note(path, start)
            if path in self.counts and number + 1 < len(key):
                path = (*path, self.counts[path] - 1)
        return path

    def _pair(self, table: Path) -> None:
        start = self.at
        path = table
        for part in self._key():
            path = (*path, part)
            self._note(path, start)
        self.at = self.text.index("=", self.at) + 1
        self._value(path)

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_SPACE)
            parts.append(self._part())
            self._skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def _part(self) -> str:
        start = self.at
        if self.text[start] in "\"'":
            self._string()
            return str(tomllib.loads("k=" + self.text[start : self.at])["k"])
        while self.at < len(self.text) and self.text[self.at] not in " \t.=]":
            self.at += 1
        return self.text[start : self.at]

    def _value(self, path: Path) -> None:
        self._skip(_SPACE)
        opening = self.text[self.at]
        if opening in "\"'":
            self._string()
        elif opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline(path)
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\r\n":
                self.at += 1

    def _string(self) -> None:
        quote = self.text[self.at]
        many = self.text.startswith(quote * 3, self.at)
        self.at += 3 if many else 1
        while not self.text.startswith(quote * 3 if many else quote, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += 3 if many else 1
        # A multi-line string may end in up to two more quotes that belong to it.
        while many and self.text.startswith(quote, self.at):
            self.at += 1

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self._skip(_BLANK + ",") and self.text[self.at] != "]":
            self._note((*path, index), self.at)
            self._value((*path, index))
            index += 1
        self.at += 1

    def _inline(self, path: Path) -> None:
        self.at += 1
        while self._skip(_BLANK + ",") and self.text[self.at] != "}":
            self._pair(path)
        self.at += 1
