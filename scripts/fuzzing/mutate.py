"""Changes a conversation where a change is worth something: inside values, not between braces."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

from fuzzing.conversations import FRAGMENTS, SEEDS, VALUES

Tree = Any
_MOST_STEPS = 40


def mutated(data: bytes, most: int, seed: int, otherwise: Callable[[bytes, int], bytes]) -> bytes:
    """`data` with one line changed, or as `otherwise` changes bytes."""
    chance = random.Random(seed)  # noqa: S311 - the fuzzer's own seed: a run can be had again
    if not data or chance.random() < 0.1:
        return chance.choice(SEEDS)[:most]
    if chance.random() < 0.25:
        return otherwise(data, most)
    lines = data.split(b"\n")
    for _ in range(chance.randint(1, 3)):
        _change(lines, chance)
    return b"\n".join(lines)[:most]


def _change(lines: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(lines))
    match chance.randrange(12):
        case 0:
            lines.insert(at, lines[chance.randrange(len(lines))])
        case 1:
            del lines[at]
            lines.append(b"")
        case 2:
            other = chance.choice(SEEDS).split(b"\n")
            lines.insert(at, other[chance.randrange(len(other))])
        case _:
            lines[at] = _line(lines[at], chance)


def _line(line: bytes, chance: random.Random) -> bytes:
    try:
        tree = json.loads(line[1:])
    except (ValueError, RecursionError):
        return line
    if not isinstance(tree, dict):
        return line
    for _ in range(chance.randint(1, 3)):
        _inside(tree, chance)
    text = json.dumps(tree, ensure_ascii=chance.random() < 0.3, separators=chance.choice([None, (",", ":")]))
    return line[:1] + text.encode("utf-8", "replace")


TEARS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\r", b"\x00", b"\xff", b"\xef\xbb\xbf", b"NaN",
    b"\\ud800", b"\xe2\x80\xa8", b"1e999", b"-", b"0", b" ", b"null", b"true", b"1e2", b'"id":1,',
    b'"id":1.0,', b'"a":1,"a":2,', b'"jsonrpc":"2.0",', b'"method":"x",', b'"result":{},', b'"params":null,',
    b'"error":{"code":1,"message":"m"},',
)  # fmt: skip


def torn(line: bytes, chance: random.Random) -> bytes:
    """A line with one to three changes that know nothing of what it says."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(line) + 1)
        match chance.randrange(4):
            case 0 | 1:
                # After a brace or a comma a member fits; elsewhere nothing does.
                at = line.find(chance.choice([b"{", b","]), at) + 1 or at
                line = line[:at] + chance.choice(TEARS) + line[at:]
            case 2:
                line = line[:at] + line[at + chance.randint(1, 8) :]
            case _:
                line = line[:at] + bytes([chance.randrange(256)]) + line[at + 1 :]
    return line.replace(b"\n", b" ")


def changed(message: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Another message with some values changed."""
    tree = copy.deepcopy(message)
    for _ in range(chance.randint(1, 3)):
        _inside(tree, chance)
    return tree


def _inside(tree: Tree, chance: random.Random) -> None:
    """Walk to some container and change one of its values."""
    for _ in range(_MOST_STEPS):
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            break
        key = chance.choice(keys)
        inner = tree[key]
        if not isinstance(inner, dict | list) or chance.random() < 0.2:
            tree[key] = _value(inner, chance)
            return
        tree = inner
    if isinstance(tree, dict):
        tree[chance.choice(FRAGMENTS)] = copy.deepcopy(chance.choice(VALUES))
    else:
        tree.append(copy.deepcopy(chance.choice(VALUES)))


def _value(value: Any, chance: random.Random) -> Any:
    match chance.randrange(8):
        case 0:
            return copy.deepcopy(chance.choice(VALUES))
        case 1:
            return [value] * chance.choice([1, 2, 30])
        case 2:
            return {chance.choice(FRAGMENTS): value}
        case 3:
            return _deep(value, chance.choice([3, 40, 90]))
        case _ if isinstance(value, str):
            return _text(value, chance)
        case _:
            return chance.choice(FRAGMENTS)


def _deep(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


def _text(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text) + 1)
    fragment = chance.choice(FRAGMENTS)
    match chance.randrange(4):
        case 0:
            return fragment
        case 1:
            return text[:at] + fragment[: chance.randrange(len(fragment) + 1)] + text[at:]
        case 2:
            return (
                text[:at]
                + chr(chance.choice([chance.randrange(0xD800), chance.randrange(0xE000, 0x110000)]))
                + text[at:]
            )
        case _:
            return text[:at] + fragment + text[at:]
