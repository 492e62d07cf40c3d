"""Which containers are nobody's, and how long an engine is waited for."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox.backend import process
from sandbox.backend.docker import reap
from sandbox.backend.docker.reap import Engines, Found, dead

GONE, LIVES = "12~34", process.spelt(os.getpid())
AT_MOST_S = 2.5
"""What a start may lose to an engine that hangs, and what this machine needs beside it."""


@dataclass
class Listed:
    """A container as `GET /containers/json` tells of it."""

    role: str = "server"
    lease: str = GONE
    state: str = "running"
    name: str = "mcp-sandbox-s"
    mounts: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        return {
            "Id": "1d",
            "Names": [f"/{self.name}"],
            "Labels": {reap.ROLE: self.role, reap.LEASE: self.lease},
            "State": self.state,
            "Mounts": [{"Type": "bind", "Source": one} for one in self.mounts],
        }


SPARE = "mcp-sandbox-spare-0"


@pytest.mark.parametrize(
    ("listed", "nobodys"),
    [
        pytest.param(Listed(), True, id="a server whose wrapper is gone"),
        pytest.param(Listed(lease=LIVES), False, id="a server whose wrapper lives"),
        pytest.param(Listed(lease=""), False, id="no label says whose it is"),
        pytest.param(Listed(lease="x~y"), False, id="a label that names no process"),
        pytest.param(Listed("build"), True, id="a build whose wrapper is gone"),
        pytest.param(Listed("holder", name="mcp-sandbox-s-net"), True, id="a session's own holder"),
        pytest.param(Listed("holder", name=SPARE, mounts=["/gone"]), False, id="a spare that somebody took"),
        pytest.param(Listed("holder", name=SPARE, mounts=["/there"]), True, id="a spare that nobody took"),
        pytest.param(
            Listed("holder", name=SPARE, mounts=["/gone"], state="created"), True, id="a spare never started"
        ),
    ],
)
def test_whose_a_container_is(listed: Listed, *, nobodys: bool) -> None:
    found = dead([listed.told()], process.is_gone, lambda path: path == "/there")
    assert found == ([Found("1d", listed.name, listed.role)] if nobodys else [])


def test_labels_name_this_process_on_this_machine() -> None:
    told = dict(reap.labels("s", "server"))
    assert told[reap.OWNER] == str(os.getuid())
    assert not process.is_gone(told[reap.LEASE])
    assert str(os.stat("/proc/self/ns/pid").st_ino) in told[reap.MACHINE]


def test_where_nothing_listens_nothing_is_waited_for(tmp_path: Path) -> None:
    started = time.monotonic()
    engines = Engines({}, 2.0)
    assert not engines.remove(f"unix://{tmp_path}/none", ["x"])
    assert engines.abandoned(f"unix://{tmp_path}/none") == []
    assert time.monotonic() - started < 0.2


def test_an_engine_that_hangs_is_waited_for_once(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(path)
        deaf.listen(8)
        started = time.monotonic()
        engines = Engines({"HOME": str(tmp_path)}, 2.0)
        assert not engines.remove(f"unix://{path}", ["x"])
        assert time.monotonic() - started < AT_MOST_S
        again = time.monotonic()
        assert not engines.remove(f"unix://{path}", ["y"])
        assert time.monotonic() - again < 0.1
        engines.close()
