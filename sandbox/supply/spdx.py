"""A lock as an SPDX 2.3 document (ISO/IEC 5962), the same one for the same lock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.supply.lock import Lock
from sandbox.supply.parts import Part, main, needs, parts

_UNKNOWN = "NOASSERTION"
_PURPOSES = {"library": "LIBRARY", "container": "CONTAINER", "application": "APPLICATION", "file": "FILE"}


def document(lock: Lock, serial: str, version: str) -> dict[str, Any]:
    """The document, made when the lock was; `serial` is its UUID and `version` that of mcp-sandbox."""
    server, found = main(lock), parts(lock)
    names = {one.ref: f"SPDXRef-{number}" for number, one in enumerate((server, *found))}
    graph = needs(lock, found)
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": lock.name,
        "documentNamespace": f"urn:uuid:{serial}",
        "creationInfo": {"created": lock.made, "creators": [f"Tool: mcp-sandbox-{version}"]},
        "packages": [_package(one, names[one.ref]) for one in (server, *found)],
        "relationships": [
            _relation("SPDXRef-DOCUMENT", "DESCRIBES", names[server.ref]),
            *(_relation(names[server.ref], "CONTAINS", names[one.ref]) for one in found),
            *_depends(graph, names),
        ],
    }


def _depends(graph: Mapping[str, tuple[str, ...]], names: Mapping[str, str]) -> list[dict[str, str]]:
    return [
        _relation(names[ref], "DEPENDS_ON", names[other]) for ref, others in graph.items() for other in others
    ]


def _relation(one: str, what: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": what, "relatedSpdxElement": other}


def _package(one: Part, name: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "SPDXID": name,
        "name": f"{one.group}/{one.name}" if one.group else one.name,
        "downloadLocation": one.source or _UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": _UNKNOWN,
        # A registry's word for a licence need be none of SPDX's list.
        "licenseDeclared": _UNKNOWN,
        "copyrightText": _UNKNOWN,
        "primaryPackagePurpose": _PURPOSES[one.type],
    }
    if one.version:
        made["versionInfo"] = one.version
    if one.licence:
        made["licenseComments"] = f"its registry says: {one.licence}"
    if one.hashes:
        made["checksums"] = [
            {"algorithm": kind.upper(), "checksumValue": value} for kind, value in one.hashes
        ]
    if one.purl:
        made["externalRefs"] = [_purl(one.purl)]
    facts = [*([("publisher", one.publisher)] if one.publisher else []), *one.facts]
    if facts:
        made["comment"] = "\n".join(f"{name}: {value}" for name, value in facts)
    return made


def _purl(purl: str) -> dict[str, str]:
    return {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}
