"""`docker run` lines: which word is the image, and what stands before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.supply.docker_run import parse, split


@pytest.mark.parametrize(
    ("words", "image", "args"),
    [
        ("docker run x", "x", ()),
        ("docker run --rm -i x a --b", "x", ("a", "--b")),
        ("docker run -it --name n x", "x", ()),
        ("docker run -e A -eB=1 --env=C --env D x", "x", ()),
        ("docker run -itv /a:/b x", "x", ()),
        ("docker run --init --network none --cap-drop ALL x:1 run", "x:1", ("run",)),
        ("docker run --mount type=bind,src=/a,dst=/b -- x", "x", ()),
        ("podman container run -p 1:2 x", "x", ()),
        ("/usr/local/bin/docker run x", "x", ()),
    ],
)
def test_the_image_is_the_first_word_that_is_no_option(words: str, image: str, args: tuple[str, ...]) -> None:
    found = parse(words.split())
    assert found is not None
    assert (found.image, found.args) == (image, args)


@pytest.mark.parametrize(
    "words",
    [
        "docker",
        "docker run",
        "docker run -i",
        "docker run -e",
        "docker run --name",
        "docker run --new-option x",
        "docker run -Z x",
        "docker run --rm=x=y --gone y",
        "docker compose run x",
        "docker --context c run x",
        "dockerd run x",
        "sh -c docker run x",
        "",
    ],
)
def test_what_is_not_understood_is_no_run(words: str) -> None:
    assert parse(words.split()) is None


def test_the_values_of_options_by_their_long_name() -> None:
    found = parse("docker run -e A -v /a:/b --env B=1 -ti --volume=/c:/d -u 1000 x".split())
    assert found is not None
    assert found.values("--env") == ("A", "B=1")
    assert found.values("--volume") == ("/a:/b", "/c:/d")
    assert found.values("--user") == ("1000",)
    assert found.switches == ("-t", "-i")


@pytest.mark.parametrize(
    ("image", "name", "tag"),
    [
        ("mcp/time", "mcp/time", ""),
        ("mcp/time:1.2", "mcp/time", "1.2"),
        ("mcp/time@sha256:abc", "mcp/time", ""),
        ("mcp/time:1.2@sha256:abc", "mcp/time", "1.2"),
        ("docker.io/mcp/time", "mcp/time", ""),
        ("index.docker.io/library/redis:7", "redis", "7"),
        ("library/redis", "redis", ""),
        ("ghcr.io/github/github-mcp-server", "ghcr.io/github/github-mcp-server", ""),
        ("localhost:5000/mcp/time:1", "localhost:5000/mcp/time", "1"),
        ("evil.io/docker.io/mcp/time", "evil.io/docker.io/mcp/time", ""),
    ],
)
def test_names_of_images(image: str, name: str, tag: str) -> None:
    assert split(image) == (name, tag)


@given(st.lists(st.text(max_size=8) | st.sampled_from(["-e", "-it", "--rm", "--", "-v", "x"]), max_size=8))
def test_any_words_are_a_run_or_none(words: list[str]) -> None:
    found = parse(["docker", "run", *words])
    if found is not None:
        assert found.image in words
        assert not found.args or tuple(words[-len(found.args) :]) == found.args
