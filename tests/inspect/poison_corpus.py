"""The labelled texts of `tests/corpus/poison`, judged one by one as a server would say them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sandbox.inspect.poison import total
from sandbox.inspect.poison_rules import shipped_rules
from sandbox.inspect.poison_texts import Found, Looker
from sandbox.inspect.texts import DEFINITIONS, Part
from sandbox.wire.structs import msgspec

CORPUS = Path(__file__).resolve().parent.parent / "corpus" / "poison"


class Line(NamedTuple):
    """One text: `d` a definition, `r` a result, `n` a name."""

    file: str
    number: int
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


def lines(file: str) -> Iterator[Line]:
    """The texts of one file; escapes in it are JSON's."""
    for number, line in enumerate((CORPUS / file).read_text(encoding="utf-8").split("\n"), 1):
        if line and not line.startswith("#"):
            where, _, text = line.partition(" ")
            spelt = '"' + text.replace('\\"', '"').replace('"', '\\"') + '"'
            yield Line(file, number, where, msgspec.json.decode(spelt))


def files(kind: str) -> list[str]:
    """The files of a kind: `bad`, `good`."""
    return sorted(path.relative_to(CORPUS).as_posix() for path in (CORPUS / kind).glob("*.txt"))


@cache
def rules_looker() -> Looker:
    """Compiled once for all texts."""
    return Looker(shipped_rules())


def judged(line: Line) -> tuple[float, list[Found]]:
    """The score of a text where a server would say it, and what was found."""
    looker = rules_looker()
    looker.forget()
    part = _part(line)
    found = looker.look(part)
    return total(found, definition=part.kind in DEFINITIONS), found


def _part(line: Line) -> Part:
    if line.where == "r":
        return Part("result", ("result",), {"content": [{"type": "text", "text": line.text}]})
    name, said = (line.text, "Adds.") if line.where == "n" else ("a_tool", line.text)
    return Part("tool", ("result", "tools", 0), {"name": name, "description": said})
