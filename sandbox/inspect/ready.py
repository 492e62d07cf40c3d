"""The rules of `rules/*.toml` as a start reads them: `scripts/build-rules` makes the JSON beside each (P)."""

from __future__ import annotations

from os.path import dirname
from typing import Any, Final

from sandbox.wire.structs import msgspec

_RULES: Final = f"{dirname(__file__)}/rules"


def ready(name: str) -> dict[str, Any]:
    """The tables of `rules/NAME.toml`, with what is made of them; TOML takes ten times as long to read."""
    with open(f"{_RULES}/{name}.json", "rb") as file:
        held: dict[str, Any] = msgspec.json.decode(file.read())
    return held
