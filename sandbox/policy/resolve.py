"""A chain of profiles, parents first, to one policy that knows where each key was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.errors import ProfileError
from sandbox.policy import hosts, paths
from sandbox.policy.model import (
    ArgumentRule,
    AuditPolicy,
    Behaviour,
    BreachPolicy,
    ClientFeatures,
    Env,
    Files,
    HostBudget,
    HostRule,
    Inspect,
    Isolation,
    Match,
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
        ("files", "programs"),
        ("files", "expose"),
        ("network", "allow"),
        ("network", "opaque"),
        ("network", "private"),
        ("env", "pass"),
        ("tools", "deny"),
        ("tools", "ask"),
        ("tools", "ask_tainted"),
        ("inspect", "waive"),
        ("supply", "scripts"),
        ("supply", "hosts"),
        ("supply", "age_waive"),
    }
)
"""The lists that a child adds to; every other value of a child replaces its parent's."""
HOST_LISTS = ("allow", "opaque", "private")
"""The lists of `[network]`: each allows, and all but the first also mark what they allow."""

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
        for key in [key for key in leaves if key[0] in ("description", "match")]:
            del leaves[key]  # a parent's is about the parent
        _yield_variables(leaves, own)
        _yield_server(leaves, own)
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
        leaves[_one_spelling(key)] = (value, origin)
        return
    items = leaves.get(key, ([], origin))[0]
    held = {item for item, _ in items}
    new = [(item, Origin(layer.file, layer.line((*key, at)))) for at, item in enumerate(value)]
    leaves[key] = ([*items, *((item, at) for item, at in dict(new).items() if item not in held)], origin)


def _one_spelling(key: Key) -> Key:
    """A budget and a header merge with their parent's by what they mean, however they are written."""
    if key[:2] == ("server", "headers"):
        return (*key[:2], key[2].lower())
    return (*key[:2], hosts.spelling(key[2]), *key[3:]) if key[:2] == ("network", "budget") else key


def _item(key: Key, text: str) -> str:
    return hosts.spelling(text) if key[0] == "network" else text


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


_STARTED = ("command", "transport", "port", "path", "ready", "image", "unpinned")
_ELSEWHERE = ("url", "headers", "ca", "pin")


def _yield_server(leaves: Leaves, own: Mapping[Key, Any]) -> None:
    """A server that runs elsewhere takes the place of one that is started, and the other way round.

    What a parent sends to its own URL, secrets among it, goes to no other.
    """
    yields: tuple[str, ...] = ()
    if ("server", "url") in own:
        yields = (*_STARTED, *_ELSEWHERE)
    elif ("server", "command") in own or ("server", "image") in own:
        yields = _ELSEWHERE
    for key in [key for key in leaves if key[0] == "server" and key[1] in yields]:
        del leaves[key]


def _build(name: str, leaves: Leaves) -> Policy:
    tools = _table(leaves, "tools")
    return Policy(
        name=name,
        description=leaves.get(("description",), ("", None))[0],
        match=Match(**_table(leaves, "match")),
        server=Server(**_table(leaves, "server"), headers=_headers(leaves)),
        files=_files(leaves),
        network=_network(leaves),
        env=Env(_table(leaves, "env").get("pass", ()), _fixed(leaves)),
        secrets=_secrets(leaves),
        quota=Quota(**_table(leaves, "quota")),
        traffic=Traffic(**_table(leaves, "traffic")),
        tools=Tools(**tools, arguments=_arguments(leaves), cost=_costs(leaves)),
        inspect=Inspect(**_table(leaves, "inspect")),
        client=ClientFeatures(**_table(leaves, "client")),
        syscalls=_table(leaves, "syscalls").get("tier", "net"),
        isolation=Isolation(**_table(leaves, "isolation")),
        supply=Supply(**_table(leaves, "supply")),
        audit=AuditPolicy(**_table(leaves, "audit")),
        breach=BreachPolicy(**_table(leaves, "breach")),
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
    for access in ("read", "write", "programs"):
        plain[access] = tuple(
            _path_rule(text, at) for text, at in leaves.get(("files", access), ([], None))[0]
        )
    return Files(**plain)


def _path_rule(text: str, origin: Origin) -> PathRule:
    return PathRule(*paths.split(text), origin)


def _network(leaves: Leaves) -> Network:
    plain = {key: value for key, value in _table(leaves, "network").items() if key not in HOST_LISTS}
    behaviour = {key[2]: value for key, (value, _) in leaves.items() if key[:2] == ("network", "behaviour")}
    rules = _hosts(leaves)
    return Network(rules, **plain, budgets=_budgets(leaves, rules), behaviour=Behaviour(**behaviour))


def _hosts(leaves: Leaves) -> tuple[HostRule, ...]:
    """One rule a host and port, with the marks of every list that names it."""
    rules: dict[tuple[str, int], HostRule] = {}
    for name in HOST_LISTS:
        for text, origin in leaves.get(("network", name), ([], None))[0]:
            rule = hosts.parse(text, origin)
            held = rules.get((rule.host, rule.port), rule)
            rules[rule.host, rule.port] = replace(
                held, opaque=held.opaque or name == "opaque", private=held.private or name == "private"
            )
    return hosts.inherited(rules.values())


def _budgets(leaves: Leaves, rules: Sequence[HostRule]) -> tuple[HostBudget, ...]:
    written: dict[str, dict[str, tuple[Any, Origin]]] = {}
    for key, leaf in leaves.items():
        if key[:2] == ("network", "budget"):
            written.setdefault(key[2], {})[key[3]] = leaf
    return tuple(_budget(text, keys, rules) for text, keys in written.items())


def _budget(text: str, keys: Mapping[str, tuple[Any, Origin]], rules: Sequence[HostRule]) -> HostBudget:
    at = hosts.parse(text)
    origin = next(iter(keys.values()))[1]
    if (at.host, at.port) not in {(rule.host, rule.port) for rule in rules}:
        raise _idle_budget(at, origin, rules)
    limits = {name: value for name, (value, _) in keys.items()}
    return HostBudget(at.host, at.port, **limits, origin=origin)


def _idle_budget(at: HostRule, origin: Origin, rules: Sequence[HostRule]) -> ProfileError:
    from difflib import get_close_matches

    text = hosts.spelt(at.host, at.port)
    around = hosts.match(rules, at.host, at.port)
    every = [hosts.spelt(rule.host, rule.port) for rule in rules]
    near = [hosts.spelt(around.host, around.port)] if around else get_close_matches(text, every, 1)
    return ProfileError(
        "invalid-profile",
        f'{origin}: `network.budget."{text}"` bounds no rule of `network.allow`, `opaque` or `private`',
        rule="a budget is spelt as the rule that it bounds",
        hint=f'did you mean `[network.budget."{near[0]}"]`?'
        if near
        else "remove the budget, or allow the host",
    )


def _fixed(leaves: Leaves) -> tuple[tuple[str, str], ...]:
    return tuple((key[2], value) for key, (value, _) in leaves.items() if key[:2] == ("env", "set"))


def _headers(leaves: Leaves) -> tuple[tuple[str, str], ...]:
    return tuple((key[2], value) for key, (value, _) in leaves.items() if key[:2] == ("server", "headers"))


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


def _costs(leaves: Leaves) -> tuple[tuple[str, float], ...]:
    return tuple((key[2], float(value)) for key, (value, _) in leaves.items() if key[:2] == ("tools", "cost"))


def _origins(leaves: Leaves) -> tuple[tuple[str, Origin], ...]:
    found = {}
    for key, (value, origin) in leaves.items():
        found[_dotted(key)] = origin
        if key in ADDED:
            # The first mention of a host wins, as it does for its rule.
            found.update({".".join((*key, _item(key, item))): at for item, at in reversed(value)})
    for key, (_, origin) in leaves.items():
        for depth in range(1, len(key)):
            # A table is where the first of its keys was written: `tools.arguments` has no line of its own.
            found.setdefault(_dotted(key[:depth]), origin)
    return tuple(found.items())


def _dotted(key: Key) -> str:
    """The key as TOML writes it: the host of a budget has dots of its own."""
    if key[:2] == ("network", "budget") and len(key) > 2:
        key = (*key[:2], f'"{key[2]}"', *key[3:])
    return ".".join(key)
