"""The manifest of a bundle, read: what it starts, what it wants, and what it may not say."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.supply import mcpb
from sandbox.supply.hostile_json import Malformed
from sandbox.supply.mcpb import Setting, Values, Word
from tests.supply.bundled import manifest, started

HOME = {"HOME": "/home/me", "DESKTOP": "/home/me/Desktop"}
KEY = {"type": "string", "title": "Key", "description": "k", "sensitive": True}


def read(said: dict[str, Any]) -> mcpb.Manifest:
    return mcpb.parse(json.dumps(said).encode())


def start(said: dict[str, Any], secrets: dict[str, str] | None = None, **given: Any) -> list[str]:
    """The words that are started: a secret as `$NAME`."""
    values = {key: (value,) if isinstance(value, str) else tuple(value) for key, value in given.items()}
    made = mcpb.start(read(said), Values(values, secrets or {}, HOME))
    return [made.program, *("".join(map(word, arg)) for arg in made.args)]


def word(one: Word) -> str:
    return f"${one.text}" if one.secret else one.text


def variables(said: dict[str, Any], secrets: dict[str, str] | None = None) -> dict[str, str]:
    made = mcpb.start(read(said), Values({}, secrets or {}, HOME))
    return {name: "".join(map(word, text)) for name, text in made.env}


# --- what it starts --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3", "0.4"])
@pytest.mark.parametrize("key", ["manifest_version", "dxt_version"])
def test_every_version_of_the_format_is_read(version: str, key: str) -> None:
    said = manifest()
    del said["manifest_version"]
    assert start(said | {key: version}) == ["python", "/opt/mcp-bundle/server/main.py"]


@pytest.mark.parametrize(
    ("server", "words"),
    [
        pytest.param(started("node", "${__dirname}/a.js", type="node"), ["node", "{}/a.js"], id="node"),
        pytest.param(started("python3", "a.py"), ["python", "a.py"], id="python3"),
        pytest.param(started("", type="node"), ["node", "{}/server/main.py"], id="no command"),
        pytest.param(started("${__dirname}/bin/x", "-v", type="binary"), ["{}/bin/x", "-v"], id="binary"),
        pytest.param(started("bin/x", type="binary"), ["{}/bin/x"], id="a relative binary"),
        pytest.param(started("x", type="binary"), ["{}/x"], id="a binary at the top"),
        pytest.param(started("", type="binary"), ["{}/server/main.py"], id="its entry"),
        pytest.param(
            started("node", "a${/}b", "${pathSeparator}", type="node"), ["node", "a/b", "/"], id="/"
        ),
        pytest.param(started("node", "${HOME}/x", type="node"), ["node", "/home/me/x"], id="home"),
        pytest.param(started("node", "${nobody}", type="node"), ["node", "${nobody}"], id="unknown stays"),
        pytest.param(
            started("py", "x", platform_overrides={"linux": {"command": "python", "args": ["y"]}}),
            ["python", "y"],
            id="linux's own",
        ),
        pytest.param(
            started("python", "x", platform_overrides={"win32": {"command": "py"}}),
            ["python", "x"],
            id="another's",
        ),
    ],
)
def test_the_command(server: dict[str, Any], words: list[str]) -> None:
    assert start(manifest(server=server)) == [one.replace("{}", mcpb.MOUNT) for one in words]


@pytest.mark.parametrize(
    ("server", "why"),
    [
        pytest.param(started("/bin/sh", "-c", "id"), "which is not in it", id="an absolute program"),
        pytest.param(started("${__dirname}/../../bin/sh"), "which is not in it", id="up and out"),
        pytest.param(started("../../../bin/sh", type="binary"), "which is not in it", id="relative and out"),
        pytest.param(started("${HOME}/evil", type="binary"), "which is not in it", id="in the home"),
        pytest.param(started("bash", "-c", "id"), "neither its own program", id="a shell"),
        pytest.param(started("docker", "run", "evil"), "neither its own program", id="an engine"),
        pytest.param(started("npx", "evil", type="node"), "neither its own program", id="a package runner"),
        pytest.param(started("uv", "run", "x"), "neither its own program", id="uv of a python bundle"),
        pytest.param(started("${user_config.p}", type="node"), "", id="what a person would have to name"),
    ],
)
def test_a_command_that_is_not_its_own_is_refused(server: dict[str, Any], why: str) -> None:
    config = {"p": {"type": "string", "title": "p", "description": "p"}}
    said = manifest(server=server, user_config=config)
    if why:
        with pytest.raises(Malformed, match=why):
            start(said)
    else:
        with pytest.raises(Malformed, match="which is not in it"):
            start(said, p="/bin/sh")
        with pytest.raises(Malformed, match="no one program"):
            start(said, secrets={"p": "P"})


# --- what it is told -------------------------------------------------------------------------------


def test_one_setting_fills_one_word_several_or_none() -> None:
    server = started("python", "x", "${user_config.dirs}", "--a=${user_config.a}", "--b=${user_config.b}")
    option = {"type": "string", "title": "t", "description": "d"}
    said = manifest(server=server, user_config=dict.fromkeys(("dirs", "a", "b"), option))
    assert start(said, dirs=["/1", "/2"], a="v") == ["python", "x", "/1", "/2", "--a=v"]


def test_a_secret_is_a_name_wherever_it_stands() -> None:
    env = {"API_KEY": "${user_config.key}", "AUTH": "Bearer ${user_config.key}", "PLAIN": "x"}
    said = manifest(server=started("python", "--key=${user_config.key}", env=env), user_config={"key": KEY})
    assert read(said).settings[0].variable == "API_KEY"
    assert start(said, secrets={"key": "API_KEY"}) == ["python", "--key=$API_KEY"]
    # The one that keeps its name is the policy's own: it is not set again.
    assert variables(said, {"key": "API_KEY"}) == {"AUTH": "Bearer $API_KEY", "PLAIN": "x"}
    assert variables(said) == {"PLAIN": "x"}


@pytest.mark.parametrize(
    ("setting", "text", "values"),
    [
        pytest.param(Setting("k", "K", "", "directory", multiple=True), "/a:/b", ("/a", "/b"), id="paths"),
        pytest.param(Setting("k", "K", "", "directory", multiple=True), '["/a:b"]', ("/a:b",), id="JSON"),
        pytest.param(Setting("k", "K", "", "directory"), "/a:/b", ("/a:/b",), id="one path"),
        pytest.param(Setting("k", "K", "", "string", multiple=True), "a:b", ("a:b",), id="one text"),
    ],
)
def test_several_values_in_one_variable(setting: Setting, text: str, values: tuple[str, ...]) -> None:
    assert mcpb.values_of(setting, text) == values


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("boolean", "yes", "is `true` or `false`"),
        ("boolean", "true", ""),
        ("number", "five", "is a number"),
        ("number", "nan", "is a number"),
        ("number", "0", "is at least 1"),
        ("number", "11", "is at most 10"),
        ("number", "1.5", ""),
    ],
)
def test_a_value_of_another_kind(kind: str, value: str, why: str) -> None:
    assert mcpb.wrong(Setting("k", "K", "", kind, least=1, most=10), (value,)) == why


# --- what it may not say ---------------------------------------------------------------------------


def _nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"[]", "is no object", id="a list"),
        pytest.param(b"\xff", "is no JSON", id="no text"),
        pytest.param(b'{"name": "a", "name": "b"}', "has a key twice", id="a key twice"),
        pytest.param(b'{"a": NaN}', "is no number", id="NaN"),
        pytest.param(_nested(100_000), "is no JSON", id="deep"),
        pytest.param(b" " * (2 << 20), "is larger", id="huge"),
        pytest.param(
            json.dumps(manifest(manifest_version="9.9")).encode(), "none of 0.1", id="of the future"
        ),
        pytest.param(json.dumps(manifest(name="")).encode(), "has no `name`", id="nameless"),
        pytest.param(json.dumps(manifest(name="a\0b")).encode(), "no text", id="NUL"),
        pytest.param(
            json.dumps(manifest(compatibility={"platforms": ["darwin"]})).encode(),
            "is for darwin",
            id="another system",
        ),
        pytest.param(
            json.dumps(manifest(server=started("x", type="java"))).encode(), "none of node", id="java"
        ),
        pytest.param(
            json.dumps(manifest(server=started("python", env={"A B": "c"}))).encode(),
            "which is none",
            id="a variable",
        ),
        pytest.param(
            json.dumps(manifest(user_config={"a-b": KEY, "a_b": KEY})).encode(),
            "for one variable",
            id="two for one",
        ),
        pytest.param(
            json.dumps(manifest(user_config={"1": KEY})).encode(), "cannot be a variable", id="no name"
        ),
    ],
)
def test_a_manifest_that_is_none(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why) as refused:
        mcpb.parse(data)
    assert str(refused.value).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
PLACES = st.sampled_from(["name", "server", "user_config", "compatibility", "mcp_config", "env", "args", "k"])


@given(PLACES, JSON)
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_it_it_is_read_or_refused(place: str, value: Any) -> None:
    said = manifest(user_config={"k": dict(KEY)})
    spots = {"mcp_config": said["server"], "k": said["user_config"]}
    spots |= dict.fromkeys(("env", "args"), said["server"]["mcp_config"])
    spots.get(place, said)[place] = value
    with suppress(Malformed):
        start(said)
