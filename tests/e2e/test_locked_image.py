"""`docker run IMAGE` with a lock: the name may move, what starts may not."""

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
from tests.backends import NATIVE
from tests.conftest import Ready
from tests.e2e.caller import PROGRAM, Caller
from tests.egress.loopback import until

SERVER = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": {"is": "IT"}}), flush=True)
"""
REQUEST = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}\n'
pytestmark = pytest.mark.backends(docker="root")


class Images:
    """A name at the engine, and the images that were built under it."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.api: Any = engine.connect(os.environ, timeout=60)
        self.name = f"mcp-sandbox-test/locked-{secrets.token_hex(4)}"
        self.built: list[str] = []

    def release(self, text: str) -> None:
        """From now on the name means an image whose server answers that."""
        made = self.api.create_container(self.base, command=["true"])["Id"]
        self.api.put_archive(made, "/", _archive("server.py", SERVER.replace("IT", text).encode()))
        conf = {"Entrypoint": ["python3", "/server.py"]}
        self.built.append(self.api.commit(made, repository=self.name, tag="1", conf=conf)["Id"])
        self.api.remove_container(made)

    def remove(self) -> None:
        for one in self.built:
            until(
                lambda one=one: not self.api.containers(filters={"ancestor": one}),  # type: ignore[misc]
                "its containers are gone",
                5,
            )
            self.api.remove_image(one, force=True, noprune=True)  # its parent is ours, and may have no name
        self.api.close()


def _archive(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        one = tarfile.TarInfo(name)
        one.size, one.mode = len(content), 0o644
        archive.addfile(one, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture
def images(ready: Ready) -> Iterator[Images]:
    made = Images(json.loads(ready("docker"))["images"]["python"]["id"])
    try:
        yield made
    finally:
        made.remove()


def test_an_image_under_a_name_that_moved_does_not_start(images: Images, caller: Caller) -> None:
    """The control: without the lock the new one is what starts."""
    if caller.backend == NATIVE:
        pytest.skip("an image is the engine's")
    images.release("first")
    command = ("--", "docker", "run", "-i", "--rm", f"{images.name}:1")
    cwd = caller.directory()
    done = caller.run(PROGRAM, "lock", "--json", "--blind", *command, cwd=cwd, timeout=90)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kind"] == "oci"
    assert _answer(caller, "--locked", *command) == {"result": {"is": "first"}}
    assert "waived" not in _said(caller, *command)

    images.release("second")
    refused = _answer(caller, *command)
    assert "image-changed" in refused["error"]["message"]
    assert "layer" in refused["error"]["message"]
    dropped = (PROGRAM, "lock", "--yes", "--remove", images.name.rpartition("/")[2])
    assert caller.run(*dropped, cwd=cwd, timeout=60).returncode == 0
    assert _answer(caller, *command) == {"result": {"is": "second"}}
    assert "is whatever its owner last gave that name" in _said(caller, *command)


def _answer(caller: Caller, *words: str) -> dict[str, Any]:
    done = caller.run(*caller.sandboxed(*words), cwd=caller.directory(), text=REQUEST, timeout=90)
    found: dict[str, Any] = json.loads(done.stdout)
    return {key: value for key, value in found.items() if key in ("result", "error")}


def _said(caller: Caller, *words: str) -> str:
    """What a person is told before the start."""
    return caller.run(*caller.sandboxed(*words), cwd=caller.directory(), text=REQUEST, timeout=90).stderr
