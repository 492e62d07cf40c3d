"""What is overwritten where it lies is nowhere in the object any more, and the object is still one."""

from __future__ import annotations

import ctypes

import pytest

from sandbox import linux


@pytest.mark.parametrize(
    "text",
    ["a-token-of-ours", "tökén-öf-öurs", "токен-наш-тайный", "\U0001f511-key-\U0001f511-key", "a" * 5000],
    ids=["ASCII", "Latin-1", "two bytes", "four bytes", "long"],
)
@pytest.mark.parametrize("kept", [False, True], ids=["alone", "and kept as UTF-8"])
def test_a_text(text: str, kept: bool) -> None:
    value = "".join(text)  # an object of its own: the literal is the test's
    value = (value + "!")[:-1]
    beside = (value + "!")[:-1]
    if kept:
        as_utf8(value)
        as_utf8("\x80")  # everybody's: what it keeps counts to its size
    linux.overwrite(value)
    assert len(value) == len(beside)
    assert not any(part in value for part in (text, text[:3], text[-3:]))
    assert text.encode()[:3] not in (as_utf8(value) if kept else b"")
    assert beside == text


def as_utf8(value: str) -> bytes:
    """The object's own UTF-8, which it keeps from then on."""
    ask = ctypes.pythonapi.PyUnicode_AsUTF8
    ask.restype, ask.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return bytes(ask(value))


def test_bytes() -> None:
    value = b"a-token-of-ours" + bytes(0)
    value = bytes(bytearray(value))
    linux.overwrite(value)
    assert value == b"x" * 15


def test_what_everybody_may_share_stays() -> None:
    for value in ("", "a", "true", b"", b"a"):
        linux.overwrite(value)
    assert ("a", "true", b"a") == (chr(97), str(True).lower(), bytes([97]))
