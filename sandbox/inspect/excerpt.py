"""Words of a server's or a model's as a person may read them: on one line, hidden characters visible (P)."""

from __future__ import annotations


def excerpt(text: str, most: int) -> str:
    """The first `most` characters, an escape for each that moves, ends or hides text, and how many follow.

    What is not printable to Python is everything of the categories C and Z but the space: controls, bidi,
    zero-width and tag characters. A mark that changes the letter before it stays visible by doing so.
    """
    shown = text[:most]
    if not shown.isprintable():
        shown = "".join(one if one.isprintable() else _escaped(one) for one in shown)
    return shown if len(text) <= most else f"{shown}… and {len(text) - most} more characters"


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode("ascii")
