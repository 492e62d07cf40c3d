"""One line of `doctor`'s report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["works", "fails", "limited", "absent"]


@dataclass(frozen=True, slots=True)
class Row:
    """A probe or a backend: what it is, how it stands, and what helps."""

    name: str
    state: State
    detail: str
    hint: str = ""
