"""A lock as TOML and back: strict, bounded, and the same text for the same lock (no I/O)."""

from __future__ import annotations

import re
import types
from functools import cache

from sandbox.errors import SandboxError, SandboxNotBuilt
from sandbox.hints import Any, Literal, origin
from sandbox.patterns import regex
from sandbox.records import is_record, names
from sandbox.supply import spec
from sandbox.supply.frozen import MOUNT
from sandbox.supply.lock import INTERPRETER, LARGEST, SCHEMA, Lock

MOST_ITEMS = 20_000
LONGEST = 32 << 10
DEEPEST = 8
NAME = regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

HEAD = """# What one server is, to the byte: `mcp-sandbox run` starts nothing else under this name.
# `mcp-sandbox lock` wrote it and `mcp-sandbox update` writes it anew; a hand's change is refused.
"""
_DIGEST = regex(r"[0-9a-f]{64}")
_SHA256 = regex(r"sha256:[0-9a-f]{64}")
_PLACE = regex(r"(node_modules/(@[\w.~-]+/)?[\w.~-]+)(/node_modules/(@[\w.~-]+/)?[\w.~-]+)*", re.ASCII)
_BARE = regex(r"[A-Za-z0-9_-]+", re.ASCII)


class Malformed(ValueError):
    """What is wrong, and at which key."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"`{key}` {why}")


# --- to TOML ----------------------------------------------------------------------------------------


def spell(lock: Lock) -> str:
    """The text of a lock; `parse` gives the very same lock back."""
    lines = [HEAD, f"schema = {SCHEMA}"]
    tables: list[str] = []
    for name in names(lock):
        value = getattr(lock, name)
        if is_record(value):
            tables += ["", f"[{name}]", *_fields(value)]
        elif isinstance(value, tuple) and value and is_record(value[0]):
            for one in value:
                tables += ["", f"[[{name}]]", *_fields(one)]
        elif value or name in _needed(Lock):
            lines.append(f"{name} = {_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _fields(record: Any) -> list[str]:
    kind: Any = type(record)
    held = ((name, getattr(record, name)) for name in names(record))
    return [f"{name} = {_value(value)}" for name, value in held if name in _needed(kind) or value]


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return _inline(tuple(value.items()))
    if _is_mapping(value):
        return _inline(value)
    return f"[{', '.join(map(_value, value))}]"


def _is_mapping(value: Any) -> bool:
    """Pairs of a name and a value: `rest` and `starts`, of which the text makes an inline table."""
    return isinstance(value, tuple) and bool(value) and all(type(one) is tuple for one in value)


def _inline(pairs: Any) -> str:
    if not pairs:
        return "{}"
    return "{ " + ", ".join(f"{_key(name)} = {_value(value)}" for name, value in pairs) + " }"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    """A basic string (TOML 1.0): whatever could drive a terminal or end the line is escaped."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_character, text)) + '"'


def _character(c: str) -> str:
    if c in '"\\':
        return "\\" + c
    if c.isprintable():
        return c
    if 0xD800 <= ord(c) <= 0xDFFF:
        raise ValueError("half of a surrogate pair is no text")
    return f"\\u{ord(c):04X}" if ord(c) < 0x10000 else f"\\U{ord(c):08X}"


# --- from TOML --------------------------------------------------------------------------------------


def parse(text: str, file: str) -> Lock:
    """The lock of a file's text, or `lock-unreadable` with the file and the key."""
    import tomllib  # a start reads the compiled form

    try:
        if len(text) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
        document = tomllib.loads(text)
        return _lock(document)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SandboxNotBuilt("lock-unreadable", f"`{file}` is no lock: {why}") from None


def _lock(document: dict[str, Any]) -> Lock:
    schema = document.pop("schema", None)
    if type(schema) is not int or schema != SCHEMA:
        raise Malformed("schema", f"is not {SCHEMA}: another version of mcp-sandbox wrote it, or nobody")
    lock = _record(Lock, document, "")
    assert isinstance(lock, Lock)  # noqa: S101 - for the type checker
    _sound(lock)
    return lock


def _record(kind: Any, value: object, at: str) -> object:
    if not isinstance(value, dict):
        raise Malformed(at, "is no table")
    hints = _hints(kind)
    for key in value:
        if key not in hints:
            raise Malformed(f"{at}{key}", "is not a key of a lock")
    for key in _needed(kind):
        if key not in value:
            raise Malformed(f"{at}{key}", "is missing")
    return kind(**{key: _read(hints[key], one, f"{at}{key}") for key, one in value.items()})


@cache
def _needed(kind: Any) -> tuple[str, ...]:
    """The fields without a default, which stand in every text."""
    from dataclasses import MISSING, fields  # a start reads the compiled form

    return tuple(
        one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING
    )


@cache
def _hints(kind: Any) -> dict[str, Any]:
    from typing import get_type_hints  # a start reads the compiled form

    return get_type_hints(kind)


def _read(hint: Any, value: object, at: str) -> object:
    kind = origin(hint)
    if is_record(hint):
        return _record(hint, value, f"{at}.")
    if kind is tuple:
        return _tuple(hint.__args__, value, at)
    if kind is Literal:
        if value in hint.__args__ and isinstance(value, str):
            return value
        raise Malformed(at, f"is none of {', '.join(hint.__args__)}")
    if kind is types.UnionType:
        return _read(hint.__args__[0], value, at)
    if hint is Any:
        return _plain(value, at, DEEPEST)
    if type(value) is not hint:
        raise Malformed(at, f"is no {_WORDS[hint]}")
    return _short(value, at)


_WORDS = {str: "string", int: "whole number", bool: "`true` or `false`"}


def _short(value: object, at: str) -> object:
    if isinstance(value, str) and len(value) > LONGEST:
        raise Malformed(at, f"is longer than {LONGEST} characters")
    if isinstance(value, int) and not 0 <= value < 1 << 53:
        raise Malformed(at, "is out of range")
    return value


def _tuple(items: tuple[Any, ...], value: object, at: str) -> tuple[object, ...]:
    if isinstance(value, dict) and origin(items[0]) is tuple:
        name, one = items[0].__args__
        _few(value, at)
        return tuple((_read(name, key, at), _read(one, each, f"{at}.{key}")) for key, each in value.items())
    if not isinstance(value, list) or (value and origin(items[0]) is tuple):
        raise Malformed(at, "is no table" if origin(items[0]) is tuple else "is no list")
    _few(value, at)
    return tuple(_read(items[0], one, f"{at}[{number}]") for number, one in enumerate(value))


def _few(value: Any, at: str) -> None:
    if len(value) > MOST_ITEMS:
        raise Malformed(at, f"has more than {MOST_ITEMS} items")


def _plain(value: object, at: str, depth: int) -> object:
    """A value of an installer's: text, number, truth, and lists and tables of these, a few levels deep."""
    if depth == 0:
        raise Malformed(at, "is nested too deeply")
    if isinstance(value, dict):
        _few(value, at)
        return {key: _plain(one, f"{at}.{key}", depth - 1) for key, one in value.items()}
    if isinstance(value, list):
        _few(value, at)
        return [_plain(one, at, depth - 1) for one in value]
    if type(value) not in (str, int, bool):
        raise Malformed(at, "is no text, number or truth")
    return _short(value, at)


# --- what every lock keeps to -----------------------------------------------------------------------


def _sound(lock: Lock) -> None:
    """What is used as a path or compared as a hash is one."""
    if not NAME.fullmatch(lock.name):
        raise Malformed("name", "is not letters, digits, `.`, `_` and `-`")
    if not lock.asked or not lock.command:
        raise Malformed("asked" if not lock.asked else "command", "is empty")
    _canonical(lock)
    if not {"program": lock.places, "oci": lock.image}.get(lock.kind, lock.trees):
        raise Malformed("kind", f"is {lock.kind}, and nothing of that kind is locked")
    for tree in lock.trees:
        _hash("trees.digest", tree.digest)
        for name, words in tree.starts:
            if words[:1] != (INTERPRETER,) and not "".join(words[:1]).startswith(f"{MOUNT}/"):
                raise Malformed("trees.starts", f"of `{name!a}` starts what is not in the tree")
    for place in lock.places:
        _hash("places.digest", place.digest)
        if not place.path.startswith("/") or "\0" in place.path:
            raise Malformed("places.path", "is no absolute path")
    for package in lock.packages:
        if package.place and not _PLACE.fullmatch(package.place):
            raise Malformed("packages.place", f"`{package.place!a}` is no place in a tree")
    _vouched(lock)
    for at, value in (("profile_digest", lock.profile_digest), ("bundle", lock.bundle)):
        if value and not (_DIGEST if at == "profile_digest" else _SHA256).fullmatch(value):
            raise Malformed(at, "is no SHA-256")
    if lock.image is not None:
        for at, layers in (("image.id", (lock.image.id,)), ("image.layers", lock.image.layers)):
            if not layers or not all(map(_SHA256.fullmatch, layers)):
                raise Malformed(at, "is no `sha256:` and 64 digits")


def _canonical(lock: Lock) -> None:
    """Of packages, what was asked for is spelt as a request spells it."""
    reader = {"npm": spec.npm, "pypi": spec.pypi}.get(lock.kind)
    for one in lock.asked if reader is not None else ():
        try:
            same = reader is not None and reader(one) == one
        except SandboxError:
            same = False
        if not same:
            raise Malformed("asked", f"names `{one!a}`, which is no package as we spell it")


def _vouched(lock: Lock) -> None:
    from sandbox.supply.npm_lock import without_integrity  # of what is read, not of what starts

    for package in without_integrity(lock.packages):
        raise Malformed("packages.integrity", f"of `{package.name!a}` is empty")


def _hash(at: str, value: str) -> None:
    if not _DIGEST.fullmatch(value):
        raise Malformed(at, "is no SHA-256")
