"""`server.json` of the MCP registry, read: which command it comes to, and what it may not say."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.supply import public, server_json
from sandbox.supply.hostile_json import Malformed
from sandbox.supply.request import parse
from sandbox.supply.server_json import Input, Missing

STDIO = {"type": "stdio"}


def package(**more: Any) -> dict[str, Any]:
    return {"registryType": "npm", "identifier": "@a/b", "version": "1.0.0", "transport": STDIO} | more


def described(*packages: dict[str, Any], **more: Any) -> bytes:
    whole = {"name": "io.github.me/b", "description": "d", "version": "1.0.0", "packages": list(packages)}
    return json.dumps(whole | more).encode()


def read(**more: Any) -> server_json.Package:
    return server_json.parse(described(package(**more))).packages[0]


def argument(**said: Any) -> Input:
    return read(packageArguments=[said]).arguments[0]


def given_(**values: str) -> server_json.Given:
    return lambda one: values.get(one.variable)


# --- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "command"),
    [
        pytest.param({}, "npx -y @a/b@1.0.0", id="npm"),
        pytest.param({"runtimeHint": "bunx"}, "bunx @a/b@1.0.0", id="by its hint"),
        pytest.param({"runtimeHint": "evil"}, "npx -y @a/b@1.0.0", id="a hint that is none"),
        pytest.param({"registryBaseUrl": f"https://{public.NPM}/"}, "npx -y @a/b@1.0.0", id="the usual"),
        pytest.param(
            {"registryBaseUrl": "https://r.example"},
            "npx -y --registry https://r.example @a/b@1.0.0",
            id="another",
        ),
        pytest.param({"registryType": "pypi", "identifier": "b"}, "uvx b@1.0.0", id="PyPI"),
        pytest.param(
            {"registryType": "pypi", "identifier": "b", "runtimeHint": "pipx"}, "pipx run b==1.0.0", id="pipx"
        ),
        pytest.param(
            {"registryType": "oci", "identifier": "a/b"}, "docker run -i --rm a/b:1.0.0", id="an image"
        ),
        pytest.param(
            {"registryType": "oci", "identifier": "docker.io/a/b:2", "version": ""},
            "docker run -i --rm docker.io/a/b:2",
            id="an image with its tag",
        ),
        pytest.param(
            {"registryType": "oci", "identifier": "a/b", "registryBaseUrl": "https://ghcr.io"},
            "docker run -i --rm ghcr.io/a/b:1.0.0",
            id="an image of another registry",
        ),
    ],
)
def test_the_command(said: dict[str, Any], command: str) -> None:
    assert " ".join(server_json.command(read(**said))) == command


def test_what_it_says_of_its_runner_is_read_as_any_command_is() -> None:
    one = read(
        runtimeHint="npx", runtimeArguments=[{"type": "positional", "value": "--node-options=--require=x"}]
    )
    command = server_json.command(one, server_json.words(one.before, given_()))
    with pytest.raises(Exception, match="--node-options"):
        parse(command)


def test_the_older_spelling_says_the_same() -> None:
    old = {
        "registry_type": "pypi",
        "identifier": "b",
        "version": "1.0.0",
        "environment_variables": [{"name": "A_KEY", "is_secret": True, "is_required": True}],
        "package_arguments": [{"type": "named", "name": "--x", "value": "{a_b}", "variables": {"a_b": {}}}],
    }
    found = server_json.parse(described(old)).packages[0]
    assert (found.kind, found.variables[0].secret, found.variables[0].required) == ("pypi", True, True)
    assert found.arguments[0].variables[0].name == "a_b"  # a name of its own stays as it is


def test_as_the_registry_answers() -> None:
    whole = json.dumps({"server": json.loads(described(package())), "_meta": {}}).encode()
    assert server_json.parse(whole).kinds == ("npm",)


# --- what it is told -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "values", "words"),
    [
        pytest.param({"type": "positional", "value": "mcp"}, {}, ("mcp",), id="a constant"),
        pytest.param({"type": "positional", "valueHint": "dir"}, {"DIR": "/a"}, ("/a",), id="given"),
        pytest.param({"type": "positional", "valueHint": "dir"}, {}, (), id="left out"),
        pytest.param({"type": "named", "name": "--p", "default": "1"}, {}, ("--p", "1"), id="by default"),
        pytest.param({"type": "named", "name": "--p", "value": ""}, {}, ("--p",), id="a flag alone"),
        pytest.param(
            {"type": "named", "name": "--p", "format": "boolean"}, {"P": "true"}, ("--p",), id="switched on"
        ),
        pytest.param(
            {"type": "named", "name": "--p", "format": "boolean"}, {"P": "false"}, (), id="switched off"
        ),
        pytest.param(
            {"type": "named", "name": "-e", "value": "T={db}", "variables": {"db": {"default": "pg"}}},
            {"DB": "my"},
            ("-e", "T=my"),
            id="filled in",
        ),
        pytest.param(
            {
                "type": "positional",
                "value": "{x}/{y}",
                "variables": {"x": {"default": "{y}"}, "y": {"default": "1"}},
            },
            {},
            ("{y}/1",),
            id="what is filled in is not filled in again",
        ),
        pytest.param(
            {"type": "positional", "valueHint": "d", "isRepeated": True, "format": "filepath"},
            {"D": "/a:/b"},
            ("/a", "/b"),
            id="several paths",
        ),
    ],
)
def test_an_argument(said: dict[str, Any], values: dict[str, str], words: tuple[str, ...]) -> None:
    assert server_json.words((argument(**said),), given_(**values)) == words


def test_what_is_required_is_asked_for_by_name() -> None:
    with pytest.raises(Missing, match="DIR"):
        server_json.words((argument(type="positional", valueHint="dir", isRequired=True),), given_())


def test_a_choice_is_one_of_those_that_there_are() -> None:
    one = argument(type="named", name="--mode", choices=["a", "b"])
    assert server_json.words((one,), given_(MODE="a")) == ("--mode", "a")
    with pytest.raises(Malformed, match="one of `a`, `b`"):
        server_json.words((one,), given_(MODE="c"))


def test_a_secret_is_no_argument() -> None:
    with pytest.raises(Malformed, match="a secret among its arguments"):
        server_json.words((argument(type="named", name="--key", isSecret=True),), given_(KEY="x"))


# --- what it may not say ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param({"version": "latest"}, "`latest`", id="the latest"),
        pytest.param({"version": "^1.0.0"}, "no exact one", id="a range"),
        pytest.param({"version": "1.0.0 --registry=http://x"}, "no exact one", id="an option in a version"),
        pytest.param({"identifier": "--registry=http://x"}, "is none", id="an option for a package"),
        pytest.param({"identifier": "a b"}, "is none", id="two words"),
        pytest.param({"identifier": "a\x1b[2J"}, "is none", id="what a terminal obeys"),
        pytest.param({"fileSha256": "abc"}, "no SHA-256", id="a short hash"),
        pytest.param({"fileSha256": "A" * 64}, "no SHA-256", id="another spelling"),
        pytest.param({"transport": {"type": "carrier-pigeon"}}, "not understood", id="a transport"),
        pytest.param({"transport": {"type": "sse", "url": "file:///x"}}, "without a URL", id="no URL"),
        pytest.param({"environmentVariables": [{"name": "A=B"}]}, "which is none", id="a variable"),
        pytest.param({"packageArguments": [3]}, "is no object", id="an argument"),
        pytest.param({"packageArguments": {}}, "is no list", id="arguments"),
    ],
)
def test_a_package_that_is_none(said: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed, match=why) as refused:
        read(**said)
    assert str(refused.value).isprintable()


def test_a_login_in_a_registry_is_refused() -> None:
    with pytest.raises(Malformed, match="no plain"):
        server_json.command(read(registryBaseUrl="https://me:secret@r.example"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
KEYS = st.sampled_from(
    "registryType identifier version registryBaseUrl fileSha256 runtimeHint runtimeArguments packageArguments"
    " environmentVariables transport".split()
)


@given(st.dictionaries(KEYS, JSON, max_size=3))
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_it_it_is_read_or_refused(said: dict[str, Any]) -> None:
    with suppress(Malformed, Missing):
        one = read(**said)
        server_json.words((*one.arguments, *one.before), given_())
        if one.kind in ("npm", "pypi", "oci"):
            server_json.command(one)
