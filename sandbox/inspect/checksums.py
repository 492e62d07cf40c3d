"""What a credential's own form says of whether it is one: checksums, and what is packed inside (P)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from binascii import Error, a2b_base64
from collections.abc import Callable, Mapping
from typing import Final

from sandbox.inspect.entropy import entropy, looks_random, made_up, stands_for_another
from sandbox.patterns import regex

NEAR: Final = 64
"""Bytes before a number in which a word may say what it is."""
LEAST_KEY: Final = 40
"""Characters of base64 that the smallest private key has, cut as it may be."""
KEY_ENTROPY: Final = 3.5
_PLACE = regex(
    rb"(?:page|next|continuation|cursor|sync|progress|csrf|xsrf|idempotency|delta|resume)_?-?token\W*\Z",
    re.IGNORECASE,
)
"""Tokens that say where a list goes on, and open nothing."""
_COLUMN = regex(rb"\d[ -]+\Z|\b\d{4}\s+\Z")
_KEY_BODY = regex(rb"[A-Za-z0-9+/]{8,}")
_CARD_WORDS = regex(
    rb"card|visa|master|amex|american express|discover|credit|debit|payment|\bpan\b|\bcc\b|karte|carte"
    rb"|tarjeta|cartao|carta|kart",
    re.IGNORECASE,
)

Check = Callable[[bytes, bytes], bool]
"""Of a value, and of the text before it, whether it is what the rule says."""


def luhn(digits: bytes) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for at, digit in enumerate(reversed(digits)):
        number = digit - 48
        total += number if at % 2 == 0 else number * 2 - 9 * (number > 4)
    return total % 10 == 0


def card(value: bytes, before: bytes) -> bool:
    """Whether digits are a card's: issuer, check digit, and groups of a card's or a word that says so."""
    digits = value.translate(None, b" -")
    if not _issued(digits) or not luhn(digits) or len(set(digits)) < 2:
        return False
    separators = [bytes([byte]) for byte in value if byte in b" -"]
    if separators:
        groups = value.replace(b"-", b" ").split(b" ")
        grouped = [len(group) for group in groups] in ([4, 4, 4, 4], [4, 6, 5])
        # A column of a table is no card: more numbers around it, or each larger than the one before.
        alone = _COLUMN.search(before) is None and groups != sorted(groups)
        return len(set(separators)) == 1 and grouped and alone
    return _CARD_WORDS.search(before[-NEAR:]) is not None


def _issued(digits: bytes) -> bool:
    """Whether an issuer's range begins so: Amex with 15 digits, the others that have 16."""
    two, four = int(digits[:2]), int(digits[:4])
    if len(digits) == 15:
        return two in (34, 37)
    return (
        digits[:1] == b"4"
        or 51 <= two <= 55
        or 2221 <= four <= 2720
        or 3528 <= four <= 3589
        or four == 6011
        or 644 <= int(digits[:3]) <= 649
        or two in (62, 65, 81)
    )


def jwt(value: bytes, before: bytes) -> bool:
    """Whether the first part is a header that names an algorithm (RFC 7515 section 4.1.1)."""
    header, claims = (_unpacked(part) for part in value.split(b".", 2)[:2])
    example = made_up(claims) or b"John Doe" in claims or b'"some":"payload"' in claims
    return header.startswith(b"{") and b'"alg"' in header and not example


def _unpacked(part: bytes) -> bytes:
    try:
        return urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except (Error, ValueError):
        return b""


def basic(value: bytes, before: bytes) -> bool:
    """Whether it is `user:password` in base64, with a password that is one (RFC 7617)."""
    try:
        pair = a2b_base64(value + b"=" * (-len(value) % 4), strict_mode=True)
    except (Error, ValueError):
        return False
    _, colon, password = pair.partition(b":")
    printable = all(31 < byte < 127 for byte in pair)
    return bool(colon) and printable and len(password) > 3 and not stands_for_another(password)


def discord_id(value: bytes, before: bytes) -> bool:
    """Whether the first part is the base64 of a number of Discord's."""
    number = _unpacked(value.partition(b".")[0])
    return number.isdigit() and 17 <= len(number) <= 20


def key_body(value: bytes, before: bytes) -> bool:
    """Whether there is a key between the lines that say so, and not their like alone."""
    body = b"".join(_KEY_BODY.findall(value.partition(b"KEY")[2]))
    return len(body) >= LEAST_KEY and entropy(body) >= KEY_ENTROPY


CHECKS: Mapping[str, Check] = {
    "card": card,
    "key-body": key_body,
    "jwt": jwt,
    "basic": basic,
    "discord-id": discord_id,
    "password": lambda value, before: not stands_for_another(value),
    "random": lambda value, before: looks_random(value) and _PLACE.search(before) is None,
}
