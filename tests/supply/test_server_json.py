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


def told(hint: str, *words: str) -> tuple[str, ...]:
    kinds = {"uvx": "pypi", "pipx": "pypi", "docker": "oci", "podman": "oci"}
    said = [{"type": "positional", "value": word} for word in words]
    one = read(
        registryType=kinds.get(hint, "npm"), identifier="a/b" if hint in ("docker", "podman") else "b",
        runtimeHint=hint, runtimeArguments=said,
    )  # fmt: skip
    return server_json.command(one, server_json.words(one.before, given_()))


@pytest.mark.parametrize(
    ("hint", "words", "command"),
    [
        pytest.param("npx", ("-y", "--quiet"), "npx -y --quiet b@1.0.0", id="npx"),
        pytest.param("uvx", ("--python", "3.12"), "uvx --python 3.12 b@1.0.0", id="a version of Python"),
        pytest.param("uvx", ("-p", ">=3.10"), "uvx -p >=3.10 b@1.0.0", id="or a newer one"),
        pytest.param("uvx", ("--with=c[x]==1.0",), "uvx --with=c[x]==1.0 b@1.0.0", id="one package more"),
        pytest.param("pipx", ("--python=3.12",), "pipx run --python=3.12 b==1.0.0", id="pipx"),
        pytest.param(
            "docker", ("-i", "--rm", "-e", "A=b c"), "docker run -i --rm -e A=b c a/b:1.0.0", id="-e"
        ),
    ],
)
def test_what_it_may_tell_its_runner(hint: str, words: tuple[str, ...], command: str) -> None:
    assert " ".join(told(hint, *words)) == command


HERE = "http://127.0.0.1:9731/simple"


@pytest.mark.parametrize(
    ("hint", "words", "refused"),
    [
        *(
            pytest.param("uvx", (option, HERE), option, id=f"uvx {option}")
            for option in "-i --index --index-url --default-index --extra-index-url -f --find-links".split()
        ),
        pytest.param("uvx", ("--index-" + f"url={HERE}",), "--index-url", id="joined"),
        pytest.param(
            "uvx", ("-q", "--find-links", "/home/x"), "--find-links", id="a directory for the build"
        ),
        pytest.param("uvx", ("--allow-insecure-host", "127.0.0.1"), "--allow-insecure-host", id="no TLS"),
        pytest.param("uvx", ("--no-config",), "--no-config", id="without the user's own index"),
        pytest.param("uvx", ("--config-file", "/home/x/uv.toml"), "--config-file", id="other settings"),
        pytest.param("uvx", ("--cache-dir", "/home/x"), "--cache-dir", id="another cache"),
        pytest.param("uvx", ("--index-strategy", "unsafe-best-match"), "--index-strategy", id="any index"),
        pytest.param("uvx", ("--exclude-newer", "2099-01-01"), "--exclude-newer", id="in place of an age"),
        pytest.param(
            "uvx", ("--python", "/opt/x/python"), "--python /opt/x/python", id="another interpreter"
        ),
        pytest.param("uvx", ("--python",), "--python", id="the package as its value"),
        pytest.param("uvx", ("--with", HERE), "--with http", id="a package from a URL"),
        pytest.param("uvx", ("--with", "--index-url"), "--with --index-url", id="an option as a value"),
        pytest.param("uvx", ("--from", "evil"), "--from", id="another package"),
        pytest.param("pipx", ("-i", HERE), "-i", id="pipx"),
        pytest.param("pipx", ("--pip-args", f"-i {HERE}"), "--pip-args", id="pip's own"),
        pytest.param("npx", ("--registry", HERE), "--registry", id="npx --registry"),
        pytest.param("npx", (f"--registry={HERE}",), "--registry", id="npx --registry="),
        pytest.param("npx", ("--userconfig", "/home/x/.npmrc"), "--userconfig", id="another npmrc"),
        pytest.param("npx", ("--cache", "/home/x"), "--cache", id="npm's cache"),
        pytest.param("npx", ("--node-options=--require=x",), "--node-options", id="code for node"),
        pytest.param("npx", ("-p", "evil"), "-p", id="another npm package"),
        pytest.param("npx", ("-c", "id"), "-c", id="a shell"),
        pytest.param("npx", ("evil",), "evil", id="the package itself"),
        pytest.param("npx", ("-y\x1b[2J",), "-y", id="what a terminal obeys"),
        pytest.param("bunx", ("--registry", HERE), "--registry", id="bunx"),
        pytest.param("pnpx", ("--registry", HERE), "--registry", id="pnpx"),
        pytest.param(
            "docker", ("-e", "AWS_SECRET_ACCESS_KEY"), "-e AWS_SECRET", id="a variable of the caller"
        ),
        pytest.param("docker", ("--env-file", "/home/x/.env"), "--env-file", id="a file of variables"),
        pytest.param("docker", ("-v", "/:/host"), "-v", id="a mount"),
        pytest.param("docker", ("--entrypoint", "sh"), "--entrypoint", id="another program"),
        pytest.param("docker", ("--privileged",), "--privileged", id="a switch"),
        pytest.param("podman", ("--network", "host"), "--network", id="podman"),
        pytest.param("docker", ("evil/image",), "evil/image", id="another image"),
    ],
)
def test_what_it_may_not_tell_its_runner(hint: str, words: tuple[str, ...], refused: str) -> None:
    with pytest.raises(Malformed) as error:
        told(hint, *words)
    assert f"has `{refused}" in str(error.value)
    assert "`runtimeArguments`" in str(error.value)
    assert str(error.value).isprintable()


def test_the_same_typed_by_a_person_is_read() -> None:
    """The control: it is the file that may not say it."""
    request = parse(("uvx", "--index-url", HERE, "b@1.0.0"))
    assert request is not None
    assert request.options == ("--index-url", HERE)


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


@pytest.mark.parametrize(
    "base",
    [
        pytest.param("https://me:secret@r.example", id="a login"),
        pytest.param("http://r.example", id="without TLS"),
        pytest.param("https://127.0.0.1:9731/simple", id="this machine"),
        pytest.param("https://localhost/simple", id="by name"),
        pytest.param("https://r.localhost", id="below that name"),
        pytest.param("https://2130706433", id="as one number"),
        pytest.param("https://0x7f.1", id="in hex"),
        pytest.param("https://[::1]/", id="IPv6"),
        pytest.param("https://10.0.0.1", id="the company's own"),
        pytest.param("https://intranet/simple", id="by a short name"),
        pytest.param("file:///home/x", id="a directory"),
    ],
)
def test_a_registry_that_is_not_public_is_refused(base: str) -> None:
    with pytest.raises(Malformed, match="no plain"):
        server_json.command(read(registryBaseUrl=base))


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
