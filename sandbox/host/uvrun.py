"""`uv run` of a project is its `.venv` run directly: inside, uv itself could neither lock nor download."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sandbox.errors import CannotEnforce, CommandNotFound
from sandbox.records import dataclass

_FLAGS = frozenset(
    {
        *("-q", "--quiet", "-v", "--verbose", "--offline", "--no-sync", "--frozen", "--locked", "--no-dev"),
        *(
            "--no-progress",
            "--no-config",
            "--native-tls",
            "--exact",
            "--no-editable",
            "--dev",
            "--all-extras",
        ),
        *("--no-cache", "-n", "--no-env-file", "--all-groups", "--inexact", "--no-python-downloads"),
    }
)
# They choose what goes into the environment, which exists already.
_VALUES = frozenset(
    {
        "--extra",
        "--group",
        "--no-group",
        "--only-group",
        "-p",
        "--python",
        "--color",
        "--cache-dir",
        "--config-file",
    }
)


@dataclass(frozen=True, slots=True)
class UvRun:
    """What `uv run` would start: the project's environment, the command in it, the directory it starts in."""

    venv: str
    argv: tuple[str, ...]
    cwd: str


def is_uv_run(argv: Sequence[str]) -> bool:
    """True for `uv … run …`; `uvx`, `uv tool run` and `uv run --with` belong to the supply."""
    return (
        os.path.basename(argv[0]) == "uv" and "run" in argv[1:] and "tool" not in argv[1 : argv.index("run")]
    )


def translate(argv: Sequence[str], *, cwd: str) -> UvRun:
    """The program behind `uv run`; an option that we cannot honour without uv is refused by name."""
    words = list(argv[1:])
    project, module = "", False
    running = False
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if word == "run" and not running:
            running = True
        elif option in ("--directory", "--project"):
            value = value if equals else _next(words, option)
            cwd = os.path.join(cwd, value) if option == "--directory" else cwd
            project = os.path.join(cwd, value) if option == "--project" else project
        elif option in _VALUES:
            _ = value if equals else _next(words, option)
        elif word in ("-m", "--module"):
            module = True
        elif word == "--" or (running and not word.startswith("-")):
            rest = words if word == "--" else [word, *words]
            return _found(os.path.normpath(project or cwd), rest, os.path.normpath(cwd), module)
        elif word not in _FLAGS:
            raise CannotEnforce(
                "uv-run-option",
                f"`uv run {word}` needs uv inside the sandbox, where it has no network and no cache",
                hint="run `uv sync` in the project and name the program in its `.venv/bin`",
            )
    raise CommandNotFound("command-not-found", "`uv run` names no command")


def _next(words: list[str], option: str) -> str:
    if not words:
        raise CommandNotFound("command-not-found", f"`uv run {option}` wants a value")
    return words.pop(0)


def _found(project: str, rest: list[str], cwd: str, module: bool) -> UvRun:
    if not rest:
        raise CommandNotFound("command-not-found", "`uv run` names no command")
    folder = project
    while not os.path.isfile(f"{folder}/.venv/pyvenv.cfg"):
        # A workspace has one environment, at its root; a repository ends the search.
        if folder == "/" or os.path.exists(f"{folder}/.git"):
            raise CommandNotFound(
                "no-environment",
                f"`{project}` has no environment that `uv run` could use",
                hint=f"uv sync --directory {project}",
            )
        folder = os.path.dirname(folder)
    venv = f"{folder}/.venv"
    python = f"{venv}/bin/python"
    if module:
        return UvRun(venv, (python, "-m", *rest), cwd)
    if rest[0].endswith((".py", ".pyw")):
        return UvRun(venv, (python, *rest), cwd)
    program = f"{venv}/bin/{rest[0]}"
    return UvRun(venv, (program if os.path.lexists(program) else rest[0], *rest[1:]), cwd)
