"""Real servers that speak HTTP are to real clients the servers that they are over stdio."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.e2e.caller import Caller
from tests.e2e.servers import said
from tests.e2e.test_servers import drive

pytestmark = [pytest.mark.long, pytest.mark.timeout(300), pytest.mark.backends(docker="user")]
PORT = "3001"
EVERYTHING = ("npx", "-y", "@modelcontextprotocol/server-everything")
CONTEXT7 = ("npx", "-y", "@upstash/context7-mcp")
FIXTURES = str(ROOT / "tests" / "fixtures")
SDK = (sys.executable, f"{FIXTURES}/everything.py")
SEEN = ("--allow-read", FIXTURES)
ASKED = [
    ("echo", {"message": "hällo\u2028wörld"}),
    ("trigger-long-running-operation", {"duration": 0.6, "steps": 4}),
    ("trigger-sampling-request", {"prompt": "why?", "maxTokens": 5}),
    ("trigger-elicitation-request", {}),
]


@dataclass(frozen=True)
class Both:
    """One server: what it is started with over stdio, and over HTTP."""

    stdio: tuple[str, ...]
    http: tuple[str, ...]
    path: str = ""
    options: tuple[str, ...] = ()


PACKAGES = [
    pytest.param(
        Both((*EVERYTHING, "stdio"), (*EVERYTHING, "streamableHttp"), options=("--set-env", f"PORT={PORT}")),
        id="everything, streamable HTTP",
    ),
    pytest.param(
        Both((*EVERYTHING, "stdio"), (*EVERYTHING, "sse"), "/sse", ("--set-env", f"PORT={PORT}")),
        id="everything, HTTP+SSE",
    ),
    pytest.param(Both(CONTEXT7, (*CONTEXT7, "--transport", "http", "--port", PORT)), id="context7"),
]
WAYS = (("--json",), ("--stateless",), ("--json", "--stateless"))
OWN = [pytest.param(Both(SDK, (*SDK, "--http", PORT, *way), options=SEEN), id=" ".join(way)) for way in WAYS]


PROFILE = 'schema = 1\nextends = "base"\n[client]\nsampling = "allow"\n'


def over(caller: Caller, sdk: str, both: Both, *, http: bool, calls: list[Any], era: str = "legacy") -> Any:
    """What the client saw of it."""
    place = caller.directory()
    caller.run("sh", "-c", "cat >asking.toml", cwd=place, text=PROFILE).check_returncode()
    where = ("--http", f"{PORT}{both.path}") if http else ()
    words = (
        "--profile",
        f"{place}/asking.toml",
        *both.options,
        *where,
        "--",
        *(both.http if http else both.stdio),
    )
    return drive(caller, sdk, *words, cwd=place, calls=calls, era=era)


@pytest.mark.parametrize("both", PACKAGES)
def test_its_tools_are_those_that_it_has_over_stdio(both: Both, sdk: str, caller: Caller) -> None:
    alone, found = (over(caller, sdk, both, http=http, calls=[]) for http in (False, True))
    assert len(found["tools"]) > 0
    assert found["tools"] == alone["tools"]


@pytest.mark.parametrize("both", PACKAGES[:2])
def test_progress_and_the_servers_own_questions_come_through(both: Both, sdk: str, caller: Caller) -> None:
    found = over(caller, sdk, both, http=True, calls=ASKED)
    echo, _, sampled, elicited = map(said, found["calls"])
    assert echo == "Echo: hällo\u2028wörld"
    assert found["progress"] == [1, 2, 3, 4]
    assert "a model was asked" in sampled
    assert elicited


@pytest.mark.backends
@pytest.mark.parametrize("both", OWN)
@pytest.mark.parametrize("era", ["legacy", "auto"])
def test_the_sdks_server_in_both_eras(both: Both, era: str, caller: Caller) -> None:
    if not caller.reaches(sys.executable, Path(FIXTURES)):
        pytest.skip("the user cannot enter this tree: proved by the run as that user")
    calls = [("test_simple_text", {}), ("test_tool_with_progress", {})]
    alone, found = (over(caller, sys.executable, both, http=h, calls=calls, era=era) for h in (False, True))
    assert found["version"] == alone["version"]
    assert found["tools"] == alone["tools"]
    assert list(map(said, found["calls"])) == list(map(said, alone["calls"]))
