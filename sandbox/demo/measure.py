"""Runs one probe twice: with the user's own rights, and in the very sandbox the server has."""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox.backend.native import launch
from sandbox.demo.attempts import Attempt
from sandbox.demo.canaries import VARIABLE, World
from sandbox.plan.spec import Spec
from sandbox.prepared import Prepared
from sandbox.records import dataclass, replace

PROBE_S = 10.0
REPORT_BYTES = 1 << 20
# What the probe met, for a person; only the world's own evidence decides a row.
MEANING = {
    "ENOENT": "not there",
    "EACCES": "permission denied",
    "EPERM": "not permitted",
    "EROFS": "read-only",
    "ESRCH": "no such process",
    "ECONNREFUSED": "refused",
    "ENETUNREACH": "no network",
}
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Seen:
    """One side of a row: whether the attempt was made, what the world showed, what the probe met."""

    measured: bool
    reached: bool
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt, without the sandbox and in it."""

    id: str
    tried: str
    outside: Seen
    inside: Seen

    @property
    def blocked(self) -> bool:
        """Tried on both sides, and inside it came to nothing."""
        return self.outside.measured and self.inside.measured and not self.inside.reached


def rows(
    prepared: Prepared, world: World, tries: list[Attempt], progress: Callable[[str], None]
) -> list[Row]:
    """Measures every attempt; one after the other, so that no thread exists when the sandbox is forked."""
    own = outside_interpreter(prepared)
    environ = {**world.environ, VARIABLE: world.token}
    measured = []
    progress(f"trying {len(tries)} things that a server has no business doing, without the sandbox and in it")
    for attempt in tries:
        outside = _side(
            attempt, "outside", lambda words: run_outside(probe(own, *words), environ, world.granted)
        )
        inside = _side(
            attempt,
            "inside",
            lambda words: run_inside(
                replace(prepared.spec, argv=probe(prepared.spec.argv[0], *words)), f"demo-{os.getpid()}"
            ),
        )
        measured.append(Row(attempt.id, attempt.tried, outside, inside))
    return measured


def outside_interpreter(prepared: Prepared) -> str:
    """The host's path of the program that runs the server: a frozen tree is mounted elsewhere inside."""
    program, frozen = prepared.spec.argv[0], prepared.frozen
    if frozen is not None and program.startswith(f"{frozen.mount}/"):
        return frozen.tree + program.removeprefix(frozen.mount)
    return program


def probe(interpreter: str, act: str, ask: str) -> tuple[str, ...]:
    """The same probe for both sides, in the language of the server."""
    if os.path.basename(interpreter).startswith("node"):
        return (interpreter, "-e", (HERE / "probe.js").read_text(), act, ask)
    return (interpreter, "-I", "-c", (HERE / "probe.py").read_text(), act, ask)


def _side(attempt: Attempt, side: str, run: Callable[[tuple[str, str]], bytes]) -> Seen:
    ask = {"nonce": secrets.token_hex(16), **attempt.ask(side)}
    report = _report(run((attempt.act, json.dumps(ask))), str(ask["nonce"]))
    shown = attempt.reached(side, ask, report)
    if shown:
        return Seen(True, True, shown)
    if not report:
        return Seen(False, False, "not measured: the probe did not run")
    met = str(report.get("error", ""))
    text = ", ".join(filter(None, (attempt.missed, MEANING.get(met, met))))
    return Seen(True, False, text or "nothing came back")


def _report(output: bytes, nonce: str) -> dict[str, Any]:
    """What the probe printed, if it got as far as trying: silence must not pass for being blocked."""
    try:
        report = json.loads(output)
    except ValueError:
        return {}
    return report if isinstance(report, dict) and report.get("tried") == nonce else {}


def run_outside(argv: tuple[str, ...], environ: dict[str, str], cwd: str) -> bytes:
    """The control: the user's own rights, environment and file system."""
    try:
        done = subprocess.run(  # noqa: S603 - our own probe, no shell
            argv, env=environ, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, timeout=PROBE_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return b""
    return done.stdout


def run_inside(spec: Spec, session: str) -> bytes:
    """What a program prints in the sandbox of `spec`; after `PROBE_S` seconds the sandbox is ended."""
    running = launch.start(spec, launch.orders(spec, session, spec.env))
    deadline = time.monotonic() + PROBE_S
    try:
        running.release()
        os.close(running.stdin)
        output = _collect((running.stdout, running.stderr), deadline)
        running.wait(max(0.1, deadline - time.monotonic()))
        return output
    finally:
        running.kill()
        running.wait(5.0)
        os.close(running.stdout)
        os.close(running.stderr)


def _collect(ends: tuple[int, int], deadline: float) -> bytes:
    """The first stream's bytes, bounded; the second is drained, so that it never blocks the probe."""
    kept = b""
    left = set(ends)
    while left:
        ready, _, _ = select.select(list(left), [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        for fd in ready:
            data = os.read(fd, 65536)
            if not data:
                left.discard(fd)
            elif fd == ends[0] and len(kept) < REPORT_BYTES:
                kept += data
    return kept
