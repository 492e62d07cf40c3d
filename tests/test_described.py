"""What strangers' words are given: of the caller's variables none that no profile or option names."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sandbox import bundles, described, locking
from sandbox.choice import Choice, choose
from sandbox.cli.profile_new import starter
from sandbox.errors import SandboxError
from sandbox.lock_keys import keys
from sandbox.plan.image import Image
from sandbox.policy.diagnose import parse as sound
from sandbox.policy.flags import Flags
from sandbox.policy.starter import text
from sandbox.prepared import Wish
from sandbox.supply import inside
from tests.supply.bundled import bundle, manifest, started

STDIO = {"type": "stdio"}
ENVIRON = {"AWS_SECRET_ACCESS_KEY": "the caller's own", "API_TOKEN": "given"}


class World:
    """A home with a profile, a directory, and a server's files in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "home/.config/mcp-sandbox/profiles").mkdir(parents=True)
        self.environ = {"HOME": str(root / "home"), "XDG_CACHE_HOME": str(root / "cache"), "PATH": "/usr/bin"}
        self.environ |= ENVIRON

    def described(self, *packages: dict[str, Any], name: str = "server.json", **more: Any) -> str:
        whole = {"name": "io.github.me/b", "description": "d", "version": "1.0.0", "packages": list(packages)}
        path = self.root / name
        path.write_text(json.dumps(whole | more))
        return str(path)

    def profile(self, name: str, content: str) -> None:
        (self.root / f"home/.config/mcp-sandbox/profiles/{name}.toml").write_text(content)

    def choose(self, *command: str, profile: str | None = None, **flags: Any) -> Choice:
        return choose(Wish(command, self.environ, str(self.root), profile=profile, flags=Flags(**flags)))

    def refused(self, *command: str, **flags: Any) -> SandboxError:
        with pytest.raises(SandboxError) as error:
            self.choose(*command, **flags)
        return error.value


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return made


def package(**more: Any) -> dict[str, Any]:
    return {"registryType": "npm", "identifier": "@a/b", "version": "1.0.0", "transport": STDIO} | more


def variable(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, **more}


# --- server.json -----------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [True, False])
def test_a_variable_of_the_caller_is_not_taken_because_a_stranger_names_it(
    world: World, secret: bool
) -> None:
    wants = variable("AWS_SECRET_ACCESS_KEY", isSecret=secret, isRequired=True)
    file = world.described(package(environmentVariables=[wants]))
    error = world.refused(file)
    assert (error.code, ENVIRON["AWS_SECRET_ACCESS_KEY"] in str(error)) == ("setting-missing", False)
    # The very same with a person's word for it.
    made = world.choose(file, secrets=("AWS_SECRET_ACCESS_KEY",))
    assert [one.name for one in made.policy.secrets] == ["AWS_SECRET_ACCESS_KEY"]


def test_everything_that_is_missing_is_said_at_once(world: World) -> None:
    wants = [variable("A_KEY", isSecret=True, isRequired=True), variable("LEVEL", isRequired=True)]
    arguments = [{"type": "positional", "valueHint": "target_dir", "isRequired": True, "format": "filepath"}]
    error = world.refused(world.described(package(environmentVariables=wants, packageArguments=arguments)))
    assert error.what.count("\n") == 3
    assert error.hint.startswith("--set-env TARGET_DIR=… --secret A_KEY --set-env LEVEL=…")


def test_defaults_hold_until_somebody_says_otherwise(world: World) -> None:
    file = world.described(
        package(environmentVariables=[variable("LEVEL", default="low", choices=["low", "high"])])
    )
    assert dict(world.choose(file).policy.env.fixed)["LEVEL"] == "low"
    assert dict(world.choose(file, set_env=("LEVEL=high",)).policy.env.fixed)["LEVEL"] == "high"
    assert world.choose(file).command == ("npx", "-y", "@a/b@1.0.0")


def test_its_package_finds_its_profile_and_its_arguments_are_the_commands(world: World) -> None:
    name = "@modelcontextprotocol/server-filesystem"
    arguments = [{"type": "positional", "valueHint": "target_dir", "isRequired": True}]
    file = world.described(package(identifier=name, version="2025.8.21", packageArguments=arguments))
    made = world.choose(file, set_env=(f"TARGET_DIR={world.root}",))
    assert made.policy.name == "filesystem"
    assert made.request is not None
    assert made.request.args == (str(world.root),)


def test_a_lock_is_found_by_the_files_place_whatever_it_says_by_now(world: World) -> None:
    arguments = [{"type": "positional", "value": "more"}]
    file = world.described(package(packageArguments=arguments))
    wish = Wish((file,), world.environ, str(world.root))
    made = choose(wish)
    # What is kept of the command is what the file comes to, without the server's own words.
    assert (made.instead, locking._command(made, wish)) == (
        ("npx", "-y", "@a/b@1.0.0", "more"),
        made.instead[:3],
    )
    before = keys(made, wish)
    world.described(package(identifier="@evil/b"))
    assert set(keys(choose(wish), wish)) & set(before) == {f"described {os.path.realpath(file)}"}


def test_the_way_is_chosen_behind_its_name(world: World) -> None:
    pypi = package(registryType="pypi", identifier="b")
    file = world.described(package(registryType="nuget", identifier="X"), package(), pypi)
    assert world.choose(file).command[0] == "npx"
    assert world.choose(f"{file}#pypi").command == ("uvx", "b@1.0.0")
    assert "`npm` is taken" in world.choose(file).told[0]
    for kind, why in (("nuget", "none can be run here"), ("oci", "and not `oci`")):
        assert why in world.refused(f"{file}#{kind}").what


def test_an_image_is_the_one_that_docker_run_would_start(world: World) -> None:
    wants = [variable("A_KEY", isSecret=True), variable("LEVEL", default="low")]
    file = world.described(
        package(
            registryType="oci",
            identifier="acme/files",
            packageArguments=[{"value": "/data"}],
            environmentVariables=wants,
        )
    )
    made = world.choose(file)
    assert (made.policy.server.image, made.policy.server.unpinned) == ("acme/files:1.0.0", True)
    assert (made.command, dict(made.policy.env.fixed)["LEVEL"]) == (("/data",), "low")
    assert made.policy.secrets == ()


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        pytest.param(
            {"registryType": "pypi", "identifier": "b", "runtimeArguments": [
                {"type": "named", "name": "--index-url", "value": "http://127.0.0.1:9731/simple"}]},
            "--index-url", id="an index of this machine",
        ),
        pytest.param(
            {"registryType": "oci", "identifier": "a/b", "runtimeArguments": [
                {"type": "named", "name": "-e", "value": "AWS_SECRET_ACCESS_KEY"}]},
            "-e AWS_SECRET_ACCESS_KEY", id="a variable of the caller",
        ),
    ],
)  # fmt: skip
def test_what_its_runner_is_told_is_refused_with_the_files_name(
    world: World, said: dict[str, Any], refused: str
) -> None:
    """The control: the very same words, typed by a person, are taken."""
    file = world.described(package(**said))
    error = world.refused(file)
    assert (error.code, f"`{file}` has `{refused}`" in error.what) == ("server-json-refused", True)
    (one,) = said["runtimeArguments"]
    runner = ("docker", "run") if said["registryType"] == "oci" else ("uvx",)
    made = world.choose(*runner, one["name"], one["value"], said["identifier"])
    taken = {secret.name for secret in made.policy.secrets}
    assert one["value"] in taken | set(made.request.options if made.request else ())


@pytest.mark.parametrize("kind", ["npm", "pypi", "oci"])
def test_a_hash_that_nobody_would_check_is_refused(world: World, kind: str) -> None:
    file = world.described(package(registryType=kind, identifier="b", fileSha256="0" * 64))
    assert "checked of bundles alone" in world.refused(file).what


@pytest.mark.parametrize(
    "identifier",
    [
        pytest.param("http://example.org/x.mcpb", id="without TLS"),
        pytest.param("file:///etc/passwd", id="a file"),
        pytest.param("https://169.254.169.254/latest", id="the cloud's metadata"),
        pytest.param("https://10.0.0.1/x.mcpb", id="the company's own"),
        pytest.param("https://[fd00::1]/x.mcpb", id="the company's own, IPv6"),
    ],
)
def test_a_bundle_is_fetched_from_public_addresses_alone(world: World, identifier: str) -> None:
    file = world.described(package(registryType="mcpb", identifier=identifier, fileSha256="0" * 64))
    assert world.refused(file).code == "not-fetched"


def test_a_server_elsewhere_gets_its_token_by_name(world: World) -> None:
    header = variable("Authorization", value="Bearer {api_token}", isRequired=True)
    header |= {"variables": {"api_token": {"isSecret": True, "isRequired": True}}}
    remote = {"type": "streamable-http", "url": "https://mcp.example.org/{tenant}/mcp", "headers": [header]}
    remote["variables"] = {"tenant": {"isRequired": True}}
    file = world.described(remotes=[remote])
    error = world.refused(file, set_env=("TENANT=acme",))
    assert "--secret API_TOKEN" in error.hint
    made = world.choose(file, set_env=("TENANT=acme",), secrets=("API_TOKEN",))
    assert made.policy.server.url == "https://mcp.example.org/acme/mcp"
    assert made.policy.server.headers == (("authorization", "Bearer ${API_TOKEN}"),)


def test_a_package_that_speaks_http_is_run_so(world: World) -> None:
    arguments = [{"type": "named", "name": "--port", "default": "8123"}]
    transport = {"type": "streamable-http", "url": "http://127.0.0.1:{--port}/mcp"}
    made = world.choose(world.described(package(packageArguments=arguments, transport=transport)))
    assert (made.policy.server.port, made.policy.server.path) == (8123, "/mcp")


@pytest.mark.parametrize("word", ["https://example.org/server.json", "server.jsonx", "my-server.json.js"])
def test_what_only_looks_like_it_is_not_read(word: str) -> None:
    assert not described.named(word)


# --- bundles ---------------------------------------------------------------------------------------

KEY = {"type": "string", "title": "Key", "description": "k", "sensitive": True, "required": True}


def test_a_bundle_gets_no_variable_because_it_names_it(world: World) -> None:
    server = started(
        "python", env={"AWS_SECRET_ACCESS_KEY": "${user_config.key}", "COPY": "${AWS_SECRET_ACCESS_KEY}"}
    )
    file = str(bundle(world.root / "b.mcpb", manifest(server=server, user_config={"key": KEY})))
    assert world.refused(file).code == "setting-missing"
    made = world.choose(file, secrets=("AWS_SECRET_ACCESS_KEY",))
    assert made.bundle is not None
    assert dict(bundles.variables(made.bundle)) == {"COPY": "${AWS_SECRET_ACCESS_KEY}"}
    assert ENVIRON["AWS_SECRET_ACCESS_KEY"] not in repr(made)


def test_a_secret_in_a_word_is_quoted_for_the_shell_that_puts_it_in(world: World) -> None:
    server = started("python", "$(touch pwned); 'x'", "--key=${user_config.key}")
    file = str(bundle(world.root / "b.mcpb", manifest(server=server, user_config={"key": KEY})))
    made = world.choose(file, secrets=("KEY",))
    assert made.bundle is not None
    argv = bundles.started(made.bundle, ("/usr/bin/printf", "%s|"))
    environ = {"KEY": "a b;$(touch pwned)"}
    done = subprocess.run(argv, env=environ, cwd=world.root, capture_output=True, text=True, timeout=10)
    assert done.stdout == "$(touch pwned); 'x'|--key=a b;$(touch pwned)|"
    assert not (world.root / "pwned").exists()


def test_a_variable_that_a_person_gives_is_that_persons(world: World) -> None:
    server = started("python", env={"AUTH": "Bearer ${user_config.key}", "LEVEL": "low"})
    file = str(bundle(world.root / "b.mcpb", manifest(server=server, user_config={"key": KEY})))
    world.environ["KEY"] = "x"
    made = world.choose(file, secrets=("KEY",), set_env=("AUTH=mine", "LEVEL=high")).bundle
    assert made is not None
    assert bundles.started(made, ("python3",)) == ("python3", "/opt/mcp-bundle/server/main.py")
    assert bundles.variables(made) == ()


def test_a_setting_comes_from_the_profile_too(world: World) -> None:
    option = {"type": "number", "title": "N", "description": "n", "required": True, "min": 1}
    server = started("python", "${user_config.n}")
    file = bundle(world.root / "b.mcpb", manifest(server=server, user_config={"n": option}))
    head = f'schema = 1\nextends = "python"\n[server]\ncommand = ["{file}"]\n[env]\n'
    world.profile("good", head + 'set = { N = "5" }')
    world.profile("bad", head + 'set = { N = "0" }')
    assert world.choose(profile="good").command == ("python3", "5")
    with pytest.raises(SandboxError, match="is at least 1"):
        world.choose(profile="bad")


def test_the_starters_are_sound_and_grant_nothing(world: World) -> None:
    server = started("python", "${user_config.dirs}", env={"KEY": "${user_config.key}"})
    folders = {
        "type": "directory",
        "title": "F\n[network]",
        "description": "f",
        "default": ["/a"],
        "multiple": True,
    }
    file = bundle(world.root / "b.mcpb", manifest(server=server, user_config={"key": KEY, "dirs": folders}))
    wants = [variable("A_KEY", isSecret=True, isRequired=True), variable("LEVEL", default="low")]
    header = variable("X-Key", isSecret=True)
    remote = {
        "type": "sse",
        "url": "https://mcp.example.org/{t}",
        "headers": [header],
        "variables": {"t": {}},
    }
    json_file = world.described(package(environmentVariables=wants), remotes=[remote])
    starts = [
        starter(None, (str(file),)),
        starter(None, (json_file,)),
        starter(None, (f"{json_file}#remote",)),
    ]
    said = [text(start) for start in starts]
    for start, one in zip(starts, said, strict=True):
        sound(f"{start.name}.toml", one)
        granted = [line for line in one.splitlines() if line and not line.startswith("#")]
        assert not [line for line in granted if line.startswith(("set", "pass", "read", "write", "from"))], (
            one
        )
        assert "allow = " not in "\n".join(granted)
    assert "# [secrets.KEY]   # required: Key" in said[0]
    assert '# DIRS = "/a"   # F [network]' in said[0]
    assert "# [secrets.A_KEY]   # required: A_KEY" in said[1]
    assert '# X-Key = "${X_KEY}"' in said[2]
    assert 'url = "https://mcp.example.org/${T}"' in said[2]


def test_a_bundle_runs_in_an_image_that_has_its_interpreter(world: World) -> None:
    file = str(bundle(world.root / "b.mcpb", manifest()))
    made = world.choose(file).bundle
    assert made is not None
    assert bundles._of_image(made, "python", Image("python", "sha256:1")) == inside.PYTHON
    assert bundles._of_image(made, "python", Image("acme/own", "sha256:2", own=True)) == "python3"
    with pytest.raises(SandboxError, match="the image `base` has not"):
        bundles._of_image(made, "python", Image("base", "sha256:3"))
