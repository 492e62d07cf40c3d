"""What a wish becomes: the profile that is named or found, what the command adds, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandbox import matching
from sandbox.choice import COMMAND, Choice, choose, unproven
from sandbox.errors import ProfileError, SandboxError, UsageError
from sandbox.policy.flags import Flags
from sandbox.policy.model import Match, Policy
from sandbox.prepared import Wish

PACKAGE = "@acme/files"
PROFILES = {
    "files": f"""
        schema = 1
        extends = "base"
        [match]
        packages = ["npm:{PACKAGE}", "oci:acme/files"]
        versions = ">=1,<2"
        paths = "write"
        [server]
        command = ["npx", "-y", "{PACKAGE}", "."]
        [files]
        read = [".", "./sub", "/srv"]
    """,
    "plain": """
        schema = 1
        extends = "base"
        [match]
        packages = ["pypi:plain-mcp"]
        [files]
        read = ["."]
    """,
}


class World:
    """A user's home with the profiles above as the shipped ones, and a project in it."""

    def __init__(self, root: Path) -> None:
        self.home = root / "ann"
        self.project = self.home / "src/app"
        self.data = self.home / "data"
        self.own = self.home / ".config/mcp-sandbox/profiles"
        for folder in (self.project, self.data, self.own, self.home / ".ssh"):
            folder.mkdir(parents=True)
        self.environ = {"HOME": str(self.home), "PATH": "/usr/bin"}

    def profile(self, name: str, text: str) -> None:
        (self.own / f"{name}.toml").write_text("\n".join(line.strip() for line in text.splitlines()))

    def choose(self, *command: str, cwd: Path | None = None, flags: Flags = Flags(), **more: Any) -> Choice:  # noqa: B008 - frozen
        return choose(Wish(command, self.environ, str(cwd or self.project), flags=flags, **more))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    for name, text in PROFILES.items():
        made.profile(name, text)

    def row(name: str, paths: str) -> dict[str, Any]:
        return {"profile": name, "versions": "", "paths": paths, "with": [], "programs": []}

    index = {f"npm:{PACKAGE}": row("files", "write"), "oci:acme/files": row("files", "write")}
    monkeypatch.setattr(matching, "index", lambda: {**index, "pypi:plain-mcp": row("plain", "none")})
    return made


def mounts(chosen: Choice) -> dict[str, str]:
    """Every path of the policy, and how it is mounted."""
    files = chosen.policy.files
    return {**{rule.source: "read" for rule in files.read}, **{rule.source: "write" for rule in files.write}}


# --- which profile ---------------------------------------------------------------------------------


def test_a_command_finds_its_profile_and_says_so(world: World) -> None:
    chosen = world.choose("npx", "-y", PACKAGE, "~/data")
    assert chosen.policy.name == "files"
    assert chosen.matched is not None
    assert chosen.told == (
        f"profile `files`, found by `npm:{PACKAGE}`; writable, as the command names it: `{world.data}`",
    )
    assert chosen.hint == ""


def test_another_command_gets_base_and_a_hint_that_works_when_pasted(world: World) -> None:
    chosen = world.choose("npx", "-y", "@acme/other", "--token", "s3cret", str(world.data))
    assert chosen.policy.name == "base"
    assert mounts(chosen) == {}
    assert chosen.told == ()
    assert "`mcp-sandbox profile new -- npx -y @acme/other`" in chosen.hint
    assert "s3cret" not in chosen.hint


@pytest.mark.parametrize(
    "command",
    [
        ("node", "server.js"),
        ("npx", "@acme/$(id)"),
        ("/opt/a b/npx", "other"),
        ("uvx", "--index-url", "https://me:s3cret@pypi.example/simple", "other"),
    ],
    ids=" ".join,
)
def test_a_hint_that_would_not_survive_a_shell_names_no_words(command: tuple[str, ...], world: World) -> None:
    try:
        chosen = world.choose(*command)
    except SandboxError:
        return
    assert "`mcp-sandbox profile new -- COMMAND`" in chosen.hint


def test_whoever_says_what_a_server_may_gets_no_hint(world: World) -> None:
    assert world.choose("cat", profile="base").hint == ""
    assert world.choose("cat", flags=Flags(allow_read=("/srv",))).hint == ""


def test_base_by_name_is_base_whatever_the_command(world: World) -> None:
    chosen = world.choose("npx", PACKAGE, "~/data", profile="base")
    assert (chosen.policy.name, mounts(chosen), chosen.matched, chosen.told) == ("base", {}, None, ())


def test_a_projects_own_profile_of_that_name_asks_for_trust_and_is_not_passed_over(world: World) -> None:
    folder = world.project / ".mcp-sandbox"
    folder.mkdir()
    (folder / "files.toml").write_text('schema = 1\n[files]\nread = ["/srv/more"]\n')
    with pytest.raises(ProfileError, match="files"):
        world.choose("npx", PACKAGE)


# --- the user's own profiles ------------------------------------------------------------------------


def test_a_profile_of_the_users_own_is_found_by_its_package_before_the_shipped_one(world: World) -> None:
    world.profile(
        "mine",
        """
        schema = 1
        extends = "base"
        [match]
        packages = ['npm:@acme/mine', "npm:@acme/files"]
        paths = "read"
    """,
    )
    assert world.choose("npx", "@acme/mine", "~/data").policy.name == "mine"
    assert mounts(world.choose("npx", "@acme/mine", "~/data"))[str(world.data)] == "read"
    assert world.choose("npx", "@acme/mine-not").policy.name == "base"
    (world.own / "files.toml").rename(world.own / "ours.toml")  # no longer the first of them by name
    assert world.choose("npx", PACKAGE).policy.name == "mine"


def test_what_only_mentions_a_package_is_not_for_it(world: World) -> None:
    world.profile(
        "a",
        """
        schema = 1
        # "npm:@acme/other"
        description = "npm:@acme/other"
    """,
    )
    assert world.choose("npx", "@acme/other").policy.name == "base"


def test_a_users_profile_of_a_shipped_name_stands_before_it(world: World) -> None:
    world.profile("files", 'schema = 1\nextends = "base"\n')
    chosen = world.choose("npx", PACKAGE, "~/data")
    assert (chosen.policy.name, mounts(chosen)) == ("files", {})


def test_a_users_profile_that_cannot_be_read_stops_the_start(world: World) -> None:
    world.profile("broken", f'schema = 1\n[match]\npackages = ["npm:{PACKAGE}"]\n[nonsense]\n')
    with pytest.raises(ProfileError, match="nonsense"):
        world.choose("npx", PACKAGE)


# --- whose paths -----------------------------------------------------------------------------------


def test_the_commands_paths_take_the_place_of_the_profiles_relative_ones(world: World) -> None:
    chosen = world.choose("npx", PACKAGE, str(world.data))
    assert mounts(chosen) == {"/srv": "read", str(world.data): "write"}
    assert chosen.policy.origin(f"files.write.{world.data}") == COMMAND


def test_without_any_the_profiles_own_stay(world: World) -> None:
    assert mounts(world.choose("npx", PACKAGE)) == {".": "read", "./sub": "read", "/srv": "read"}


def test_but_not_in_a_home_where_a_client_with_windows_starts_us(world: World) -> None:
    for cwd in (world.home, Path("/")):
        chosen = world.choose("npx", PACKAGE, cwd=cwd)
        assert mounts(chosen) == {"/srv": "read"}
        assert "the working directory is not mounted" in chosen.told[0]


def test_a_profile_that_mounts_no_paths_of_commands_keeps_its_own(world: World) -> None:
    chosen = world.choose("uvx", "plain-mcp", str(world.data))
    assert mounts(chosen) == {".": "read"}
    assert chosen.told == ("profile `plain`, found by `pypi:plain-mcp`",)


def test_a_home_in_an_argument_reaches_the_server_as_the_callers(world: World) -> None:
    chosen = world.choose("npx", PACKAGE, "~/data")
    assert chosen.request is not None
    assert chosen.request.args == (str(world.data),)
    assert chosen.command == ("npx", PACKAGE, "~/data")  # what pins are kept by stays as typed


def test_an_option_of_the_run_says_more_of_a_path_than_the_command(world: World) -> None:
    sub = world.data / "sub"
    sub.mkdir()
    read = Flags(allow_read=(str(world.data),))
    assert mounts(world.choose("npx", PACKAGE, str(world.data), flags=read))[str(world.data)] == "read"
    assert str(sub) not in mounts(world.choose("npx", PACKAGE, str(sub), flags=read))
    both = mounts(world.choose("npx", PACKAGE, str(world.project), flags=read))
    assert both == {"/srv": "read", str(world.data): "read", str(world.project): "write"}


def test_a_secret_place_that_the_command_names_is_mounted_for_nobody(world: World) -> None:
    """The plan refuses it by name, as it does for `--allow-read`."""
    chosen = world.choose("npx", PACKAGE, "~/.ssh")
    assert mounts(chosen)[str(world.home / ".ssh")] == "write"
    from sandbox.policy import paths

    places = paths.secret_places(str(world.home), world.environ)
    assert paths.protected(str(world.home / ".ssh"), home=str(world.home), places=places)


# --- a profile that is named -----------------------------------------------------------------------


def test_after_a_profiles_name_its_own_server_counts_as_found(world: World) -> None:
    chosen = world.choose("npx", PACKAGE, "~/data", profile="files")
    assert mounts(chosen) == {"/srv": "read", str(world.data): "write"}
    assert chosen.name == "files"
    assert chosen.told == (f"profile `files`; writable, as the command names it: `{world.data}`",)
    assert world.choose("npx", PACKAGE, profile="files").told == ()


def test_after_a_profiles_name_another_server_gets_what_is_written(world: World) -> None:
    chosen = world.choose("npx", "@acme/other", "~/data", profile="files")
    assert mounts(chosen) == {".": "read", "./sub": "read", "/srv": "read"}
    assert (chosen.matched, chosen.told) == (None, ())


def test_a_profile_that_extends_another_is_not_for_its_server(world: World) -> None:
    world.profile("mine", 'schema = 1\nextends = "files"\n')
    assert world.choose("npx", PACKAGE, "~/data", profile="mine").matched is None


# --- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "options", "name"),
    [
        (("npx", PACKAGE), {}, "files"),
        (("npx", f"{PACKAGE}@1.0.0"), {"name": "mine"}, "mine"),
        (("uvx", "plain-mcp"), {}, "plain-mcp"),
        (("uvx", "plain-mcp"), {"profile": "plain"}, "plain-mcp"),
        ((), {"profile": "files"}, "files"),
        (("/bin/cat",), {}, "cat"),
        (("docker", "run", "acme/files:1"), {}, "files"),
        (("docker", "run", "ghcr.io/acme/thing@sha256:0"), {}, "thing"),
    ],
)
def test_what_a_server_is_called(
    words: tuple[str, ...], options: dict[str, str], name: str, world: World
) -> None:
    assert world.choose(*words, **options).name == name


def test_no_command_and_no_image_is_no_server(world: World) -> None:
    with pytest.raises(UsageError, match="names no server"):
        world.choose()
    world.profile("image", 'schema = 1\n[server]\nimage = "x@sha256:0"\n')
    assert world.choose(profile="image").command == ()
    with pytest.raises(UsageError, match="names no server"):
        world.choose(profile="image", backend="native")


# --- docker run ------------------------------------------------------------------------------------


def test_env_gives_what_it_starts_its_variables_from_wherever_the_profile_had_them(world: World) -> None:
    """The control: the command itself is the same choice, with the profile's own."""
    command, name = ("npx", "-y", "@modelcontextprotocol/server-github"), "GITHUB_PERSONAL_ACCESS_TOKEN"
    plain = world.choose(*command, profile="github")
    chosen = world.choose("env", f"{name}=x", "B=c", *command, profile="github")
    assert (chosen.name, chosen.command, chosen.request) == (plain.name, plain.command, plain.request)
    assert {(name, "x"), ("B", "c")} <= {*chosen.policy.env.fixed}
    assert name in [one.name for one in plain.policy.secrets]
    assert name not in [one.name for one in chosen.policy.secrets]
    assert str(chosen.policy.origin("env.set.B")) == "command"


def test_a_profiles_own_command_may_begin_with_env(world: World) -> None:
    world.profile("own", 'schema = 1\n[server]\ncommand = ["env", "A=b", "npx", "-y", "pkg"]')
    chosen = world.choose(profile="own")
    assert chosen.command == ("npx", "-y", "pkg")
    assert chosen.request is not None
    assert chosen.policy.env.fixed == (("A", "b"),)


def test_what_env_says_of_an_engine_is_refused(world: World) -> None:
    with pytest.raises(SandboxError, match="DOCKER_HOST"):
        world.choose("env", "DOCKER_HOST=tcp://x", "docker", "run", "-i", "mcp/time")


def test_docker_run_is_its_image_contained(world: World) -> None:
    chosen = world.choose("docker", "run", "-i", "--rm", "-e", "TOKEN", "-e", "LEVEL=1", "other/x:2", "--go")
    server = chosen.policy.server
    assert (server.image, server.unpinned, chosen.command) == ("other/x:2", True, ("--go",))
    assert [(one.name, one.source) for one in chosen.policy.secrets] == [("TOKEN", "env?")]
    assert ("LEVEL", "1") in chosen.policy.env.fixed
    assert chosen.policy.name == "base"
    assert "profile new" in chosen.hint


def test_a_digest_waives_nothing(world: World) -> None:
    chosen = world.choose("docker", "run", "other/x@sha256:" + "0" * 64)
    assert not chosen.policy.server.unpinned


def test_what_docker_would_grant_is_not_taken_over(world: World) -> None:
    words = (
        "docker",
        "run",
        "--privileged",
        "--network",
        "host",
        "-v",
        "/:/host",
        "--pid=host",
        "acme/files",
    )
    chosen = world.choose(*words)
    assert chosen.policy.name == "files"
    assert chosen.policy.network.allow == ()
    assert "/" not in mounts(chosen)
    assert "--network --pid --privileged --volume" in chosen.told[-1]


def test_another_entrypoint_is_another_program(world: World) -> None:
    with pytest.raises(UsageError, match="entrypoint"):
        world.choose("docker", "run", "--entrypoint", "sh", "acme/files")


def test_a_named_profile_takes_docker_run_as_the_command_that_it_is(world: World) -> None:
    chosen = world.choose("docker", "run", "other/x", profile="plain")
    assert (chosen.command, chosen.policy.server.image) == (("docker", "run", "other/x"), None)


# --- versions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "resolved", "line"),
    [
        ((PACKAGE,), (f"{PACKAGE}@1.4.0",), False),
        ((PACKAGE,), (f"{PACKAGE}@2.0.0",), True),
        ((PACKAGE,), (f"{PACKAGE}-more@2.0.0",), False),
        ((PACKAGE,), (), False),
        ((f"{PACKAGE}@2.0.0",), (), True),
        ((f"{PACKAGE}@1.4.0",), (), False),
    ],
)
def test_a_version_that_was_not_proven_is_told(
    words: tuple[str, ...], resolved: tuple[str, ...], line: bool, world: World
) -> None:
    chosen = world.choose("npx", *words)
    assert chosen.matched is not None
    said = unproven(chosen.matched, chosen.policy, resolved)
    assert bool(said) is line
    assert not line or said == f"profile `files` was proven with `npm:{PACKAGE}` >=1,<2, and this is 2.0.0"


def test_a_profile_proven_with_any_version_says_nothing() -> None:
    found = matching.Matched("p", "pypi:x", "9", "", "none", (), ())
    assert unproven(found, Policy("p", match=Match()), ()) == ""
