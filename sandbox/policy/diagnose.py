"""What is wrong with a profile file, in words: line, key, the value found and the nearest right key."""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from sandbox.errors import ProfileError
from sandbox.policy.positions import nearest, positions
from sandbox.policy.profile import Profile

LONGEST_VALUE = 60
MOST_FAULTS = 20

_WORDS = {
    "missing": "is missing",
    "string_type": "must be text",
    "list_type": "must be a list",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be `true` or `false`",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "finite_number": "must be a finite number",
}
# Values that may be secret are never repeated in a message.
_SILENT = ("env", "secrets")


def syntax(path: str, text: str, error: ValueError) -> ProfileError:
    """The error for a file that is not TOML, with the line that is not."""
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
    line = int(found[1]) if found and found[1] else text.count("\n") + 1
    why = str(error)[: found.start()] if found else str(error)
    quoted = text.splitlines()[line - 1 : line]
    shown = f"\n{_shown(quoted[0].strip())}" if quoted and quoted[0].strip() else ""
    return ProfileError("invalid-profile", f"{path}:{line}: not TOML: {why[:1].lower()}{why[1:]}{shown}")


def faults(path: str, text: str, error: ValidationError) -> ProfileError:
    """The error for a file that breaks the schema: a fault a line, the first suggestion as the hint."""
    lines = positions(text)
    found = error.errors(include_url=False, include_context=True)
    told = [_fault(path, lines, one) for one in found[:MOST_FAULTS]]
    if len(found) > MOST_FAULTS:
        told.append((f"and {len(found) - MOST_FAULTS} more", ""))
    hint = next((hint for _, hint in told if hint), "mcp-sandbox profile schema")
    what = "\n".join(sentence for sentence, _ in sorted(told, key=_line_of))
    return ProfileError("invalid-profile", what, rule="profile schema 1", hint=hint)


def _line_of(told: tuple[str, str]) -> int:
    found = re.search(r":(\d+): ", told[0])
    return int(found[1]) if found else 1 << 30


def _fault(path: str, lines: dict[Any, int], one: Any) -> tuple[str, str]:
    key = tuple(part for part in one["loc"] if part != "[key]")
    where = f"{path}:{nearest(lines, key) or 1}: `{_dotted(key)}`" if key else f"{path}:1"
    if one["type"] == "extra_forbidden":
        return f"{where} is not a key of a profile", _nearest_key(key)
    if one["type"] == "literal_error":
        return _choice(where, key, one)
    return f"{where}{_value(key, one)} {_reason(one)}", ""


def _reason(one: Any) -> str:
    if one["type"] == "value_error":
        return str(one["msg"]).removeprefix("Value error, ")
    words = str(one["msg"]).removeprefix("Input ")
    return _WORDS.get(one["type"], words[:1].lower() + words[1:])


def _choice(where: str, key: tuple[Any, ...], one: Any) -> tuple[str, str]:
    allowed = re.findall(r"'([^']+)'", one["ctx"]["expected"])
    close = difflib.get_close_matches(str(one["input"]), allowed, 1)
    sentence = f"{where}{_value(key, one)} must be one of {', '.join(f'`{word}`' for word in allowed)}"
    return sentence, f'did you mean `{key[-1]} = "{close[0]}"`?' if close else ""


def _value(key: tuple[Any, ...], one: Any) -> str:
    value = one["input"]
    silent = one["type"] == "missing" or (key and key[0] in _SILENT and isinstance(value, str))
    if silent or isinstance(value, BaseModel | dict):
        return ":" if one["type"] not in _WORDS else ""
    shown = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else _toml(value)
    return f" = {shown}:"


def _toml(value: object) -> str:
    shown = _shown(f'"{value}"' if isinstance(value, str) else str(value))
    return shown if len(shown) <= LONGEST_VALUE else shown[: LONGEST_VALUE - 1] + "…"


def _shown(text: str) -> str:
    # A hostile file must not paint on the terminal that shows its faults.
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _dotted(key: tuple[Any, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{_shown(part)}" for part in key]
    return "".join(parts).removeprefix(".")


def _nearest_key(key: tuple[Any, ...]) -> str:
    table = _table(key[:-1])
    close = difflib.get_close_matches(str(key[-1]), _keys(table), 1) if table else []
    if close:
        return f"did you mean `{_dotted((*key[:-1], close[0]))}`?"
    elsewhere = [name for name, model in _tables() if key[-1] in _keys(model)]
    return f"did you mean `{elsewhere[0]}.{key[-1]}`?" if elsewhere else "mcp-sandbox profile schema"


def _tables() -> list[tuple[str, Any]]:
    return [(name, model) for name in _keys(Profile) if (model := _table((name,)))]


def _keys(model: Any) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _table(key: tuple[Any, ...]) -> Any:
    """The model that describes the table at `key`; None where none does."""
    at: Any = Profile
    for part in key:
        if isinstance(at, type) and issubclass(at, BaseModel):
            named = [field for name, field in at.model_fields.items() if part == (field.alias or name)]
            at = named[0].annotation if named else None
        else:
            at = (get_args(at) or (None,))[-1]
    return at if isinstance(at, type) and issubclass(at, BaseModel) else None


def parse(path: str, text: str) -> Profile:
    """The profile that `text` is, or the ProfileError that says why it is none."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise syntax(path, text, ValueError("nested too deeply")) from None
    except ValueError as error:
        raise syntax(path, text, error) from None
    try:
        return Profile.model_validate(document)
    except ValidationError as error:
        raise faults(path, text, error) from None
