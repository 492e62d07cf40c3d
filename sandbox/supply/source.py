"""One source distribution: fetched with what builds it, then built away from every registry.

Two jobs that run no code of anybody's fetch the source by its hash and install what its `pyproject.toml`
requires to build it (PEP 518). A third runs its code, in that directory alone: without a registry or a login,
and nowhere near the tree or what was resolved. What it leaves is held against what it may be (`wheel`).
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

from sandbox.errors import SandboxNotBuilt
from sandbox.records import dataclass, replace
from sandbox.supply import pypi_lock, registries, settings, wheel, zipped
from sandbox.supply.alone import alone
from sandbox.supply.disk import remove, write
from sandbox.supply.installer import ASKED, CACHE, WHEELS, Files, Installer, Step
from sandbox.supply.job import CONFIG, MOUNT, SCRATCH, BuildJob, Order
from sandbox.supply.lock import Package
from sandbox.supply.tree import content, names, within

_ENV, _SOURCE, _OUT = (f"{MOUNT}/{name}" for name in ("env", "source", "out"))
_PYTHON = f"{_ENV}/bin/python"
_NEEDS = "needs.txt"
_TOLD = f"{CONFIG}/source.json"
_LARGEST, _SMALL = 512 << 20, 1 << 20
_ROUNDS = 3
_LEGACY = ("setuptools.build_meta:__legacy__", (), ("setuptools>=40.8.0",))
"""What builds a source that does not say how (PEP 517)."""
_BACKEND = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?", re.ASCII)
# uv fetches and checks the source, and fails where it would build it: what it unpacked is what we want.
_FETCH = """
import glob, os, sys
into, cache, name, *words = sys.argv[1:]
os.spawnv(os.P_WAIT, words[0], words)
found = [one for above in ("*", "*/*") for one in glob.glob(f"{cache}/sdists-v*/{above}/{name}/*/*/src")]
if len(found) != 1:
    sys.exit(f"uv left {len(found)} sources of {name}")
os.rename(found[0], into)
"""
# PEP 517: each hook in a process of its own, in the source's directory. What it wants besides is for us to
# fetch; what has no version in it and is there is no want.
_HOOK = """
import importlib, importlib.metadata, json, os, re, sys
hook = sys.argv[1]
with open(sys.argv[2]) as file:
    told = json.load(file)
os.makedirs(told["out"], exist_ok=True)
wants = told["out"] + "/wants.json"
if os.path.exists(wants):
    sys.exit()
os.chdir(told["source"])
sys.path[:0] = [os.path.join(told["source"], one) for one in told["path"]]
module, _, names = told["backend"].partition(":")
backend = importlib.import_module(module)
for name in filter(None, names.split(".")):
    backend = getattr(backend, name)
def there(one):
    try:
        plain = re.fullmatch("[A-Za-z0-9._-]+", one)
        return one in told["given"] or bool(plain and importlib.metadata.version(one))
    except importlib.metadata.PackageNotFoundError:
        return False
if hook == "build":
    backend.build_wheel(told["out"], None, None)
else:
    asked = getattr(backend, "get_requires_for_build_wheel", lambda settings: [])(None)
    missing = [one for one in asked or [] if not there(one)]
    if missing:
        with open(wants, "w") as file:
            json.dump(missing, file)
"""
_EPOCH = "315532800"
"""1980, the first year of a zip file: equal sources make equal wheels, where their builder minds it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A source distribution of an index."""

    name: str
    version: str
    hashes: tuple[str, ...]
    """`sha256:HEX` of the files that it may be."""
    needs: tuple[Package, ...] | None = None
    """What builds it, by its hashes; None where nobody has resolved it yet."""

    @property
    def title(self) -> str:
        """As a person names it."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, slots=True)
class Built:
    """A source that was built, and what it was built into."""

    source: Source
    wheel: wheel.Wheel
    path: str


class Stage:
    """Where sources are built for one order: a directory of its own for each attempt."""

    def __init__(self, order: Order, tool: Installer, folder: str, run: Callable[[BuildJob], None]) -> None:
        self.order, self.tool, self.folder, self.run = order, tool, folder, run
        self._places = 0

    def place(self) -> str:
        """An empty directory that no job has seen."""
        self._places += 1
        made = os.path.join(self.folder, str(self._places))
        os.mkdir(made, 0o755)
        return made


def built(source: Source, stage: Stage) -> Built:
    """The wheel of it; what its builder asks for only when it is asked is fetched, and it starts anew."""
    more: tuple[str, ...] = ()
    for _ in range(_ROUNDS):
        # A new directory: nothing that the source's code has written is before a job that reaches a registry.
        place = stage.place()
        _fetch(source, place, stage)
        backend, paths, requires = _system(place, source)
        found = _provided(source, (*requires, *more), place, stage)
        remove(os.path.join(place, SCRATCH))
        told = {"source": _SOURCE, "out": _OUT, "backend": backend, "path": paths}
        told["given"] = (*requires, *more)
        stage.order.progress(f"building {source.title} from its source…")
        stage.run(_building(found, told, place, stage, asks=source.needs is None))
        wants = _wants(place, source)
        if not wants:
            return _taken(found, place, stage)
        more = tuple(dict.fromkeys((*more, *wants)))
    raise _unbuilt(source, f"it keeps asking for more: {', '.join(wants)}")


# --- with the registries, and no code ---------------------------------------------------------------


def _fetch(source: Source, place: str, stage: Stage) -> None:
    """Its files are in the directory `source`, as they have the hash that is known by then."""
    tool, binary = stage.tool, (*WHEELS, "--no-binary", source.name)
    install = alone(tool.runs, tool.install(_PYTHON, ASKED, binary, "--no-build-isolation"))
    fetch = (tool.runs, "-I", "-S", "-c", _FETCH, _SOURCE, CACHE, source.name, *install)
    steps = (tool.venv(_ENV), tool.acquainted(_PYTHON), fetch)
    asked = " ".join([source.title, *(f"--hash={each}" for each in source.hashes)])
    files = ((ASKED, f"{asked}\n".encode()),)
    stage.run(_job(f"the source of {source.title} (PyPI)", steps, place, stage, files, narrows=True))


def _provided(source: Source, requires: Sequence[str], place: str, stage: Stage) -> Source:
    """What builds it is in its environment: as its lock has it, else resolved now, from wheels alone."""
    tool, known = stage.tool, f"{MOUNT}/{SCRATCH}/{_NEEDS}"
    if not (requires if source.needs is None else source.needs):
        return replace(source, needs=())
    if source.needs is not None:
        text, steps = pypi_lock.requirements(source.needs), [tool.install(_PYTHON, ASKED, WHEELS)]
    else:
        text = "".join(f"{each}\n" for each in requires).encode()
        steps = [tool.resolve(_PYTHON, ASKED, known, WHEELS), tool.install(_PYTHON, known, WHEELS)]
    job = _job(f"what builds {source.title} (PyPI)", steps, place, stage, ((ASKED, text),))
    try:
        stage.run(job)
    except SandboxNotBuilt as error:
        if error.code == "package-needs-scripts":
            error.hint = "what builds a source has to come as a wheel: keep one in an index of your own"
        raise
    if source.needs is not None:
        return source
    # uv wrote it; no code of a package's has run in that directory.
    text = content(os.path.join(place, SCRATCH, _NEEDS), pypi_lock.LARGEST) or b""
    found = pypi_lock.releases(text)
    return replace(source, needs=tuple(each.package(frozenset()) for each in found))


def _job(
    title: str, steps: Sequence[Step], place: str, stage: Stage, files: Files, *, narrows: bool = False
) -> BuildJob:
    steps, told = stage.tool.together(steps)
    return stage.tool.job(title, steps, place, f"{place}.log", (*files, *told), narrows=narrows)


def _system(place: str, source: Source) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Its build backend, where that lies in it, and what it requires: read as data (PEP 518)."""
    real = within(place, os.path.join(place, "source", "pyproject.toml"))
    text = content(os.path.join(place, real), _SMALL) if real else None
    if text is None:
        return _LEGACY
    try:
        table = tomllib.loads(text.decode()).get("build-system")
        return _LEGACY if table is None else _read(table)
    except (zipped.Refused, ValueError, TypeError, AttributeError, RecursionError) as why:
        what = str(why) if isinstance(why, zipped.Refused) else "its `[build-system]` cannot be read"
        raise _unbuilt(source, what) from None


def _unbuilt(source: Source, why: str) -> SandboxNotBuilt:
    return SandboxNotBuilt("package-not-built", f"`{source.title}` cannot be built from its source: {why}")


def _read(table: Any) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    backend, paths = table.get("build-backend", _LEGACY[0]), table.get("backend-path", [])
    if not _BACKEND.fullmatch(backend) or not all(isinstance(each, str) for each in paths):
        raise ValueError(backend)
    return backend, tuple(paths), tuple(wheel.requirement(each) for each in table["requires"])


# --- with its code, and no registry -----------------------------------------------------------------


def _building(source: Source, told: object, place: str, stage: Stage, *, asks: bool) -> BuildJob:
    """It reaches what the profile adds by name (`[supply] hosts`), as an install script of npm's does."""
    own = registries.nowhere(settings.without_logins(stage.order.environ))
    hook = (_PYTHON, "-I", "-c", _HOOK)
    env = {
        "PATH": f"{_ENV}/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": _EPOCH,
        "VIRTUAL_ENV": _ENV,
    }
    return BuildJob(
        title=f"{source.title} (PyPI)",
        steps=tuple((*hook, name, _TOLD) for name in (("ask", "build") if asks else ("build",))),
        staging=place,
        programs=(stage.tool.python.path,),
        env=(*own.settings.env, *env.items()),
        log=f"{place}.log",
        mounts=own.settings.mounts,
        files=((_TOLD, json.dumps(told).encode()),),
        proxies=own.proxies,
    )


def _wants(place: str, source: Source) -> tuple[str, ...]:
    """What its builder asked for besides: requirements of an index, or nothing of it is believed."""
    real = within(place, os.path.join(place, "out", "wants.json"))
    text = content(os.path.join(place, real), _SMALL) if real else None
    try:
        listed = json.loads(text or b"[]")
        return tuple(wheel.requirement(each) for each in listed)
    except (zipped.Refused, ValueError, TypeError, RecursionError) as why:
        said = str(why) if isinstance(why, zipped.Refused) else "what it requires cannot be read"
        raise wheel.refused(source.name, source.version, said) from None


def _taken(source: Source, place: str, stage: Stage) -> Built:
    """A copy of the one wheel that it left, where no job writes any more."""
    left = [name for name in names(place, "out") if name.endswith(".whl")]
    real = within(place, os.path.join(place, "out", left[0])) if len(left) == 1 else None
    data = content(os.path.join(place, real), _LARGEST) if real else None
    if data is None:
        raise wheel.refused(source.name, source.version, f"it left {len(left)} of them")
    found = wheel.looked_at(left[0], data, source.name, source.version)
    remove(place)
    kept = stage.place()
    path = os.path.join(kept, found.file)
    write(path, data, 0o644)
    return Built(source, found, path)
