"""Every row of the folder against both backends, and where what it showed is written down."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.images import state_file
from tests.backends import DOCKER, NATIVE
from tests.conftest import Ready
from tests.profiles.served import Refused, Served, Shown, dialled, grants

RECORD = "MCP_SANDBOX_SERVED"
"""Names the directory where each proof leaves what it showed, for `scripts/profiles`."""

Note = Callable[..., None]


@pytest.fixture
def engaged(ready: Ready) -> Ready:
    """`engaged("docker")`: the backend is there, and this home knows the images that were built."""

    def check(backend: str) -> str:
        images = ready(backend)
        note = Path(state_file(dict(os.environ)))
        if images and not note.exists():
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(images)
        return images

    return check


@pytest.fixture
def note() -> Note:
    """Writes down what a row showed, or what it was refused, where somebody asked for it."""

    def write(row: Served, backend: str, shown: Shown, refused: Refused | None = None) -> None:
        if os.environ.get(RECORD):
            place = Path(os.environ[RECORD])
            place.mkdir(parents=True, exist_ok=True)
            name = f"{row.id}-{backend}" + (f"-refused-{refused.call.tool}" if refused else "")
            found = _refusal(row, backend, refused) if refused else _proof(row, backend, shown)
            (place / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")

    return write


def _refusal(row: Served, backend: str, refused: Refused) -> dict[str, Any]:
    return {
        "kind": "refused",
        "profile": row.profile,
        "backend": backend,
        "grants": grants(row.profile),
        "call": refused.call.tool,
        "waiver": refused.waiver,
    }


def _proof(row: Served, backend: str, shown: Shown) -> dict[str, Any]:
    spec = shown.of("spec")[0]["detail"]
    supplied = shown.of("supply.build", "supply.reuse")
    denials = shown.of("dns.deny", "egress.deny")
    samples = [event["detail"] for event in shown.of("quota.sample")]
    return {
        "kind": "served",
        "profile": row.profile,
        "backend": backend,
        "grants": grants(row.profile),
        "resolved": supplied[0]["detail"]["resolved"] if supplied else [],
        "listed": len(shown.tools),
        "called": list(dict.fromkeys(call.tool for call in row.calls)),
        "answered": sum(not call.dials for call in row.calls),
        "dialled": sorted(dialled(shown)),
        "denied": sorted({str(one["detail"].get("host")) for one in denials if "host" in one["detail"]}),
        "hosts": spec["hosts"],
        "binds": spec["binds"],
        "syscalls": spec["syscalls"],
        "peak": max((int(one.get("peak") or 0) for one in samples), default=0),
        "pids": max((int(one.get("pids") or 0) for one in samples), default=0),
    }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`place`: each row on each backend; with `beyond` each thing that its profile refuses; or `old` rows."""
    rows: tuple[Served, ...] = getattr(metafunc.module, "ROWS", ())
    if "old" in metafunc.fixturenames:
        cases = [pytest.param(row, id=row.id, marks=pytest.mark.long) for row in rows if row.oldest]
        metafunc.parametrize("old", cases)
    if "place" not in metafunc.fixturenames:
        return
    pairs = [(row, backend) for row in rows for backend in (NATIVE, DOCKER)]
    if "beyond" not in metafunc.fixturenames:
        metafunc.parametrize(("row", "place"), [_case(*pair) for pair in pairs if pair[0].calls])
        return
    cases = [_case(row, backend, one) for row, backend in pairs for one in row.refused]
    metafunc.parametrize(("row", "place", "beyond"), cases)


def _case(row: Served, backend: str, *beyond: Refused) -> Any:
    reason = row.native if backend == NATIVE else row.docker
    marks = [pytest.mark.skip(reason=reason)] if reason else []
    if backend != NATIVE or not row.quick:
        marks.append(pytest.mark.long)
    name = "-".join([row.id, backend, *(one.call.tool for one in beyond)])
    return pytest.param(row, backend, *beyond, id=name, marks=marks)
