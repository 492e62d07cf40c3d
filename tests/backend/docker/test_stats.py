"""What a wrapper learns of a container on another machine: what its engine counts, in one line a second."""

from __future__ import annotations

import contextlib
import json
import os
from threading import Thread
from typing import Any

import pytest

from sandbox import engine
from sandbox.backend.docker.stats import condensed, follow
from sandbox.backend.report import Reader
from sandbox.watchdog.meter import Usage
from sandbox.watchdog.told import ToldMeter
from tests.conftest import Require

MIB = 1 << 20
V1 = {
    "memory_stats": {"usage": 9 * MIB, "max_usage": 10 * MIB, "stats": {"total_cache": MIB, "cache": 5}},
    "pids_stats": {"current": 4, "limit": 41},
    "cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}},
    "networks": {"eth0": {"rx_bytes": 1}},
}
V2 = {**V1, "memory_stats": {"usage": 9 * MIB, "stats": {"file": MIB, "anon": 5}}}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(V1, Usage(memory=9 * MIB, peak=10 * MIB, cache=MIB, pids=3, cpu=1.5), id="version 1"),
        pytest.param(V2, Usage(memory=9 * MIB, cache=MIB, pids=3, cpu=1.5), id="version 2"),
        pytest.param({}, Usage(), id="nothing"),
        pytest.param({"memory_stats": None, "pids_stats": {}}, Usage(), id="a container that just ended"),
        pytest.param({"memory_stats": {"usage": "much"}}, Usage(), id="no number"),
    ],
)
def test_a_sample_of_what_an_engine_says(said: dict[str, Any], expected: Usage) -> None:
    assert ToldMeter(lambda: json.dumps(condensed(said))).measure() == expected


@pytest.mark.parametrize("line", ["", "{", '{"memory": "x", "pids": null}'])
def test_a_line_that_says_nothing_is_unknown(line: str) -> None:
    assert ToldMeter(lambda: line).measure() == Usage()


def test_a_real_engine_tells_until_the_container_is_over(require: Require) -> None:
    require("docker")
    with contextlib.closing(engine.connect(os.environ)) as api:
        (image, *_) = api.images(filters={"label": "io.mcp-sandbox.image=base"})
        made = api.create_container_from_config(
            {
                "Image": image["Id"],
                "Entrypoint": ["/bin/sleep", "60"],
                "HostConfig": {"PidsLimit": 9, "NetworkMode": "none"},
            }
        )["Id"]
        ours, theirs = os.pipe()
        thread = Thread(target=follow, args=(lambda: engine.connect(os.environ), made, theirs))
        try:
            api.start(made)
            thread.start()
            reader = Reader(ours)
            assert reader.ready(20.0)
            word, line = reader.line() or ["", ""]
            assert word == "stats"
            used = ToldMeter(lambda: line).measure()
            assert used.pids == 0, "process 1 is the engine's"
            assert used.memory
        finally:
            api.remove_container(made, force=True)
            if thread.ident:
                thread.join(20.0)
            os.close(theirs)
            os.close(ours)
        assert not thread.is_alive()
