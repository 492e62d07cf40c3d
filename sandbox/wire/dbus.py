"""The little of D-Bus that one method call needs: its bytes, and the reply's (D-Bus specification, 0.43).

Little-endian throughout. The peer is the user's own service manager; what it says is bounded all the same.
"""

from __future__ import annotations

import struct

from sandbox.records import dataclass

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from collections.abc import Sequence

CALL, RETURN, ERROR = 1, 2, 3
LARGEST = 1 << 16
"""Bytes of one message; a reply has a hundred."""
_HEAD = 16
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
# Alignment of the types that are read or written here.
_ALIGNED = {"y": 1, "g": 1, "b": 4, "u": 4, "s": 4, "o": 4, "t": 8}


class Malformed(ValueError):
    """Bytes that are no message."""


@dataclass(frozen=True, slots=True)
class Property:
    """One named variant of a unit: `kind` is `b`, `s`, `t` (64 bits) or `au` (an array of 32 bits)."""

    name: str
    kind: str
    value: bool | int | str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """Whom to call; the body's signature goes with the body."""

    destination: str
    path: str
    interface: str
    member: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A return or an error, and the call it belongs to."""

    serial: int
    error: str = ""
    """The error's name, empty for a return."""
    text: str = ""
    """Its first argument, where that is a string."""


def greeting(uid: int) -> bytes:
    """Authentication as `uid`, by the socket's credentials; what follows may be sent in the same write."""
    return b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\nBEGIN\r\n"


def hello(serial: int) -> bytes:
    """The first call on a bus; a peer-to-peer connection has none."""
    bus = "org.freedesktop.DBus"
    return message(Call(bus, "/org/freedesktop/DBus", bus, "Hello"), serial)


def start_transient_unit(name: str, properties: Sequence[Property], serial: int) -> bytes:
    """The call of systemd's manager that makes a unit of properties, and nothing else."""
    body = _Writer()
    body.string(name)
    body.string("fail")
    start = body.array(8)
    for one in properties:
        body.align(8)
        body.string(one.name)
        body.variant(one.kind, one.value)
    body.end_array(start, 8)
    body.end_array(body.array(8), 8)  # no auxiliary units
    manager = Call(
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "StartTransientUnit",
    )
    return message(manager, serial, "ssa(sv)a(sa(sv))", bytes(body.bytes))


def message(call: Call, serial: int, signature: str = "", body: bytes = b"") -> bytes:
    """A method call, ready to be written."""
    fields = [(_PATH, "o", call.path), (_INTERFACE, "s", call.interface), (_MEMBER, "s", call.member)]
    fields.append((_DESTINATION, "s", call.destination))
    if signature:
        fields.append((_SIGNATURE, "g", signature))
    out = _Writer(struct.pack("<cBBBII", b"l", CALL, 0, 1, len(body), serial))
    start = out.array(8)
    for code, kind, value in fields:
        out.align(8)
        out.bytes.append(code)
        out.variant(kind, value)
    out.end_array(start, 8)
    out.align(8)
    return bytes(out.bytes) + body


class Reader:
    """Bytes of the peer in, answers out; the lines of the authentication come first."""

    def __init__(self) -> None:
        self._buffer = b""
        self._accepted = False

    def feed(self, data: bytes) -> list[Answer]:
        """The answers that are whole by now; Malformed for anything else than the protocol allows."""
        self._buffer += data
        if not self._accepted and not self._accept():
            return []
        answers = []
        while (size := _size(self._buffer)) and len(self._buffer) >= size:
            whole, self._buffer = self._buffer[:size], self._buffer[size:]
            if whole[1] in (RETURN, ERROR):
                answers.append(_answer(whole))
        return answers

    def _accept(self) -> bool:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            if len(self._buffer) > LARGEST:
                raise Malformed("no end of the first line")
            return False
        if not line.startswith(b"OK "):
            raise Malformed("the peer does not take us for who we are")
        self._accepted, self._buffer = True, rest
        return True


def _size(buffer: bytes) -> int:
    """Bytes of the message that begins here, 0 while that is not known."""
    if len(buffer) < _HEAD:
        return 0
    order, _, _, version, body, _, fields = struct.unpack_from("<cBBBIII", buffer)
    if (order, version) != (b"l", 1):
        raise Malformed("not a little-endian message of version 1")
    size: int = _HEAD + (fields + 7) // 8 * 8 + body
    if size > LARGEST:
        raise Malformed("a message larger than any answer")
    return size


def _answer(whole: bytes) -> Answer:
    try:
        return _read(whole)
    except (struct.error, IndexError, KeyError, UnicodeDecodeError) as error:
        raise Malformed("the header's fields are not what they say") from error


def _read(whole: bytes) -> Answer:
    fields_size = struct.unpack_from("<I", whole, 12)[0]
    fields: dict[int, int | str] = {}
    at, end = _HEAD, _HEAD + fields_size
    while at < end:
        at = (at + 7) // 8 * 8
        code, length = whole[at], whole[at + 1]
        kind = whole[at + 2 : at + 2 + length].decode()
        fields[code], at = _value(whole, at + 3 + length, kind)
    text = ""
    if str(fields.get(_SIGNATURE, ""))[:1] in ("s", "o"):
        text = str(_value(whole, (end + 7) // 8 * 8, "s")[0])
    # An error is one by its type, also where it has no name.
    error = str(fields.get(_ERROR_NAME, "unnamed")) if whole[1] == ERROR else ""
    return Answer(int(fields[_REPLY_SERIAL]), error, text)


def _value(whole: bytes, at: int, kind: str) -> tuple[int | str, int]:
    step = _ALIGNED[kind]
    at = (at + step - 1) // step * step
    if kind == "u":
        return int(struct.unpack_from("<I", whole, at)[0]), at + 4
    size = whole[at] if kind == "g" else int(struct.unpack_from("<I", whole, at)[0])
    at += 1 if kind == "g" else 4
    if at + size + 1 > len(whole):
        raise IndexError(at)
    return whole[at : at + size].decode(), at + size + 1


class _Writer:
    """Marshals values one after the other, each at the place its type wants."""

    def __init__(self, begun: bytes = b"") -> None:
        self.bytes = bytearray(begun)

    def align(self, step: int) -> None:
        self.bytes += bytes(-len(self.bytes) % step)

    def unsigned(self, value: int) -> None:
        self.align(4)
        self.bytes += struct.pack("<I", value)

    def string(self, text: str) -> None:
        self.unsigned(len(text.encode()))
        self.bytes += text.encode() + b"\0"

    def signature(self, text: str) -> None:
        self.bytes += bytes([len(text)]) + text.encode() + b"\0"

    def variant(self, kind: str, value: bool | int | str | tuple[int, ...]) -> None:
        self.signature(kind)
        if isinstance(value, tuple):
            start = self.array(4)
            for one in value:
                self.unsigned(one)
            self.end_array(start, 4)
        elif isinstance(value, str):
            (self.signature if kind == "g" else self.string)(value)
        elif kind == "t":
            self.align(8)
            self.bytes += struct.pack("<Q", value)
        else:
            self.unsigned(int(value))

    def array(self, step: int) -> int:
        """Begins an array; where its length is to be written."""
        self.unsigned(0)
        place = len(self.bytes) - 4
        self.align(step)
        return place

    def end_array(self, place: int, step: int) -> None:
        """Its length counts from the first element, not from the padding before it."""
        first = (place + 4 + step - 1) // step * step
        struct.pack_into("<I", self.bytes, place, len(self.bytes) - first)
