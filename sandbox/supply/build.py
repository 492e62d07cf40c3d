"""The cold path: run the build jobs of one request and keep what they leave, or say why they failed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from sandbox.errors import SandboxNotBuilt
from sandbox.records import replace
from sandbox.supply import inside, npm, programs, pypi, sources, spec
from sandbox.supply.job import SCRATCH, BuildJob, BuildOutcome, Order
from sandbox.supply.programs import Interpreter
from sandbox.supply.request import Request
from sandbox.supply.resolved import Resolution, write_beside
from sandbox.supply.shape import Unfit
from sandbox.supply.store import Entry, Stamp, Store, remove, stamp_of
from sandbox.supply.tree import seal

_TAIL = 8
_LOG_END = 64 << 10
_NOISE = re.compile(
    r"npm (warn|WARN)|npm (error|ERR!) A complete log|npm (error|ERR!)( code)?( E?404)?\s*$|\s*$"
)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_RESOLVED = re.compile(r"(@[\w.~-]+/)?[\w.~-]+(@|==)[\w.!+-]+", re.ASCII)
_NO_DATES = "an index does not say when its files were published: none was left out for its age"
_UV_BUILDS = (
    "uv alone builds what `[supply] scripts` names from its source: install it, as by `pipx install uv`"
)
_PASSWORD = re.compile(r"(://)[^/\s@]+@")

# What the installers print, the error's code, and a hint.
_CAUSES = (
    (
        r"[Nn]o interpreter found for",
        "python-not-found",
        "install that python, or ask for none; an image of ours has one python",
    ),
    (
        r"does not satisfy Python|Requires-Python|requires a different Python",
        "python-does-not-fit",
        "name a python that the package accepts, for example `uvx --python 3.13 …`",
    ),
    (
        r"EINTEGRITY|Hash mismatch for|HASHES FROM THE REQUIREMENTS FILE|DO NOT MATCH THE HASHES",
        "package-changed",
        "the registry serves other files under the same version than it did: do not run them",
    ),
    (
        r"is missing an upload date",
        "package-undated",
        "the index does not say when its files were published: `[supply] age = 0` asks for none",
    ),
    (
        r"with a date before|ENOVERSIONS|exclude-newer",
        "package-too-young",
        "every version that fits was published too recently: wait, or name it in `[supply] age_waive`",
    ),
    (
        r"\bE404\b|ETARGET|notarget|not found in the package registry|no version of|No matching distribution",
        "package-not-found",
        "check the name and the version; a private registry must be in npmrc, uv.toml or the environment",
    ),
    (
        r"no usable wheels|no wheels with|[Bb]uilding source .* disabled|only-binary|--no-build",
        "package-needs-scripts",
        'a source distribution runs its own code: `[supply] scripts = ["PACKAGE"]` allows it, where uv is',
    ),
    (
        r"EALLOW(GIT|FILE|DIRECTORY)|/no-git\b|included as a URL dependency",
        "package-not-from-registry",
        "what comes straight from git, a directory or a URL is never built: ask for a version without it",
    ),
    (
        r"UnknownIssuer|invalid peer certificate|SELF_SIGNED_CERT|UNABLE_TO_(GET_ISSUER|VERIFY)"
        r"|CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "registry-untrusted",
        "name the file of your CA: NODE_EXTRA_CA_CERTS or `cafile` for npm, SSL_CERT_FILE for uv",
    ),
    (r"ENOSPC|No space left|Disk quota", "no-space", "make room in the cache directory and start again"),
    (
        r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|dns error|error sending request"
        r"|Failed to fetch|Could not connect|NewConnectionError",
        "registry-unreachable",
        "the first start of a package needs its registry: check the network and the proxy settings",
    ),
)


class Maker(Protocol):
    """What one ecosystem knows: the steps before, and what stands in the tree after them."""

    def interpreter(self, request: Request, environ: Mapping[str, str]) -> Interpreter: ...
    def prepare(self, tree: str, order: Order, specs: Sequence[str]) -> None: ...
    def jobs(
        self, order: Order, specs: Sequence[str], interpreter: Interpreter, staging: str
    ) -> list[BuildJob]: ...
    def found(self, tree: str, order: Order, log: str) -> Resolution: ...
    def finish(self, tree: str) -> None: ...
    def starts(self, tree: str, interpreter: Interpreter) -> dict[str, tuple[str, ...]]: ...
    def default(self, tree: str, specs: Sequence[str]) -> str | None: ...
    def resolved(self, tree: str, specs: Sequence[str]) -> tuple[str, ...]: ...
    def unrun(self, tree: str, scripts: Sequence[str]) -> tuple[str, ...]: ...


def refit(entry: Entry, environ: Mapping[str, str]) -> Entry | None:
    """The entry for an interpreter that was updated in place and still fits the tree; None if it does not."""
    found = programs.probe(entry.interpreter, environ) if os.path.isfile(entry.interpreter) else None
    if found is None or found.abi != entry.abi or found.path != entry.interpreter:
        return None
    return replace(entry, stamp=_stamp(found))


def build(order: Order, store: Store, key: str, before: Entry | None) -> Entry:
    """Build, keep and remember; what was resolved `before` for another interpreter keeps its versions."""
    request = order.request
    maker = maker_of(request)
    interpreter = interpreter_of(order)
    specs = _pinned(request.specs, before) if before else request.specs
    started = time.monotonic()
    place = "a sandbox" if order.image is None else "a container"
    order.progress(f"building {request.title} in {place}…")
    with store.stage(key) as staging:
        tree = os.path.join(staging, "tree")
        found, unrun = _installed(order, specs, interpreter, staging)
        entry = _describe(maker, tree, order, interpreter)
        digest, manifest = seal(tree)
        if found is not None:
            write_beside(tree, replace(found, unrun=unrun), store.tree(digest))
        store.keep(staging, digest, manifest)
        entry = replace(entry, digest=digest)
        store.remember(key, entry)
    order.progress(f"built {', '.join(entry.resolved)} in {time.monotonic() - started:.1f} s")
    if unrun:
        names = ", ".join(unrun)
        order.progress(f"install scripts of {names} were not run; `[supply] scripts` allows them by name")
    return entry


def maker_of(request: Request) -> Maker:
    """Who knows the request's ecosystem."""
    return npm if request.ecosystem == "npm" else pypi


def _installed(
    order: Order, specs: Sequence[str], interpreter: Interpreter, staging: str
) -> tuple[Resolution | None, tuple[str, ...]]:
    """As `install`; an index without dates, in whose every release uv sees a young one, is asked without."""
    try:
        return install(order, specs, interpreter, staging)
    except SandboxNotBuilt as error:
        if error.code != "package-undated":
            raise
    order.progress(f"{_NO_DATES}…")
    tree = os.path.join(staging, "tree")
    remove(tree)
    os.mkdir(tree, 0o755)
    found, unrun = install(replace(order, age=0.0), specs, interpreter, staging)
    return found and replace(found, unchecked=(*found.unchecked, _NO_DATES)), unrun


def install(
    order: Order, specs: Sequence[str], interpreter: Interpreter, staging: str
) -> tuple[Resolution | None, tuple[str, ...]]:
    """A finished tree is staged: what it was resolved to, and whose install scripts did not run."""
    maker, tree = maker_of(order.request), os.path.join(staging, "tree")
    maker.prepare(tree, order, specs)
    found = _run(maker, order, specs, interpreter, staging)
    unrun = maker.unrun(tree, order.scripts)
    remove(os.path.join(tree, SCRATCH))
    maker.finish(tree)
    return found, unrun


def _run(
    maker: Maker, order: Order, specs: Sequence[str], interpreter: Interpreter, staging: str
) -> Resolution | None:
    """Every job; what was resolved is read where no package's own code has run yet, or could have written."""
    runs = _Runs(order)
    if sources.concerned(order):
        found = sources.install(
            order, specs, interpreter, staging, runs.run, lambda job: _found(maker, order, job)
        )
    else:
        first, *others = maker.jobs(order, specs, interpreter, staging)
        runs.run(first)
        found = None if order.locked else _found(maker, order, first)
        for job in others:
            runs.run(job)
    return found and replace(found, reached=tuple(runs.reached))


class _Runs:
    """The jobs of one order, and what they tried to reach."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.reached: dict[str, None] = {}

    def run(self, job: BuildJob) -> None:
        """One job, which does not fail."""
        outcome = self._order.run_build(job)
        if outcome.status:
            error = _failure(job, outcome)
            if error.code == "package-not-found" and sources.without_uv(self._order):
                error.hint = _UV_BUILDS
            raise error
        self.reached.update(dict.fromkeys(outcome.reached))


def _found(maker: Maker, order: Order, job: BuildJob) -> Resolution | None:
    try:
        found = maker.found(job.staging, order, _log_end(job.log))
        if not found.packages:
            raise Unfit(f"{job.title} was installed, and its installer names no package")
        return found
    except Unfit:
        if order.age is not None:
            raise
        return None  # only a lock needs it, and asks with an age


def interpreter_of(order: Order) -> Interpreter:
    """What runs the packages: the image's node or python, or the host's."""
    if order.image is not None:
        return inside.interpreter(order.image, order.request)
    return maker_of(order.request).interpreter(order.request, order.environ)


def _describe(maker: Maker, tree: str, order: Order, interpreter: Interpreter) -> Entry:
    """What the finished tree offers, before it has its digest."""
    request, image = order.request, order.image
    return Entry(
        digest="",
        starts=maker.starts(tree, interpreter),
        default=maker.default(tree, request.specs),
        interpreter=interpreter.path,
        stamp=_stamp(interpreter) if image is None else (0, 0),
        abi=interpreter.abi,
        resolved=_believed(maker.resolved(tree, request.specs)),
        built=time.time_ns(),
        image=image.id if image else "",
    )


def _believed(resolved: tuple[str, ...]) -> tuple[str, ...]:
    """Names and versions as the packages give them: shown to people, kept, and asked for again later."""
    for each in resolved:
        if not _RESOLVED.fullmatch(each):
            raise SandboxNotBuilt("package-not-built", f"`{each!a}` is no name and version of a package")
    return resolved


def _stamp(interpreter: Interpreter) -> Stamp:
    stamp = stamp_of(interpreter.path)
    if stamp is None:
        raise SandboxNotBuilt("interpreter-gone", f"`{interpreter.path}` disappeared while it was asked")
    return stamp


def _pinned(specs: Sequence[str], before: Entry) -> tuple[str, ...]:
    versions = [re.split(r"==|(?<=.)@", each)[-1] for each in before.resolved]
    return tuple(spec.pin(each, version) for each, version in zip(specs, versions, strict=True))


def _failure(job: BuildJob, outcome: BuildOutcome) -> SandboxNotBuilt:
    """The error with the installer's own last lines, without escapes and passwords."""
    said = _log_end(job.log)
    lines = [line for line in said.splitlines() if not _NOISE.match(line)][-_TAIL:]
    what = "\n".join([f"{job.title} could not be built (exit {outcome.status})", *lines])
    if outcome.breach:
        return SandboxNotBuilt(
            "build-ended",
            f"{what}\n{outcome.breach}",
            rule="the profile `build`",
            hint="mcp-sandbox profile show build",
        )
    if outcome.reached:
        return _denied(what, outcome.reached)
    for pattern, code, hint in _CAUSES:
        if re.search(pattern, said):
            return SandboxNotBuilt(code, what, hint=hint)
    return SandboxNotBuilt("package-not-built", what)


def _denied(what: str, reached: tuple[str, ...]) -> SandboxNotBuilt:
    """A registry that keeps its files elsewhere fails like this, and so does a package that wants more."""
    tried = ", ".join(f"`{one}`" for one in reached[:4])
    return SandboxNotBuilt(
        "build-denied",
        f"{what}\nit tried to reach {tried}: a build reaches the configured registries alone",
        hint=f'where your own registry keeps its files there, allow it: `[supply] hosts = ["{reached[0]}"]`',
    )


def _log_end(path: str) -> str:
    try:
        with open(path, "rb") as opened:
            opened.seek(max(0, os.path.getsize(path) - _LOG_END))
            text = opened.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return _PASSWORD.sub(r"\1", _ESCAPES.sub("", text))
