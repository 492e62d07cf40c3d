"""`server.json` of the MCP registry: the packages of a server, and what each wants to be told (P).

https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json, and its older spelling with
`_` between the words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.records import dataclass
from sandbox.supply import hostile_json, public, runtime_words
from sandbox.supply.hostile_json import Malformed, Table, spelt

KINDS = ("npm", "pypi", "mcpb", "oci")
REMOTE = "remote"
_HASH = re.compile(r"[a-f0-9]{64}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_.-]{1,128})\}")
_SNAKE = re.compile(r"_([a-z0-9])")


@dataclass(frozen=True, slots=True)
class Input:
    """One value that a server wants, or has."""

    name: str
    """Of an argument its flag, of a header its name; empty where it stands alone."""
    variable: str
    """The variable of the sandbox's that its value is taken from."""
    title: str
    value: str | None = None
    """What it is whoever runs it, with `{NAME}` for each of `variables`."""
    variables: tuple[Input, ...] = ()
    default: str | None = None
    required: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()
    repeated: bool = False
    format: str = "string"

    @property
    def hidden(self) -> bool:
        """Whether any part of it is a secret."""
        return self.secret or any(one.secret for one in self.variables)

    def known_as(self, name: str) -> bool:
        """Whether a placeholder means it."""
        return name in (self.name, self.name.lstrip("-"), self.variable, self.title)


@dataclass(frozen=True, slots=True)
class Transport:
    """How it speaks: `stdio`, or over HTTP at a URL."""

    type: str
    url: str = ""
    headers: tuple[Input, ...] = ()
    variables: tuple[Input, ...] = ()


@dataclass(frozen=True, slots=True)
class Package:
    """One way to start a server here."""

    kind: str
    identifier: str
    version: str
    base: str
    """The registry's URL; empty: the usual one."""
    sha256: str
    hint: str
    """The program that starts it, such as `npx`."""
    before: tuple[Input, ...]
    """Arguments of that program."""
    arguments: tuple[Input, ...]
    variables: tuple[Input, ...]
    transport: Transport


@dataclass(frozen=True, slots=True)
class Described:
    """A server as its author published it."""

    name: str
    version: str
    packages: tuple[Package, ...]
    remotes: tuple[Transport, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every way to run it, in the author's order, those here first."""
        return (*(one.kind for one in self.packages), *((REMOTE,) if self.remotes else ()))


def parse(data: bytes) -> Described:
    """The one server in it; Malformed says what is wrong, as a clause behind the file's name."""
    whole = _camel(hostile_json.read(data))
    if "server" in whole and "packages" not in whole:
        whole = hostile_json.inner(whole, "server")  # as the registry answers
    detail = hostile_json.inner(whole, "versionDetail")
    return Described(
        name=hostile_json.text(whole, "name"),
        version=hostile_json.text(whole, "version", default=str(detail.get("version", ""))),
        packages=hostile_json.each(whole, "packages", _package),
        remotes=hostile_json.each(whole, "remotes", _transport),
    )


def _camel(value: Any, depth: int = 0) -> Any:
    """Its keys in today's spelling; names that are its author's own (`variables`, `_meta`) stay."""
    if depth > 30:
        raise Malformed("is nested too deep")
    if isinstance(value, list):
        return [_camel(one, depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        _SNAKE.sub(lambda found: found[1].upper(), key) if key[:1] != "_" else key: (
            {name: _camel(one, depth + 2) for name, one in inner.items()}
            if key == "variables" and isinstance(inner, dict)
            else _camel(inner, depth + 1)
        )
        for key, inner in value.items()
    }


def _package(one: Table) -> Package:
    kind = hostile_json.text(one, "registryType", default=hostile_json.text(one, "registryName", default=""))
    sha256 = hostile_json.text(one, "fileSha256", default="")
    if sha256 and not _HASH.fullmatch(sha256):
        raise Malformed("has a `fileSha256` that is no SHA-256 in hex")
    identifier = hostile_json.text(one, "identifier", default=str(one.get("name", "")))
    for text in (kind, identifier):
        if not text or not text.isprintable() or any(char.isspace() for char in text) or text[0] == "-":
            raise Malformed("has a package whose kind or identifier is none")
    version = hostile_json.text(one, "version", default="")
    if version and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+!_-]{0,254}", version, re.ASCII):
        raise Malformed(f"has a package `{spelt(identifier)}` whose version is no exact one")
    if version == "latest":
        raise Malformed(f"has a package `{spelt(identifier)}` at `latest`, which is no version")
    return Package(
        kind=kind,
        identifier=identifier,
        version=version,
        base=hostile_json.text(one, "registryBaseUrl", default="").rstrip("/"),
        sha256=sha256,
        hint=hostile_json.text(one, "runtimeHint", default=""),
        before=hostile_json.each(one, "runtimeArguments", _argument),
        arguments=hostile_json.each(one, "packageArguments", _argument),
        variables=hostile_json.each(one, "environmentVariables", _variable),
        transport=_transport(hostile_json.inner(one, "transport")),
    )


def _transport(one: Table) -> Transport:
    kind = hostile_json.text(one, "type", default=hostile_json.text(one, "transportType", default="stdio"))
    if kind not in ("stdio", "streamable-http", "streamable", "sse"):
        raise Malformed(f"has a transport `{spelt(kind)}` that is not understood")
    url = hostile_json.text(one, "url", default="")
    if kind != "stdio" and not re.fullmatch(r"https?://[!-~]+", url):
        raise Malformed("has a transport without a URL")
    variables = _inner(hostile_json.inner(one, "variables"))
    return Transport(kind, url, hostile_json.each(one, "headers", _header), variables)


def _argument(one: Table) -> Input:
    kind = hostile_json.text(one, "type", default="positional")
    if kind not in ("positional", "named"):
        raise Malformed(f"has an argument of a type `{spelt(kind)}`")
    name = hostile_json.text(one, "name") if kind == "named" else ""
    hint = hostile_json.text(one, "valueHint", default="")
    called = name or hint or hostile_json.text(one, "value", default="argument") or "argument"
    return _input(one, name, _as_variable(called), hint or called)


def _variable(one: Table) -> Input:
    name = hostile_json.text(one, "name")
    if not _VARIABLE.fullmatch(name):
        raise Malformed(f"has a variable `{spelt(name)}`, which is none")
    return _input(one, name, name, name)


def _header(one: Table) -> Input:
    name = hostile_json.text(one, "name")
    if not re.fullmatch(r"[A-Za-z0-9-]{1,100}", name, re.ASCII):
        raise Malformed(f"has a header `{spelt(name)}`, which is none")
    return _input(one, name, _as_variable(name), name)


def _as_variable(name: str) -> str:
    found = re.sub(r"[^A-Za-z0-9]+", "_", name).upper().strip("_")[:128]
    return found if _VARIABLE.fullmatch(found) else f"ARGUMENT_{found}".rstrip("_")


def _inner(variables: Table) -> tuple[Input, ...]:
    return tuple(
        _input(hostile_json.as_table(one, name), name, _as_variable(name), name)
        for name, one in variables.items()
    )


def _input(one: Table, name: str, variable: str, title: str) -> Input:
    value = hostile_json.text(one, "value", default="") if "value" in one else None
    return Input(
        name=name,
        variable=variable,
        title=title,
        value=value,
        variables=_inner(hostile_json.inner(one, "variables")),
        default=hostile_json.text(one, "default", default="") if one.get("default") is not None else None,
        required=hostile_json.truth(one, "isRequired"),
        secret=hostile_json.truth(one, "isSecret"),
        choices=hostile_json.texts(one, "choices"),
        repeated=hostile_json.truth(one, "isRepeated"),
        format=hostile_json.text(one, "format", default="string"),
    )


# --- filled in -------------------------------------------------------------------------------------

Given = Callable[[Input], str | None]
"""The value that a person gave for an input; None where nobody did."""


class Missing(Exception):
    """An input that has to be given, and is not."""

    def __init__(self, one: Input) -> None:
        super().__init__(one.variable)
        self.input = one


def value_of(one: Input, given: Given) -> str | None:
    """What an input comes to; None where it is left out."""
    if one.value is not None:
        return filled(one.value, one.variables, given)
    found = given(one)
    if found is None:
        found = one.default
    if found in (None, ""):
        if one.required:
            raise Missing(one)
        return None
    if one.choices and found not in one.choices:
        listed = ", ".join(f"`{spelt(choice)}`" for choice in one.choices[:20])
        raise Malformed(f"takes for `{one.variable}` one of {listed}")
    return found


def filled(text: str, variables: tuple[Input, ...], given: Given) -> str | None:
    """A text with each `{NAME}` of `variables` filled in; None where one that may be absent is."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(_PLACEHOLDER.findall(text)):
        one = next((each for each in variables if each.known_as(name)), None)
        if one is None:
            continue  # it stands for itself
        value = value_of(one, given)
        if value is None:
            return None
        found[name] = value
    return _PLACEHOLDER.sub(lambda each: found.get(each[1], each[0]), text)


def words(arguments: tuple[Input, ...], given: Given) -> tuple[str, ...]:
    """The arguments as a command line has them."""
    made: list[str] = []
    for one in arguments:
        if one.hidden:
            raise Malformed(f"has a secret among its arguments, `{one.variable}`")
        value = value_of(one, given)
        switch = one.name and one.format == "boolean"
        if value is None or (switch and value == "false"):
            continue
        if switch and value == "true":
            made.append(one.name)
            continue
        for each in _several(one, value):
            made += [one.name, each] if one.name and each else [one.name or each]
    return tuple(made)


def _several(one: Input, value: str) -> tuple[str, ...]:
    """What is asked for more than once: JSON, or paths with `:` between them."""
    if not one.repeated or one.value is not None:
        return (value,)
    if value.lstrip().startswith("["):
        return hostile_json.texts(hostile_json.read(f'{{"value": {value}}}'.encode()), "value")
    return tuple(filter(None, value.split(":"))) if one.format == "filepath" else (value,)


# --- the command -----------------------------------------------------------------------------------

_RUNNERS: Mapping[str, tuple[str, ...]] = {
    "npx": ("npx", "-y"),
    "bunx": ("bunx",),
    "pnpx": ("pnpx",),
    "uvx": ("uvx",),
    "pipx": ("pipx", "run"),
    "docker": ("docker", "run", "-i", "--rm"),
    "podman": ("podman", "run", "-i", "--rm"),
}
# No address, in whatever spelling, and no name that means this machine or one beside it.
_PUBLIC = re.compile(
    r"https://(?:[A-Za-z0-9-]+\.)+([A-Za-z][A-Za-z0-9-]*)(?::[0-9]{1,5})?(?:/[!-~]*)?", re.ASCII
)
_OF_KIND = {"npm": ("npx", "bunx", "pnpx"), "pypi": ("uvx", "pipx"), "oci": ("docker", "podman")}
_USUAL = {
    "npm": ("", f"https://{public.NPM}"),
    "pypi": ("", f"https://{public.PYPI}", f"https://{public.PYPI}/simple"),
    "oci": ("", "https://docker.io", "https://hub.docker.com", "https://index.docker.io"),
}


def command(package: Package, before: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The words that start an npm, PyPI or OCI package, without its own arguments."""
    allowed = _OF_KIND[package.kind]
    if before and package.hint and package.hint not in allowed:
        raise Malformed(f"has arguments for `{spelt(package.hint)}`, which is not understood")
    runner = _RUNNERS[package.hint if package.hint in allowed else allowed[0]]
    told = runtime_words.harmless(runner[0], before)
    # `-y` is what a runner is told in any case.
    more = tuple(word for word in told if word not in ("-y", "--yes", "-i", "--rm", "--interactive"))
    registry = _registry(package)
    return (*runner, *registry, *more, _spec(package))


def _registry(package: Package) -> tuple[str, ...]:
    if package.base in _USUAL[package.kind] or package.kind == "oci":
        return ()
    found = _PUBLIC.fullmatch(package.base)
    if found is None or "@" in package.base or found[1].lower() == "localhost":
        raise Malformed(
            "has a `registryBaseUrl` that is no plain `https://` URL of a host with a public name"
        )
    return ("--registry", package.base) if package.kind == "npm" else ("--default-index", package.base)


def _spec(package: Package) -> str:
    name, version = package.identifier, package.version
    if package.kind == "npm":
        return f"{name}@{version}" if version else name
    if package.kind == "pypi":
        return f"{name}=={version}" if version and package.hint == "pipx" else _at(name, version)
    return _image(package)


def _at(name: str, version: str) -> str:
    return f"{name}@{version}" if version else name


def _image(package: Package) -> str:
    name = package.identifier
    host = "" if package.base in _USUAL["oci"] else package.base.removeprefix("https://")
    if host and not name.startswith(f"{host}/"):
        name = f"{host}/{name}"
    tagged = "@" in name or ":" in name.rpartition("/")[2]
    return name if tagged or not package.version else f"{name}:{package.version}"
