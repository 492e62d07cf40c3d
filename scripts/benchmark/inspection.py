"""What inspection costs: the same server with it and without it, and the share of every inspector."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark import subjects
from benchmark.measure import Amount, calls
from benchmark.subjects import HERE, Subject

OFF = """schema = 1
extends = "base"
[inspect]
protocol = "off"
poison = "off"
secrets = "off"
[tools]
pin = "off"
[client]
roots = "all"
sampling = "allow"
elicitation = "allow"
"""
"""A profile under which the relay looks at frames and ids alone."""
KEPT = ("bare", "byte-copy", "wrapped")


def measure(
    program: str, amount: Amount, environ: Mapping[str, str], cwd: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """Milliseconds of every call, by server, size and variant; microseconds of every inspector."""
    off = Path(cwd, "off.toml")
    off.write_text(OFF)
    servers = {}
    for one in subjects.echoes(program):
        say(f"{one.name}: {amount.rounds * amount.calls} calls of each, and {amount.large} large ones")
        subject = _variants(one, program, str(off))
        servers[one.name] = {"samples_ms": calls(subject, amount, environ, cwd)}
    say("the share of every inspector")
    return {"servers": servers, "share_us": share(program)}


def _variants(one: Subject, program: str, off: str) -> Subject:
    kept = {name: one.variants[name] for name in KEPT}
    unseen = (program, "run", "--profile", off, "--", *one.variants["bare"])
    return replace(one, variants={**kept, "not inspected": unseen})


def share(program: str) -> dict[str, Any]:
    """Of the installed program's own inspectors, in one process: size, part and way to microseconds."""
    python = str(Path(program).with_name("python"))
    argv = [python, str(HERE / "share.py")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603 - ours
    found: dict[str, Any] = json.loads(done.stdout)
    return found
