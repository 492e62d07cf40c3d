"""What a child writes, read no further than it takes to find whose it is (P).

The child's relay has judged every frame already. What a server puts into one costs the front, which all
clients share, no more than finding its end: no value of it is made that nobody asks for.
"""

from __future__ import annotations

from typing import Any, Literal

from sandbox.wire.structs import msgspec

LINE_MAX = 64 << 20
"""What the profile allows is the child's to say; more than this is no message under any."""
KEY_MAX = 4096
"""A longer id or token is nobody's: the relay takes none of that length from a client."""
Key = int | str
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


_NAMES = {"token": "progressToken", "request": "requestId", "meta": "_meta"}


class Strange(ValueError):
    """A line that no child of ours writes, and why."""


class _Meta(msgspec.Struct, gc=False, rename={"id": _SUBSCRIPTION}):
    id: msgspec.Raw = msgspec.Raw(b"null")


class _Params(msgspec.Struct, gc=False, rename=_NAMES):
    token: msgspec.Raw = msgspec.Raw(b"null")
    request: msgspec.Raw = msgspec.Raw(b"null")
    meta: msgspec.Raw = msgspec.Raw(b"null")


class _Envelope(msgspec.Struct, gc=False):
    id: msgspec.Raw = msgspec.Raw(b"")
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


class _Error(msgspec.Struct, gc=False):
    code: int


_envelope = msgspec.json.Decoder(_Envelope).decode
_params = msgspec.json.Decoder(_Params).decode
_meta = msgspec.json.Decoder(_Meta).decode
_error = msgspec.json.Decoder(_Error).decode
_decode = msgspec.json.decode


class Heard:
    """One message, `data` ended by LF; what it says is looked up when it is asked for."""

    __slots__ = ("_envelope", "_found", "data", "id", "kind", "method")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._found: _Params | None = None
        try:
            self._envelope = found = _envelope(data)
            self.id = _key(found.id)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Strange(str(error)) from None
        self.method = found.method
        self.kind: Literal["request", "response", "notification"] = "response"
        if found.method is not None:
            self.kind = "request" if found.id else "notification"

    @property
    def token(self) -> Key | None:
        """The progress token that it is about."""
        return _key(self._named().token)

    @property
    def request(self) -> Key | None:
        """The request that it cancels."""
        return _key(self._named().request)

    @property
    def subscription(self) -> Key | None:
        """The subscription that it belongs to."""
        try:
            return _key(_meta(self._named().meta).id)
        except msgspec.DecodeError:
            return None

    @property
    def result(self) -> dict[str, Any] | None:
        """The whole result, made now; None for an error."""
        found = _decode(self._envelope.result) if self._envelope.result else None
        return found if isinstance(found, dict) else None

    @property
    def code(self) -> int | None:
        """The error's code; None for a result."""
        try:
            return _error(self._envelope.error).code if self._envelope.error else None
        except msgspec.DecodeError:
            return 0

    def _named(self) -> _Params:
        """The parameters, or what a result has in their place."""
        if self._found is None:
            its = self._envelope
            self._found = _read_params(its.result if self.kind == "response" else its.params)
        return self._found


def _read_params(part: msgspec.Raw) -> _Params:
    try:
        return _params(part) if part else _Params()
    except msgspec.DecodeError:
        return _Params()


def _key(raw: msgspec.Raw) -> Key | None:
    """A string or an integer; whatever else it is names nobody."""
    spelt = memoryview(raw)
    if not 0 < len(spelt) <= KEY_MAX or bytes(spelt[:1]) in (b"{", b"["):
        return None
    value = _decode(raw)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


class Lines:
    """Cuts a child's output into messages; holds no more than one that is under way."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Heard]:
        """What the bytes so far complete; raises `Strange` at the first line that is no message."""
        if chunk.find(b"\n") == len(chunk) - 1:
            return [Heard(self._whole(chunk))]
        *lines, rest = chunk.split(b"\n")
        found = [Heard(self._whole(line + b"\n")) for line in lines]
        if rest:
            self._held.append(rest)
            self._size += len(rest)
        if self._size > LINE_MAX:
            raise Strange(f"a line of more than {LINE_MAX} bytes")
        return found

    def _whole(self, end: bytes) -> bytes:
        """The line that `end` ends; joined once, however many pieces it came in."""
        if not self._held:
            return end
        whole = b"".join((*self._held, end))
        self._held.clear()
        self._size = 0
        return whole
