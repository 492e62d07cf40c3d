"""The host's node, npm, uv and python: which files they really are and what they answer about themselves.

These are the user's own programs, asked outside any sandbox; no package's code runs here.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence

from sandbox.errors import CommandNotFound
from sandbox.records import dataclass
from sandbox.supply.key import which

_PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A real executable, its version, and the name of the binary interface that compiled packages fit."""

    path: str
    version: str
    abi: str


def _ask(argv: Sequence[str], environ: Mapping[str, str]) -> str | None:
    home = environ.get("HOME", "/")
    # Shims (asdf, mise, volta) choose by working directory: the home directory gives the user's default.
    cwd = home if os.path.isdir(home) else "/"
    # A virtual environment that happens to be active is not what the runner would use.
    env = {name: value for name, value in environ.items() if name not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    try:
        done = subprocess.run(  # noqa: S603 - the user's own program, found on the user's PATH
            list(argv), cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _interpreter(answer: str | None) -> Interpreter | None:
    try:
        path, version, abi = json.loads(answer or "")
    except ValueError:
        return None
    return Interpreter(os.path.realpath(path), version, abi)


def probe(path: str, environ: Mapping[str, str]) -> Interpreter | None:
    """What node or python at `path` (a shim, maybe) really is; None where it does not answer."""
    if os.path.basename(path).startswith(("node", "bun")):
        script = "JSON.stringify([process.execPath, process.version, 'node-' + process.versions.modules])"
        return _interpreter(_ask([path, "-p", script], environ))
    script = (
        "import sys, json; v = sys.version_info; "
        "print(json.dumps([sys._base_executable, '%d.%d.%d' % v[:3], sys.implementation.cache_tag]))"
    )
    return _interpreter(_ask([path, "-I", "-S", "-c", script], environ))


def node(path: str | None, environ: Mapping[str, str]) -> Interpreter:
    """The real node behind what PATH names."""
    found = probe(path, environ) if path else None
    if found is None:
        raise CommandNotFound(
            "node-not-found",
            "`node` is not on PATH, so packages of npm cannot run",
            hint="install Node.js, or give the absolute path of npx if it is not on the client's PATH",
        )
    return found


def npm_cli(runner: str, found: Interpreter, environ: Mapping[str, str]) -> str:
    """npm's own script: beside the runner, on PATH, or where this node keeps it."""
    prefix = os.path.dirname(os.path.dirname(found.path))
    beside = os.path.join(os.path.dirname(runner), "npm") if runner.startswith("/") else None
    for place in (
        beside,
        which("npm", environ),
        f"{prefix}/bin/npm",
        f"{prefix}/lib/node_modules/npm/bin/npm-cli.js",
    ):
        real = os.path.realpath(place) if place else ""
        if os.path.basename(real) == "npm-cli.js" and os.path.isfile(real):
            return real
    raise CommandNotFound(
        "npm-not-found",
        f"node is `{found.path}` but npm is not there, so the package cannot be fetched",
        hint="install npm (Debian: `apt install npm`), then start again",
    )


def python(wanted: str | None, installer: str | None, environ: Mapping[str, str]) -> Interpreter:
    """The host python that meets `wanted`; a version that is not installed is an error, never a download."""
    found = None
    if installer:
        argv = [installer, "python", "find", "--system", "--no-project", "--no-python-downloads"]
        path = (_ask([*argv, *([wanted] if wanted else [])], environ) or "").strip()
        found = probe(path, environ) if path else None
    else:
        path = (
            which(f"python{wanted or '3'}", environ)
            or (wanted if wanted and wanted[0] == "/" else None)
            or ""
        )
        found = probe(path, environ) if path else None
    if found is None:
        raise CommandNotFound(
            "python-not-found",
            f"no python {wanted or '3'} is installed",
            hint=f"install it, for example `uv python install {wanted or ''}`".rstrip(" `") + "`",
        )
    return found
