"""The package that an installed program belongs to: by where it really lies, read and never run.

A name alone says nothing: a script must lie in the package's own folder of a `node_modules`, a program or a
module of Python in an environment whose records name it. What was installed from a path, a URL or
a repository is nobody's release.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from sandbox.errors import CommandNotFound, SandboxError
from sandbox.host.closure import language_of
from sandbox.host.lookup import which
from sandbox.host.trees import venv_of
from sandbox.host.uvrun import is_uv_run, translate
from sandbox.patterns import regex
from sandbox.records import dataclass, replace

_LARGEST = 1 << 20
_MODULES = "/node_modules/"
# Options that load nothing: what another one loads would run as the package.
_NODE_OPTION = regex(
    r"--no-warnings|--no-deprecation|--enable-source-maps|--max-old-space-size=\d+|--trace-\w+"
)
_PYTHON_OPTION = regex(r"-[bBdEIOPqsSuv]+")
_PYTHON_MODULE = regex(r"-[bBdEIOPqsSuv]*m")
_DIST_INFO = regex(r"([A-Za-z0-9][A-Za-z0-9._]*)-([^-/]+)\.dist-info", re.ASCII)


@dataclass(frozen=True, slots=True)
class Installed:
    """An installed package, the words of the command before its own arguments, and its real tree."""

    package: str
    version: str
    words: int
    place: str


def installed(
    command: Sequence[str], known: Mapping[str, object], *, environ: Mapping[str, str], cwd: str
) -> Installed | None:
    """The package of `known` (`npm:name`, `pypi:name`) whose program `command` starts, if it is one."""
    try:
        words, program, cwd = _started(command, environ, cwd)
    except (SandboxError, OSError, ValueError):
        return None
    skipped = len(command) - len(words)
    found = _by_program(words, program, known, cwd)
    return replace(found, words=found.words + skipped) if found else None


def _started(command: Sequence[str], environ: Mapping[str, str], cwd: str) -> tuple[Sequence[str], str, str]:
    """The words of the program that is executed, its path, and the directory that it starts in."""
    if is_uv_run(command):
        run = translate(command, cwd=cwd)
        bin_ = f"{run.venv}/bin"
        return run.argv, which(run.argv[0], environ={**environ, "PATH": bin_}, cwd=run.cwd), run.cwd
    try:
        return command, which(command[0], environ=environ, cwd=cwd), cwd
    except CommandNotFound:
        from sandbox.host.reach import for_command  # where the caller's PATH is no shell's

        led = for_command(command, environ=environ, cwd=cwd).environ
        return command, which(command[0], environ=led, cwd=cwd), cwd


def _by_program(
    words: Sequence[str], program: str, known: Mapping[str, object], cwd: str
) -> Installed | None:
    language = language_of(program)
    if language == "node":
        at = _first(words, _NODE_OPTION)
        if at is None or words[at].startswith("-"):
            return None
        return _of_node(os.path.join(cwd, words[at]), at + 1, known)
    if language == "python":
        at = _first(words, _PYTHON_OPTION)
        if at is None:
            return None
        if _PYTHON_MODULE.fullmatch(words[at]):
            return _of_module(words, at, program, known, cwd)
        return _of_script(os.path.normpath(os.path.join(cwd, words[at])), at + 1, known)
    return _of_node(program, 1, known) or _of_script(program, 1, known)


def _first(words: Sequence[str], harmless: re.Pattern[str]) -> int | None:
    """Where the first word is that is no harmless option."""
    return next((at for at, word in enumerate(words) if at and not harmless.fullmatch(word)), None)


# --- node ------------------------------------------------------------------------------------------


def _of_node(script: str, words: int, known: Mapping[str, object]) -> Installed | None:
    """By the last `node_modules` on the real path, if the package there says the same of itself."""
    root, folder, inner = os.path.realpath(script).rpartition(_MODULES)
    parts = inner.split("/")
    name = "/".join(parts[: 2 if inner.startswith("@") else 1])
    if not folder or f"npm:{name}" not in known:
        return None
    manifest = _manifest(f"{root}{folder}{name}/package.json")
    version = manifest.get("version")
    if manifest.get("name") != name or not isinstance(version, str):
        return None
    return Installed(f"npm:{name}", version, words, f"{root}{folder}{name}")


def _manifest(path: str) -> Mapping[str, object]:
    import json

    try:
        found = json.loads(_content(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _content(path: str) -> bytes:
    with open(path, "rb", opener=_plainly) as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"`{path}` is larger than 1 MiB")
    return content


def _plainly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hang the start


# --- python ----------------------------------------------------------------------------------------


def _of_script(script: str, words: int, known: Mapping[str, object]) -> Installed | None:
    """A program in the `bin` of an environment, by the entry points that its packages record."""
    places = (script, os.path.realpath(script))
    for place in places:
        venv = venv_of(place)
        if not venv:
            continue
        wanted = re.compile(rf"^\s*{re.escape(os.path.basename(place))}\s*=", re.MULTILINE)
        for folder, package, version in _distributions(venv, known):
            if wanted.search(_record(f"{folder}/entry_points.txt")):
                return Installed(package, version, words, os.path.realpath(folder))
    return None


def _of_module(
    words: Sequence[str], at: int, program: str, known: Mapping[str, object], cwd: str
) -> Installed | None:
    """`python -m module` of an environment; one of that name in the working directory would come first."""
    venv = venv_of(program)
    if not venv or len(words) < at + 2:
        return None
    top = words[at + 1].partition(".")[0]
    if not top.isidentifier() or any(os.path.lexists(f"{cwd}/{top}{end}") for end in ("", ".py")):
        return None
    for folder, package, version in _distributions(venv, known):
        if re.search(rf"^{re.escape(top)}(/__init__)?\.py,", _record(f"{folder}/RECORD"), re.MULTILINE):
            return Installed(package, version, at + 2, os.path.realpath(folder))
    return None


def _distributions(venv: str, known: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """The known packages of an environment that come from an index: their records' folder, name, version."""
    for site in _sites(venv):
        for name in os.listdir(site):
            found = _DIST_INFO.fullmatch(name)
            package = f"pypi:{re.sub(r'[-_.]+', '-', found[1]).lower()}" if found else ""
            # `direct_url.json`: from a path, an archive or a repository (PEP 610).
            if found and package in known and not os.path.lexists(f"{site}/{name}/direct_url.json"):
                yield f"{site}/{name}", package, found[2]


def _sites(venv: str) -> Iterator[str]:
    lib = f"{venv}/lib"
    try:
        names = sorted(os.listdir(lib))
    except OSError:
        return
    for name in names:
        if name.startswith("python") and os.path.isdir(f"{lib}/{name}/site-packages"):
            yield f"{lib}/{name}/site-packages"


def _record(path: str) -> str:
    try:
        return _content(path).decode(errors="replace")
    except (OSError, ValueError):
        return ""
