"""The recipes as they are in images/: pinned, of one place, and told apart by their hash."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from sandbox.errors import UsageError
from sandbox.imaging import fetch, recipe, registry

NAMES = list(recipe.PARENTS)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipes, to be changed."""
    target = tmp_path / "images"
    shutil.copytree(recipe.folder(), target)
    monkeypatch.setattr(recipe, "folder", lambda: str(target))
    return target


def test_an_image_comes_after_what_it_stands_on() -> None:
    assert recipe.chain("browser") == ("base", "node", "browser")


def test_an_unknown_image_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(UsageError) as raised:
        recipe.chain("ruby")
    assert "base, python, node, browser" in raised.value.hint


@pytest.mark.parametrize("name", NAMES)
def test_every_image_ends_as_a_user_without_rights(name: str) -> None:
    assert recipe.instruction(recipe.text(name, "Dockerfile"), "USER ") == "1000:1000"
    settings = recipe.settings(name)
    assert (settings.user, settings.folder) == ("1000:1000", "/home/mcp")
    assert settings.env == ("PATH=/usr/local/bin:/usr/bin:/bin",)


@pytest.mark.parametrize("name", NAMES)
def test_every_image_ends_with_the_same_last_step(name: str) -> None:
    assert re.search(r"^RUN .*&& sh /build/finish$", recipe.text(name, "Dockerfile"), re.MULTILINE)


def test_debian_is_pinned_by_digest_and_in_one_place() -> None:
    found = [name for name in NAMES if "@sha256:" in recipe.text(name, "Dockerfile")]
    assert found == ["base"]
    assert re.fullmatch(
        r"docker\.io/library/debian:bookworm-slim@sha256:[0-9a-f]{64}",
        registry.debian(),
    )


@pytest.mark.parametrize("name", [name for name in NAMES if recipe.PARENTS[name]])
def test_a_dockerfile_stands_on_the_parent_that_the_table_names(name: str) -> None:
    arg = recipe.instruction(recipe.text(name, "Dockerfile"), "ARG BASE=")
    assert arg == f"mcp-sandbox/{recipe.PARENTS[name]}"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("name", "expected"), [("node", 2), ("python", 1), ("base", 0)])
def test_what_comes_from_elsewhere_is_pinned_for_each_machine(name: str, expected: int, machine: str) -> None:
    found = recipe.downloads(name, machine)
    assert len(found) == expected
    lengths = {"sha512": 128, "sha256": 64}
    for one in found:
        alg, value = fetch.integrity(one.integrity)
        assert len(value) == lengths[alg]


def test_nodes_of_both_machines_are_of_one_version() -> None:
    assert len({recipe.downloads("node", machine)[0].version for machine in ("x86_64", "aarch64")}) == 1


def test_servers_that_look_for_chrome_find_the_images_chromium(tmp_path: Path) -> None:
    whole = fetch.bundle("browser", "x86_64", str(tmp_path), {})
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        link = archive.getmember("opt/google/chrome/chrome")
    assert link.issym()
    assert link.linkname == "/usr/bin/chromium"
    assert (recipe.links("base"), recipe.links("node")) == ((), ())


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        pytest.param("node/packages", {"node", "browser"}, id="a list of packages"),
        pytest.param("python/downloads", {"python"}, id="a pin"),
        pytest.param("browser/links", {"browser"}, id="a link"),
        pytest.param("base/Dockerfile", set(NAMES), id="what all stand on"),
        pytest.param("finish", set(NAMES), id="the last step of all"),
        pytest.param("README.md", set(), id="words"),
    ],
)
def test_a_changed_file_makes_stale_what_it_is_in(changed: str, stale: set[str], copy: Path) -> None:
    before = {name: recipe.recipe(name) for name in NAMES}
    with (copy / changed).open("a") as opened:
        opened.write("# changed\n")
    assert {name for name in NAMES if recipe.recipe(name) != before[name]} == stale


def test_the_tag_carries_the_recipe() -> None:
    assert recipe.tag("node") == f"mcp-sandbox/node:{recipe.recipe('node')[:12]}"
    assert recipe.labels("node")["io.mcp-sandbox.recipe"] == recipe.recipe("node")
