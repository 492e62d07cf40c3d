"""A chain of profiles, parents first, to one policy that knows where each key was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.policy import hosts, paths
from sandbox.policy.model import (
    ArgumentRule,
    AuditPolicy,
    Env,
    Files,
    HostRule,
    Inspect,
    Isolation,
    Network,
    Origin,
    PathRule,
    Policy,
    Quota,
    Secret,
    Server,
    Supply,
    Tools,
    Traffic,
)
from sandbox.records import dataclass, replace

ADDED = frozenset(
    {
        ("files", "read"),
        ("files", "write"),
        ("files", "expose"),
        ("network", "allow"),
        ("env", "pass"),
        ("tools", "deny"),
        ("tools", "ask"),
        ("supply", "scripts"),
    }
)
"""The lists that a child adds to; every other value of a child replaces its parent's."""

Key = tuple[str, ...]
Leaves = dict[Key, tuple[Any, Origin]]
Where = Callable[[tuple[str | int, ...]], int]


@dataclass(frozen=True, slots=True)
class Layer:
    """One validated file: its values as the models gave them back, and the line of each key."""

    file: str
    digest: str
    values: Mapping[str, Any]
    line: Where


def resolve(name: str, chain: Sequence[Layer]) -> Policy:
    """The policy of a chain, the profile itself first and the last of its parents last."""
    leaves: Leaves = {}
    for layer in reversed(chain):
        own = _flatten(layer.values)
        leaves.pop(("description",), None)  # a parent's describes the parent
        _yield_variables(leaves, own)
        for key, value in own.items():
            _put(leaves, key, value, layer)
    sources = tuple((layer.file, layer.digest) for layer in chain)
    return replace(_build(name, leaves), sources=sources, origins=_origins(leaves))


def _flatten(values: Mapping[str, Any], at: Key = ()) -> dict[Key, Any]:
    leaves: dict[Key, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            leaves.update(_flatten(value, (*at, key)))
        elif (*at, key) not in (("schema",), ("extends",)):
            leaves[(*at, key)] = value
    return leaves


def _put(leaves: Leaves, key: Key, value: Any, layer: Layer) -> None:
    origin = Origin(layer.file, layer.line(key))
    if key not in ADDED:
        leaves[key] = (value, origin)
        return
    items = leaves.get(key, ([], origin))[0]
    held = {item for item, _ in items}
    new = [(item, Origin(layer.file, layer.line((*key, at)))) for at, item in enumerate(value)]
    leaves[key] = ([*items, *((item, at) for item, at in dict(new).items() if item not in held)], origin)


def _yield_variables(leaves: Leaves, own: Mapping[Key, Any]) -> None:
    """A child that names a variable anywhere takes it over from wherever its parents had it."""
    taken = {key[1] for key in own if key[0] == "secrets"} | {
        key[2] for key in own if key[:2] == ("env", "set")
    }
    taken |= set(own.get(("env", "pass"), ()))
    for key in [key for key in leaves if key[:2] == ("env", "set") and key[2] in taken]:
        del leaves[key]
    fresh = {key[1] for key in own if key[0] == "secrets"}
    for key in [key for key in leaves if key[0] == "secrets" and key[1] in taken - fresh]:
        del leaves[key]
    if ("env", "pass") in leaves:
        items, origin = leaves[("env", "pass")]
        leaves[("env", "pass")] = ([one for one in items if one[0] not in taken], origin)


def _build(name: str, leaves: Leaves) -> Policy:
    tools = _table(leaves, "tools")
    return Policy(
        name=name,
        description=leaves.get(("description",), ("", None))[0],
        server=Server(**_table(leaves, "server")),
        files=_files(leaves),
        network=Network(**{**_table(leaves, "network"), "allow": _hosts(leaves)}),
        env=Env(_table(leaves, "env").get("pass", ()), _fixed(leaves)),
        secrets=_secrets(leaves),
        quota=Quota(**_table(leaves, "quota")),
        traffic=Traffic(**_table(leaves, "traffic")),
        tools=Tools(**tools, arguments=_arguments(leaves)),
        inspect=Inspect(**_table(leaves, "inspect")),
        syscalls=_table(leaves, "syscalls").get("tier", "net"),
        isolation=Isolation(**_table(leaves, "isolation")),
        supply=Supply(**_table(leaves, "supply")),
        audit=AuditPolicy(**_table(leaves, "audit")),
    )


def _table(leaves: Leaves, table: str) -> dict[str, Any]:
    """The plain keys of a table; lists as tuples, without the origins of their items."""
    found = {}
    for key, (value, _) in leaves.items():
        if len(key) == 2 and key[0] == table:
            items = [item for item, _ in value] if key in ADDED else value
            found[key[1]] = tuple(items) if isinstance(items, list) else items
    return found


def _files(leaves: Leaves) -> Files:
    plain = _table(leaves, "files")
    for access in ("read", "write"):
        plain[access] = tuple(
            _path_rule(text, at) for text, at in leaves.get(("files", access), ([], None))[0]
        )
    return Files(**plain)


def _path_rule(text: str, origin: Origin) -> PathRule:
    return PathRule(*paths.split(text), origin)


def _hosts(leaves: Leaves) -> tuple[HostRule, ...]:
    rules = [hosts.parse(text, origin) for text, origin in leaves.get(("network", "allow"), ([], None))[0]]
    return tuple({(rule.host, rule.port): rule for rule in reversed(rules)}.values())[::-1]


def _fixed(leaves: Leaves) -> tuple[tuple[str, str], ...]:
    return tuple((key[2], value) for key, (value, _) in leaves.items() if key[:2] == ("env", "set"))


def _secrets(leaves: Leaves) -> tuple[Secret, ...]:
    names = dict.fromkeys(key[1] for key in leaves if key[0] == "secrets")
    return tuple(_secret(name, leaves) for name in names)


def _secret(name: str, leaves: Leaves) -> Secret:
    source, origin = leaves[("secrets", name, "from")]
    inject = leaves.get(("secrets", name, "inject"), ((), None))[0]
    return Secret(name, source, tuple(inject), origin)


def _arguments(leaves: Leaves) -> tuple[ArgumentRule, ...]:
    rules: dict[tuple[str, str], dict[str, Any]] = {}
    words = {"min": "minimum", "max": "maximum"}
    for key, (value, _) in leaves.items():
        if key[:2] == ("tools", "arguments") and len(key) == 5:
            taken = tuple(value) if isinstance(value, list) else value
            rules.setdefault((key[2], key[3]), {})[words.get(key[4], key[4])] = taken
    return tuple(ArgumentRule(*names, **rule) for names, rule in rules.items())


def _origins(leaves: Leaves) -> tuple[tuple[str, Origin], ...]:
    found = {}
    for key, (value, origin) in leaves.items():
        found[".".join(key)] = origin
        if key in ADDED:
            found.update({".".join((*key, item)): at for item, at in value})
    for key, (_, origin) in leaves.items():
        for depth in range(1, len(key)):
            # A table is where the first of its keys was written: `tools.arguments` has no line of its own.
            found.setdefault(".".join(key[:depth]), origin)
    return tuple(found.items())
