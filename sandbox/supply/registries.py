"""Which hosts the settings of npm, uv and pip name as registries, and through which proxy (P).

A build reaches these and nothing else. The proxy becomes the gateway's, which dials for the build sandbox:
the settings that come out no longer name one, since inside there is none to be reached.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from sandbox.policy import hosts
from sandbox.records import dataclass, replace
from sandbox.supply import public
from sandbox.supply.job import Settings

NPM, PYPI = f"https://{public.NPM}/", f"https://{public.PYPI}/simple"
# Public registries whose own documents name another host for the files.
_FILES = {
    public.PYPI: public.PYPI_FILES,
    public.PYPI_TEST: public.PYPI_TEST_FILES,
    "download.pytorch.org": "download-r2.pytorch.org",
    "registry.npmmirror.com": "cdn.npmmirror.com",
    "npm.pkg.github.com": "pkg-npm.githubusercontent.com",
}
_PORTS = {"http": 80, "https": 443}
_MOST = 64

_PROXY_VARIABLE = re.compile(r"(https?|all|no)_proxy", re.I)
_PROXY_SETTING = re.compile(r"npm_config_((https?[-_])?proxy|no[-_]?proxy)|PIP_PROXY", re.I)
_PROXY_KEY = re.compile(r"\s*(?:https?[-_]|no[-_]?)?proxy(?:\[\])?\s*[=:](.*)", re.I)
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(\??)\}")
_SCOPED = re.compile(r"(@[^:\s]+:)?registry")
# Each an option or a key of uv's and pip's: it names indexes, or the one that stands in PyPI's place.
_DEFAULTS = frozenset("index-url default-index i".split())
_MORE = frozenset("extra-index-url index find-links f".split())


@dataclass(frozen=True, slots=True)
class Registries:
    """What of a job's settings is the network's."""

    settings: Settings
    """The same without any proxy."""
    hosts: tuple[str, ...] = ()
    """`host:port` of every registry, and of where the public ones keep their files."""
    proxies: tuple[tuple[str, str], ...] = ()
    """`https_proxy` and its like, which may hold a password."""


def npm(found: Settings, options: Sequence[str] = ()) -> Registries:
    """The registry and those of scopes, by npm's order: options, variables, the user's npmrc, the global."""
    env = dict(found.env)
    keys: dict[str, str] = {}
    for text in reversed([text for name, text in found.files if name.endswith("npmrc")]):
        keys.update(_npmrc(text.decode("utf-8", "replace"), env))
    variables = {name.lower(): value for name, value in env.items() if value}
    for name, value in variables.items():
        if name.startswith("npm_config_"):
            keys[name.removeprefix("npm_config_").replace("_", "-")] = value
    keys.update(_words(options))
    asked = {name: value for name, value in keys.items() if _SCOPED.fullmatch(name)}
    return Registries(
        without_proxies(found), _hosts({"registry": NPM, **asked}.values()), _npm_proxies(keys, variables)
    )


def nowhere(found: Settings) -> Registries:
    """For a package's own code: no registry, and the proxy for what the profile adds by name."""
    return Registries(without_proxies(found), (), _told(_of_variables(dict(found.env))))


def pypi(found: Settings, options: Sequence[str], tool: Literal["uv", "pip"]) -> Registries:
    """The indexes and the places of files that the tool which installs listens to."""
    env = dict(found.env)
    pairs = [*_pairs(options), *_variables(env, tool), *_files(found, tool)]
    urls = [url for name, value in pairs if name in _DEFAULTS | _MORE for url in _each(value)]
    instead = any(name in _DEFAULTS or (name == "no-index" and _is_yes(value)) for name, value in pairs)
    proxies = _of_variables(env)
    for name, value in pairs:
        proxies.update(_pypi_proxy(name, value))
    return Registries(without_proxies(found), _hosts(urls if instead else [PYPI, *urls]), _told(proxies))


def without_proxies(found: Settings) -> Settings:
    """The settings of a step that dials nobody by itself."""
    files = tuple((name, _stripped(text)) for name, text in found.files)
    # A variable that the lines of a proxy alone named: its login.
    gone = _named(found.files) - _named(files)
    env = tuple((name, value) for name, value in found.env if not (name in gone or _is_proxys(name)))
    return replace(found, env=env, files=files)


def _is_proxys(name: str) -> bool:
    return bool(_PROXY_VARIABLE.fullmatch(name) or _PROXY_SETTING.fullmatch(name))


def _named(files: Iterable[tuple[str, bytes]]) -> set[str]:
    return {one[0] for _, text in files for one in _REFERENCE.findall(text.decode("utf-8", "replace"))}


def _stripped(content: bytes) -> bytes:
    """Without the lines that name a proxy, and without the rest of a list that begins on one."""
    kept, within = [], False
    for line in content.decode("utf-8", "surrogateescape").splitlines(keepends=True):
        if within:
            within = "]" not in line
        elif (key := _PROXY_KEY.match(line)) is not None:
            within = key[1].lstrip().startswith("[") and "]" not in key[1]
        else:
            kept.append(line)
    return "".join(kept).encode("utf-8", "surrogateescape")


# --- hosts ------------------------------------------------------------------------------------------


def _hosts(urls: Iterable[str]) -> tuple[str, ...]:
    found = [place for url in urls for place in _places(url)]
    return tuple(dict.fromkeys(found))[:_MOST]


def _places(url: str) -> Iterator[str]:
    """`host:port` of one URL, and of its files; nothing where it is a file's or no URL at all."""
    parts = _split(url)
    try:
        port = (parts.port or _PORTS.get(parts.scheme)) if parts else None
    except ValueError:
        port = None
    if parts is None or port is None or not parts.hostname:
        return
    name = "localhost" if parts.hostname.endswith(".localhost") else parts.hostname
    for host in (name, _FILES.get(name, "")):
        try:
            yield hosts.spelling(hosts.spelt(host, port))
        except ValueError:
            return  # no name that anybody could look up


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url.strip())
    except ValueError:
        return None


# --- npm --------------------------------------------------------------------------------------------


def _npmrc(text: str, env: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith((";", "#")):
            plain = value.strip().strip("\"'")
            found[name.strip()] = _REFERENCE.sub(lambda one: env.get(one[1], ""), plain)
    return found


def _npm_proxies(keys: Mapping[str, str], variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """npm asks `https-proxy`, then `proxy`, for every registry, and the variables where it has neither."""
    proxies = _of_variables(variables)
    own = keys.get("https-proxy") or keys.get("proxy") or "null"
    if keys.get("noproxy"):
        proxies["no_proxy"] = keys["noproxy"]
    if own == "false":
        return ()
    if own != "null":
        proxies.update({"http_proxy": own, "https_proxy": own})
    return _told(proxies)


# --- uv and pip -------------------------------------------------------------------------------------


def _words(options: Sequence[str]) -> dict[str, str]:
    return dict(_pairs(options))


def _pairs(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Options and values, written as one word or two; a flag has the value `true`."""
    words = [*options, "--"]
    for word, after in pairwise(words):
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            yield name, value if equals else ("true" if after.startswith("-") else after)


def _variables(env: Mapping[str, str], tool: str) -> Iterator[tuple[str, str]]:
    prefix = f"{tool}_"
    for name, value in env.items():
        if name.lower().startswith(prefix) and value:
            yield name.lower().removeprefix(prefix).replace("_", "-"), value


def _files(found: Settings, tool: str) -> Iterator[tuple[str, str]]:
    for name, content in found.files:
        text = content.decode("utf-8", "replace")
        if tool == "uv" and name.endswith("uv.toml"):
            yield from _toml(text)
        elif tool == "pip" and name.endswith("pip.conf"):
            yield from _ini(text)


def _toml(text: str) -> Iterator[tuple[str, str]]:
    import tomllib  # for a build alone

    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError):
        return  # uv says what is wrong with it
    for table in (found, found.get("pip")):
        if isinstance(table, dict):
            yield from ((name, one) for name, value in table.items() for one in _texts(name, value))
            yield from _indexes(table.get("index"))


def _texts(name: str, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if name == "no-proxy":
        return [",".join(one for one in values if isinstance(one, str))]
    return [
        str(one).lower() if isinstance(one, bool) else one for one in values if isinstance(one, str | bool)
    ]


def _indexes(listed: Any) -> Iterator[tuple[str, str]]:
    """The tables `[[index]]`: one of them may stand in PyPI's place."""
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and isinstance(one.get("url"), str):
            yield ("default-index" if one.get("default") is True else "index"), one["url"]


def _ini(text: str) -> Iterator[tuple[str, str]]:
    reader = configparser.RawConfigParser(strict=False)
    try:
        reader.read_string(text)
    except configparser.Error:
        return  # pip says what is wrong with it
    for section in reader.sections():
        if section in ("global", "install"):
            yield from ((name.replace("_", "-"), value) for name, value in reader.items(section))


def _each(value: str) -> list[str]:
    """The URLs of one value: several are separated by spaces or commas, and uv's may have a name before."""
    return [re.sub(r"^[\w.-]+=", "", word, flags=re.ASCII) for word in re.split(r"[\s,]+", value) if word]


def _is_yes(value: str) -> bool:
    return value.strip().lower() in ("1", "true", "yes", "on", "t", "y")


def _pypi_proxy(name: str, value: str) -> dict[str, str]:
    if name == "proxy":
        return {"http_proxy": value, "https_proxy": value}
    if name in ("http-proxy", "https-proxy", "no-proxy"):
        key = name.replace("-", "_")
        return {key: value}
    return {}


def _of_variables(env: Mapping[str, str]) -> dict[str, str]:
    """In lower case, which goes before capitals where both are set."""
    named = sorted(name for name in env if _PROXY_VARIABLE.fullmatch(name))
    return {name.lower(): env[name] for name in named}


def _told(proxies: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in proxies.items() if value))
