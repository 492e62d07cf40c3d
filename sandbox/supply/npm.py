"""npm packages: the steps that install them without running their code, and how their programs start."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence

from sandbox.errors import SandboxNotBuilt
from sandbox.records import replace
from sandbox.supply import inside, npm_cache, npm_lock, programs, registries, settings, spec
from sandbox.supply.job import CONFIG, MOUNT, SCRATCH, BuildJob, Order
from sandbox.supply.key import which
from sandbox.supply.lock import Package
from sandbox.supply.programs import Interpreter
from sandbox.supply.registries import Registries
from sandbox.supply.request import Request
from sandbox.supply.resolved import Resolution
from sandbox.supply.tree import content, drop, head, names, within

_QUIET = (
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--no-progress",
    "--loglevel=warn",
    f"--cache={MOUNT}/{SCRATCH}/npm",
    f"--prefix={MOUNT}",
    "--no-global",
    # What is denied stays denied: npm's own pauses add up to more than a client waits for a first start.
    "--fetch-retry-mintimeout=500",
    "--fetch-retry-maxtimeout=4000",
)
# A dependency from git is installed by a second npm in its own directory, whose `.npmrc` may name the
# program to call for git and send the user's token elsewhere: `--ignore-scripts` is no obstacle to that.
# npm knows `allow-` options from 11 on; an older one finds no git.
_REGISTRY_ONLY = (
    "--allow-git=none",
    "--allow-file=none",
    "--allow-directory=none",
    f"--git={CONFIG}/no-git",
)
_INERT = ("--ignore-scripts", "--omit=dev", *_REGISTRY_ONLY, *_QUIET)
# Where an archive came from is recorded, whatever the user's own locks leave out.
_INSTALL = ("install", "--save-exact", "--omit-lockfile-registry-resolved=false", *_INERT)
_AGAIN = ("ci", *_INERT)
_REBUILD = ("rebuild", "--ignore-scripts=false", "--foreground-scripts", *_QUIET)
_LARGEST = 4 << 20
_DAY_S = 86400.0
_LOCK = "package-lock.json"
_EMPTY = b'{"private": true}\n'


def interpreter(request: Request, environ: Mapping[str, str]) -> Interpreter:
    """The node that runs the packages: PATH's, as npx's own first line would choose."""
    return programs.node(which("node", environ, beside=request.runner), environ)


def jobs(order: Order, specs: Sequence[str], node: Interpreter, staging: str) -> list[BuildJob]:
    """Install with every script off; then, for packages in `scripts` alone, run theirs without any token."""
    request, environ = order.request, order.environ
    cli, package = _npm(order, node)

    def job(title: str, words: Sequence[str], asked: Registries) -> BuildJob:
        return BuildJob(
            title=title,
            steps=((node.path, cli, *words),),
            staging=os.path.join(staging, "tree"),
            programs=(node.path,),
            env=asked.settings.env,
            log=os.path.join(staging, "log"),
            mounts=(*asked.settings.mounts, *package),
            files=asked.settings.files,
            hosts=asked.hosts,
            proxies=asked.proxies,
        )

    prefix = os.path.dirname(os.path.dirname(_of_host(order, node)))
    theirs = settings.npm(environ, prefix=prefix)
    words = _install(order, specs, () if settings.limited(theirs) else _aged(order, specs))
    made = [job(request.title, words, registries.npm(theirs, request.options))]
    scripts = [spec.npm_name(spec.npm(each)) for each in order.scripts]
    if scripts:
        # A package's own code reaches no registry, and gets none of the logins.
        title = f"install scripts of {', '.join(scripts)} (npm)"
        made.append(
            job(title, (*_REBUILD, "--", *scripts), registries.nowhere(settings.without_logins(environ)))
        )
    return made


def _install(order: Order, specs: Sequence[str], aged: Sequence[str]) -> tuple[str, ...]:
    """To resolve and install, or to install again what was resolved."""
    options = order.request.options
    if order.locked:
        return (*_AGAIN, *options)
    return (*_INSTALL, *aged, *options, "--", *specs)


def _aged(order: Order, specs: Sequence[str]) -> tuple[str, ...]:
    """Nothing published later than `age` ago; npm then asks its registry for the dates, too."""
    if order.age is None:
        return ()
    # Of no age at all is also what a registry whose clock is ahead has published this second.
    moment = time.time() - order.age if order.age else time.time() + _DAY_S
    newest = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    # What is asked for by its very version is the judge's to refuse. An npm that does not know the option
    # takes an older version, or finds none.
    exempt = {*order.age_waive, *(spec.npm_name(each) for each in specs if spec.npm_pinned(each))}
    return (f"--before={newest}", *(f"--min-release-age-exclude={name}" for name in sorted(exempt)))


def _npm(order: Order, node: Interpreter) -> tuple[str, tuple[tuple[str, str], ...]]:
    """npm's own script, and the mount that shows it."""
    if order.image is not None:
        return inside.NPM, ()
    cli = programs.npm_cli(order.request.runner, node, order.environ)
    root = os.path.dirname(os.path.dirname(cli))
    return cli, () if root.startswith("/usr/") else ((root, root),)  # /usr is visible everywhere


def _of_host(order: Order, node: Interpreter) -> str:
    """The node whose global npmrc is the user's; on a host without one it is where most have it."""
    if order.image is None:
        return node.path
    return os.path.realpath(which("node", order.environ, beside=order.request.runner) or inside.NODE)


def prepare(tree: str, order: Order, specs: Sequence[str]) -> None:
    """An empty project for npm to install into, the same for every request; or what was resolved, as one."""
    manifest, lock = _EMPTY, b""
    if order.locked:
        manifest, lock = npm_lock.project(order.locked, [spec.npm_name(each) for each in specs])
    for name, text in (("package.json", manifest), (_LOCK, lock)):
        if text:
            with open(os.path.join(tree, name), "wb") as opened:
                opened.write(text)


def found(tree: str, order: Order, log: str) -> Resolution:
    """What npm resolved and what the registry says of it, read before any package's own code runs."""
    text = content(os.path.join(tree, _LOCK), npm_lock.LARGEST) or b""
    cache = os.path.join(tree, SCRATCH, "npm")
    listed = [*npm_lock.packages(text)]
    weak = {place: npm_cache.strong(cache, sri) for place, sri in npm_lock.weak(text).items()}
    packages = [_hashed(each, weak.get(each.place, "")) for each in listed]
    wanted: dict[str, set[str]] = {}
    for each in packages:
        wanted.setdefault(each.name, set()).add(each.version)
    dated = order.age is not None
    origins = npm_cache.origins(cache, wanted) if dated else {}
    # The list of packages has the warnings alone; the documents have them too.
    warned = {**npm_lock.deprecated(text), **{key: each.said for key, each in origins.items()}}
    packages = [_dated(each, origins.get((each.name, each.version))) for each in packages]
    holders = {each.place: each for each in packages if each.integrity}
    return Resolution(
        tuple(_bundled(each, npm_lock.holder(each, holders)) for each in packages),
        said=tuple(each for _, each in sorted(warned.items()) if each.says),
        ran=tuple(sorted({each.name for each in packages if each.scripts} & _allowed(order.scripts))),
        dated=dated,
    )


def _hashed(package: Package, sri: str) -> Package:
    return replace(package, integrity=(sri,)) if sri and not package.integrity else package


def _dated(package: Package, origin: npm_cache.Origin | None) -> Package:
    if origin is None:
        return package
    return replace(package, published=origin.published, publisher=origin.publisher)


def _bundled(package: Package, holder: Package | None) -> Package:
    """What rides in another one's archive was published with it, by whoever published that."""
    if holder is None:
        return package
    return replace(package, published=holder.published, publisher=holder.publisher)


def finish(tree: str) -> None:
    """What a machine's settings leave in the tree is taken out: equal packages give equal trees."""
    for name in (_LOCK, f"node_modules/.{_LOCK}", "package.json"):
        drop(tree, name)
    fd = os.open(
        os.path.join(tree, "package.json"), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644
    )
    with os.fdopen(fd, "wb") as opened:
        opened.write(_EMPTY)


def _manifest(tree: str, name: str) -> dict[str, object]:
    """The package.json of an installed package; a missing, foreign or broken one is an error."""
    real = within(tree, os.path.join(tree, "node_modules", name, "package.json"))
    try:
        if real is None:
            raise ValueError("it is missing")
        with open(os.path.join(tree, real), "rb") as opened:
            found = json.loads(opened.read(_LARGEST))
        if not isinstance(found, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        raise SandboxNotBuilt(
            "package-not-built", f"`package.json` of `{name}` cannot be read: {error}"
        ) from None
    return found


def resolved(tree: str, specs: Sequence[str]) -> tuple[str, ...]:
    """The packages asked for, each at the version that is in the tree."""
    names = [spec.npm_name(each) for each in specs]
    return tuple(f"{name}@{_manifest(tree, name).get('version')}" for name in names)


def unrun(tree: str, scripts: Sequence[str]) -> tuple[str, ...]:
    """The installed packages that have install scripts which were not allowed to run, by npm's own list."""
    allowed = _allowed(scripts)
    try:
        text = content(os.path.join(tree, _LOCK), npm_lock.LARGEST)
        listed = json.loads(text or b"")["packages"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ()
    has = [place for place, one in listed if isinstance(one, dict) and one.get("hasInstallScript")]
    # Packages for other systems are listed and not installed; a name that is not plain text is nobody's.
    there = [place for place in has if place.isprintable() and os.path.isdir(os.path.join(tree, place))]
    found = {place.rpartition("node_modules/")[2] for place in there}
    return tuple(sorted(found - allowed))


def _allowed(scripts: Sequence[str]) -> set[str]:
    return {spec.npm_name(spec.npm(each)) for each in scripts}


def default(tree: str, specs: Sequence[str]) -> str | None:
    """npx's choice: the sole program of the package, else the one named as the package without its scope."""
    name = spec.npm_name(specs[0])
    plain = name.rpartition("/")[2]
    listed = _manifest(tree, name).get("bin")
    if isinstance(listed, str):
        return plain
    bins = listed if isinstance(listed, dict) else {}
    if len(set(map(str, bins.values()))) == 1:
        return str(next(iter(bins)))
    return plain if plain in bins else None


def starts(tree: str, node: Interpreter) -> dict[str, tuple[str, ...]]:
    """How each program of the tree starts: `node FILE` where its first line says node, else itself."""
    found = {}
    for name in names(tree, "node_modules", ".bin"):
        real = within(tree, os.path.join(tree, "node_modules", ".bin", name))
        if real is not None:
            found[name] = _start(os.path.join(tree, real), f"{MOUNT}/{real}", node.path)
    return found


def _start(path: str, inside: str, node: str) -> tuple[str, ...]:
    first = head(path)
    if first.startswith(b"#!"):
        words = first[2:].split(b"\n")[0].decode("utf-8", "replace").split()
        if words and os.path.basename(words[0]) == "env":
            words = [word for word in words[1:] if word != "-S"]
        if words and os.path.basename(words[0]) in ("node", "nodejs"):
            return (node, *words[1:], inside)
        return (inside,)
    return (node, inside) if path.endswith((".js", ".cjs", ".mjs")) else (inside,)
