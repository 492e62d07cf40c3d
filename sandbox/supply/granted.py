"""What a profile grants, as one hash: a lock holds for a profile that means the same (no I/O).

How a profile is called, where it lies, in which order it lists hosts and what it says of itself count
for nothing; every value that is not the default does, so that a version of ours with new keys changes none.
"""

from __future__ import annotations

from sandbox.digest import sha256
from sandbox.hints import Any
from sandbox.policy.model import Match, Origin, Policy, Supply
from sandbox.records import is_record, names, replace

_UNORDERED = frozenset(
    "files.read files.write files.programs files.expose network.allow network.budgets env.passed env.fixed "
    "secrets supply.scripts tools.allow tools.deny tools.ask tools.ask_tainted inspect.waive".split()
)
_NOTHING = Policy("")


def profile_digest(policy: Policy) -> str:
    """SHA-256 of what it grants."""
    import json

    plain = replace(
        policy,
        name="",
        description="",
        sources=(),
        origins=(),
        match=Match(paths=policy.match.paths),
        supply=Supply(scripts=policy.supply.scripts),
    )
    text = json.dumps(granted(plain), sort_keys=True, separators=(",", ":"))
    return str(sha256(text.encode("utf-8", "surrogatepass")).hexdigest())


def granted(policy: Policy) -> dict[str, Any]:
    """By dotted key, each value that differs from the default."""
    found: dict[str, Any] = {}
    for name in names(policy):
        value, usual = getattr(policy, name), getattr(_NOTHING, name)
        if is_record(value):
            found.update(_differing(name, value, usual))
        elif value != usual:
            found[name] = _plain(name, value)
    return found


def _differing(table: str, value: object, usual: object) -> dict[str, Any]:
    return {
        f"{table}.{key}": _plain(f"{table}.{key}", getattr(value, key))
        for key in names(value)
        if getattr(value, key) != getattr(usual, key)
    }


def _plain(key: str, value: object) -> Any:
    """JSON values, without where anything was written; a list that has no order is sorted."""
    if is_record(value):
        held = ((name, getattr(value, name)) for name in names(value))
        return {name: _plain(name, one) for name, one in held if not isinstance(one, Origin)}
    if isinstance(value, tuple):
        items = [_plain("", one) for one in value]
        return sorted(items, key=repr) if key in _UNORDERED else items
    return value
