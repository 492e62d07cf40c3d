"""The manifest of a bundle (`.mcpb`, `.dxt`): what it starts, and what it wants to be told (P).

Versions 0.1 to 0.4 of https://github.com/modelcontextprotocol/mcpb (MANIFEST.md) are understood.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Literal

from sandbox.records import dataclass
from sandbox.supply import hostile_json
from sandbox.supply.hostile_json import Malformed, Table, spelt
from sandbox.supply.uv_project import Project

MANIFEST = "manifest.json"
MOUNT = "/opt/mcp-bundle"
"""Where its tree is mounted: what its words call `${__dirname}`."""
SUFFIXES = (".mcpb", ".dxt")
VERSIONS = ("0.1", "0.2", "0.3", "0.4")

Type = Literal["node", "python", "binary", "uv"]
_TYPES: Mapping[str, Type] = {"node": "node", "python": "python", "binary": "binary", "uv": "uv"}
_KINDS = ("string", "number", "boolean", "directory", "file")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_PLACEHOLDER = re.compile(r"\$\{([^{}$]{1,200})\}")
_SETTING = "user_config."


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that the bundle wants (`user_config`)."""

    key: str
    variable: str
    """The variable of the sandbox's that its value is taken from: its own in `env`, else KEY in capitals."""
    title: str
    kind: str
    required: bool = False
    sensitive: bool = False
    multiple: bool = False
    default: tuple[str, ...] | None = None
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself, for this platform."""

    name: str
    version: str
    title: str
    type: Type
    entry: str
    command: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    settings: tuple[Setting, ...] = ()
    node: str = ""
    """The versions of node that it says it runs with."""
    python: str = ""


def named(command: tuple[str, ...]) -> bool:
    """Whether a command's first word is a bundle's file."""
    return bool(command) and command[0].lower().endswith(SUFFIXES)


def plain_name(name: str) -> str:
    """Letters, digits, `.`, `_` and `-`, at most 64 of them."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:64].strip("._-") or "bundle"


def parse(data: bytes, platform: str = "linux") -> Manifest:
    """The manifest for one platform; Malformed says what is wrong, as a clause behind the file's name."""
    whole = hostile_json.read(data)
    version = whole.get("manifest_version", whole.get("dxt_version"))
    if version not in VERSIONS:
        raise Malformed(f"has a `manifest_version` that is none of {', '.join(VERSIONS)}")
    compatible = hostile_json.inner(whole, "compatibility")
    platforms = hostile_json.texts(compatible, "platforms")
    if platforms and platform not in platforms:
        raise Malformed(f"is for {', '.join(map(spelt, platforms))}, and not for `{platform}`")
    server = hostile_json.inner(whole, "server")
    kind = _TYPES.get(hostile_json.text(server, "type"))
    if kind is None:
        raise Malformed(f"has a server that is none of {', '.join(_TYPES)}")
    command, args, env = _started(server, platform)
    runtimes = hostile_json.inner(compatible, "runtimes")
    name = hostile_json.text(whole, "name")
    return Manifest(
        name=name,
        version=hostile_json.text(whole, "version"),
        title=hostile_json.text(whole, "display_name", default=name) or name,
        type=kind,
        entry=hostile_json.text(server, "entry_point", default=""),
        command=command,
        args=args,
        env=env,
        settings=_settings(hostile_json.inner(whole, "user_config"), dict(env)),
        node=hostile_json.text(runtimes, "node", default=""),
        python=hostile_json.text(runtimes, "python", default=""),
    )


def _started(server: Table, platform: str) -> tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Command, arguments and variables, with what the platform has in their place."""
    config = hostile_json.inner(server, "mcp_config")
    own = hostile_json.inner(hostile_json.inner(config, "platform_overrides"), platform)
    chosen = {key: own.get(key) or config.get(key) for key in ("command", "args", "env")}
    given = {key: value for key, value in chosen.items() if value is not None}
    env = hostile_json.inner(given, "env")
    for name in env:
        if not _VARIABLE.fullmatch(name):
            raise Malformed(f"has a variable `{spelt(name)}`, which is none")
    pairs = tuple((name, hostile_json.text(env, name, default="")) for name in env)
    return hostile_json.text(given, "command", default=""), hostile_json.texts(given, "args"), pairs


def _settings(config: Table, env: Mapping[str, str]) -> tuple[Setting, ...]:
    # `"API_KEY": "${user_config.api_key}"`: what a person sets is API_KEY, as the server itself calls it.
    called = {value: name for name, value in reversed(tuple(env.items()))}
    found = tuple(_setting(key, hostile_json.as_table(one, key), called) for key, one in config.items())
    variables = [one.variable for one in found]
    twice = next((name for name in variables if variables.count(name) > 1), None)
    if twice:
        raise Malformed(f"has two settings for one variable, `{twice}`")
    return found


def _setting(key: str, one: Table, called: Mapping[str, str]) -> Setting:
    kind = hostile_json.text(one, "type")
    if kind not in _KINDS:
        raise Malformed(f"has a setting `{spelt(key)}` of a type that is none of {', '.join(_KINDS)}")
    variable = called.get(f"${{{_SETTING}{key}}}") or re.sub(r"[^A-Za-z0-9]+", "_", key).upper().strip("_")
    if not _VARIABLE.fullmatch(variable) or "}" in key:
        raise Malformed(f"has a setting `{spelt(key)}` whose name cannot be a variable's")
    return Setting(
        key=key,
        variable=variable,
        title=hostile_json.text(one, "title", default=key),
        kind=kind,
        required=hostile_json.truth(one, "required"),
        sensitive=hostile_json.truth(one, "sensitive"),
        multiple=hostile_json.truth(one, "multiple"),
        default=_default(one.get("default"), key),
        least=_number(one.get("min"), key),
        most=_number(one.get("max"), key),
    )


def _default(value: object, key: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, int | float):
        return (f"{value:.15g}",)
    if isinstance(value, list):
        return hostile_json.texts({key: value}, key)
    return (hostile_json.text({key: value}, key, default=""),)


def _number(value: object, key: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Malformed(f"has a setting `{spelt(key)}` with a bound that is no number")
    return float(value)


# --- what it starts --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """A part of an argument: text, or a secret that is known inside alone."""

    text: str
    secret: bool = False
    """`text` is the variable that holds it."""


@dataclass(frozen=True, slots=True)
class Start:
    """A bundle's command, filled in."""

    program: str
    """`node`, `python`, `uv`, or a path below `MOUNT`."""
    args: tuple[tuple[Word, ...], ...]
    env: tuple[tuple[str, tuple[Word, ...]], ...]


@dataclass(frozen=True, slots=True)
class Values:
    """What the words of a manifest stand for."""

    given: Mapping[str, tuple[str, ...]]
    """By the setting's key; of one that is no secret, and that has a value."""
    secrets: Mapping[str, str]
    """By the setting's key: the variable that holds it inside."""
    places: Mapping[str, str]
    """`HOME`, `DESKTOP`, `DOCUMENTS`, `DOWNLOADS`: on this machine."""


def start(manifest: Manifest, values: Values) -> Start:
    """The command with every placeholder filled in; an argument whose setting has no value is left out."""
    args = [word for arg in manifest.args for word in _filled(arg, values)]
    env = []
    for name, text in manifest.env:
        filled = _filled(text, values)
        whole = tuple(_joined(filled)) if filled else None
        # A secret that keeps its name is there already.
        if whole is not None and whole != (Word(name, secret=True),):
            env.append((name, whole))
    return Start(_program(manifest, values), tuple(args) or _entry(manifest), tuple(env))


def _entry(manifest: Manifest) -> tuple[tuple[Word, ...], ...]:
    """`entry_point`, where the manifest names no arguments and its program is an interpreter."""
    if manifest.type == "binary" or manifest.args or not manifest.entry:
        return ()
    return ((Word(_below(manifest.entry)),),)


def _program(manifest: Manifest, values: Values) -> str:
    filled = _filled(manifest.command, values) if manifest.command else []
    if len(filled) > 1 or any(word.secret for words in filled for word in words):
        raise Malformed("has a `command` that is no one program")
    text = "".join(word.text for words in filled for word in words)
    if not text:
        return _below(manifest.entry) if manifest.type == "binary" else manifest.type
    if "/" not in text and manifest.type != "binary":
        known = {"node": "node", "python": "python", "python3": "python", "uv": "uv"}.get(text)
        if known is None or (known == "uv") != (manifest.type == "uv"):
            raise Malformed(f"starts `{spelt(text)}`, which is neither its own program nor its interpreter")
        return known
    return _below(text)


def _below(path: str) -> str:
    """The path inside, which may not lead out of the bundle."""
    whole = posixpath.normpath(posixpath.join(MOUNT, path))
    if not whole.startswith(f"{MOUNT}/") or not whole.isprintable():
        raise Malformed(f"starts `{spelt(path)}`, which is not in it")
    return whole


def _filled(text: str, values: Values) -> list[tuple[Word, ...]]:
    """The words that one text becomes: none without its value, several for a setting with several."""
    whole = _PLACEHOLDER.fullmatch(text)
    if whole and whole[1].startswith(_SETTING):
        key = whole[1].removeprefix(_SETTING)
        if key in values.secrets:
            return [(Word(values.secrets[key], secret=True),)]
        return [(Word(value),) for value in values.given.get(key, ())]
    parts: list[Word] = []
    at = 0
    for found in _PLACEHOLDER.finditer(text):
        parts.append(Word(text[at : found.start()]))
        at = found.end()
        filled = _one(found, values)
        if filled is None:
            return []
        parts += filled
    return [tuple(_merged([*parts, Word(text[at:])]))]


def _one(found: re.Match[str], values: Values) -> list[Word] | None:
    """One placeholder within a text; None where its setting has no value."""
    name = found[1]
    if name.startswith(_SETTING):
        key = name.removeprefix(_SETTING)
        if key in values.secrets:
            return [Word(values.secrets[key], secret=True)]
        given = values.given.get(key)
        return None if not given else [Word(",".join(given))]
    fixed = {"__dirname": MOUNT, "pathSeparator": "/", "/": "/", **values.places}
    return [Word(fixed.get(name, found[0]))]


def _joined(filled: list[tuple[Word, ...]]) -> Iterator[Word]:
    """Several values in one text, as a variable holds them."""
    parts: list[Word] = []
    for number, words in enumerate(filled):
        parts += [Word(","), *words] if number else [*words]
    return _merged(parts)


def _merged(parts: list[Word]) -> Iterator[Word]:
    """The same with neighbours joined and nothing empty, but one word at least."""
    text = ""
    count = 0
    for part in parts:
        if not part.secret:
            text += part.text
            continue
        if text:
            yield Word(text)
        yield part
        text, count = "", count + 1
    if text or not count:
        yield Word(text)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's file, by content."""

    path: str
    sha256: str
    manifest: Manifest
    signed: str = ""
    """Who signed it, as a person is told; empty where nobody did."""
    unchecked: str = ""
    """What could not be checked of that, in a sentence."""
    vouched: bool = False
    """An authority of this machine's says who signed it."""
    project: Project = Project()
    """What it runs with; its dependencies where it leaves them to uv."""
    start: Start | None = None
    """Its command, once it is filled in."""
    cwd: str = ""
    """The directory that its command asks for."""

    @property
    def name(self) -> str:
        """What the server is called: the manifest's name, as a profile could be called."""
        return plain_name(self.manifest.name)


# --- what it is told -------------------------------------------------------------------------------


def values_of(setting: Setting, text: str) -> tuple[str, ...]:
    """A value as a person writes it into one variable: a list is JSON, or paths with `:` between them."""
    if not setting.multiple:
        return (text,)
    if text.lstrip().startswith("["):
        try:
            return hostile_json.texts(hostile_json.read(f'{{"value": {text}}}'.encode()), "value")
        except Malformed as error:
            raise Malformed(f"`{setting.variable}`: {error}") from None
    if setting.kind in ("directory", "file"):
        return tuple(filter(None, text.split(":")))
    return (text,)


def wrong(setting: Setting, values: tuple[str, ...]) -> str:
    """Why these values are none for a setting; nothing where they are."""
    for value in values:
        if setting.kind == "boolean" and value not in ("true", "false"):
            return "is `true` or `false`"
        if setting.kind == "number":
            if not re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", value, re.ASCII):
                return "is a number"
            if setting.least is not None and float(value) < setting.least:
                return f"is at least {setting.least:g}"
            if setting.most is not None and float(value) > setting.most:
                return f"is at most {setting.most:g}"
    return ""
