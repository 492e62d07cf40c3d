"""npm's package-lock.json (version 3) as packages, and packages as the package-lock.json of a rebuild."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sandbox.supply.lock import Package, plain
from sandbox.supply.resolved import Said
from sandbox.supply.shape import Unfit, Value, address, line, value

LARGEST = 32 << 20
MOST = 10_000
"""Packages of one tree; the largest servers come to some hundreds."""
# What `npm ci` needs to make the same tree again.
_KEPT = (
    *("name", "optional", "peer", "dev", "devOptional", "inBundle"),
    *("dependencies", "optionalDependencies", "peerDependencies", "peerDependenciesMeta"),
    *("bundleDependencies", "bin", "os", "cpu", "libc"),
)
_NAME = r"(?:@[A-Za-z0-9._~-]+/)?[A-Za-z0-9_~][A-Za-z0-9._~-]*"
_PLACE = re.compile(rf"node_modules/{_NAME}(?:/node_modules/{_NAME})*")
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")
_SHA1 = re.compile(r"sha1-[A-Za-z0-9+/]{27}=")
_SRI = re.compile(r"(?:sha(?:256|384|512)-[A-Za-z0-9+/]{43,86}={0,2})")


def packages(text: bytes) -> tuple[Package, ...]:
    """Every package that is listed, in the order of their places; `Unfit` for what no registry gave."""
    if len(text) > LARGEST:
        raise Unfit("the list of packages is too large")
    try:
        listed = json.loads(text)["packages"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unfit("the list of packages cannot be read") from None
    if not isinstance(listed, dict) or len(listed) > MOST:
        raise Unfit(f"there are more than {MOST} packages, or no list of them")
    return tuple(_package(place, one) for place, one in sorted(listed.items()) if place)


def _package(place: str, one: object) -> Package:
    if len(place) > 1024 or not _PLACE.fullmatch(place) or not isinstance(one, dict):
        raise Unfit(f"`{line(place)}` is no place of a package")
    source = str(one.get("resolved") or "")
    if one.get("link") or (source and not source.startswith(("https://", "http://"))):
        raise Unfit(f"`{line(place)}` does not come from a registry")
    version = one.get("version")
    if not isinstance(version, str) or len(version) > 256 or not _VERSION.fullmatch(version):
        raise Unfit(f"`{line(place)}` has no version")
    return Package(
        name=_name(place, one.get("name")),
        version=version,
        integrity=tuple(_SRI.findall(str(one.get("integrity") or ""))),
        source=address(source),
        place=place,
        scripts=bool(one.get("hasInstallScript")),
        rest=tuple(_rest(one)),
    )


def _rest(one: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    if isinstance(licence := one.get("license"), str):  # nobody's need: what is no plain text is left out
        yield "license", line(licence)
    for key in _KEPT:
        if one.get(key) not in (None, {}, [], False):
            yield key, value(one[key])


def _name(place: str, alias: object) -> str:
    """The package's own name: a place may carry another one (`npm:` aliases)."""
    if alias is None:
        return place.rpartition("node_modules/")[2]
    if not isinstance(alias, str) or not re.fullmatch(_NAME, alias):
        raise Unfit(f"`{line(place)}` has no name")
    return alias


def deprecated(text: bytes) -> dict[tuple[str, str], Said]:
    """The registry's warnings in a list that `packages` has read, by name and version."""
    listed = json.loads(text)["packages"]
    found = {}
    for place, one in listed.items():
        if place and isinstance(said := one.get("deprecated"), str):
            name, version = _name(place, one.get("name")), one["version"]
            found[name, version] = Said(name, version, deprecated=line(said))
    return found


def weak(text: bytes) -> dict[str, str]:
    """The SHA-1 of each place, in a list that `packages` has read, that has no better hash."""
    listed = json.loads(text)["packages"]
    said = {place: str(one.get("integrity") or "") for place, one in listed.items() if place}
    return {place: sri for place, sri in said.items() if _SHA1.fullmatch(sri)}


def without_integrity(found: Iterable[Package]) -> Iterator[Package]:
    """What nothing vouches for: neither a hash of its own nor the archive of the package that bundles it."""
    held = [*found]
    holders = {package.place: package for package in held if package.integrity}
    return (each for each in held if not each.integrity and holder(each, holders) is None)


def holder(package: Package, holders: Mapping[str, Package]) -> Package | None:
    """In whose archive the package rides, where it has none of its own: by place, of those that have one."""
    if package.integrity or not plain(package.rest).get("inBundle"):
        return None
    return next((holders[up] for up in _above(package.place) if up in holders), None)


def _above(place: str) -> Iterator[str]:
    while "/node_modules/" in place:
        place = place.rpartition("/node_modules/")[0]
        yield place


def project(found: Sequence[Package], asked: Sequence[str]) -> tuple[bytes, bytes]:
    """package.json and package-lock.json from which `npm ci` makes the same tree, from any registry.

    No entry says where it comes from: the user's registry is asked for the name and the version, and what
    it serves must have the hash. An address in a lock would choose who is asked, with the user's login.
    """
    bare = next(without_integrity(found), None)
    if bare is not None:
        raise Unfit(f"nothing vouches for `{line(bare.place)}`: it has no integrity")
    root = {"dependencies": {name: _version(found, name) for name in asked}}
    entries: dict[str, dict[str, Any]] = {"": root}
    entries |= {package.place: _entry(package) for package in found}
    manifest = {"private": True, **root}
    lock = {"lockfileVersion": 3, "requires": True, "packages": entries}
    return json.dumps(manifest).encode(), json.dumps(lock).encode()


def _version(found: Sequence[Package], name: str) -> str:
    for package in found:
        if package.place == f"node_modules/{name}":
            return package.version
    raise Unfit(f"`{name}` is not among the packages")


def _entry(package: Package) -> dict[str, Any]:
    """What npm is told of one package: only what `_KEPT` names, whatever a lock holds."""
    entry: dict[str, Any] = {"version": package.version}
    if package.integrity:
        entry["integrity"] = " ".join(package.integrity)
    if package.scripts:
        entry["hasInstallScript"] = True
    _package(package.place, entry)  # the same form as what npm writes
    return {**entry, **{key: value(raw) for key, raw in package.rest if key in _KEPT}}
