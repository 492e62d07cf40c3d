"""What the `pyproject.toml` of a bundle asks for, and what its `uv run …` would start."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sandbox.records import dataclass
from sandbox.supply.hostile_json import Malformed, spelt

PROJECT = "pyproject.toml"
LARGEST = 256 << 10
_MOST = 200
_ELSEWHERE = re.compile(
    r"""\s*\(?\s*(?:sys_platform|platform_system|os_name)\s*==\s*['"](?:win32|darwin|cygwin|Windows|Darwin|nt)['"]"""
    r"""\s*\)?\s*"""
)
_HERE = re.compile(
    r"""\s*(?:(?:sys_platform|platform_system|os_name)\s*(?:==\s*['"](?:linux|Linux|posix)['"]"""
    r"""|!=\s*['"](?:win32|darwin|cygwin|Windows|Darwin|nt)['"]))\s*"""
)
# Options of `uv run` that change nothing of what is started, and those that have a value.
_NOTHING = frozenset(
    "-q --quiet --frozen --locked --no-sync --no-dev --isolated --no-progress --offline".split()
)
_FOLDER = frozenset(("--directory", "--project"))


@dataclass(frozen=True, slots=True)
class Project:
    """What a bundle of type `uv` runs with."""

    dependencies: tuple[str, ...] = ()
    python: str = ""
    """The versions of python that it says it runs with."""


@dataclass(frozen=True, slots=True)
class Run:
    """`uv run` of a bundle, without uv."""

    program: str
    """`python`, or a program of its dependencies."""
    skip: int
    """Words of the command that are uv's own."""
    words: tuple[str, ...] = ()
    """What comes before the words that are left: a script's place, or `-m MODULE`."""
    cwd: str = ""
    extra: tuple[str, ...] = ()
    """Packages of `--with`."""


def read(data: bytes) -> Project:
    """The project's dependencies, without those for another system."""
    import tomllib  # where a bundle of this type is opened for the first time

    try:
        whole = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Malformed(f"has a `{PROJECT}` that is no TOML") from None
    table = whole.get("project", {})
    asked = table.get("dependencies", []) if isinstance(table, dict) else None
    python = table.get("requires-python", "") if isinstance(table, dict) else None
    if not isinstance(asked, list) or not isinstance(python, str) or len(asked) > _MOST:
        raise Malformed(f"has a `{PROJECT}` whose `[project]` is not as it has to be")
    kept = [_here(one) for one in asked]
    return Project(tuple(one for one in kept if one), python.replace(" ", ""))


def _here(requirement: object) -> str:
    """The requirement without its marker; nothing where it is for another system."""
    if not isinstance(requirement, str) or not requirement.isprintable():
        raise Malformed(f"has a `{PROJECT}` with a dependency that is no text")
    package, _, marker = requirement.partition(";")
    if not marker or _HERE.fullmatch(marker):
        return package.strip()
    if _ELSEWHERE.fullmatch(marker):
        return ""
    raise Malformed(f"has a dependency with a condition that is not understood: `{spelt(requirement)}`")


def run(words: Sequence[str], mount: str, entry: str) -> Run:
    """What `uv run …` would start of the bundle at `mount`; `words` are those behind `uv`."""
    if not words:
        return Run("python", 0, (f"{mount}/{entry}",))
    if words[0] != "run":
        raise Malformed(f"starts `uv {spelt(words[0])}`, and not `uv run`")
    cwd, extra, module, at = "", list[str](), False, 1
    while at < len(words) and words[at].startswith("-") and words[at] != "-":
        option, equals, value = words[at].partition("=")
        at += 1
        if option == "--":
            break
        if option in ("-m", "--module"):
            module = True
            break
        if option in _NOTHING and not equals:
            continue
        if option not in _FOLDER | {"--with", "--python", "-p"}:
            raise Malformed(f"starts `uv run {spelt(option)}`, which is not understood")
        if not equals:
            value, at = (words[at] if at < len(words) else ""), at + 1
        if option in _FOLDER:
            cwd = value if option == "--directory" else cwd
            _own_folder(value, mount)
        elif option == "--with":
            extra += [one.strip() for one in value.split(",") if one.strip()]
    return _target(words, at, Run("python", at, cwd=cwd, extra=tuple(extra)), module, mount)


def _own_folder(value: str, mount: str) -> None:
    if value.rstrip("/") not in (mount, ".", ""):
        raise Malformed(f"starts `uv run` in `{spelt(value)}`, which is not its own directory")


def _target(words: Sequence[str], at: int, found: Run, module: bool, mount: str) -> Run:
    from sandbox.records import replace

    if at >= len(words):
        raise Malformed("starts `uv run` without a program")
    first = words[at]
    if module:
        return replace(found, skip=at + 1, words=("-m", first), cwd=found.cwd or mount)
    if first.endswith((".py", ".pyw")):
        path = first if first.startswith("/") else f"{mount}/{first}"
        return replace(found, skip=at + 1, words=(path,))
    if "/" in first:
        raise Malformed(f"starts `uv run {spelt(first)}`, which is no script of its own")
    program = "python" if re.fullmatch(r"python3?", first) else first
    return replace(found, program=program, skip=at + 1, cwd=found.cwd)
