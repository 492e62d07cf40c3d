"""The images as they are built: the same id from the same packages, and nothing that helps an attacker."""

from __future__ import annotations

import io
import json
import os
import secrets
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import engine, images
from sandbox.errors import SandboxNotBuilt
from sandbox.imaging import debian, fetch, prune, recipe, registry
from sandbox.imaging.build import Built, Packages

LISTS = Path("/var/lib/apt/lists")
PATIENCE = 600


@pytest.fixture
def api(require: Callable[[str], None]) -> Iterator[Any]:
    require("docker")
    client = engine.connect(os.environ, timeout=PATIENCE)
    yield client
    client.close()


def inside(api: Any, image: str, *argv: str) -> str:
    """What a command says in a container of the image, without any network."""
    made = api.create_container(image, list(argv), network_disabled=True)
    try:
        api.start(made["Id"])
        status = api.wait(made["Id"], timeout=60)["StatusCode"]
        said: str = api.logs(made["Id"]).decode()
        assert status == 0, said
        return said
    finally:
        api.remove_container(made["Id"], force=True)


def build(api: Any, place: Path, cache: Path) -> Built:
    place.mkdir()
    return Packages(api, str(place), str(cache), os.environ, lambda _: None).build("base")


def hardened(api: Any, image: str) -> None:
    """What every image of ours promises, however it was built."""
    assert inside(api, image, "id", "-u").strip() == "1000"
    odd = "find / -xdev ( -perm /6000 -o -nouser -o -nogroup ) -not -path /proc/*".split()
    # As root, who reads every folder: the unprivileged user's `find` would pass over some.
    made = api.create_container(image, odd, user="0:0", network_disabled=True)
    try:
        api.start(made["Id"])
        api.wait(made["Id"], timeout=60)
        assert api.logs(made["Id"]) == b""
    finally:
        api.remove_container(made["Id"], force=True)
    trap = "import array, collections.abc, contextlib, json, socket, struct; print(socket.AF_INET)"
    assert inside(api, image, "python3", "-I", "-S", "-c", trap) == "2\n"


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(PATIENCE)
def test_two_builds_of_the_same_packages_give_the_same_id(
    api: Any, require: Callable[[str], None], tmp_path: Path, shared_cache: Path
) -> None:
    require("mmdebstrap")
    cache = shared_cache / "mcp-sandbox" / "images"
    cache.mkdir(parents=True, exist_ok=True)
    lists = sorted(LISTS.iterdir()) if LISTS.is_dir() else []
    first, second = build(api, tmp_path / "1", cache), build(api, tmp_path / "2", cache)
    assert first.id == second.id
    assert (sorted(LISTS.iterdir()) if LISTS.is_dir() else []) == lists
    hardened(api, first.id)
    nothing_of_this_machine(api, first.id)
    complete(first)


def nothing_of_this_machine(api: Any, image: str) -> None:
    assert inside(api, image, "find", "/etc/apt", "/var/lib/apt/lists", "-type", "f") == ""
    assert inside(api, image, "find", "/var/cache/apt", "/var/log", "/home/mcp", "/tmp", "-type", "f") == ""


def complete(built: Built) -> None:
    """The list of contents names every package, each with a purl of its own."""
    document = json.loads(built.contents)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    purls = [one["purl"] for one in document["components"]]
    assert len(set(purls)) == len(purls) > 80
    assert any(purl.startswith("pkg:deb/debian/python3@") for purl in purls)


# --- from a registry --------------------------------------------------------------------------------


@pytest.fixture
def standin(api: Any, require: Callable[[str], None], tmp_path: Path) -> Iterator[str]:
    """Stands for a registry's Debian: base, as root, with this machine's mirrors."""
    require("apt-get")
    base = images.find("base", os.environ).id
    tag = f"t-images-{secrets.token_hex(4)}:debian"
    files = {
        "Dockerfile": f"FROM {base}\nUSER 0:0\nCOPY sources.list 90machine /etc/apt/\n",
        "sources.list": debian.mirrors(),
        "90machine": debian.machine(),
    }
    context = _archive({name: content.encode() for name, content in files.items()})
    list(api.build(fileobj=context, custom_context=True, tag=tag, forcerm=True, decode=True))
    yield tag
    api.remove_image(tag, force=True)


def _archive(files: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    out.seek(0)
    return out


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE)
def test_the_dockerfile_gives_an_image_as_hardened(
    api: Any, standin: str, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = f"{standin.partition(':')[0]}:base"
    # Not under the tag that every start of this machine looks for.
    monkeypatch.setattr(recipe, "tag", lambda _: tag)
    said: list[str] = []
    try:
        built = registry.Registry(api, str(shared_cache), os.environ, said.append, standin).build("base")
        hardened(api, built.id)
        complete(built)
        assert any(line.startswith("base: Step ") for line in said)
    finally:
        if api.images(tag, quiet=True):
            api.remove_image(tag, force=True)


def test_a_dockerfile_that_fails_says_why() -> None:
    messages = [{"stream": "Step 1/2 : FROM x\n"}, {"stream": "E: no network\n"}, {"error": "status 100"}]
    steps = registry.steps(messages, "node")
    assert next(steps) == "Step 1/2 : FROM x"
    with pytest.raises(SandboxNotBuilt, match=r"status 100\n\s+E: no network"):
        list(steps)


def test_the_context_holds_the_recipe_and_nothing_else(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(registry.context("base", str(tmp_path), os.environ))) as archive:
        assert set(archive.getnames()) == {"Dockerfile", "packages", "finish", "sbom", "files.tar"}


# --- what is removed --------------------------------------------------------------------------------


def image(identity: str, label: str = "", *tags: str) -> dict[str, Any]:
    return {"Id": identity, "Labels": {prune.IMAGE: label} if label else None, "RepoTags": list(tags)}


@pytest.mark.parametrize(
    ("one", "used", "stale"),
    [
        pytest.param(image("1", "node", "mcp-sandbox/node:old"), (), True, id="an older recipe"),
        pytest.param(image("1", "node"), (), True, id="a build that a newer one replaced"),
        pytest.param(image("1", "gone", "mcp-sandbox/gone:1"), (), True, id="one that is no more"),
        pytest.param(image("1", "node", recipe.tag("node")), (), False, id="today's"),
        pytest.param(image("1", "node", "mcp-sandbox/node:old"), ("1",), False, id="one in use"),
        pytest.param(image("1", "", "mcp-sandbox/node:old"), (), False, id="another's, by its label"),
    ],
)
def test_what_is_stale(one: dict[str, Any], used: tuple[str, ...], stale: bool) -> None:
    assert prune.stale([one], used) == (["1"] if stale else [])


def test_prune_leaves_what_a_container_uses(api: Any, tmp_path: Path) -> None:
    marker = f"t-images-{secrets.token_hex(4)}"
    context = _archive({"Dockerfile": f'FROM scratch\nLABEL {prune.IMAGE}={marker}\nCMD ["/x"]\n'.encode()})
    list(api.build(fileobj=context, custom_context=True, tag=f"{marker}:1", forcerm=True, decode=True))
    identity = api.inspect_image(f"{marker}:1")["Id"]
    container = api.create_container(identity, ["/x"])["Id"]
    try:
        listed = api.images(filters={"label": f"{prune.IMAGE}={marker}"})
        assert prune.stale(listed, [one["ImageID"] for one in api.containers(all=True)]) == []
        api.remove_container(container)
        assert prune.stale(listed, [one["ImageID"] for one in api.containers(all=True)]) == [identity]
    finally:
        api.remove_image(identity, force=True)


def test_prune_leaves_what_a_start_would_take(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    monkeypatch.setattr(prune, "prune", lambda _, ids: kept.extend(ids))
    images._write_entry("node", {"id": "sha256:1", "recipe": recipe.recipe("node")}, os.environ)
    images._write_entry("python", {"id": "sha256:2", "recipe": "old"}, os.environ)
    images.prune(os.environ)
    assert kept == ["sha256:1"]


# --- how it is found --------------------------------------------------------------------------------


def test_an_image_that_was_never_built_names_the_command(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "tag", lambda name: f"mcp-sandbox/{name}:none")
    with pytest.raises(SandboxNotBuilt) as raised:
        images.find("node", os.environ)
    assert (raised.value.code, raised.value.hint) == ("image-missing", "mcp-sandbox image build node")


def test_what_was_built_is_found_without_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    images._write_entry("node", {"id": "sha256:1", "recipe": recipe.recipe("node")}, os.environ)
    monkeypatch.setattr(engine, "connect", lambda *_, **__: pytest.fail("the engine was asked"))
    assert images.find("node", os.environ).id == "sha256:1"
    assert os.stat(images.state_file(os.environ)).st_mode & 0o777 == 0o600


def test_an_image_of_another_engine_is_not_taken_for_this_ones(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"id": "sha256:1", "recipe": recipe.recipe("node"), "engine": "unix:///elsewhere.sock"}
    images._write_entry("node", entry, os.environ)
    monkeypatch.setattr(recipe, "tag", lambda name: f"mcp-sandbox/{name}:none")
    with pytest.raises(SandboxNotBuilt) as raised:
        images.find("node", os.environ)
    assert raised.value.code == "image-missing"


def test_what_the_engine_lost_names_the_command(api: Any) -> None:
    with pytest.raises(SandboxNotBuilt) as raised, engine.failures("here"):
        api.create_container(f"sha256:{'0' * 64}", ["true"])
    assert raised.value.code == "image-gone"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 2, "images": {}}', '{"schema": 1, "images": []}', '{"schema": 1}']
)
def test_a_damaged_memory_is_no_memory(text: str) -> None:
    images._write_entry("node", {"id": "x", "recipe": "y"}, os.environ)
    Path(images.state_file(os.environ)).write_text(text)
    assert images.built(os.environ) == {}


def test_each_row_of_the_list_says_what_is_so(api: Any) -> None:
    images._write_entry("node", {"id": "sha256:1", "recipe": "old"}, os.environ)
    images._write_entry("python", {"id": "sha256:2", "recipe": recipe.recipe("python")}, os.environ)
    states = {row["name"]: row["state"] for row in images.listed(os.environ)}
    assert states == {"base": "missing", "node": "gone", "python": "gone", "browser": "missing"}


def test_a_download_of_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_: recipe.Download, staging: str, __: object) -> None:
        Path(staging, "x.tgz").write_bytes(b"not it")

    monkeypatch.setattr(fetch, "_ask", ask)
    one = recipe.downloads("node", "x86_64")[0]
    with pytest.raises(SandboxNotBuilt, match="another hash"):
        fetch._fetched(one, str(tmp_path / "downloads"), os.environ)
    assert os.listdir(tmp_path / "downloads") == []
