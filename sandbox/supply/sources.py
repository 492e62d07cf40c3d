"""PyPI packages of which some are built from their source, as the profile names them (`[supply] scripts`).

Everything is resolved first, by an uv that can start no program. Where it has to know what a source requires
and the source does not say so by itself (core metadata 2.2, a static `[project]`), that one is built, away
from every registry, and uv resolves anew with what its wheel says. Then the wheels of the registry are
installed, each source is built in a place of its own, and what they were built into is installed: no job that
reaches a registry or writes the tree ever runs, or sees, anything that a package's code has written but a
wheel that was looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence

from sandbox.digest import sha256
from sandbox.errors import CommandNotFound, SandboxNotBuilt
from sandbox.records import replace
from sandbox.supply import pypi, pypi_lock, registries, settings, spec
from sandbox.supply.alone import alone
from sandbox.supply.disk import remove
from sandbox.supply.installer import ASKED, WHEELS, Files, Installer, Metadata, Step, installer
from sandbox.supply.job import CONFIG, MOUNT, SCRATCH, BuildJob, Order
from sandbox.supply.key import uv_path
from sandbox.supply.lock import Package
from sandbox.supply.programs import Interpreter
from sandbox.supply.pypi_lock import File
from sandbox.supply.resolved import Resolution
from sandbox.supply.shape import Unfit
from sandbox.supply.source import Built, Source, Stage, built
from sandbox.supply.tree import content, drop
from sandbox.supply.wheel import refuse_overwriting

Run = Callable[[BuildJob], None]
"""Runs a job, or says why it failed."""
Found = Callable[[BuildJob], Resolution | None]
"""What a job of uv's has resolved, by its log and its tree."""

_WHEELS = f"{CONFIG}/wheels"
_ROUNDS = 20
"""Sources whose requirements are learned one after the other."""
_FAILED = re.compile(r"[Ff]ailed to (?:download and )?build `([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)`")
_LARGEST_LOG, _LARGEST = 8 << 20, 512 << 20
_STUB = "pylock.named.toml"


def named(order: Order) -> tuple[str, ...]:
    """The packages of PyPI that may be built from their source; `@scope/name` is npm's."""
    return tuple(
        dict.fromkeys(spec.pypi_base(spec.pypi(name)) for name in order.scripts if not name.startswith("@"))
    )


def concerned(order: Order) -> bool:
    """There may be a source to build: one that is locked, or named where there is an uv that resolves it."""
    if order.request.ecosystem != "pypi":
        return False
    if order.locked:
        return any(each.scripts for each in order.locked)
    return bool(named(order)) and _has_uv(order)


def without_uv(order: Order) -> bool:
    """One is named, and there is nothing that would build it: pip takes wheels alone."""
    return order.request.ecosystem == "pypi" and bool(named(order)) and not _has_uv(order)


def _has_uv(order: Order) -> bool:
    return order.image is not None or uv_path(order.request.runner, order.environ) is not None


def install(
    order: Order, specs: Sequence[str], python: Interpreter, staging: str, run: Run, found: Found
) -> Resolution | None:
    """The tree is installed; what was resolved, where it was not locked before."""
    folder = os.path.join(staging, "sources")
    os.mkdir(folder, 0o755)
    try:
        return _Sources(order, specs, _tool(order, specs, python), staging, run).install(found)
    finally:
        remove(folder)


def _tool(order: Order, specs: Sequence[str], python: Interpreter) -> Installer:
    """uv, whose uv.toml we can add to: with `--no-config` it has none but ours."""
    tool = installer(order, specs, python)
    if not tool.uv:
        raise CommandNotFound(
            "uv-not-found",
            f"{order.request.title} was locked with a source, which uv alone builds: it is not installed",
            rule="[supply] scripts",
            hint="install it, for example `pipx install uv`",
        )
    if "--no-config" not in tool.options:
        return tool
    theirs = tool.asked.settings
    kept = tuple((name, text) for name, text in theirs.files if not name.endswith("/uv.toml"))
    asked = replace(tool.asked, settings=replace(theirs, files=kept))
    return replace(tool, asked=asked, options=tuple(word for word in tool.options if word != "--no-config"))


class _Sources:
    """One order."""

    def __init__(self, order: Order, specs: Sequence[str], tool: Installer, staging: str, run: Run) -> None:
        self._order, self._specs, self._tool, self._run = order, specs, tool, run
        self._tree, self._folder = os.path.join(staging, "tree"), os.path.join(staging, "sources")
        self._stage = Stage(order, tool, self._folder, run)
        self._learned: dict[tuple[str, str], Built] = {}

    def install(self, found: Found) -> Resolution | None:
        """Resolved, then the registry's wheels, then what each source was built into."""
        if self._order.locked:
            wheels, sources = _from_lock(self._order)
            self._install_wheels(wheels, self._begun())
        else:
            resolving = self._resolve()
            wheels, sources = self._chosen(pypi.PYLOCK)
            self._install_wheels(wheels, ())
        made = [self._build(each) for each in sources]
        self._install_made(made)
        # uv's own words of before, and a tree in which no code has run.
        known = None if self._order.locked else found(resolving)
        return known and _with_sources(known, made)

    # --- resolved -----------------------------------------------------------------------------------

    def _resolve(self) -> BuildJob:
        """The job that resolved everything; what it had to know of a source is learned on the way."""
        for number in range(_ROUNDS):
            job = self._resolving(f"{self._folder}/resolve-{number}.log")
            try:
                self._run(job)
                return job
            except SandboxNotBuilt:
                wanted = [each for each in _failed(job.log) if each not in self._learned]
                if not {name for name, _ in wanted} & {*named(self._order)}:
                    raise
            for source in self._hashed(wanted):
                self._learned[source.name, source.version] = built(source, self._stage)
        raise Unfit(
            f"{self._order.request.title} needs more than {_ROUNDS} sources to be built to be resolved"
        )

    def _resolving(self, log: str) -> BuildJob:
        learned = [_metadata(each) for each in self._learned.values()]
        return self._uv(self._specs, learned, pypi.LOCK, log, self._begun())

    def _begun(self) -> tuple[Step, ...]:
        """An environment whose python uv has asked while it is empty: later that would run `.pth` lines."""
        return self._tool.venv(MOUNT), self._tool.acquainted(pypi.VENV)

    def _hashed(self, wanted: Sequence[tuple[str, str]]) -> list[Source]:
        """These versions, by the hashes that the index gives: as if they required nothing."""
        drop(self._tree, f"{SCRATCH}/{_STUB}")  # uv would keep to what it says
        specs = [f"{name}=={version}" for name, version in wanted]
        told = [(name, version, (), (), "") for name, version in wanted]
        log = f"{self._folder}/hashes-{len(self._learned)}.log"
        self._run(self._uv(specs, told, f"{MOUNT}/{SCRATCH}/{_STUB}", log, (), "--no-deps"))
        return self._chosen(_STUB)[1]

    def _uv(
        self,
        specs: Sequence[str],
        known: Sequence[Metadata],
        into: str,
        log: str,
        before: Sequence[Step],
        *more: str,
    ) -> BuildJob:
        """uv resolves `specs` and can start nothing: what it would have to build fails."""
        tool, binary = self._tool, [word for name in named(self._order) for word in ("--no-binary", name)]
        options = ("--no-build-isolation", *more)
        resolve = tool.resolve(pypi.VENV, ASKED, into, (*WHEELS, *binary), *options)
        asked = "".join(f"{each}\n" for each in specs).encode()
        files = ((ASKED, asked), tool.told(known))
        return self._job((*before, alone(tool.runs, resolve)), log, files, narrows=True)

    def _chosen(self, name: str) -> tuple[list[Package], list[Source]]:
        """Of what uv has resolved, which are the registry's wheels, and which the sources that are named."""
        text = content(os.path.join(self._tree, SCRATCH, name), pypi_lock.LARGEST) or b""
        from_source, local = {*named(self._order)}, pypi_lock.local_files(text)
        wheels, sources = list[Package](), list[Source]()
        for each in pypi_lock.releases(text):
            if each.name in from_source:
                hashes = _hashes(each.name, each.sources, local)
                sources.append(Source(each.name, each.version, hashes))
            else:
                wheels.append(Package(each.name, each.version, _hashes(each.name, each.files, local)))
        return wheels, sources

    def _build(self, source: Source) -> Built:
        """What was built to learn what it requires is not built again, if it was the very same file."""
        before = self._learned.get((source.name, source.version))
        if before is not None and {*before.source.hashes} == {*source.hashes}:
            return before
        return built(source, self._stage)

    # --- installed ----------------------------------------------------------------------------------

    def _install_wheels(self, wheels: Sequence[Package], before: Sequence[Step]) -> None:
        install = alone(self._tool.runs, self._tool.install(pypi.VENV, ASKED, WHEELS))
        steps = [*before, *([install] if wheels else [])]
        if steps:
            files = ((ASKED, pypi_lock.requirements(wheels)),)
            self._run(self._job(steps, f"{self._folder}/wheels.log", files, narrows=True))

    def _install_made(self, made: Sequence[Built]) -> None:
        """Each by its hash, from a directory of ours, and away from every registry and its settings."""
        refuse_overwriting(self._tree, [(each.source.name, each.source.version, each.wheel) for each in made])
        own = registries.nowhere(settings.without_logins(self._order.environ))
        tool = replace(self._tool, asked=own, options=("--no-index", "--find-links", _WHEELS))
        folder = os.path.join(self._folder, "made")
        os.mkdir(folder, 0o755)
        for each in made:
            os.rename(each.path, os.path.join(folder, each.wheel.file))
        packages = [
            Package(each.source.name, each.source.version, (f"sha256:{each.wheel.sha256}",)) for each in made
        ]
        steps = [alone(tool.runs, tool.install(pypi.VENV, ASKED, WHEELS))] if made else []
        steps.append(pypi.compiling(tool))
        files, mounts = ((ASKED, pypi_lock.requirements(packages)),), ((folder, _WHEELS),)
        log = f"{self._folder}/made.log"
        title = self._order.request.title
        self._run(tool.job(title, steps, self._tree, log, files, mounts, narrows=True))

    def _job(self, steps: Sequence[Step], log: str, files: Files, *, narrows: bool = False) -> BuildJob:
        steps, told = self._tool.together(steps)
        title = self._order.request.title
        return self._tool.job(title, steps, self._tree, log, (*files, *told), narrows=narrows)


def _hashes(name: str, files: Sequence[File], local: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Of each file; of one on this machine, which no index has hashed, its own."""
    found = [file.sha256 for file in files]
    kept = [content(path, _LARGEST) for path in local.get(name, ())]
    found += [sha256(data).hexdigest() for data in kept if data is not None]
    if not found:
        raise Unfit(f"nothing vouches for `{name}`: its index gives no hash")
    return tuple(f"sha256:{each}" for each in found)


def _failed(log: str) -> list[tuple[str, str]]:
    """The sources that uv would have had to build, by its own words: nobody else has spoken by then."""
    said = (content(log, _LARGEST_LOG) or b"").decode("utf-8", "replace")
    return [*dict.fromkeys((spec.normal(name), version) for name, version in _FAILED.findall(said))]


def _metadata(one: Built) -> Metadata:
    found = one.wheel
    return one.source.name, one.source.version, found.requires, found.extras, found.python


# --- in a lock --------------------------------------------------------------------------------------


def _with_sources(found: Resolution, made: Sequence[Built]) -> Resolution:
    """The sources by their own hashes, with what they were built with and into."""
    by_name = {each.source.name: each for each in made}
    packages = tuple(
        _sourced(each, by_name[each.name]) if each.name in by_name else each for each in found.packages
    )
    return replace(found, packages=packages, ran=tuple(sorted(by_name)))


def _sourced(package: Package, made: Built) -> Package:
    needs = pypi_lock.built_with(made.source.needs or ())
    into = f"{made.wheel.file} sha256:{made.wheel.sha256}"
    rest = ((pypi_lock.BUILT_WITH, needs), (pypi_lock.BUILT_INTO, into))
    return replace(package, integrity=made.source.hashes, scripts=True, rest=rest)


def _from_lock(order: Order) -> tuple[list[Package], list[Source]]:
    allowed = {*named(order)}
    sources = [each for each in order.locked if each.scripts]
    for each in sources:
        if each.name not in allowed:
            raise SandboxNotBuilt(
                "package-needs-scripts",
                f"`{each.name}` was locked as a source, whose own code would run to build it",
                rule="[supply] scripts",
                hint=f'allow it with `[supply] scripts = ["{each.name}"]`',
            )
    wheels = [each for each in order.locked if not each.scripts]
    return wheels, [
        Source(each.name, each.version, each.integrity, pypi_lock.builders(each)) for each in sources
    ]
