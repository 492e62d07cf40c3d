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
from tests.profiles.served import Refused, Served, Shown, dialled, text

RECORD = "MCP_SANDBOX_SERVED"
"""Names the directory where each proof leaves what it showed, for `scripts/profiles`."""

Note = Callable[[Served, str, Shown], None]


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
    """Writes down what a row showed, where somebody asked for it."""

    def write(row: Served, backend: str, shown: Shown) -> None:
        if os.environ.get(RECORD):
            place = Path(os.environ[RECORD])
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"{row.id}-{backend}.json"
            path.write_text(json.dumps(_proof(row, backend, shown), indent=1, ensure_ascii=False) + "\n")

    return write


def _proof(row: Served, backend: str, shown: Shown) -> dict[str, Any]:
    start, spec = shown.of("session.start")[0]["detail"], shown.of("spec")[0]["detail"]
    supplied = shown.of("supply.build", "supply.reuse")
    samples = [event["detail"] for event in shown.of("quota.sample")]
    return {
        "profile": row.profile,
        "backend": backend,
        "sources": [[Path(path).name, digest] for path, digest in start["sources"]],
        "resolved": supplied[0]["detail"]["resolved"] if supplied else [],
        "listed": len(shown.tools),
        "called": list(dict.fromkeys(call.tool for call in row.calls)),
        "refused": [[one.call.tool, one.waiver] for one in row.refused],
        "dialled": sorted(dialled(shown)),
        "hosts": spec["hosts"],
        "binds": spec["binds"],
        "syscalls": spec["syscalls"],
        "peak": max((int(one.get("peak") or 0) for one in samples), default=0),
        "pids": max((int(one.get("pids") or 0) for one in samples), default=0),
        "answers": [text(answer)[:200] for answer in shown.answers],
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
        metafunc.parametrize(("row", "place"), [_case(row, backend) for row, backend in pairs])
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
