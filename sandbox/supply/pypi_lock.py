"""What uv and pip resolved, as packages: a pylock.toml (PEP 751), hashed requirements, pip's report."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from sandbox.records import dataclass
from sandbox.supply import spec
from sandbox.supply.lock import Package, plain
from sandbox.supply.shape import Unfit, address, line, moment

LARGEST = 16 << 20
MOST = 5_000
_FILES = 1_000
"""Wheels of one version; the largest have some two hundred."""
BUILT_WITH, BUILT_INTO = "built-with", "built-into"
"""Of a package that was a source, in `Package.rest`."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]{1,256}")
_HEX = re.compile(r"[0-9a-f]{64}")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?=\s|$)")
_YANKED = re.compile(r"`([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)` is yanked(?: \(reason: \"(.*)\"\))?")


@dataclass(frozen=True, slots=True)
class File:
    """One file of a release that may be installed."""

    name: str
    """Its name, such as `a-1.0-py3-none-any.whl`; empty where the resolver does not say."""
    sha256: str
    url: str = ""
    published: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """A package as it was resolved, with every file that may be installed for it."""

    name: str
    version: str
    files: tuple[File, ...]

    @property
    def sources(self) -> tuple[File, ...]:
        """The files that are no wheels, where the resolver says which are."""
        return tuple(file for file in self.files if not file.name.endswith(".whl"))

    def package(self, tags: frozenset[str]) -> Package:
        """The package of which the wheel with these tags was installed: its hash comes first."""
        taken = [file for file in self.files if tags and _tags(file.name) == tags]
        taken = taken or ([*self.files] if len(self.files) == 1 else [])
        first = taken[0] if taken else File("", "")
        dates = sorted(filter(None, (file.published for file in self.files)))
        hashes = dict.fromkeys([first.sha256, *(file.sha256 for file in self.files)])
        return Package(
            self.name,
            self.version,
            tuple(f"sha256:{each}" for each in hashes if each),
            source=first.url,
            scripts=any(not file.name.endswith(".whl") for file in self.files if file.name),
            published=first.published or (dates[-1] if dates else ""),
        )


def _tags(name: str) -> frozenset[str]:
    """The tags of a wheel's name, one by one: `py2.py3-none-any` is two (PEP 425)."""
    parts = name.removesuffix(".whl").split("-")
    if not name.endswith(".whl") or len(parts) not in (5, 6):
        return frozenset()
    pythons, abis, platforms = (part.split(".") for part in parts[-3:])
    return frozenset(f"{a}-{b}-{c}" for a in pythons for b in abis for c in platforms)


def releases(text: bytes) -> tuple[Release, ...]:
    """What `uv pip compile` wrote: a pylock.toml, or hashed requirements where this uv knows no other."""
    if len(text) > LARGEST:
        raise Unfit("the list of packages is too large")
    decoded = text.decode("utf-8", "replace")
    found = [*(_pylock(decoded) if re.search(r"^lock-version *=", decoded, re.M) else _hashed(decoded))]
    return tuple(sorted(found, key=lambda release: release.name))


def _pylock(text: str) -> Iterator[Release]:
    import tomllib

    try:
        listed = tomllib.loads(text).get("packages", [])
    except (tomllib.TOMLDecodeError, RecursionError):
        raise Unfit("the list of packages cannot be read") from None
    if not isinstance(listed, list) or len(listed) > MOST:
        raise Unfit(f"there are more than {MOST} packages, or no list of them")
    for one in listed:
        yield _locked(_mapping(one))


def local_files(text: bytes) -> dict[str, list[str]]:
    """Where on this machine the files are that uv has not hashed, by the name of each package."""
    import tomllib

    found: dict[str, list[str]] = {}
    try:
        for one in tomllib.loads(text.decode("utf-8", "replace")).get("packages", []):
            files = [*one.get("wheels", []), *([one["sdist"]] if "sdist" in one else [])]
            urls = [str(file.get("url")) for file in files if not file.get("hashes")]
            found[spec.normal(one["name"])] = [unquote(urlsplit(url).path) for url in urls if _is_file(url)]
    except (tomllib.TOMLDecodeError, RecursionError, LookupError, TypeError, AttributeError):
        return {}  # hashed requirements, of an older uv
    return found


def _is_file(url: str) -> bool:
    return url.startswith("file:///")


def _locked(one: Mapping[str, Any]) -> Release:
    name, version = _named(one.get("name"), one.get("version"))
    if any(kind in one for kind in ("vcs", "directory", "archive")):
        raise Unfit(f"`{name}` does not come from an index")
    wheels = one.get("wheels") or []
    sdist = [one["sdist"]] if "sdist" in one and not wheels else []
    files = [file for each in [*wheels, *sdist][:_FILES] if (file := _file(_mapping(each)))]
    return Release(name, version, tuple(files))


def _file(one: Mapping[str, Any]) -> File | None:
    digest = _mapping(one.get("hashes")).get("sha256")
    if not isinstance(digest, str) or not _HEX.fullmatch(digest):
        return None
    url = str(one.get("url") or "")
    name = line(one.get("name") or _last(url) or one.get("path")).rpartition("/")[2]
    return File(name, digest, _source(url), moment(one.get("upload-time")))


def _source(url: str) -> str:
    """The URL as a lock has it: a directory of this machine is nobody else's."""
    return "" if url.startswith("file:") else address(url)


def _last(url: str) -> str:
    """The name of the file that a URL leads to; empty for what is no URL."""
    return unquote(urlsplit(address(url)).path).rpartition("/")[2]


def _named(name: object, version: object) -> tuple[str, str]:
    if not isinstance(name, str) or len(name) > 200 or not _NAME.fullmatch(name):
        raise Unfit(f"`{line(name)}` is no name of a package")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise Unfit(f"`{name}` has no version")
    return spec.normal(name), version


def _hashed(text: str) -> Iterator[Release]:
    found = 0
    for entry in re.sub(r"\\\n", " ", text).splitlines():
        if not entry.strip() or entry.lstrip().startswith("#"):
            continue
        found += 1
        word = next(iter(entry.split(";")[0].split()), "")
        name, equal, version = word.partition("==")
        if not equal or found > MOST:
            raise Unfit(f"`{line(word)}` is no version of a package")
        digests = _HASH.findall(entry)[:_FILES]
        yield Release(*_named(name.partition("[")[0], version), tuple(File("", each) for each in digests))


def report(text: bytes) -> tuple[tuple[Release, ...], tuple[tuple[str, str], ...]]:
    """What `pip install --report` wrote, and name and version of every yanked package among it."""
    try:
        listed = json.loads(text[: LARGEST + 1])["install"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Unfit("the list of packages cannot be read") from None
    if not isinstance(listed, list) or len(listed) > MOST:
        raise Unfit(f"there are more than {MOST} packages, or no list of them")
    found = [(_reported(_mapping(one)), bool(_mapping(one).get("is_yanked"))) for one in listed]
    found.sort(key=lambda pair: pair[0].name)
    yanked = tuple((release.name, release.version) for release, gone in found if gone)
    return tuple(release for release, _ in found), yanked


def _reported(one: Mapping[str, Any]) -> Release:
    metadata, download = _mapping(one.get("metadata")), _mapping(one.get("download_info"))
    name, version = _named(metadata.get("name"), metadata.get("version"))
    if one.get("is_direct") or "vcs_info" in download or "dir_info" in download:
        raise Unfit(f"`{name}` does not come from an index")
    archive = _mapping(download.get("archive_info"))
    url, digest = str(download.get("url") or ""), _mapping(archive.get("hashes")).get("sha256")
    if not isinstance(digest, str) or not _HEX.fullmatch(digest):
        return Release(name, version, ())
    return Release(name, version, (File(line(_last(url)), digest, _source(url)),))


def yanked(log: str) -> dict[tuple[str, str], str]:
    """The reason by name and version, as uv warns of what was yanked."""
    return {(spec.normal(name), version): line(why or "yes") for name, version, why in _YANKED.findall(log)}


def requirements(found: Iterable[Package]) -> bytes:
    """Requirements with which nothing but the very same files can be installed."""
    return "".join(f"{_requirement(each)}\n" for each in found).encode()


def _requirement(package: Package) -> str:
    name, version = _named(package.name, package.version)
    hashes = [f"--hash={each}" for each in package.integrity if _SHA256.fullmatch(each)]
    if not hashes or len(hashes) != len(package.integrity):
        raise Unfit(f"nothing vouches for `{name}`: it has no hash")
    return " ".join([f"{name}=={version}", *hashes])


def built_with(made: Iterable[Package]) -> dict[str, list[str]]:
    """What a source was built with, as a lock keeps it: names and versions, and the hashes of each."""
    return {f"{each.name}=={each.version}": [*each.integrity] for each in made}


def builders(package: Package) -> tuple[Package, ...] | None:
    """What a lock says that a source was built with; None where it says nothing of it."""
    listed = plain(package.rest).get(BUILT_WITH)
    if not isinstance(listed, Mapping):
        return None
    parts = ((str(key).partition("=="), hashes) for key, hashes in listed.items())
    return tuple(Package(name, version, tuple(map(str, hashes))) for (name, _, version), hashes in parts)


def without_integrity(found: Sequence[Package]) -> Iterator[Package]:
    """What nothing vouches for."""
    return (package for package in found if not package.integrity)


def kept(found: Iterable[Release], installed: Mapping[str, frozenset[str]]) -> Iterator[Package]:
    """The packages of the releases that are in the tree: `installed` has the tags of each one's wheel."""
    for release in found:
        if release.name in installed:
            yield release.package(installed[release.name])


def _mapping(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, dict) else {}
