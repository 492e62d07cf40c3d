"""The names the server has looked up, each with one made-up address a family for the whole session (P)."""

from __future__ import annotations

MOST = 60_000
"""Names a session; a wildcard must not let a server fill our memory."""

NO_ONES = ("26.53.", "3053:6278:0:1:", "198.18.0.1", "fd53:6278:")
"""How the made-up addresses begin, and those of the sandbox's own interface."""

_FIRST = 256
# They have to look like anybody's: servers that guard against private and reserved addresses themselves
# refuse all others. Those whose 26.0.0.0/8 is do not announce it, 3000::/4 is not given out, and neither
# leaves the namespace.
_PREFIX_4 = 0x1A350000
_PREFIX_6 = 0x3053_6278_0000_0001 << 64


class Names:
    """Name to address and back."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int | None:
        """The number behind both addresses of `name`; None when there are too many names."""
        known = self._numbers.get(name)
        if known is not None or len(self._names) >= MOST:
            return known
        self._names.append(name)
        self._numbers[name] = _FIRST + len(self._names) - 1
        return self._numbers[name]

    def name(self, packed: bytes) -> str | None:
        """The name that the packed address `packed` stands for; None for every other address."""
        value = int.from_bytes(packed, "big")
        number = value - (_PREFIX_4 if len(packed) == 4 else _PREFIX_6)
        at = number - _FIRST
        return self._names[at] if 0 <= at < len(self._names) else None

    @staticmethod
    def four(number: int) -> bytes:
        """The packed IPv4 address of a name."""
        return (_PREFIX_4 + number).to_bytes(4, "big")

    @staticmethod
    def six(number: int) -> bytes:
        """The packed IPv6 address of a name."""
        return (_PREFIX_6 + number).to_bytes(16, "big")
