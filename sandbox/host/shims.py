"""Version managers put a shim on PATH; this finds the program behind it by their layouts, running nothing."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping

from sandbox.errors import CommandNotFound
from sandbox.hints import Any
from sandbox.host.lookup import which

# Directory of shims' parent -> root: the variable and the file that choose a version (pyenv and its kin).
_ENV_KIND = {
    "pyenv": ("PYENV_VERSION", ".python-version"),
    "nodenv": ("NODENV_VERSION", ".node-version"),
    "rbenv": ("RBENV_VERSION", ".ruby-version"),
}


def behind(path: str, *, environ: Mapping[str, str], cwd: str, home: str) -> str | None:
    """The program that the shim at `path` would start, or None where `path` is no shim."""
    folder, name = os.path.split(path)
    root = os.path.dirname(folder)
    if os.path.basename(folder) == "shims":
        for found in (_env_shim, _asdf_shim, _mise_shim):
            program = found(root, name, environ, cwd, home)
            if program:
                return program
        raise _nothing(path, name, "the version manager's files choose no installed version that has it")
    if os.path.basename(folder) == "bin" and os.path.basename(os.path.realpath(path)) == "volta-shim":
        return _volta_shim(root, path, cwd, home)
    if os.path.realpath(path) == "/usr/bin/snap" and name != "snap":
        return _first((f"/snap/{name}/current/bin/{name}", f"/snap/{name}/current/usr/bin/{name}"))
    return None


def _nothing(path: str, name: str, why: str) -> CommandNotFound:
    return CommandNotFound(
        "command-not-found", f"`{path}` is a shim for `{name}`: {why}", hint="name it by its absolute path"
    )


def _first(places: tuple[str, ...]) -> str | None:
    return next((p for p in places if os.path.isfile(p) and os.access(p, os.X_OK)), None)


def _plain(version: str) -> bool:
    # A version comes from a file of the project, which may be hostile: one path component, no more.
    return bool(re.fullmatch(r"[A-Za-z0-9][\w.+@:-]*", version))


def _upward(cwd: str, home: str) -> Iterator[str]:
    folder = os.path.realpath(cwd)
    while True:
        yield folder
        if folder in (home, "/"):
            return
        folder = os.path.dirname(folder)


def _text(path: str) -> str:
    """The beginning of a regular file: a project's FIFO, or its link to our stdin, would wait for ever."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        with open(fd, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16) if stat.S_ISREG(os.fstat(fd).st_mode) else ""
    except OSError:
        return ""


def _words(text: str) -> list[str]:
    return [word for line in text.splitlines() for word in line.split("#")[0].split()]


def _env_shim(root: str, name: str, environ: Mapping[str, str], cwd: str, home: str) -> str | None:
    """pyenv, nodenv, rbenv: `versions/V/bin/NAME` for the first chosen V that has it."""
    kind = os.path.basename(root).lstrip(".")
    if kind not in _ENV_KIND and os.path.isdir(f"{root}/versions"):
        kind = "pyenv"
    if kind not in _ENV_KIND:
        return None
    variable, filename = _ENV_KIND[kind]
    for version in _env_versions(root, environ.get(variable, ""), filename, cwd, home):
        if version == "system":
            return which(name, environ=environ, cwd=cwd, skip=f"{root}/shims")
        if not _plain(version):
            continue
        for place in (version, *_longer(f"{root}/versions", version)):
            if program := _first((f"{root}/versions/{place}/bin/{name}",)):
                return program
    return None


def _env_versions(root: str, chosen: str, filename: str, cwd: str, home: str) -> list[str]:
    if chosen:
        return chosen.split(":")
    for folder in _upward(cwd, home):
        if found := _words(_text(f"{folder}/{filename}")):
            return found
    return _words(_text(f"{root}/version")) or ["system"]


def _longer(folder: str, version: str) -> list[str]:
    """`3.11` means the newest installed `3.11.x`."""
    try:
        names = [n for n in os.listdir(folder) if n.startswith(f"{version}.")]
    except OSError:
        return []
    return sorted(names, key=lambda n: [int(d) for d in re.findall(r"\d+", n)], reverse=True)


def _tool_versions(cwd: str, home: str) -> dict[str, list[str]]:
    """The nearest `.tool-versions` line of each tool; the home's own comes last."""
    found: dict[str, list[str]] = {}
    for folder in dict.fromkeys((*_upward(cwd, home), home)):
        for line in _text(f"{folder}/.tool-versions").splitlines():
            tool, *versions = line.split("#")[0].split() or [""]
            found.setdefault(tool, versions)
    return found


def _asdf_shim(root: str, name: str, environ: Mapping[str, str], cwd: str, home: str) -> str | None:
    """asdf: the shim's comments name the plugins; `installs/PLUGIN/V/bin/NAME` is the program."""
    shim = _text(f"{root}/shims/{name}")
    plugins = dict.fromkeys(re.findall(r"^# asdf-plugin: (\S+)", shim, re.MULTILINE))
    if not plugins:
        return None
    files = _tool_versions(cwd, home)
    for plugin in filter(_plain, plugins):
        chosen = environ.get(f"ASDF_{plugin.upper().replace('-', '_')}_VERSION", "").split()
        for version in chosen or files.get(plugin, []):
            if version == "system":
                return which(name, environ=environ, cwd=cwd, skip=f"{root}/shims")
            if _plain(version) and (program := _installed(f"{root}/installs/{plugin}/{version}", name)):
                return program
    return None


def _installed(folder: str, name: str) -> str | None:
    return _first((f"{folder}/bin/{name}", f"{folder}/.npm/bin/{name}", f"{folder}/{name}"))


def _mise_shim(root: str, name: str, environ: Mapping[str, str], cwd: str, home: str) -> str | None:
    """mise: `installs/TOOL/V/bin/NAME`, V from the nearest file that names the tool, else the latest."""
    installs = f"{root}/installs"
    if not os.path.isdir(installs):
        return None
    tools = [t for t in sorted(os.listdir(installs)) if any(_has(f"{installs}/{t}", name))]
    files = {**_mise_versions(cwd, home), **_tool_versions(cwd, home)} if tools else {}
    for tool in tools:
        chosen = environ.get(f"MISE_{tool.upper().replace('-', '_')}_VERSION", "").split()
        for version in chosen or files.get(tool, []) or ["latest"]:
            for place in (version, *_longer(f"{installs}/{tool}", version)) if _plain(version) else ():
                if program := _installed(f"{installs}/{tool}/{place}", name):
                    return program
    return None


def _has(folder: str, name: str) -> Iterator[bool]:
    try:
        versions = os.listdir(folder)
    except OSError:
        return
    yield from (_installed(f"{folder}/{version}", name) is not None for version in versions)


def _mise_versions(cwd: str, home: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    names = ("mise.toml", ".mise.toml", ".config/mise/config.toml")
    for folder in dict.fromkeys((*_upward(cwd, home), home)):
        for text in filter(None, (_text(f"{folder}/{name}") for name in names)):
            for tool, value in _mise_tools(text).items():
                found.setdefault(tool, value)
    return found


def _mise_tools(text: str) -> dict[str, list[str]]:
    import tomllib  # only where such a file exists

    try:
        tools = tomllib.loads(text).get("tools", {})
        return {tool: _mise_value(value) for tool, value in tools.items()} if isinstance(tools, dict) else {}
    except (ValueError, RecursionError):
        return {}


def _mise_value(value: Any) -> list[str]:
    if isinstance(value, dict):
        return _mise_value(value.get("version", ""))
    if isinstance(value, list):
        return [v for item in value for v in _mise_value(item)]
    return [value] if isinstance(value, str) and value else []


def _volta_shim(root: str, path: str, cwd: str, home: str) -> str:
    """volta: a package's own program, else node's, in the project's version or the user's default."""
    name = os.path.basename(path)
    package = _json(f"{root}/tools/user/bins/{name}.json").get("package")
    if isinstance(package, str) and ".." not in package:
        if program := _first((f"{root}/tools/image/packages/{package}/bin/{name}",)):
            return program
    version = _volta_project(cwd, home) or _volta_default(root)
    if version and _plain(version):
        if program := _first((f"{root}/tools/image/node/{version}/bin/{name}",)):
            return program
    raise _nothing(path, name, "volta has no installed version of it")


def _volta_project(cwd: str, home: str) -> str:
    for folder in _upward(cwd, home):
        pinned = _json(f"{folder}/package.json").get("volta")
        if isinstance(pinned, dict):
            return str(pinned.get("node", ""))
    return ""


def _volta_default(root: str) -> str:
    node = _json(f"{root}/tools/user/platform.json").get("node")
    return str(node.get("runtime", "")) if isinstance(node, dict) else ""


def _json(path: str) -> dict[str, Any]:
    text = _text(path)
    if not text:
        return {}
    import json  # only where such a file exists

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
