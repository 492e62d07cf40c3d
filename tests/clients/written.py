"""Files as people and editors write them, made up by hypothesis together with what they mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
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
class Server:
    """What a client is to read of one entry; no arguments are not the same as an empty list of them."""

    name: str
    command: str
    args: list[str] | None
    env: dict[str, str]
    timeout: int | None


@dataclass(frozen=True)
class Written:
    """A text, what it means, and the servers in it in order."""

    text: str
    data: Any
    row: str
    format: str
    servers: list[Server]


@st.composite
def servers(draw: Draw) -> list[Server]:
    """One to three servers, each with its name."""
    return [
        Server(
            name,
            draw(TEXT.filter(bool)),
            draw(st.one_of(st.none(), st.lists(TEXT, max_size=4))),
            draw(st.dictionaries(NAMES, TEXT, max_size=2)),
            draw(st.one_of(st.none(), st.integers(0, 10**6))),
        )
        for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    ]


def _entry(draw: Draw, server: Server, command: str, env: str, *, name: bool = False) -> dict[str, Any]:
    """The server as a table, its members in any order; an environment of nothing may be left out."""
    made: dict[str, Any] = {"name": server.name} if name else {}
    made[command] = server.command
    if server.args is not None:
        made["args"] = server.args
    if server.env or draw(st.booleans()):
        made[env] = server.env
    if server.timeout is not None:
        made["timeout"] = server.timeout
    return {key: made[key] for key in draw(st.permutations(list(made)))}


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
    """JSON with comments and trailing commas, any white space, in any order, in every shape."""
    told = draw(servers())
    data = draw(st.dictionaries(NAMES, _OTHER, max_size=2))
    row, key, value = draw(st.sampled_from([_flat, _array, _nested, _listed]))(draw, told)
    data[key] = value
    data = {one: data[one] for one in draw(st.permutations(list(data)))}
    return Written(_b(draw) + _json(draw, data) + _b(draw), data, row, "json", told)


Shaped = tuple[str, str, Any]


def _flat(draw: Draw, told: list[Server]) -> Shaped:
    return "cursor", "mcpServers", {one.name: _entry(draw, one, "command", "env") for one in told}


def _array(draw: Draw, told: list[Server]) -> Shaped:
    made = {one.name: _entry(draw, one, "command", "environment") for one in told}
    for entry in made.values():
        entry["command"] = [entry["command"], *entry.pop("args", [])]
    return "opencode", "mcp", made


def _nested(draw: Draw, told: list[Server]) -> Shaped:
    return "zed", "context_servers", {one.name: {"command": _entry(draw, one, "path", "env")} for one in told}


def _listed(draw: Draw, told: list[Server]) -> Shaped:
    return "continue", "mcpServers", [_entry(draw, one, "command", "env", name=True) for one in told]


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
    told = draw(servers())
    dotted = {one.name for one in told if draw(st.integers(0, 3)) == 0}
    told = [one for one in told if one.name in dotted] + [one for one in told if one.name not in dotted]
    entries = {one.name: _entry(draw, one, "command", "env") for one in told}
    for name, server in entries.items():
        if name in dotted:
            lines += [
                f"mcp_servers.{_name(draw, name)}.{key} = {_toml(draw, one)}{_end(draw)}"
                for key, one in server.items()
            ]
    for name, server in entries.items():
        if name not in dotted:
            lines += _table(draw, name, server)
    data["mcp_servers"] = entries
    text = eol.join(lines) + draw(st.sampled_from(["", eol]))
    return Written(text.replace("\n", eol) if eol == "\n" else _crlf(text), data, "codex", "toml", told)


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
    """Block and flow style at any indentation, every kind of scalar, comments and aliases between."""
    eol = draw(st.sampled_from(["\n", "\r\n"]))
    told = _sharing(draw, draw(servers()))
    lines = draw(st.sampled_from([[], ["# top"], ["---"], ["# a", "", "# b"]]))
    data: dict[str, Any] = {}
    if draw(st.booleans()):
        data["MODEL"] = draw(TEXT)
        lines = [*lines, f"MODEL: {_scalar(draw, data['MODEL'])}"]
    if draw(st.booleans()):
        data["notes"] = "one: {\n\n- two # no\n"
        lines = [*lines, "notes: |", "  one: {", "", "  - two # no"]
    row, value, more = draw(st.sampled_from([_mapping, _sequence]))(draw, told)
    data["extensions" if row == "goose" else "mcpServers"] = value
    text = eol.join([*lines, *more]) + draw(st.sampled_from(["", eol, eol * 2]))
    return Written(text, data, row, "yaml", told)


def _sharing(draw: Draw, told: list[Server]) -> list[Server]:
    """The second server may have the environment of the first, by an alias."""
    if len(told) > 1 and told[0].env and draw(st.booleans()):
        told[1] = replace(told[1], env=told[0].env)
    return told


def _mapping(draw: Draw, told: list[Server]) -> tuple[str, Any, list[str]]:
    step = draw(st.integers(1, 4))
    outer, inner = " " * step, " " * step * 2
    made, lines = {}, ["extensions:"]
    for server in told:
        entry = made[server.name] = _entry(draw, server, "cmd", "envs")
        if draw(st.integers(0, 3)) == 0:
            lines += [f"{outer}{_scalar(draw, server.name)}: {_flow(draw, entry)}{_end(draw)}"]
        else:
            lines += [
                f"{outer}{_scalar(draw, server.name)}:{_end(draw)}",
                *_members(draw, inner, entry, step),
            ]
    return "goose", made, _aliased(draw, lines, "envs", told)


def _sequence(draw: Draw, told: list[Server]) -> tuple[str, Any, list[str]]:
    step, wide = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    outer = " " * draw(st.sampled_from([0, step]))
    made, lines = [], ["mcpServers:"]
    for server in told:
        made.append(_entry(draw, server, "command", "env", name=True))
        members = _members(draw, outer + " " * (wide + 1), made[-1], step)
        lines += [f"{outer}-{members[0][len(outer) + 1 :]}", *members[1:]]
    return "continue", made, _aliased(draw, lines, "env", told)


def _aliased(draw: Draw, lines: list[str], key: str, told: list[Server]) -> list[str]:
    """The environment of the first server with an anchor, where both stand on one line each."""
    at = [n for n, line in enumerate(lines) if line.lstrip(" -").startswith(f"{key}: {{")]
    if len(told) < 2 or len(at) < len(told) or not told[0].env or told[0].env != told[1].env:
        return lines
    first, second = at[:2]
    lines[first] = lines[first].replace(f"{key}: {{", f"{key}: &shared {{", 1)
    lines[second] = lines[second].partition(f"{key}: {{")[0] + f"{key}: *shared"
    return lines


def _members(draw: Draw, indent: str, entry: dict[str, Any], step: int) -> list[str]:
    lines: list[str] = []
    for key, value in entry.items():
        lines += _yaml_member(draw, indent, key, value, step)
        lines += draw(st.sampled_from([[], [], [""], [f"{indent}# between"]]))
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
    if plain and value.lower() not in ("true", "false", "null") and draw(st.booleans()):
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
