"""The user's registry, proxy, CA and token settings, for the build sandbox alone.

Variables are an allow-list; files are read here and appear inside under `CONFIG`; local indexes and
CA files that they name are mounted read-only at their own place. A project's own `.npmrc` or
`uv.toml` is not read: the build sees no project.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from sandbox.supply.job import CONFIG, Settings

_LARGEST = 1 << 20
_SYSTEM = frozenset(
    "/ /etc /usr /usr/bin /usr/lib /usr/local /usr/local/bin /usr/local/lib /usr/share".split()
)

_SHARED = re.compile(
    r"(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|NODE_EXTRA_CA_CERTS|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE", re.I
)
_NPM = re.compile(
    r"npm_config_(registry|@[^:]+:registry|//.*|_auth|_authtoken|_password|username|(https?[-_])?proxy|no_?proxy"
    r"|cafile|ca|cert|key|strict[-_]ssl|fetch[-_].*|maxsockets|before|min[-_]release[-_]age([-_]exclude)?)|NPM_TOKEN|NODE_AUTH_TOKEN",
    re.I,
)
_UV = re.compile(
    r"UV_(INDEX|INDEX_.*|DEFAULT_INDEX|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|PRERELEASE|RESOLUTION|EXCLUDE_NEWER"
    r"|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|HTTP_TIMEOUT|HTTP_RETRIES)"
)
_PIP = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|PRE"
    r"|DEFAULT_TIMEOUT|RETRIES)"
)
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\??\}")
_FILE_URL = re.compile(r"file://(/[^\s\"',\])#]+)")
_PATH_LINE = re.compile(
    r"^\s*\S*?(?:find[-_]links|cafile|cert|certfile|keyfile|client[-_]cert)\s*=\s*(.+)$", re.M
)
_PATH = re.compile(r"(?:^|[\s\"'\[,])(/[^\s\"',\]]+)")
_HOST = re.compile(r"https?://(?:[^/@\s\"']*@)?([^/:\s\"',\]]+)")


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as opened:
            return opened.read(_LARGEST)
    except OSError:
        return None


def _configs(environ: Mapping[str, str]) -> str:
    base = environ.get("XDG_CONFIG_HOME", "")
    return base if base.startswith("/") else os.path.join(environ.get("HOME", "/"), ".config")


def _first(paths: Iterable[str | None]) -> bytes | None:
    for path in paths:
        content = _read(path) if path else None
        if content is not None:
            return content
    return None


def _variable(environ: Mapping[str, str], name: str) -> str | None:
    """npm reads its variables in any case."""
    return next((value for each, value in environ.items() if each.lower() == name), None)


_LIMIT = re.compile(
    r"^\s*(?:npm_config_)?(?:before|min[-_]release[-_]age|(?:uv_)?exclude[-_]newer)\s*=", re.M | re.I
)


def limited(found: Settings) -> bool:
    """The user's own settings say what is too new: a limit of ours would be in its place."""
    named = [f"{name}=" for name, value in found.env if value]
    texts = [text.decode("utf-8", "replace") for _, text in found.files]
    return any(_LIMIT.search(text) for text in (*named, *texts))


def npm(environ: Mapping[str, str], *, prefix: str) -> Settings:
    """What npm is told: the user's and the global npmrc (`prefix` is node's), and the variables they name."""
    home = environ.get("HOME", "/")
    user = _first([_variable(environ, "npm_config_userconfig"), f"{home}/.npmrc"])
    shared = _first([_variable(environ, "npm_config_globalconfig"), f"{prefix}/etc/npmrc", "/etc/npmrc"])
    files = {f"{CONFIG}/npmrc": user or b"", f"{CONFIG}/global-npmrc": shared or b""}
    named = {name for text in files.values() for name in _REFERENCE.findall(text.decode("utf-8", "replace"))}
    env = _chosen(environ, (_SHARED, _NPM), named)
    env["npm_config_userconfig"] = f"{CONFIG}/npmrc"
    env["npm_config_globalconfig"] = f"{CONFIG}/global-npmrc"
    return _settings(env, files, [*files.values()])


def without_logins(environ: Mapping[str, str]) -> Settings:
    """The way to the network (proxy, CA) and no registry: what a package's own code is given."""
    files = {f"{CONFIG}/npmrc": b"", f"{CONFIG}/global-npmrc": b""}
    env = _chosen(environ, (_SHARED,), set())
    env["npm_config_userconfig"] = f"{CONFIG}/npmrc"
    env["npm_config_globalconfig"] = f"{CONFIG}/global-npmrc"
    return _settings(env, files, [])


def pypi(environ: Mapping[str, str], options: Iterable[str]) -> Settings:
    """What uv or pip is told: their user and system files, the logins of the named indexes, and variables."""
    configs, home = _configs(environ), environ.get("HOME", "/")
    sources: dict[str, list[str | None]] = {
        f"{CONFIG}/uv/uv.toml": [environ.get("UV_CONFIG_FILE"), f"{configs}/uv/uv.toml"],
        "/etc/uv/uv.toml": ["/etc/uv/uv.toml"],
        f"{CONFIG}/pip/pip.conf": [
            environ.get("PIP_CONFIG_FILE"),
            f"{configs}/pip/pip.conf",
            f"{home}/.pip/pip.conf",
        ],
        "/etc/pip.conf": ["/etc/pip.conf"],
    }
    files = {inside: content for inside, paths in sources.items() if (content := _first(paths)) is not None}
    env = _chosen(environ, (_SHARED, _UV, _PIP), set())
    texts = [*files.values(), "\n".join([*env.values(), *options]).encode()]
    logins = _logins(
        environ, {host for text in texts for host in _HOST.findall(text.decode("utf-8", "replace"))}
    )
    if logins:
        files[f"{CONFIG}/netrc"] = logins
        env["NETRC"] = f"{CONFIG}/netrc"
    env["XDG_CONFIG_HOME"] = CONFIG
    return _settings(
        env, files, [*files.values(), *(f"file://{word}".encode() for word in options if word[0] == "/")]
    )


def _chosen(
    environ: Mapping[str, str], patterns: Iterable[re.Pattern[str]], named: set[str]
) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name in named or any(pattern.fullmatch(name) for pattern in patterns)
    }


def _logins(environ: Mapping[str, str], hosts: set[str]) -> bytes:
    """The entries of the user's netrc for these hosts: the others are no registry's."""
    import netrc

    path = environ.get("NETRC") or os.path.join(environ.get("HOME", "/"), ".netrc")
    if not hosts or not os.path.isfile(path):
        return b""
    try:
        found = netrc.netrc(path).hosts
    except (OSError, netrc.NetrcParseError):
        return b""
    lines = [
        f"machine {host} login {login} password {password}"
        for host, (login, _, password) in sorted(found.items())
        if host in hosts
    ]
    return "\n".join([*lines, ""]).encode() if lines else b""


def _settings(env: Mapping[str, str], files: Mapping[str, bytes], texts: Iterable[bytes]) -> Settings:
    places: set[str] = set()
    for text in (each.decode("utf-8", "replace") for each in texts):
        places.update(_FILE_URL.findall(text))
        places.update(path for line in _PATH_LINE.findall(text) for path in _PATH.findall(line))
    for name, value in env.items():
        if re.search(r"CERT|CA_BUNDLE|cafile|FIND_LINKS|INDEX", name, re.I) and "PASSWORD" not in name:
            places.update(_FILE_URL.findall(value))
            places.update(word for word in re.split(r"[\s,:]", value) if word.startswith("/"))
    # A local index usually is `…/simple` and links to the files beside it.
    places = {path.removesuffix("/simple") for path in map(os.path.normpath, places)}
    mounts = sorted(filter(_mountable, places))
    return Settings(
        tuple(sorted(env.items())), tuple(sorted(files.items())), tuple((path, path) for path in mounts)
    )


def _mountable(path: str) -> bool:
    """It exists, and is no directory of the system's that a mount would hide programs in."""
    return path not in _SYSTEM and not path.startswith((CONFIG, "//")) and os.path.exists(path)
