"""D-Bus: our call byte by byte as another library makes it, and answers however they are cut."""

from __future__ import annotations

import struct

import pytest

from sandbox.wire import dbus
from sandbox.wire.dbus import Answer, Malformed, Property, Reader


def answer(kind: int, serial: int, fields: dict[int, tuple[str, str]], body: bytes = b"") -> bytes:
    """A message of a peer's, marshalled here by other means than ours: every field padded by hand."""
    packed = struct.pack("<BB1sBI", 5, 1, b"u", 0, serial)
    for code, (signature, text) in fields.items():
        packed += bytes(-len(packed) % 8) + struct.pack("<BB1sB", code, 1, signature.encode(), 0)
        size = struct.pack("<B" if signature == "g" else "<I", len(text))
        packed += size + text.encode() + b"\0"
    head = struct.pack("<cBBBIII", b"l", kind, 1, 1, len(body), 9, len(packed))
    return head + packed + bytes(-len(packed) % 8) + body


def string(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode() + b"\0"


OK = b"OK 1234deadbeef\r\n"
JOB = answer(dbus.RETURN, 2, {8: ("g", "o")}, string("/org/freedesktop/systemd1/job/7"))
ERROR = answer(
    dbus.ERROR, 2, {4: ("s", "org.freedesktop.DBus.Error.AccessDenied"), 8: ("g", "s")}, string("no")
)
NAMELESS = answer(dbus.ERROR, 2, {})
SIGNAL = answer(4, 0, {1: ("o", "/x"), 2: ("s", "a.b"), 3: ("s", "C")})


@pytest.mark.parametrize("size", [1, 2, 7, 10_000], ids=lambda size: f"in pieces of {size}")
def test_answers_are_read_however_they_are_cut(size: int) -> None:
    told, reader, found = OK + SIGNAL + JOB + ERROR + NAMELESS, Reader(), []
    for start in range(0, len(told), size):
        found += reader.feed(told[start : start + size])

    assert found == [
        Answer(2, "", "/org/freedesktop/systemd1/job/7"),
        Answer(2, "org.freedesktop.DBus.Error.AccessDenied", "no"),
        Answer(2, "unnamed", ""),
    ]


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(b"REJECTED EXTERNAL\r\n", id="somebody else's"),
        pytest.param(b"x" * (dbus.LARGEST + 1), id="no line at all"),
        pytest.param(OK + b"B" + JOB[1:], id="big-endian"),
        pytest.param(OK + struct.pack("<cBBBIII", b"l", 2, 1, 1, 1 << 30, 1, 0), id="a gigabyte"),
        pytest.param(OK + JOB.replace(b"\x05\x01u", b"\x05\x01?"), id="a field of no type"),
        pytest.param(
            OK + answer(dbus.RETURN, 2, {8: ("g", "s")}, b"\xff\xff\0\0a\0"), id="a string too long"
        ),
    ],
)
def test_what_is_no_answer_is_refused(told: bytes) -> None:
    with pytest.raises(Malformed):
        Reader().feed(told)


def test_the_call_is_byte_by_byte_what_another_library_makes() -> None:
    wanted = [
        Property("Delegate", "b", True),
        Property("PIDs", "au", (7,)),
        Property("Slice", "s", "app.slice"),
    ]
    call = dbus.start_transient_unit("a.scope", [*wanted, Property("TasksMax", "t", 33)], 2)

    assert call.hex() == JEEPNEY


# `new_method_call(…, "StartTransientUnit", "ssa(sv)a(sa(sv))", …).serialise(serial=2)` of jeepney 0.9.
JEEPNEY = (
    "6c0100019000000002000000b600000001016f00190000002f6f72672f667265656465736b746f702f73797374656d64310000000000"
    "000002017300200000006f72672e667265656465736b746f702e73797374656d64312e4d616e616765720000000000000000030173"
    "001200000053746172745472616e7369656e74556e697400000000000006017300180000006f72672e667265656465736b746f702e"
    "73797374656d6431000000000000000008016700107373612873762961287361287376292900000007000000612e73636f70650004"
    "0000006661696c0000000068000000000000000800000044656c6567617465000162000100000000000000040000005049447300"
    "02617500000000040000000700000005000000536c69636500017300000000090000006170702e736c69636500000008000000546173"
    "6b734d61780001740021000000000000000000000000000000"
)
