"""`docker run IMAGE` as a command is that image, contained: its program, and nothing that the words grant."""

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
from tests.e2e.caller import Caller
from tests.egress.loopback import until

SERVER = b"""
import json, os, sys
for line in sys.stdin:
    seen = {"words": sys.argv[1:], "token": os.environ.get("TOKEN"), "level": os.environ.get("LEVEL")}
    seen["length"] = len(seen["token"] or "")
    seen["host"] = os.path.exists("/host/etc/hostname")
    print(json.dumps({"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": seen}), flush=True)
"""
VALUE = "t-0123456789"
REQUEST = '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}\n'


@pytest.fixture
def image(ready: Ready) -> Iterator[str]:
    """A user's own image with an entrypoint and a default argument, made from our python image."""
    base = json.loads(ready("docker"))["images"]["python"]["id"]
    api: Any = engine.connect(os.environ, timeout=60)
    name = f"mcp-sandbox-test/served-{secrets.token_hex(4)}"
    made = api.create_container(base, command=["true"])["Id"]
    api.put_archive(made, "/", _archive("server.py", SERVER))
    conf = {"Entrypoint": ["python3", "/server.py"], "Cmd": ["as", "shipped"]}
    built = api.commit(made, repository=name, tag="1", conf=conf)["Id"]
    api.remove_container(made)
    yield f"{name}:1"
    until(lambda: not api.containers(filters={"ancestor": built}), "its containers are gone", 5)
    api.remove_image(built, force=True, noprune=True)  # its parent is ours, and may have no name
    api.close()


def _archive(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        one = tarfile.TarInfo(name)
        one.size, one.mode = len(content), 0o644
        archive.addfile(one, io.BytesIO(content))
    return out.getvalue()


pytestmark = pytest.mark.backends(docker="user")


def answered(caller: Caller, *words: str) -> tuple[dict[str, Any], str]:
    if caller.backend == NATIVE and caller.uid:
        pytest.skip("this caller has no engine: proved by the one that has")
    done = caller.run(*caller.sandboxed(*words), cwd=caller.directory(), text=REQUEST, timeout=90)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["result"]
    return found, done.stderr


def test_an_images_own_program_runs_with_the_commands_words_and_variables(image: str, caller: Caller) -> None:
    words = ("docker", "run", "-i", "--rm", "-e", "TOKEN", "-e", "LEVEL=9", "-v", "/:/host", image, "--go")
    caller.environ["TOKEN"] = VALUE
    seen, said = answered(caller, "--", *words)
    assert (seen["words"], seen["level"], seen["host"]) == (["--go"], "9", False)
    # It has the caller's own, and what it says of it is kept from the client, as of every secret.
    assert seen["length"] == len(VALUE)
    assert seen["token"] != VALUE
    assert "`docker run --volume` is not taken over" in said
    assert "no profile is for this server" in said
    assert f"waived: the image `{image}`" in said


def test_without_words_it_runs_as_shipped(image: str, caller: Caller) -> None:
    seen, _ = answered(caller, "--", "docker", "run", "-i", image)
    assert seen["words"] == ["as", "shipped"]
    profile = caller.directory() / "mine.toml"
    profile.write_text(f'schema = 1\n[server]\nimage = "{image}"\nunpinned = true\n')
    seen, _ = answered(caller, "--name", "n", "--profile", str(profile))
    assert seen["words"] == ["as", "shipped"]
