"""A locked image starts as it was locked, whoever moves its name; without a lock the name is all there is."""

from __future__ import annotations

import io
import json
import os
import secrets
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import engine
from sandbox.errors import NOT_BUILT
from tests.backends import NATIVE
from tests.conftest import Ready
from tests.e2e.caller import PROGRAM, Caller
from tests.egress.loopback import until

SERVER = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        result = {"tools": []}
        if message["method"] == "initialize":
            info = {"name": "moved", "version": "%s"}
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "t", "version": "1"},
}
REQUEST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}) + "\n"

pytestmark = pytest.mark.backends(docker="user")


class Moving:
    """A name of an image that its owner gives to one version after the other."""

    def __init__(self, api: Any, base: str) -> None:
        self.api, self.base = api, base
        self.repository = f"mcp-sandbox-test/moved-{secrets.token_hex(4)}"
        self.name = f"{self.repository}:1"
        self.made: list[str] = []

    def release(self, version: str) -> str:
        """From now on the name is that version's; its id."""
        one = self.api.create_container(self.base, command=["true"])["Id"]
        self.api.put_archive(one, "/", _archive("server.py", (SERVER % version).encode()))
        conf = {"Entrypoint": ["python3", "/server.py"]}
        id: str = self.api.commit(one, repository=self.repository, tag="1", conf=conf)["Id"]
        self.api.remove_container(one)
        self.made.append(id)
        return id

    def last_layer(self) -> str:
        """The hash of what the newest version put on top."""
        layers: list[str] = self.api.inspect_image(self.name)["RootFS"]["Layers"]
        return layers[-1]


def _archive(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        one = tarfile.TarInfo(name)
        one.size, one.mode = len(content), 0o644
        archive.addfile(one, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def image(ready: Ready) -> Iterator[Moving]:
    base = json.loads(ready("docker"))["images"]["python"]["id"]
    api: Any = engine.connect(os.environ, timeout=60)
    moving = Moving(api, base)
    moving.release("1")
    yield moving
    for one in moving.made:
        until(lambda id=one: not api.containers(filters={"ancestor": id}), "its containers are gone", 5)
        api.remove_image(one, force=True, noprune=True)  # its parent is ours, and may have no name
    api.close()


def command(image: Moving) -> tuple[str, ...]:
    return ("--", "docker", "run", "-i", "--rm", image.name)


def started(caller: Caller, image: Moving, *options: str) -> Any:
    """One start: the version that answered, or the error."""
    words = caller.sandboxed(*options, *command(image))
    done = caller.run(*words, cwd=caller.directory(), text=REQUEST, timeout=90)
    if done.returncode:
        return done
    return json.loads(done.stdout)["result"]["serverInfo"]["version"]


def test_a_name_that_was_moved_starts_nothing_once_its_image_is_locked(image: Moving, caller: Caller) -> None:
    if caller.backend == NATIVE and caller.uid:
        pytest.skip("this caller has no engine: proved by the one that has")
    locked = caller.run(PROGRAM, "lock", "--yes", *command(image), cwd=caller.directory(), timeout=120)
    assert locked.returncode == 0, locked.stderr
    assert started(caller, image, "--locked") == "1"
    was = image.last_layer()
    image.release("2")
    refused = started(caller, image)
    assert refused.returncode == NOT_BUILT
    assert "image-changed" in refused.stderr
    assert image.last_layer() in refused.stderr
    assert was in refused.stderr
    name = json.loads(
        caller.run(PROGRAM, "lock", "--list", "--json", cwd=caller.directory(), timeout=60).stdout
    )["locks"][0]["name"]
    removed = caller.run(PROGRAM, "lock", "--remove", name, "--yes", cwd=caller.directory(), timeout=60)
    assert removed.returncode == 0, removed.stderr
    assert started(caller, image) == "2", "without a lock the name is whatever its owner last gave it"
