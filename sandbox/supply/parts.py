"""What a lock is made of, as every bill of materials names it: components, and which needs which."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from sandbox.records import dataclass
from sandbox.supply.lock import ImageLock, Lock, Package, Place, plain
from sandbox.supply.pypi_lock import BUILT_INTO, BUILT_WITH

_NEEDS = ("dependencies", "optionalDependencies", "peerDependencies")
_DIGITS = {"sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One component of a server."""

    ref: str
    """Its name within the document, unlike every other's."""
    type: str
    """`library`, `container`, `application` or `file`, as CycloneDX calls them."""
    name: str
    version: str = ""
    group: str = ""
    """npm's scope."""
    purl: str = ""
    """Its package URL (ECMA-427)."""
    hashes: Facts = ()
    """Algorithm (`sha512`) and hexadecimal digest of the one file that it came as."""
    source: str = ""
    licence: str = ""
    """As its registry repeats it; nobody has looked into the package."""
    publisher: str = ""
    facts: Facts = ()
    """What else the lock says of it."""


def main(lock: Lock) -> Part:
    """The server as a whole."""
    bundle = (("sha256", lock.bundle.removeprefix("sha256:")),) if lock.bundle else ()
    first = next(iter(_asked(lock)), None)
    facts = [("command", " ".join(lock.command)), ("locked-by", lock.by), ("profile", lock.profile)]
    facts += [(f"tree:{tree.fits}", tree.digest) for tree in lock.trees]
    facts += [("install-scripts-ran", allowed.what) for allowed in lock.scripts]
    facts += [("waived", allowed.what) for allowed in lock.waived]
    facts += [("unchecked", what) for what in lock.unchecked]
    return Part(
        f"lock:{lock.name}",
        "application",
        lock.name,
        first.version if first else "",
        hashes=bundle,
        facts=tuple((name, value) for name, value in facts if value),
    )


def parts(lock: Lock) -> list[Part]:
    """Every component but the server itself; a package that stands in several places is one."""
    found = {(one.name, one.version, one.integrity): one for one in reversed(lock.packages)}
    places: dict[object, list[str]] = {}
    for one in lock.packages:
        places.setdefault((one.name, one.version, one.integrity), []).append(one.place)
    made = [_package(lock.kind, one, places[key]) for key, one in reversed(found.items())]
    made += [_image(lock.image)] if lock.image else []
    made += [_place(one) for one in lock.places]
    return _distinct(made)


def _distinct(made: Sequence[Part]) -> list[Part]:
    """Every reference is one component's alone."""
    from sandbox.records import replace

    seen: dict[str, int] = {}
    found = []
    for one in made:
        seen[one.ref] = seen.get(one.ref, 0) + 1
        found.append(one if seen[one.ref] == 1 else replace(one, ref=f"{one.ref}#{seen[one.ref]}"))
    return found


def _package(kind: str, one: Package, places: Sequence[str]) -> Part:
    npm = kind == "npm" or bool(one.place)
    scope, _, name = one.name.rpartition("/") if npm else ("", "", one.name)
    purl = _purl("npm" if npm else "pypi", scope, name, one.version)
    hashes = tuple(_hashes(one.integrity))
    several = hashes if not npm and len(hashes) > 1 else ()
    facts = [("place", place) for place in places if place]
    facts += [("published", one.published)] if one.published else []
    facts += [("install-scripts", "true")] if one.scripts else []
    facts += [("provenance", what) for what in one.provenance]
    facts += _building(plain(one.rest))
    facts += [(f"file-{algorithm}", value) for algorithm, value in several]
    return Part(
        purl,
        "library",
        name,
        one.version,
        scope,
        purl,
        # Of a release of many wheels no hash is the component's own.
        () if several else hashes,
        one.source,
        str(plain(one.rest).get("license", "")),
        one.publisher,
        tuple(facts),
    )


def _building(rest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a source was built with and into (PyPI)."""
    builders, into = rest.get(BUILT_WITH), rest.get(BUILT_INTO)
    facts = [(BUILT_WITH, str(each)) for each in builders] if isinstance(builders, Mapping) else []
    return [*facts, (BUILT_INTO, str(into))] if into else facts


def _purl(kind: str, scope: str, name: str, version: str) -> str:
    if kind == "pypi":
        name = re.sub(r"[-_.]+", "-", name).lower()
    words = [quote(word, safe="") for word in (scope, name) if word]
    return f"pkg:{kind}/{'/'.join(words)}@{quote(version, safe=':')}"


def _hashes(integrity: Sequence[str]) -> Iterator[tuple[str, str]]:
    """`sha512-BASE64` (SRI) and `sha256:HEX` alike; what is neither is left out."""
    for one in integrity:
        algorithm, colon, value = one.partition(":")
        if not colon:
            algorithm, _, value = one.partition("-")
            value = _hexadecimal(value)
        if len(value) == _DIGITS.get(algorithm) and re.fullmatch(r"[0-9a-f]+", value):
            yield algorithm, value


def _hexadecimal(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).hex()
    except ValueError:
        return ""


def _image(image: ImageLock) -> Part:
    digest = image.digest or image.id
    name = image.name.partition("@")[0]
    repository, _, tag = name.rpartition(":") if ":" in name.rpartition("/")[2] else (name, "", "")
    where = f"?repository_url={quote(repository, safe='/')}" if "/" in repository else ""
    purl = f"pkg:oci/{quote(repository.rpartition('/')[2].lower())}@{quote(digest, safe='')}{where}"
    facts = (("image-id", image.id), *(("layer", layer) for layer in image.layers))
    return Part(purl, "container", repository or name, tag or digest, purl=purl, facts=facts)


def _place(place: Place) -> Part:
    single = (("sha256", place.digest),) if place.files == 1 else ()
    facts = (("manifest-sha256", place.digest), ("files", str(place.files)))
    commit = (("commit", place.commit),) if place.commit else ()
    return Part(
        f"path:{quote(place.path)}",
        "file" if place.files == 1 else "application",
        place.path,
        place.commit,
        hashes=single,
        facts=commit if single else (*facts, *commit),
    )


def needs(lock: Lock, found: Sequence[Part]) -> dict[str, tuple[str, ...]]:
    """Which component needs which, by reference; but for npm only what was asked for is known."""
    by_place = {value: one.ref for one in found for name, value in one.facts if name == "place"}
    roots = [by_place.get(one.place) or _reference(found, one) for one in _asked(lock)]
    roots += [one.ref for one in found if one.type != "library"]
    graph: dict[str, set[str]] = {f"lock:{lock.name}": {ref for ref in roots if ref}}
    for one in lock.packages:
        if one.place:
            graph.setdefault(by_place[one.place], set()).update(_needed(one, by_place))
    return {ref: tuple(sorted(others - {ref})) for ref, others in graph.items()}


def _asked(lock: Lock) -> list[Package]:
    """The packages that were asked for by name."""
    names = {_base(each) for each in lock.asked}
    return [one for one in lock.packages if _normal(one) in names and one.place.count("node_modules") < 2]


def _base(spec: str) -> str:
    name = re.match(r"@?[^@=<>!~\[; ]*", spec)
    return re.sub(r"[-_.]+", "-", name[0] if name else spec).lower()


def _normal(one: Package) -> str:
    return re.sub(r"[-_.]+", "-", one.name).lower()


def _reference(found: Sequence[Part], one: Package) -> str:
    purl = _purl("pypi", "", one.name, one.version)
    return next((part.ref for part in found if part.ref == purl), "")


def _needed(one: Package, by_place: Mapping[str, str]) -> Iterator[str]:
    """As node looks a name up: in the package's own `node_modules`, then in each above it."""
    for key in _NEEDS:
        listed = plain(one.rest).get(key)
        for name in listed if isinstance(listed, Mapping) else ():
            places = (f"{above}node_modules/{name}" for above in _above(one.place))
            yield from [by_place[place] for place in places if place in by_place][:1]


def _above(place: str) -> Iterator[str]:
    """The package's own place and those around it, each as what a name is put behind."""
    while place:
        yield f"{place}/"
        place = place.rpartition("node_modules/")[0].removesuffix("/")
    yield ""
