"""A world in which npm takes milliseconds: a `node` that says who it is, and builders that write files.

Run as a program it freezes one package and prints the outcome; the tests start several, or kill it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.plan.image import Image
from sandbox.supply.freeze import freeze
from sandbox.supply.job import BuildJob, BuildOutcome, Frozen
from sandbox.supply.request import Request, parse

PACKAGE = {"name": "pkg", "version": "1.2.3", "bin": {"pkg": "main.js", "other": "other.js"}}


def node_at(folder: Path, abi: str = "node-115") -> Path:
    """A `node` that answers the one question we ask, and an npm beside it."""
    cli = folder / "lib/node_modules/npm/bin/npm-cli.js"
    cli.parent.mkdir(parents=True, exist_ok=True)
    cli.write_text("// npm\n")
    node = folder / "bin/node"
    node.parent.mkdir(exist_ok=True)
    answer = json.dumps([str(node), "v20.0.0", abi])
    node.write_text(f"#!/bin/sh\necho '{answer}'\n")
    node.chmod(0o755)
    return node


def world(root: Path, **more: str) -> dict[str, str]:
    """An environment with that toolchain and a cache of its own."""
    node_at(root / "node")
    (root / "home").mkdir(exist_ok=True)
    return {
        "HOME": str(root / "home"),
        "XDG_CACHE_HOME": str(root / "cache"),
        "PATH": f"{root}/node/bin:/usr/bin:/bin",
        **more,
    }


def store_of(environ: Mapping[str, str]) -> Path:
    return Path(environ["XDG_CACHE_HOME"]) / "mcp-sandbox/store"


def install(tree: Path, package: Mapping[str, object] = PACKAGE) -> None:
    """What npm would leave: the package, its programs, links to them, and a cache of its own."""
    folder = tree / "node_modules" / str(package["name"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps(package))
    (tree / ".build/npm").mkdir(parents=True, exist_ok=True)
    (tree / ".build/npm/leftover").write_text("cache")
    links = tree / "node_modules/.bin"
    links.mkdir(exist_ok=True)
    listed = package["bin"]
    assert isinstance(listed, dict)
    for name, file in listed.items():
        (folder / file).write_text("#!/usr/bin/env node\n")
        (folder / file).chmod(0o755)
        (links / name).unlink(missing_ok=True)
        (links / name).symlink_to(f"../{package['name']}/{file}")


class Builder:
    """A `run_build` that installs and leaves a line in `count` for each call, over `seconds`."""

    def __init__(
        self, count: Path, seconds: float = 0.0, package: Mapping[str, object] = PACKAGE, status: int = 0
    ) -> None:
        self.count, self.seconds, self.package, self.status = count, seconds, package, status
        self.jobs: list[BuildJob] = []

    def __call__(self, job: BuildJob) -> BuildOutcome:
        self.jobs.append(job)
        with self.count.open("a") as opened:
            opened.write(f"{os.getpid()}\n")
        install(Path(job.staging), self.package)
        for number in range(20 if self.seconds else 0):
            (Path(job.staging) / f"node_modules/{number}").write_bytes(os.urandom(1) * number)
            time.sleep(self.seconds / 20)
        return BuildOutcome(self.status)

    @property
    def calls(self) -> int:
        return len(self.count.read_text().splitlines()) if self.count.exists() else 0


def asked(command: str) -> Request:
    request = parse(command.split())
    assert request is not None
    return request


def frozen(
    command: str,
    environ: Mapping[str, str],
    run_build: Callable[[BuildJob], BuildOutcome],
    *,
    scripts: tuple[str, ...] = (),
    refresh: bool = False,
    said: list[str] | None = None,
    cwd: str = "/",
    image: Image | None = None,
) -> Frozen:
    return freeze(
        asked(command),
        environ=environ,
        cwd=cwd,
        scripts=scripts,
        refresh=refresh,
        run_build=run_build,
        progress=(said if said is not None else []).append,
        image=image,
    )


def offline(tree: str, *argv: str) -> list[str]:
    """Runs `argv` with the tree read-only at its place and no network at all."""
    mounts = (
        "mount -t tmpfs none /opt && mkdir /opt/mcp && mount --bind $0 /opt/mcp "
        '&& mount -o remount,bind,ro /opt/mcp && exec "$@"'
    )
    namespaces = ["unshare", *([] if os.geteuid() == 0 else ["-r"]), "-m", "-n"]
    return [*namespaces, "sh", "-c", mounts, tree, *argv]


def main() -> None:
    """ROOT COMMAND SECONDS STATUS: says `ready`, waits for a line, freezes, prints what came of it."""
    root, command, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    environ = world(root) if not (root / "node").exists() else {**os.environ}
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    builder = Builder(root / "count", seconds, status=int(sys.argv[4]))
    try:
        made = frozen(command, environ, builder)
        outcome: list[object] = [made.argv, made.digest, made.tree, made.reused]
    except SandboxError as error:
        outcome = [error.code, error.what]
    sys.stdout.write(json.dumps(outcome) + "\n")


if __name__ == "__main__":
    main()
