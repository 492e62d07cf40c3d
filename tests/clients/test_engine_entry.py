"""`docker run IMAGE` in a client's file: a profile with that image, or why not."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.clients.engine_entry import Contained, contained, profile_text
from sandbox.clients.words import Entry
from sandbox.clients.wrapping import Fit, Left
from sandbox.policy.profile import Profile

PROGRAM = "/opt/bin/mcp-sandbox"
DIGEST = "sha256:" + "0" * 64


def made(words: str, fit: Fit | None = None, **env: str) -> Contained | Left | None:
    command, *args = words.split()
    return contained(
        Entry("t", command, tuple(args), tuple(env.items())), PROGRAM, fit or Fit(), [command, *args]
    )


@pytest.mark.parametrize(
    ("words", "args", "profile"),
    [
        pytest.param("docker run -i --rm mcp/time", "", {"image": "mcp/time", "unpinned": True}, id="plain"),
        pytest.param("podman run -it mcp/time --tz x", "-- --tz x", {"image": "mcp/time"}, id="arguments"),
        pytest.param(f"docker run -i a/b@{DIGEST}", "", {"image": f"a/b@{DIGEST}"}, id="by digest"),
        pytest.param("docker run -i node", "", {"image": "docker.io/library/node"}, id="a name that is ours"),
        pytest.param("docker run -e API_KEY -e LANG x", "--secret API_KEY? --allow-env LANG", {}, id="env"),
        pytest.param("docker run -i -v /data:/d:ro x", "--allow-read /data:/d", {}, id="a mount, read-only"),
        pytest.param("docker run -iv /data:/d x", "--allow-write /data:/d", {}, id="a mount"),
        pytest.param(
            "docker run --mount type=bind,src=/data,dst=/d,readonly x",
            "--allow-read /data:/d",
            {},
            id="--mount",
        ),
        pytest.param(
            "docker run -v ${workspaceFolder}:/d x",
            "--allow-write ${workspaceFolder}:/d",
            {},
            id="a variable",
        ),
        pytest.param(
            "docker container run --privileged --network host x", "", {}, id="nothing wider is taken"
        ),
    ],
)
def test_taken_over(words: str, args: str, profile: dict[str, object]) -> None:
    found = made(words)
    assert isinstance(found, Contained)
    head = f"run --name t --backend docker --profile {found.profile}"
    assert " ".join(found.wrapped.args) == f"{head} {args}".strip()
    server = tomllib.loads(found.text)["server"]
    assert profile.items() <= server.items()
    assert ("unpinned" in server) is ("@sha256:" not in server["image"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param("docker run -i -v memory:/data x", "volume `memory`", id="a volume of the engine's"),
        pytest.param("docker run -i --gpus all x", "--gpus", id="a device"),
        pytest.param("docker run -i --device /dev/kvm x", "--device", id="another device"),
        pytest.param("docker run -i --entrypoint sh x", "entrypoint", id="another entrypoint"),
        pytest.param("docker run -i --env-file e x", "file of variables", id="a file of variables"),
        pytest.param("docker run -d x", "detached", id="detached"),
        pytest.param("docker run -i ${input:image}", "name of one image", id="an image that nobody knows"),
        pytest.param("docker run -i -e KEY=${input:k} x", "move it to", id="a value that the client makes"),
        pytest.param("docker exec -i c server", "is not a `run`", id="another command"),
        pytest.param("docker mcp gateway run", "is not a `run`", id="the engine's own gateway"),
        pytest.param("docker run --made-up 1 x", "known options", id="an unknown option"),
    ],
)
def test_left(words: str, why: str) -> None:
    found = made(words)
    assert isinstance(found, Left)
    assert why in found.why


def test_another_command_is_no_engines() -> None:
    assert made("npx -y docker run x") is None


def test_what_is_fixed_stands_in_the_profile() -> None:
    found = made("docker run -i -e MODE=fast mcp/x")
    assert isinstance(found, Contained)
    assert tomllib.loads(found.text)["env"]["set"] == {"MODE": "fast"}
    assert "MODE" not in " ".join(found.wrapped.args)


def test_the_name_follows_what_the_profile_says() -> None:
    first, again, other = made("docker run a/b"), made("docker run a/b"), made("docker run a/c")
    assert isinstance(first, Contained)
    assert isinstance(again, Contained)
    assert isinstance(other, Contained)
    assert first.profile == again.profile != other.profile


ANY = st.text(max_size=20)


@given(ANY, ANY, st.dictionaries(st.sampled_from(["A", "B"]), ANY))
def test_the_profile_is_one_whatever_it_names(name: str, image: str, fixed: dict[str, str]) -> None:
    read = tomllib.loads(profile_text(name, image, "base", fixed))
    assert read["server"]["image"] == image.encode(errors="replace").decode()
    assert read.get("env", {}).get("set", {}) == fixed


def test_the_profile_is_valid() -> None:
    Profile.model_validate(tomllib.loads(profile_text("t", "mcp/time:1", "base", {"MODE": "fast"})))
