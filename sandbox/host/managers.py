"""Where programs are that only a shell's PATH names: found by the managers' own files, running nothing.

A client that a desktop starts has the session's PATH; nvm and its kin set theirs in a shell's start-up file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from sandbox.errors import CommandNotFound
from sandbox.host import shims
from sandbox.records import dataclass

_ALIASES = 8  # nvm's aliases may name each other; `default` -> `lts/*` -> `lts/iron` -> a version are three
_LINE = 256


@dataclass(frozen=True, slots=True)
class Found:
    """A program that PATH does not lead to: the directory that would, and whose it is."""

    name: str
    directory: str
    manager: str


def installed(name: str, *, environ: Mapping[str, str], cwd: str, home: str) -> Found | None:
    """The first of `places` that has `name` in a version which its manager's own files choose."""
    for manager, directory in places(environ, home):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK) and _leads_somewhere(path, environ, cwd, home):
            return Found(name, directory, manager)
    return None


def _leads_somewhere(path: str, environ: Mapping[str, str], cwd: str, home: str) -> bool:
    """A shim is left behind by versions that were removed, or speaks for a tool that no file chooses."""
    try:
        shims.behind(path, environ=environ, cwd=cwd, home=home)
    except CommandNotFound:
        return False
    return True


def places(environ: Mapping[str, str], home: str) -> Iterator[tuple[str, str]]:
    """Each directory that a shell's start-up files may have put on PATH, and whose it is; some do not exist.

    What chooses by project comes before what has one default; what was put somewhere by hand before both.
    """
    data = _root(environ, "XDG_DATA_HOME", f"{home}/.local/share")
    for place in (f"{home}/.local/bin", f"{home}/bin"):
        yield "the user's own programs", place
    yield "mise", f"{_root(environ, 'MISE_DATA_DIR', f'{data}/mise')}/shims"
    yield "asdf", f"{_root(environ, 'ASDF_DATA_DIR', f'{home}/.asdf')}/shims"
    yield "volta", f"{_root(environ, 'VOLTA_HOME', f'{home}/.volta')}/bin"
    yield from _fnm(environ, home, data)
    yield from _nvm(environ, home)
    yield "nodenv", f"{_root(environ, 'NODENV_ROOT', f'{home}/.nodenv')}/shims"
    yield "n", f"{_root(environ, 'N_PREFIX', f'{home}/n')}/bin"
    yield "nodebrew", f"{home}/.nodebrew/current/bin"
    yield "pyenv", f"{_root(environ, 'PYENV_ROOT', f'{home}/.pyenv')}/shims"
    yield "pnpm", _root(environ, "PNPM_HOME", f"{data}/pnpm")
    yield "npm's own prefix", f"{home}/.npm-global/bin"
    yield "bun", f"{_root(environ, 'BUN_INSTALL', f'{home}/.bun')}/bin"
    yield "deno", f"{_root(environ, 'DENO_INSTALL', f'{home}/.deno')}/bin"
    yield "cargo", f"{_root(environ, 'CARGO_HOME', f'{home}/.cargo')}/bin"
    yield "go", _root(environ, "GOBIN", f"{_root(environ, 'GOPATH', f'{home}/go')}/bin")
    yield "dotnet", f"{home}/.dotnet/tools"
    yield from _homebrew(environ, home)
    for place in (f"{home}/.nix-profile/bin", "/nix/var/nix/profiles/default/bin"):
        yield "nix", place
    for name in ("miniforge3", "miniconda3", "anaconda3"):
        yield "conda", f"{home}/{name}/bin"
    for directory in ("/usr/local/bin", "/usr/bin", "/bin", "/snap/bin"):
        yield "the system", directory


def _root(environ: Mapping[str, str], variable: str, usual: str) -> str:
    """A manager's directory; a relative one would be the working directory's, which may be hostile."""
    named = environ.get(variable, "").rstrip("/")
    return named if named.startswith("/") else usual


def _homebrew(environ: Mapping[str, str], home: str) -> Iterator[tuple[str, str]]:
    prefixes = (
        _root(environ, "HOMEBREW_PREFIX", "/opt/homebrew"),
        *("/opt/homebrew", "/home/linuxbrew/.linuxbrew", f"{home}/.linuxbrew"),
    )
    for prefix in dict.fromkeys(prefixes):
        yield "homebrew", f"{prefix}/bin"


def _fnm(environ: Mapping[str, str], home: str, data: str) -> Iterator[tuple[str, str]]:
    """fnm: the alias `default` is a link to a version's installation; without one the newest."""
    for root in dict.fromkeys((_root(environ, "FNM_DIR", f"{data}/fnm"), f"{data}/fnm", f"{home}/.fnm")):
        if os.path.isdir(chosen := f"{root}/aliases/default/bin"):
            yield "fnm", os.path.realpath(chosen)
        elif versions := _versions(f"{root}/node-versions"):
            yield "fnm", f"{root}/node-versions/{versions[0]}/installation/bin"


def _nvm(environ: Mapping[str, str], home: str) -> Iterator[tuple[str, str]]:
    """nvm: the version that its alias `default` means; without one, or where that is gone, the newest."""
    for root in dict.fromkeys(
        (_root(environ, "NVM_DIR", f"{home}/.nvm"), f"{home}/.nvm", f"{home}/.config/nvm")
    ):
        versions = _versions(f"{root}/versions/node")
        wanted = _nvm_alias(root)
        if versions and wanted != "system":
            yield "nvm", f"{root}/versions/node/{_nvm_choice(wanted, versions)}/bin"


def _nvm_alias(root: str) -> str:
    """What `default` comes to at last: a version, a part of one, or a word of nvm's; nothing if not set."""
    name, seen = "default", 0
    while seen < _ALIASES and (text := _first_line(f"{root}/alias/{name}")):
        name, seen = text, seen + 1
        if not re.fullmatch(r"(lts/)?[\w.*-]{1,64}", name):
            return ""
    return name if seen else ""


def _nvm_choice(wanted: str, versions: list[str]) -> str:
    """The newest of `versions`, which has the newest first, that `wanted` allows; else the newest of all."""
    if wanted == "lts/*":
        # Majors that are even get long-term support; which of them have it already nvm would ask the network.
        return next((one for one in versions if _numbers(one)[0] % 2 == 0), versions[0])
    parts = _numbers(wanted) if re.fullmatch(r"v?\d+(\.\d+){0,2}", wanted) else []
    return next((one for one in versions if _numbers(one)[: len(parts)] == parts), versions[0])


def _versions(folder: str) -> list[str]:
    """The versions of node that are installed in `folder`, the newest first."""
    try:
        names = [name for name in os.listdir(folder) if re.fullmatch(r"v?\d+\.\d+\.\d+", name)]
    except OSError:
        return []
    return sorted(names, key=_numbers, reverse=True)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline(_LINE).strip()
    except OSError:
        return ""
