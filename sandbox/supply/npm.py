"""npm packages: the steps that install them without running their code, and how their programs start."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from sandbox.errors import SandboxNotBuilt
from sandbox.supply import inside, programs, registries, settings, spec
from sandbox.supply.job import CONFIG, MOUNT, SCRATCH, BuildJob, Order
from sandbox.supply.key import which
from sandbox.supply.programs import Interpreter
from sandbox.supply.registries import Registries
from sandbox.supply.request import Request
from sandbox.supply.tree import head, names, within

_QUIET = (
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--no-progress",
    "--loglevel=warn",
    f"--cache={MOUNT}/{SCRATCH}/npm",
    f"--prefix={MOUNT}",
    "--no-global",
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
_INSTALL = ("install", "--ignore-scripts", "--save-exact", "--omit=dev", *_REGISTRY_ONLY, *_QUIET)
_REBUILD = ("rebuild", "--ignore-scripts=false", "--foreground-scripts", *_QUIET)
_LARGEST = 4 << 20


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
    install = (*_INSTALL, *request.options, "--", *specs)
    asked = registries.npm(settings.npm(environ, prefix=prefix), request.options)
    made = [job(request.title, install, asked)]
    scripts = [spec.npm_name(spec.npm(each)) for each in order.scripts]
    if scripts:
        # A package's own code reaches no registry, and gets none of the logins.
        title = f"install scripts of {', '.join(scripts)} (npm)"
        made.append(
            job(title, (*_REBUILD, "--", *scripts), registries.nowhere(settings.without_logins(environ)))
        )
    return made


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


def prepare(tree: str) -> None:
    """An empty project for npm to install into, the same for every request."""
    with open(os.path.join(tree, "package.json"), "w") as opened:
        opened.write('{"private": true}\n')


def finish(tree: str) -> None:
    """What a machine's settings leave in the tree is taken out: equal packages give equal trees."""


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
    allowed = {spec.npm_name(spec.npm(each)) for each in scripts}
    real = within(tree, os.path.join(tree, "package-lock.json"))
    try:
        with open(os.path.join(tree, real or "package-lock.json"), "rb") as opened:
            listed = json.loads(opened.read(4 * _LARGEST))["packages"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()
    has = [place for place, one in listed if isinstance(one, dict) and one.get("hasInstallScript")]
    # Packages for other systems are listed and not installed; a name that is not plain text is nobody's.
    there = [place for place in has if place.isprintable() and os.path.isdir(os.path.join(tree, place))]
    found = {place.rpartition("node_modules/")[2] for place in there}
    return tuple(sorted(found - allowed))


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
