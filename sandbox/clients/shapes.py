"""From what stands under a key to entries, and from an entry to the edits that change its command (P)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sandbox.clients.words import REMOVED, Edit, Entry, Path, Row
from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """The names of an entry's members; where one is empty the client has no such member."""

    command: str = "command"
    args: str = "args"
    """Empty where the command is a list that holds its arguments."""
    env: str = "env"
    urls: tuple[tuple[str, str], ...] = (("url", "http"), ("serverUrl", "http"))
    """Members that hold an address, and what is spoken there unless the entry says it."""
    inner: str = ""
    """The member that holds command, arguments and environment."""
    passed: str = ""


SHAPES: Final = {
    "flat": Shape(),
    "gemini": Shape(urls=(("httpUrl", "http"), ("url", "sse"))),
    "codex": Shape(passed="env_vars"),
    "goose": Shape(command="cmd", env="envs", urls=(("uri", "http"), ("url", "http")), passed="env_keys"),
    "array": Shape(args="", env="environment"),
    "zed": Shape(),
    "zed-nested": Shape(command="path", inner="command"),
    "transport": Shape(inner="transport"),
}
_KINDS: Final = {
    "stdio": "stdio",
    "local": "stdio",
    "sse": "sse",
    "remote": "http",
    "http": "http",
    "streamable-http": "http",
    "streamablehttp": "http",
    "streamable_http": "http",
    "ws": "http",
}
_READ: Final = frozenset("name cwd envFile disabled enabled type".split())


def entries(row: Row, data: Any) -> list[Entry]:
    """The servers in a document's plain values, in its order."""
    return [
        one for key in row.keys for path, value in _under(data, key, ()) for one in _all(row, path, value)
    ]


def started_by(entry: Entry, command: str, args: Sequence[str] | None) -> list[Edit]:
    """The least edits after which the client starts `command` with `args`; None: with no such member."""
    shape = SHAPES[entry.shape]
    base = (*entry.path, shape.inner) if shape.inner else entry.path
    if not shape.args:
        return [Edit((*base, shape.command), [command, *(args or ())])]
    given: Any = REMOVED if args is None else list(args)
    first = Edit((*base, shape.command), command)
    return [first, Edit((*base, shape.args), given, after=shape.command)]


def members_of(data: Any, path: Path) -> dict[str, Any]:
    """The entry at `path` in a document's plain values."""
    for part in path:
        data = data[part]
    return dict(data) if isinstance(data, dict) else {}


def rewritten(entry: Entry, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Entry, list[Edit]]:
    """The entry as the client reads it with other members, and the least edits that give it these."""
    edits = [Edit((*entry.path, name), REMOVED) for name in before if name not in after]
    previous = ""
    for name, value in after.items():
        if name not in before or before[name] != value:
            edits.append(Edit((*entry.path, name), value, after=previous))
        previous = name
    return _entry(entry.shape, entry.name, entry.path, dict(after)), edits


def _under(data: Any, key: Sequence[str], path: Path) -> Iterator[tuple[Path, Any]]:
    """Every value that a key of the table leads to, and its path."""
    if not key:
        yield path, data
    elif isinstance(data, dict):
        for name in data if key[0] == "*" else [key[0]] if key[0] in data else []:
            yield from _under(data[name], key[1:], (*path, name))


def _all(row: Row, path: Path, value: Any) -> Iterator[Entry]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, dict) and _is_server(inner, row.shape):
                yield _entry(row.shape, str(name), (*path, name), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if isinstance(inner, dict) and _is_server(inner, row.shape):
                yield _entry(row.shape, str(inner.get("name", index)), (*path, index), inner)


def _is_server(value: dict[str, Any], shape: str) -> bool:
    """Tells a server from a table of servers, such as `mcp.servers` beside `mcp.NAME`."""
    names = {"command", "cmd", "type", "transport", "source", "enabled", "disabled", "settings", "uri"}
    held = {name for name, inner in value.items() if not isinstance(inner, dict) or name in _INNER[shape]}
    return bool(held & (names | {url for url, _ in SHAPES[shape].urls}))


_INNER: Final = {name: {shape.inner} for name, shape in SHAPES.items()} | {"zed": {"command", "settings"}}


def _entry(name_of_shape: str, name: str, path: Path, value: dict[str, Any]) -> Entry:
    name_of_shape = _exact(name_of_shape, value)
    shape = SHAPES[name_of_shape]
    held = value[shape.inner] if shape.inner else value
    faults = list(_faults(shape, value, held))
    command, args = _command(shape, held)
    url, spoken = next(((held[m], k) for m, k in shape.urls if isinstance(held.get(m), str)), ("", ""))
    return Entry(
        name=name,
        command=command,
        args=args,
        env=_pairs(held.get(shape.env)),
        cwd=_text(value.get("cwd")),
        url=url,
        kind=_kind(value, held, command, spoken),
        disabled=value.get("disabled") is True or value.get("enabled") is False,
        passed=_names(value.get(shape.passed)) if shape.passed else (),
        env_file=_text(value.get("envFile")),
        extra={one: inner for one, inner in value.items() if one not in _known(shape)},
        path=path,
        args_given=shape.args in held if shape.args else True,
        shape=name_of_shape,
        faults=tuple(faults),
    )


def _exact(shape: str, value: dict[str, Any]) -> str:
    """The shape of this very entry, where a client reads more than one."""
    if shape == "zed" and isinstance(value.get("command"), dict):
        return "zed-nested"
    if shape == "transport" and not isinstance(value.get("transport"), dict):
        return "flat"
    return shape


def _known(shape: Shape) -> set[str]:
    urls = {name for name, _ in shape.urls}
    return {*_READ, *urls, shape.command, shape.args, shape.env, shape.inner, shape.passed} - {""}


def _command(shape: Shape, held: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    words = held.get(shape.command)
    if not shape.args:
        listed = _names(words)
        return (listed[0], listed[1:]) if listed else ("", ())
    return _text(words), _names(held.get(shape.args))


def _kind(value: dict[str, Any], held: dict[str, Any], command: str, spoken: str) -> str:
    if command:
        return "stdio"  # whatever else is said: some client starts it
    said = value.get("type") or held.get("type") or value.get("transport")
    if isinstance(said, str) and said.lower() in _KINDS:
        return _KINDS[said.lower()]
    return spoken or "other"


# --- what no client can read -----------------------------------------------------------------------------


def _faults(shape: Shape, value: dict[str, Any], held: dict[str, Any]) -> Iterator[str]:
    if "<<" in value or "<<" in held:
        yield "it merges another value with `<<`, which not every client does"
    command = held.get(shape.command)
    if command is not None and not _right(command, listed=not shape.args):
        yield f"`{shape.command}` is not {'a list of texts' if not shape.args else 'text'}"
    if shape.args and held.get(shape.args) is not None and not _right(held[shape.args], listed=True):
        yield f"`{shape.args}` is not a list of texts"
    if held.get(shape.env) is not None and not isinstance(held[shape.env], dict):
        yield f"`{shape.env}` is not a table"


def _right(value: Any, *, listed: bool) -> bool:
    if listed:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return isinstance(value, str)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _names(value: Any) -> tuple[str, ...]:
    """The texts of a list; Codex also writes `{ name = "…", source = "…" }`."""
    if not isinstance(value, list):
        return ()
    named = [one.get("name") if isinstance(one, dict) else one for one in value]
    return tuple(one if isinstance(one, str) else _scalar(one) for one in named if one is not None)


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        return ()
    return tuple((str(name), _scalar(inner)) for name, inner in value.items() if inner is not None)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""
