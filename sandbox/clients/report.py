"""What a scan is told as: one JSON document, SARIF 2.1.0 (P)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sandbox.clients.credential import masked
from sandbox.clients.scan import RULES, Finding, Held, Server
from sandbox.policy.hosts import spelt
from sandbox.policy.model import Policy
from sandbox.records import dataclass, field

SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_INDEX: Final = {rule.id: at for at, rule in enumerate(RULES)}


Reach = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Exposed:
    """How exposed a server leaves its host now, and how much it would in its sandbox; None: not known."""

    now: float | None
    contained: float | None
    reach: Reach = field(default_factory=dict)
    """What it can get at in its sandbox; without one, it is all that its user can."""


def reach(policy: Policy) -> Reach:
    """What a policy lets a server get at, by kind; nothing of a kind: nothing."""
    found = {
        "read": [rule.source for rule in policy.files.read],
        "write": [rule.source for rule in policy.files.write],
        "network": [spelt(rule.host, rule.port) for rule in policy.network.allow],
        "variables": list(policy.env.passed),
        "secrets": [one.name for one in policy.secrets],
    }
    return {kind: tuple(names) for kind, names in found.items() if names}


_LOCALE: Final = re.compile(r"LANG|LANGUAGE|LC_[A-Z]+|TZ")
_VERBS: Final = {
    "read": "reads",
    "write": "writes",
    "network": "connects to",
    "variables": "is given",
    "secrets": "is given the secrets",
}


def told(found: Reach) -> str:
    """The same in words."""
    telling = {kind: [one for one in names if not _LOCALE.fullmatch(one)] for kind, names in found.items()}
    parts = [
        f"{_VERBS[kind]} {', '.join(f'`{name}`' for name in names)}"
        for kind, names in telling.items()
        if names
    ]
    return "; ".join(parts) or "reaches nothing of this machine and no network"


def document(
    servers: Sequence[Server], exposed: Sequence[Exposed], found: Sequence[Finding]
) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {
        "servers": [_server(one, at) for one, at in zip(servers, exposed, strict=True)],
        "findings": [_finding(one) for one in found],
    }


def _server(server: Server, exposed: Exposed) -> dict[str, Any]:
    fit = server.fit
    return {
        "client": server.client,
        "scope": server.scope,
        "path": server.path,
        "line": server.line,
        "name": server.entry.name,
        "kind": server.entry.kind,
        "disabled": server.entry.disabled,
        "command": masked(server.command),
        "contained": server.contained,
        "profile": fit.profile or None,
        "package": fit.package or None,
        "version": fit.version,
        "lock": _lock(server.lock),
        "exposure": exposed.now,
        "exposure_contained": exposed.contained,
        "reach_contained": {kind: list(names) for kind, names in exposed.reach.items()},
    }


def _lock(held: Held | None) -> dict[str, str | None] | None:
    if held is None:
        return None
    return {"state": held.state, "path": held.path or None, "fix": held.fix or None}


def _finding(one: Finding) -> dict[str, Any]:
    server = one.server
    at = {"client": server.client, "path": server.path, "line": server.line, "server": server.entry.name}
    return {"rule": one.rule, "level": one.level, "reason": one.reason, **at}


def sarif(found: Sequence[Finding], version: str, shown: Mapping[str, str]) -> dict[str, Any]:
    """The findings for a code scanner (OASIS SARIF 2.1.0); `shown` has the address of each file."""
    driver = {
        "name": "mcp-sandbox",
        "version": version,
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.what},
                "defaultConfiguration": {"level": rule.level},
            }
            for rule in RULES
        ],
    }
    results = [_result(one, shown) for one in found]
    run = {"tool": {"driver": driver}, "results": results, "columnKind": "unicodeCodePoints"}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(one: Finding, shown: Mapping[str, str]) -> dict[str, Any]:
    server = one.server
    place = {"uri": shown.get(server.path, server.path)}
    physical = {"artifactLocation": place, "region": {"startLine": server.line}}
    name = server.entry.name
    logical = {"name": name, "fullyQualifiedName": f"{server.client}/{name}", "kind": "member"}
    return {
        "ruleId": one.rule,
        "ruleIndex": _INDEX[one.rule],
        "level": one.level,
        "message": {"text": f"`{name}`: {one.reason}"},
        "locations": [{"physicalLocation": physical, "logicalLocations": [logical]}],
        "partialFingerprints": {"server/v1": f"{server.client}/{server.scope}/{name}/{one.rule}"},
    }
