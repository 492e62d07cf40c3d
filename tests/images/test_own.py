"""A profile's own image: refused without a digest, pulled when the engine lacks it, asked about once."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import engine, images
from sandbox.errors import CannotEnforce, ProfileError, SandboxNotBuilt
from sandbox.imaging import archive, own, tree
from sandbox.imaging.recipe import Settings

DIGEST = f"@sha256:{'0' * 64}"
FOUND: dict[str, Any] = {
    "Id": "sha256:1",
    "Os": "linux",
    "Config": {
        "Entrypoint": ["/server"],
        "Cmd": None,
        "Env": ["PATH=/bin", "A=b=c"],
        "User": "7:8",
        "WorkingDir": "/app",
        "Volumes": {"/data": {}},
    },
}


@pytest.mark.parametrize(
    ("reference", "pinned"),
    [
        pytest.param(f"registry.example/server{DIGEST}", True, id="a digest"),
        pytest.param(f"server:1.2{DIGEST}", True, id="a tag beside it"),
        pytest.param(f"sha256:{'a' * 64}", True, id="an engine's own id"),
        pytest.param("server:latest", False, id="a tag"),
        pytest.param("server", False, id="a name"),
        pytest.param(DIGEST, False, id="a digest of nothing"),
        pytest.param(f"server{DIGEST}0", False, id="too long"),
        pytest.param("server@sha256:abc", False, id="too short"),
        pytest.param(f"server{DIGEST}\n", False, id="a line end"),
    ],
)
def test_only_a_digest_names_one_image_for_ever(reference: str, pinned: bool) -> None:
    assert own.pinned(reference) is pinned
    own.check(reference, unpinned=True)
    if not pinned:
        with pytest.raises(ProfileError) as raised:
            own.check(reference, unpinned=False)
        assert raised.value.code == "image-not-pinned"


def test_what_an_image_brings_along() -> None:
    image = own.image_of("x", FOUND)
    assert (image.id, image.entrypoint, image.command) == ("sha256:1", ("/server",), ())
    assert image.env == (("PATH", "/bin"), ("A", "b=c"))
    assert (image.user, image.cwd, image.volumes, image.own) == ("7:8", "/app", ("/data",), True)


def test_an_image_of_another_system_is_refused() -> None:
    with pytest.raises(CannotEnforce):
        own.image_of("x", {**FOUND, "Os": "windows"})


def test_what_the_registry_says_is_what_a_person_reads() -> None:
    messages = [{"status": "Pull complete", "id": "abc"}, {"error": "toomanyrequests: slow down"}]
    lines = own.progress(messages, "x")
    with pytest.raises(SandboxNotBuilt, match="slow down"):
        list(lines)
    assert list(own.progress(messages[:1], "x")) == ["pulling x: layer abc"]


# --- with a registry and an engine ------------------------------------------------------------------


CONFIG = """version: 0.1
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture
def registry(require: Callable[[str], None], tmp_path: Path) -> Iterator[int]:
    """The port of a registry of this test's own, on loopback: engines ask there without TLS."""
    require("docker")
    require("docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    (tmp_path / "config.yml").write_text(CONFIG.format(root=tmp_path / "blobs", port=port))
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen(
            ["docker-registry", "serve", tmp_path / "config.yml"], stdout=log, stderr=log
        )
    try:
        _wait(port, child)
        yield port
    finally:
        child.send_signal(signal.SIGTERM)
        child.wait(timeout=20)


def _wait(port: int, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("the registry did not start")


@pytest.fixture
def api(require: Callable[[str], None]) -> Iterator[Any]:
    require("docker")
    client = engine.connect(os.environ, timeout=60)
    yield client
    client.close()


@pytest.fixture
def published(registry: int, api: Any, tmp_path: Path) -> Iterator[str]:
    """The reference by digest of a small image that the registry has and the engine has not."""
    name = f"127.0.0.1:{registry}/t-images-{secrets.token_hex(4)}"
    empty = tree.layer(_nothing(), str(tmp_path / "layer.tar"), since=0, below={})
    configuration = archive.config(Settings("7:8", "/app", ("A=b",)), {}, [empty.digest], os.uname().machine)
    for _ in api.load_image(archive.stream(configuration, [empty], f"{name}:1"), quiet=True):
        pass
    pushed = [one for one in api.push(name, tag="1", stream=True, decode=True) if "aux" in one]
    image = api.inspect_image(f"{name}:1")["Id"]
    api.remove_image(image, force=True)
    yield f"{name}@{pushed[0]['aux']['Digest']}"
    # The test may have failed before the engine had it again.
    if api.images(name, quiet=True):
        api.remove_image(image, force=True)


def _nothing() -> Any:
    import io
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive_:
        archive_.addfile(tarfile.TarInfo("only"), io.BytesIO())
    out.seek(0)
    return out


def test_an_image_is_pulled_by_its_digest_and_asked_about_once(
    published: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said: list[str] = []
    image = images.own(published, os.environ, say=said.append)
    assert (image.user, image.cwd, image.env) == ("7:8", "/app", (("A", "b"),))
    assert said[0] == f"pulling {published}"
    monkeypatch.setattr(engine, "connect", lambda *_, **__: pytest.fail("it was asked about again"))
    assert images.own(published, os.environ) == image


def test_a_digest_that_the_registry_lacks_is_an_error_with_its_words(published: str) -> None:
    other = published[:-4] + ("0000" if not published.endswith("0000") else "1111")
    with pytest.raises(SandboxNotBuilt) as raised:
        images.own(other, os.environ, say=lambda _: None)
    assert "not found" in raised.value.what or "unknown" in raised.value.what


def test_an_id_that_the_engine_lacks_is_not_looked_for_in_a_registry(api: Any) -> None:
    with pytest.raises(SandboxNotBuilt) as raised:
        own.inspected(api, f"sha256:{'0' * 64}", lambda _: pytest.fail("it was pulled"))
    assert raised.value.code == "image-missing"
