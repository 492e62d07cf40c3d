"""A wheel that a package's own code has built: held against what a wheel of that package may be.

The code could write any file under any name. What is believed of it is its own content and its own
metadata; it may be no other package, hold no other's metadata, and stand in the place of no file that is
installed already.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import io
import os
import re
from collections.abc import Iterator, Sequence
from email.message import Message
from email.parser import HeaderParser

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from sandbox.errors import SandboxNotBuilt
from sandbox.records import dataclass
from sandbox.supply import spec, zipped
from sandbox.supply.shape import line
from sandbox.supply.tree import content, names

_FILE = re.compile(r"([A-Za-z0-9._]+)-([A-Za-z0-9.!+_]+)(-\d[A-Za-z0-9._]*)?(-[A-Za-z0-9._]+){3}\.whl")
_SMALL, _LARGEST = 4 << 20, 512 << 20
_SCHEMES = ("purelib", "platlib", "headers", "scripts", "data")
_ROOTS = {"scripts": "bin/", "data": "", "headers": "include/{headers}/"}
_CACHED = re.compile(r"(.*/)?__pycache__/([^/.]*)")
_SIGNED = ("RECORD.jws", "RECORD.p7s")
_HASHES = ("sha256", "sha384", "sha512")
_EXTRA = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_PROGRAM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that was looked at."""

    file: str
    """Its name, by which installers know what it is."""
    sha256: str
    requires: tuple[str, ...]
    extras: tuple[str, ...]
    python: str
    """The pythons that it accepts; empty for any."""
    places: tuple[tuple[str, str], ...]
    """What it installs, below an environment's root, and the SHA-256 of each; `{site}` is site-packages."""


def looked_at(file: str, data: bytes, name: str, version: str) -> Wheel:
    """The wheel in `data`, which is of this package and version and nothing else."""
    try:
        archive = zipped.Archive(io.BytesIO(data), len(data))
        found = _Look(archive, name, version)
        if not _same(_FILE.fullmatch(file), name, version):
            raise zipped.Refused(f"`{line(file)}` is the name of another one")
        meta = found.metadata()
        return Wheel(
            file,
            hashlib.sha256(data).hexdigest(),
            tuple(_requirements(meta.get_all("Requires-Dist", []))),
            tuple(str(each) for each in meta.get_all("Provides-Extra", []) if _EXTRA.fullmatch(str(each))),
            _python(meta.get("Requires-Python", "")),
            tuple(found.places()),
        )
    except zipped.Refused as why:
        raise refused(name, version, str(why)) from None


def refused(name: str, version: str, why: str) -> SandboxNotBuilt:
    """The error for what a build has left."""
    return SandboxNotBuilt(
        "wheel-refused",
        f"what the source of `{name}` {version} was built into is no wheel of it: {why}",
        rule="a source distribution builds itself and nothing else",
        hint="do not run it; a wheel of another version, or another package, may do",
    )


class _Look:
    """One archive, for one package."""

    def __init__(self, archive: zipped.Archive, name: str, version: str) -> None:
        self._archive, self._name, self._version = archive, name, version
        self._hashes = {each: archive.digest(each) for each in archive.names}
        self._info = self._own(".dist-info")
        self._data = self._own(".data")

    def _own(self, suffix: str) -> str:
        """The one directory of that kind, which is its own; empty where there is none."""
        tops = {each.partition("/")[0] for each in self._hashes}
        found = sorted(top for top in tops if top.lower().endswith(suffix))
        for top in found:
            if not _same(re.fullmatch(r"(.+)-([^-]+)", top[: -len(suffix)]), self._name, self._version):
                raise zipped.Refused(f"it holds `{zipped.shown(top)}`")
        if len(found) > 1:
            raise zipped.Refused(f"it holds {len(found)} directories `*{suffix}`")
        return found[0] if found else ""

    def metadata(self) -> Message:
        """Its own word, once it is complete and true of its files."""
        raw = self._read("METADATA")
        self._read("WHEEL")
        self._check_record()
        meta = HeaderParser().parsestr(raw)
        said = (str(meta.get("Name", "")), str(meta.get("Version", "")))
        if spec.normal(said[0]) != self._name or not _equal(said[1], self._version):
            raise zipped.Refused(f"it says that it is `{line(said[0])}` {line(said[1])}")
        return meta

    def _read(self, name: str) -> str:
        found = self._archive.member(f"{self._info}/{name}", _SMALL) if self._info else None
        if found is None:
            raise zipped.Refused(f"it has no `{name}`")
        return found.decode("utf-8", "replace")

    def _check_record(self) -> None:
        """Every file and no other is listed, under no other hash: what is installed is what its notes say."""
        own = {f"{self._info}/{name}" for name in ("RECORD", *_SIGNED)}
        rows = [row for row in self._rows() if row and not row[0].endswith("/")]
        listed = {row[0]: "".join(row[1:2]) for row in rows if row[0] not in own}
        for name in sorted({*listed} ^ ({*self._hashes} - own)):
            raise zipped.Refused(f"its RECORD is not true of `{zipped.shown(name)}`")
        for name, said in listed.items():
            algorithm, _, value = said.partition("=")
            if said and (algorithm not in _HASHES or self._hash(name, algorithm) != _hex(value)):
                raise zipped.Refused(f"its RECORD has another hash of `{zipped.shown(name)}`")

    def _rows(self) -> list[list[str]]:
        try:
            return [*csv.reader(io.StringIO(self._read("RECORD")))]
        except csv.Error:
            raise zipped.Refused("its `RECORD` cannot be read") from None

    def _hash(self, name: str, algorithm: str) -> str:
        return self._hashes[name] if algorithm == "sha256" else self._archive.digest(name, algorithm)

    def places(self) -> Iterator[tuple[str, str]]:
        """Where each of its files, and each program that is made for it, comes to stand."""
        for name, digest in self._hashes.items():
            cached = _CACHED.match(name)
            if cached and f"{cached[1] or ''}{cached[2]}.py" not in self._hashes:
                raise zipped.Refused(f"it holds `{zipped.shown(name)}`, compiled from no file of its own")
            yield self._place(name), digest
        for program in self._programs():
            yield f"bin/{program}", ""

    def _place(self, name: str) -> str:
        top, _, below = name.partition("/")
        if not self._data or top != self._data:
            return _own_only(f"{{site}}/{name}", self._info)
        scheme, _, rest = below.partition("/")
        if scheme not in _SCHEMES or not rest:
            raise zipped.Refused(f"it holds `{zipped.shown(name)}`, which belongs nowhere")
        if scheme in ("purelib", "platlib"):
            return _own_only(f"{{site}}/{rest}", self._info)
        return _ROOTS[scheme] + (f"{self._name}/{rest}" if scheme == "headers" else rest)

    def _programs(self) -> Iterator[str]:
        text = self._archive.member(f"{self._info}/entry_points.txt", _SMALL)
        reader = configparser.RawConfigParser(strict=False, delimiters=("=",), interpolation=None)
        reader.optionxform = str  # type: ignore[assignment,method-assign] # names keep their case
        try:
            reader.read_string((text or b"").decode("utf-8", "replace"))
        except (configparser.Error, AttributeError, ValueError):
            raise zipped.Refused("its `entry_points.txt` cannot be read") from None
        for section in ("console_scripts", "gui_scripts"):
            for name in reader[section] if reader.has_section(section) else ():
                if not _PROGRAM.fullmatch(name):
                    raise zipped.Refused(f"it has a program `{zipped.shown(name)}`")
                yield name


def _own_only(place: str, info: str) -> str:
    """No metadata of another package's beside its own, by whatever scheme it would come there."""
    top = place.split("/")[1]
    if top != info and top.lower().endswith((".dist-info", ".egg-info", ".egg-link")):
        raise zipped.Refused(f"it holds `{zipped.shown(top)}`")
    return place


def _same(match: re.Match[str] | None, name: str, version: str) -> bool:
    """The first two groups of a file's name are of this package and version."""
    return match is not None and spec.normal(match[1]) == name and _equal(match[2].replace("_", "-"), version)


def _equal(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _hex(value: str) -> str:
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
    except ValueError:
        return ""


def _requirements(listed: Sequence[str]) -> Iterator[str]:
    """Only names and versions of packages of the index, in our spelling."""
    for each in listed:
        yield requirement(each)


def requirement(text: object) -> str:
    """A requirement of a package from an index, in one spelling; `Refused` for anything else."""
    try:
        found = Requirement(text if isinstance(text, str) and len(text) < 2000 else "")
    except (InvalidRequirement, RecursionError):
        raise zipped.Refused(f"`{line(text)}` is no requirement") from None
    if found.url:
        raise zipped.Refused(f"it wants `{line(found.name)}` from a place that is no index")
    spelt = str(found)
    if not spelt.isascii() or not spelt.isprintable():
        raise zipped.Refused(f"`{line(text)}` is no requirement")
    return spelt


def _python(said: str) -> str:
    try:
        return str(SpecifierSet(said))
    except InvalidSpecifier:
        raise zipped.Refused(f"`{line(said)}` is no version of python") from None


# --- beside what is installed ----------------------------------------------------------------------


def refuse_overwriting(tree: str, wheels: Sequence[tuple[str, str, Wheel]]) -> None:
    """None of these (name, version and wheel) puts another content in the place of a file that is there.

    Files that are equal to the byte are no harm: packages of one namespace share such.
    """
    taken: dict[str, str] = {}
    for name, version, wheel in wheels:
        for place, digest in wheel.places:
            where = _in(tree, place)
            before = taken.get(where) or _there(where)
            if before is not None and (before != digest or not digest):
                shown = zipped.shown(place.replace("{site}/", ""))
                raise refused(name, version, f"it would overwrite `{shown}`, which is another package's")
            taken[where] = digest or "made"


def _in(tree: str, place: str) -> str:
    pythons = names(tree, "lib")
    python = pythons[0] if pythons else "python"
    path = place.replace("{site}", f"lib/{python}/site-packages").replace("{headers}", f"site/{python}")
    folder, name = os.path.split(os.path.join(tree, path))
    return os.path.join(os.path.realpath(folder), name)


def _there(path: str) -> str | None:
    """The hash of what stands there; empty for what is no plain file, None where nothing is."""
    if not os.path.lexists(path):
        return None
    found = content(path, _LARGEST)
    return hashlib.sha256(found).hexdigest() if found is not None else ""
