"""A lock as a CycloneDX 1.6 bill of materials (ECMA-424), the same one for the same lock."""

from __future__ import annotations

from typing import Any

from sandbox.supply.lock import Lock
from sandbox.supply.parts import Part, main, needs, parts

_ALGORITHMS = {"sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}


def document(lock: Lock, serial: str, version: str) -> dict[str, Any]:
    """The document, made when the lock was; `serial` is its UUID and `version` that of mcp-sandbox."""
    server, found = main(lock), parts(lock)
    graph = needs(lock, found)
    known = [ref for ref, others in graph.items() if others]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": lock.made,
            "tools": {"components": [_tool(version)]},
            "component": _component(server),
        },
        "components": [_component(one) for one in found],
        "dependencies": [{"ref": ref, "dependsOn": [*graph[ref]]} for ref in known],
        "compositions": [
            {"aggregate": "complete", "assemblies": [server.ref]},
            # Only npm's lock says which package needs which.
            {"aggregate": "complete" if lock.kind == "npm" else "unknown", "dependencies": [server.ref]},
        ],
    }


def _tool(version: str) -> dict[str, str]:
    return {"type": "application", "name": "mcp-sandbox", "version": version}


def _component(one: Part) -> dict[str, Any]:
    made: dict[str, Any] = {"type": one.type, "bom-ref": one.ref, "name": one.name}
    for key, value in (("version", one.version), ("group", one.group), ("publisher", one.publisher)):
        if value:
            made[key] = value
    if one.purl:
        made["purl"] = one.purl
    if one.hashes:
        made["hashes"] = [{"alg": _ALGORITHMS[name], "content": value} for name, value in one.hashes]
    if one.licence:
        made["licenses"] = [{"license": {"name": one.licence, "acknowledgement": "declared"}}]
    if one.source:
        made["externalReferences"] = [{"type": "distribution", "url": one.source}]
    if one.facts:
        made["properties"] = [{"name": f"mcp-sandbox:{name}", "value": value} for name, value in one.facts]
    return made
