"""What the registry said of each package, read from the documents that npm left in the build's own cache.

npm asks for whole documents (with the dates) only where it is told to mind them (`--before`). The cache was
written by npm in the build sandbox from what a registry sent: it is read bounded, and followed nowhere.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from sandbox.records import dataclass
from sandbox.supply.resolved import Said, Signature
from sandbox.supply.shape import address, line, moment
from sandbox.supply.tree import content

_KEY = "make-fetch-happen:request-cache:"
_INDEX_FILES = 50_000
_INDEX_BYTES = 1 << 20
_DOCUMENT = 64 << 20
"""A package with thousands of versions comes to some 40 MB."""
_DOCUMENTS = 768 << 20
"""All that is read for one tree."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a registry says of one version; none of it is verified."""

    published: str
    publisher: str
    said: Said


def origins(cache: str, wanted: Mapping[str, Iterable[str]]) -> dict[tuple[str, str], Origin]:
    """By name and version, for the versions `wanted` of each name; what the cache lacks is missing."""
    found: dict[tuple[str, str], Origin] = {}
    root = _root(cache)
    held, left = _index(root), _DOCUMENTS
    for name, versions in wanted.items():
        document, size = _document(root, name, held.get(name, ()), min(left, _DOCUMENT))
        left -= size
        for version in versions:
            origin = _origin(document, name, version)
            if origin is not None:
                found[name, version] = origin
    return found


def _index(root: str) -> dict[str, list[str]]:
    """The content (SRI) of every document by its package's name, newest first."""
    found: dict[str, list[tuple[int, str]]] = {}
    for path in _files(os.path.join(root, "index-v5")):
        for record in _records(path):
            name = _package_of(record)
            if name:
                found.setdefault(name, []).append((int(record["time"]), str(record["integrity"])))
    return {name: [sri for _, sri in sorted(each, reverse=True)] for name, each in found.items()}


def _files(root: str) -> Iterator[str]:
    # Two levels of directories: `index-v5/ab/cd/REST`.
    left = _INDEX_FILES
    for first in _below(root):
        for second in _below(os.path.join(root, first)):
            for name in _below(os.path.join(root, first, second)):
                left -= 1
                if left < 0:
                    return
                yield os.path.join(root, first, second, name)


def _below(folder: str) -> list[str]:
    if os.path.islink(folder) or not os.path.isdir(folder):
        return []
    return sorted(os.listdir(folder))


def _records(path: str) -> Iterator[Mapping[str, Any]]:
    for text in (content(path, _INDEX_BYTES) or b"").split(b"\n"):
        try:
            record = json.loads(text.partition(b"\t")[2])
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("time"), int):
            yield record


def _package_of(record: Mapping[str, Any]) -> str:
    """The name of the package whose document it is; empty for an archive and for anything else."""
    key = str(record.get("key"))
    if not key.startswith(_KEY) or not isinstance(record.get("integrity"), str):
        return ""
    try:
        path = unquote(urlsplit(key.removeprefix(_KEY)).path)
    except ValueError:
        return ""
    words = path.strip("/").split("/")
    if "-" in words or path.endswith(".tgz"):  # `/NAME/-/NAME-1.0.0.tgz`, `/-/npm/v1/keys`
        return ""
    return "/".join(words[-2:]) if len(words) > 1 and words[-2].startswith("@") else words[-1]


def _root(cache: str) -> str:
    return os.path.join(os.path.realpath(cache), "_cacache")


def _document(root: str, name: str, contents: Iterable[str], most: int) -> tuple[Mapping[str, Any], int]:
    """The package's document, with its dates where any answer had them, and how many bytes were read."""
    best: Mapping[str, Any] = {}
    size = 0
    for sri in list(dict.fromkeys(contents))[:4]:
        text = _stored(root, sri, most - size)
        size += len(text or b"")
        document = _parsed(text)
        if document.get("name") == name and (not best or ("time" in document and "time" not in best)):
            best = document
    return best, size


def _stored(root: str, sri: str, largest: int) -> bytes | None:
    path = _place(root, sri)
    if not path or os.path.realpath(os.path.dirname(path)) != os.path.dirname(path):
        return None  # a link on the way leads elsewhere
    return content(path, largest)


def _place(root: str, sri: str) -> str:
    algorithm, _, encoded = sri.split(" ")[0].partition("-")
    try:
        digest = base64.b64decode(encoded, validate=True).hex()
    except (ValueError, binascii.Error):
        return ""
    if algorithm not in ("sha512", "sha256", "sha1") or len(digest) < 40:
        return ""
    return os.path.join(root, "content-v2", algorithm, digest[:2], digest[2:4], digest[4:])


def strong(cache: str, weak: str) -> str:
    """SHA-512 (SRI) of the archive that npm took by its SHA-1, all that an old registry has; or empty."""
    archive = _stored(_root(cache), weak, _DOCUMENT)
    if archive is None or _sri("sha1", archive) != weak:
        return ""
    return _sri("sha512", archive)


def _sri(algorithm: str, data: bytes) -> str:
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def _parsed(text: bytes | None) -> Mapping[str, Any]:
    try:
        found = json.loads(text or b"")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _origin(document: Mapping[str, Any], name: str, version: str) -> Origin | None:
    one = _mapping(_mapping(document.get("versions")).get(version))
    if not one:
        return None
    dist, warned = _mapping(one.get("dist")), one.get("deprecated")
    return Origin(
        published=moment(_mapping(document.get("time")).get(version)),
        publisher=_publisher(_mapping(one.get("_npmUser"))),
        said=Said(
            name,
            version,
            # A deprecation that was taken back is an empty text.
            deprecated=line(warned) if isinstance(warned, str) else "deprecated" if warned else "",
            signatures=tuple(_signatures(dist.get("signatures"))),
            attestations=address(str(_mapping(dist.get("attestations")).get("url") or "")),
        ),
    )


def _publisher(user: Mapping[str, Any]) -> str:
    name = user.get("name")
    trusted = _mapping(user.get("trustedPublisher")).get("id")
    shown = line(name) if isinstance(name, str) else ""
    return f"{shown} ({line(trusted)})" if isinstance(trusted, str) and trusted else shown


def _signatures(listed: object) -> Iterator[Signature]:
    for each in listed[:8] if isinstance(listed, list) else ():
        keyid, sig = _mapping(each).get("keyid"), _mapping(each).get("sig")
        if isinstance(keyid, str) and isinstance(sig, str) and len(keyid) + len(sig) < 2000:
            yield Signature(line(keyid), sig if sig.isprintable() else "")


def _mapping(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, dict) else {}
