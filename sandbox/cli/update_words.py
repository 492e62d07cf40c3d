"""What an update would change, as a person reads it: what is to be feared stands out, nothing is hidden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sandbox.cli import pin_words
from sandbox.cli.output import harmless
from sandbox.cli.pin_words import Line
from sandbox.inspect.pin_diff import visible
from sandbox.update.report import ITEMS, Outcome, sentence

if TYPE_CHECKING:
    from sandbox.inspect.pinned import Pinned
    from sandbox.update.difference import Difference
    from sandbox.update.sources import Source

MOST_PACKAGES: Final = 40
"""Lines about packages of one kind; `--json` has all."""
MOST_FILES: Final = 100
_PARTS: Final = (
    ("against it", frozenset({"doubt", "finding", "content", "unheard"})),
    ("packages", frozenset({"package", "publisher", "provenance", "origin", "scripts"})),
    ("what is started", frozenset({"program", "image", "bundle", "place", "machine", "size", "file"})),
    ("what it tries", frozenset({"host", "path", "call"})),
    ("what it may do", frozenset({"tier", "profile", "options"})),
    ("what is not known", frozenset({"unchecked"})),
)
_SIGNS: Final = {"added": "+", "removed": "-", "changed": "~"}
_COLOURS: Final = {"error": "red", "warning": "yellow", "note": ""}
_LINES: Final = {"+": "green", "-": "red", " ": "", "…": "yellow"}


def lines(outcome: Outcome, pinned: Pinned) -> Iterator[Line]:
    """All of it, part by part."""
    old, new = outcome.versions
    yield f"{outcome.name}: {old} → {new}" if old != new else f"{outcome.name}: {old}", "bold"
    for title, rules in _PARTS:
        yield from _part(title, [one for one in outcome.differences if one.rule in rules])
    yield from _says([one for one in outcome.differences if one.rule in ITEMS], pinned)
    yield from _sources(outcome.sources)


def _part(title: str, found: list[Difference]) -> Iterator[Line]:
    if not found:
        return
    yield "", ""
    yield title, "bold"
    order = {"error": 0, "warning": 1, "note": 2}
    listed = sorted(found, key=lambda one: order[one.level])
    for one in [each for each in listed if each.level == "error"]:
        yield _line(one)
    rest = [each for each in listed if each.level != "error"]
    for one in rest[:MOST_PACKAGES]:
        yield _line(one)
    if len(rest) > MOST_PACKAGES:
        yield f"  … {len(rest) - MOST_PACKAGES} more; `--json` has them", "yellow"


def _line(one: Difference) -> Line:
    return f"  {_SIGNS[one.sort]} {one_line(sentence(one))}", _COLOURS[one.level]


def one_line(text: str) -> str:
    """What packages and servers chose neither drives the terminal nor begins a line of its own."""
    return harmless(visible(text)).replace("\n", "\\n").replace("\t", "\\t")


def _says(found: list[Difference], pinned: Pinned) -> Iterator[Line]:
    """Names, descriptions, schemas and instructions, as `approve` shows them."""
    if not found:
        return
    yield "", ""
    yield "what it says of itself, which a model reads", "bold"
    shown = {(kind, key) for kind, items in pinned.waiting.items() for key in items}
    for one in found:
        if (one.rule, one.name) not in shown:
            yield _line(one)
    for words, colour in pin_words.lines(pinned, pinned.waiting):
        yield (f"  {words}" if words else ""), colour


def _sources(found: tuple[Source, ...]) -> Iterator[Line]:
    """The server's own files, line by line."""
    if not found:
        return
    yield "", ""
    yield "its own files", "bold"
    for one in found[:MOST_FILES]:
        why = f": {one.unread}" if one.unread else ""
        yield f"  {_SIGNS[one.sort]} {one_line(one.path)}{why}", "yellow"
        for sign, text in one.lines:
            yield f"    {sign} {harmless(text)}", _LINES[sign]
    if len(found) > MOST_FILES:
        yield f"  … {len(found) - MOST_FILES} more files; `--json` has them", "yellow"
