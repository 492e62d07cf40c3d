"""Files as people and editors write them, made up by hypothesis together with what they mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[Any], Any]

WORDS = st.sampled_from(
    [
        *["npx", "-y", "--", "@scope/pkg@1.2.3", "uvx", "a b", "C:\\Users\\x", "${input:key}", "#no", "it's"],
        *['say "hi"', "", "true", "1", "null", "- x", "a: b", "{}", "[,]", "né", "\U0001f600", "tab\there"],
        *["// c", "/* c */", "*x", "yes", "~", "0x1", "1e3", "2024-01-01", "!t", "&a", "%", "@", "`", "a #b"],
    ]
)
TEXT = st.one_of(WORDS, st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), max_size=12))
NAMES = st.one_of(
    st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True),
    st.sampled_from(["with space", "dotted.name", "ключ", "quo'te"]),
)


@dataclass(frozen=True)
class Written:
    """A text, what it means, and the servers in it in order."""

    text: str
    data: Any
    row: str
    format: str


def _server(draw: Draw, command: str, env: str) -> dict[str, Any]:
    server: dict[str, Any] = {command: draw(TEXT.filter(bool))}
    if draw(st.booleans()):
        server["args"] = draw(st.lists(TEXT, max_size=4))
    if draw(st.booleans()):
        server[env] = draw(st.dictionaries(NAMES, TEXT, max_size=2))
    if draw(st.booleans()):
        server["timeout"] = draw(st.integers(0, 10**6))
    keys = draw(st.permutations(list(server)))
    return {key: server[key] for key in keys}


def _servers(draw: Draw, command: str, env: str) -> dict[str, Any]:
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    return {name: _server(draw, command, env) for name in names}


# --- JSON ------------------------------------------------------------------------------------------------

_BLANK = st.sampled_from(["", "", " ", "  ", "\n", "\n    ", "\r\n\t", "/* , } */", ' // "{[,\n', "/**/ "])
_FINITE: Any = {"allow_nan": False, "allow_infinity": False}
_OTHER = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**20), 10**20), TEXT, st.floats(width=32, **_FINITE)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


@st.composite
def in_json(draw: Draw) -> Written:
    """JSON with comments and trailing commas, any white space, in any order."""
    data = draw(st.dictionaries(NAMES, _OTHER, max_size=2))
    data["mcpServers"] = _servers(draw, "command", "env")
    data = {key: data[key] for key in draw(st.permutations(list(data)))}
    return Written(_b(draw) + _json(draw, data) + _b(draw), data, "cursor", "json")


def _b(draw: Draw) -> str:
    return str(draw(_BLANK))


def _json(draw: Draw, value: Any) -> str:
    if isinstance(value, dict):
        pairs = [f"{_json(draw, key)}{_b(draw)}:{_b(draw)}{_json(draw, one)}" for key, one in value.items()]
        return "{" + _joined(draw, pairs) + "}"
    if isinstance(value, list):
        return "[" + _joined(draw, [_json(draw, one) for one in value]) + "]"
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


def _joined(draw: Draw, pieces: list[str]) -> str:
    end = "," if pieces and draw(st.booleans()) else ""
    return ",".join(f"{_b(draw)}{piece}{_b(draw)}" for piece in pieces) + end + _b(draw)


# --- TOML ------------------------------------------------------------------------------------------------


@st.composite
def in_toml(draw: Draw) -> Written:
    """Tables by header, inline and dotted, with comments and every kind of string."""
    eol = draw(st.sampled_from(["\n", "\r\n"]))
    lines, data = [], {}
    if draw(st.booleans()):
        data["model"] = draw(TEXT)
        lines += [f"model = {_toml(draw, data['model'])}{_end(draw)}"]
    if draw(st.booleans()):
        data["notes"] = 'one\ntwo # = ["x"]\n'
        lines += ['notes = """', "one", 'two # = ["x"]', '"""']
    servers = _servers(draw, "command", "env")
    dotted = {name for name in servers if draw(st.integers(0, 3)) == 0}
    for name, server in servers.items():
        if name in dotted:
            lines += [
                f"mcp_servers.{_name(draw, name)}.{key} = {_toml(draw, one)}{_end(draw)}"
                for key, one in server.items()
            ]
    for name, server in servers.items():
        if name not in dotted:
            lines += _table(draw, name, server)
    ordered = [name for name in servers if name in dotted] + [name for name in servers if name not in dotted]
    data["mcp_servers"] = {name: servers[name] for name in ordered}
    text = eol.join(lines) + draw(st.sampled_from(["", eol]))
    return Written(text.replace("\n", eol) if eol == "\n" else _crlf(text), data, "codex", "toml")


def _crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _table(draw: Draw, name: str, server: dict[str, Any]) -> list[str]:
    indent = draw(st.sampled_from(["", "  "]))
    lines, tables = (
        [draw(st.sampled_from(["", "# a comment"])), f"[mcp_servers.{_name(draw, name)}]{_end(draw)}"],
        [],
    )
    inline = draw(st.booleans())
    for key, one in server.items():
        if isinstance(one, dict) and not inline:
            tables += [f"[mcp_servers.{_name(draw, name)}.{key}]"]
            tables += [f"{_name(draw, inner)} = {_toml(draw, value)}" for inner, value in one.items()]
        else:
            lines.append(f"{indent}{key} = {_toml(draw, one)}{_end(draw)}")
    return lines + tables


def _name(draw: Draw, name: str) -> str:
    bare = name.isascii() and all(char.isalnum() or char in "_-" for char in name)
    return name if bare and draw(st.booleans()) else _basic(name)


def _end(draw: Draw) -> str:
    return str(draw(st.sampled_from(["", "", "  # why", " #"])))


def _basic(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(draw: Draw, value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{ " + ", ".join(f"{_name(draw, key)} = {_toml(draw, one)}" for key, one in value.items()) + " }"
        )
    if isinstance(value, list):
        gap = draw(st.sampled_from([", ", ",", ",\n  ", ", # x\n"]))
        end = draw(st.sampled_from(["", ",", " "])) if value else ""
        return (
            "["
            + draw(st.sampled_from(["", "\n  "]))
            + gap.join(_toml(draw, one) for one in value)
            + end
            + "]"
        )
    if isinstance(value, str):
        literal = value.isprintable() and "'" not in value
        return f"'{value}'" if literal and draw(st.booleans()) else _basic(value)
    return json.dumps(value)


# --- YAML ------------------------------------------------------------------------------------------------


@st.composite
def in_yaml(draw: Draw) -> Written:
    """Block and flow style at any indentation, every kind of scalar, comments between."""
    eol = draw(st.sampled_from(["\n", "\r\n"]))
    servers = _servers(draw, "cmd", "envs")
    data: dict[str, Any] = {"extensions": servers}
    lines = draw(st.sampled_from([[], ["# top"], ["---"], ["# a", "", "# b"]]))
    if draw(st.booleans()):
        data = {"GOOSE_MODEL": draw(TEXT), **data}
        lines = [*lines, f"GOOSE_MODEL: {_scalar(draw, data['GOOSE_MODEL'])}"]
    step = draw(st.integers(1, 4))
    lines = [*lines, "extensions:"]
    for name, server in servers.items():
        lines += _yaml_server(draw, name, server, step)
    return Written(eol.join(lines) + draw(st.sampled_from(["", eol, eol * 2])), data, "goose", "yaml")


def _yaml_server(draw: Draw, name: str, server: dict[str, Any], step: int) -> list[str]:
    outer, inner = " " * step, " " * step * 2
    if draw(st.integers(0, 3)) == 0:
        return [f"{outer}{_scalar(draw, name)}: {_flow(draw, server)}{_end(draw)}"]
    lines = [f"{outer}{_scalar(draw, name)}:{_end(draw)}"]
    for key, value in server.items():
        lines += _yaml_member(draw, inner, key, value, step)
        lines += draw(st.sampled_from([[], [], [""], [f"{inner}# between"]]))
    return lines


def _yaml_member(draw: Draw, indent: str, key: str, value: Any, step: int) -> list[str]:
    if isinstance(value, dict | list) and value and draw(st.booleans()):
        deeper = indent + " " * (draw(st.sampled_from([0, step])) if isinstance(value, list) else step)
        if isinstance(value, list):
            below = [f"{deeper}- {_scalar(draw, one)}{_end(draw)}" for one in value]
        else:
            below = [f"{deeper}{_scalar(draw, one)}: {_scalar(draw, two)}" for one, two in value.items()]
        return [f"{indent}{key}:{_end(draw)}", *below]
    return [f"{indent}{key}: {_flow(draw, value)}{_end(draw)}"]


def _flow(draw: Draw, value: Any) -> str:
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{_quoted(draw, key)}: {_flow(draw, one)}" for key, one in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_flow(draw, one) for one in value) + "]"
    return _quoted(draw, value) if isinstance(value, str) else json.dumps(value)


def _scalar(draw: Draw, value: str) -> str:
    plain = value[:1].isalpha() and value.isascii() and value.replace("-", "").replace("/", "").isalnum()
    if plain and value not in ("true", "null") and draw(st.booleans()):
        return value
    return _quoted(draw, value)


def _quoted(draw: Draw, value: str) -> str:
    if value.isprintable() and draw(st.booleans()):
        return "'" + value.replace("'", "''") + "'"
    return (
        json.dumps(value, ensure_ascii=True).replace("\x7f", "\\x7f")
        if not _bmp(value)
        else _basic_yaml(value)
    )


def _bmp(value: str) -> bool:
    return all(ord(char) < 0x10000 for char in value)


def _basic_yaml(value: str) -> str:
    return (
        '"'
        + "".join(char if char.isalnum() and char.isascii() else f"\\U{ord(char):08x}" for char in value)
        + '"'
    )
