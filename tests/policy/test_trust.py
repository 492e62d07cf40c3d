"""Trust: a project's own profiles are used only as a person accepted them."""

import os
from pathlib import Path

import pytest

from sandbox.errors import ProfileError
from sandbox.policy import trust
from sandbox.policy.load import digest, read


def _accept(world, path: Path) -> None:
    trust.remember({os.path.realpath(path): digest(path.read_bytes())}, world.environ)


def _refused(world, name: str | None = "ours") -> ProfileError:
    with pytest.raises(ProfileError) as caught:
        world.load(name)
    assert (caught.value.code, caught.value.exit_status) == ("untrusted-profile", 2)
    return caught.value


@pytest.mark.threat("K7", proves="a repository's own profile is refused until a person accepted it")
def test_a_projects_profile_is_refused_until_it_is_accepted(world) -> None:
    path = world.project("ours", "[files]\nwrite = ['.']")
    error = _refused(world)
    assert error.hint == f"mcp-sandbox trust {path}"
    _accept(world, path)
    assert world.load("ours").files.write


def test_a_change_asks_again(world) -> None:
    path = world.project("ours", "")
    _accept(world, path)
    world.load("ours")
    path.write_text("schema = 1\n[files]\nwrite = ['.']")
    assert "has changed" in _refused(world).what


def test_a_projects_base_does_not_replace_the_default_unseen(world) -> None:
    world.project("base", "[files]\nwrite = ['.']")
    _refused(world, None)


WAYS = [
    pytest.param(".mcp-sandbox/ours.toml", id="by its path"),
    pytest.param("sub/../.mcp-sandbox/ours.toml", id="by a path with dots"),
    pytest.param("link/ours.toml", id="through a linked directory"),
    pytest.param("linked.toml", id="through a linked file"),
]


@pytest.mark.parametrize("name", WAYS)
def test_no_path_leads_around_trust(world, name: str) -> None:
    path = world.project("ours", "")
    (world.cwd / "sub").mkdir()
    (world.cwd / "link").symlink_to(path.parent)
    (world.cwd / "linked.toml").symlink_to(path)
    _refused(world, name)


def test_a_link_out_of_the_projects_directory_needs_trust_too(world) -> None:
    real = world.file("elsewhere.toml", "")
    (world.cwd / ".mcp-sandbox").mkdir()
    (world.cwd / ".mcp-sandbox/ours.toml").symlink_to(real)
    _refused(world)


def test_the_parent_of_an_accepted_profile_must_be_accepted_too(world) -> None:
    child = world.project("ours", "extends = 'more'")
    parent = world.project("more", "[files]\nwrite = ['.']")
    _accept(world, child)
    assert str(parent) in _refused(world).what


def test_the_cache_does_not_outlive_trust(world) -> None:
    path = world.project("ours", "")
    _accept(world, path)
    world.load("ours")
    (world.home / ".config/mcp-sandbox/trust.json").unlink()
    _refused(world)


def test_what_a_command_only_showed_is_not_thereby_trusted(world) -> None:
    world.project("ours", "")
    read("ours", environ=world.environ, cwd=str(world.cwd), trusted_only=False)
    assert world.entries()
    _refused(world)


def test_an_untrusted_profile_is_not_even_parsed(world) -> None:
    world.project("ours", "schema = 1\nnot toml")
    _refused(world)


def test_the_list_is_private_and_keeps_what_it_had(world) -> None:
    one, two = world.project("one", ""), world.project("two", "")
    _accept(world, one)
    _accept(world, two)
    kept = world.home / ".config/mcp-sandbox/trust.json"
    assert oct(kept.stat().st_mode & 0o777) == "0o600"
    assert set(trust.remembered(world.environ)) == {str(one), str(two)}


SPOILT = [
    pytest.param("", id="empty"),
    pytest.param("{", id="cut"),
    pytest.param("[]", id="a list"),
    pytest.param('{"schema": 2, "profiles": {}}', id="a later format"),
    pytest.param('{"schema": 1, "profiles": []}', id="no table"),
]


@pytest.mark.parametrize("text", SPOILT)
def test_a_spoilt_list_trusts_nothing_and_says_so(world, text: str) -> None:
    path = world.project("ours", "")
    _accept(world, path)
    (world.home / ".config/mcp-sandbox/trust.json").write_text(text)
    with pytest.raises(ProfileError, match="not a list of trusted profiles"):
        world.load("ours")


def test_a_list_that_others_can_write_is_not_believed(world) -> None:
    path = world.project("ours", "")
    _accept(world, path)
    (world.home / ".config/mcp-sandbox/trust.json").chmod(0o666)
    with pytest.raises(ProfileError, match="can be written by others"):
        world.load("ours")
