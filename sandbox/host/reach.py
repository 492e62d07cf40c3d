"""The caller's environment with a PATH that leads to what a command starts with, where its own does not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from sandbox.errors import SandboxError
from sandbox.host import shims
from sandbox.host.lookup import DEFAULT_PATH, home_of, search_path, which
from sandbox.records import dataclass

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.host.managers import Found

_SHEBANG = 256  # BINPRM_BUF_SIZE: the kernel reads no further


@dataclass(frozen=True, slots=True)
class Reach:
    """An environment, and for each program that PATH did not lead to where it was found instead."""

    environ: Mapping[str, str]
    elsewhere: tuple[Found, ...] = ()

    def said(self) -> list[str]:
        """One line for each, as a person is told."""
        return [
            f"`{one.name}` is on no directory of PATH: taken from `{one.directory}` ({one.manager})"
            for one in self.elsewhere
        ]


def for_command(command: Sequence[str], *, environ: Mapping[str, str], cwd: str) -> Reach:
    """A PATH on which the program of `command`, and what its first line has `env` look for, are found."""
    if not command:
        return Reach(environ)
    first = command[0]
    reach = Reach(environ) if "/" in first else _led(Reach(environ), first, cwd)
    interpreter = _by_env(_place(first, reach.environ, cwd))
    return _led(reach, interpreter, cwd, beside=_folder(first, cwd)) if interpreter else reach


def for_package(program: str, *, environ: Mapping[str, str], runner: str) -> Reach:
    """A PATH on which the very file of `program` comes first that builds and runs packages, behind any shim.

    A package is kept by the path of its interpreter: a terminal with its shims and a client without any must
    come to the same one, or the client would build again what the terminal has built.
    """
    home = home_of(environ)
    reach = _led(Reach(environ), program, home, beside=os.path.dirname(runner))
    place = _place(program, reach.environ, home)
    if not place:
        return reach
    try:
        # The home's own choice, as the build makes it: a project's would give each project its own package.
        real = shims.behind(place, environ=reach.environ, cwd=home, home=home) or place
    except SandboxError:
        return reach
    folder = os.path.dirname(real)
    if "/fnm_multishells/" in folder:
        folder = os.path.realpath(folder)  # fnm makes a directory of this kind for every shell
    if folder == os.path.dirname(place):
        return reach
    return Reach({**reach.environ, "PATH": f"{folder}:{_path(reach.environ)}"}, reach.elsewhere)


def _led(reach: Reach, name: str, cwd: str, *, beside: str = "") -> Reach:
    """`reach` where `name` is found already or nowhere, else with all places at the end of its PATH."""
    environ = reach.environ
    if _place(name, environ, cwd):
        return reach
    from sandbox.host import managers  # of use where PATH is not

    home = home_of(environ)
    found = _in_company(name, beside) or managers.installed(name, environ=environ, cwd=cwd, home=home)
    if found is None:
        return reach
    have = search_path(environ)
    others = [place for _, place in managers.places(environ, home) if os.path.isdir(place)]
    more = [place for place in dict.fromkeys((found.directory, *others)) if place not in have]
    return Reach({**environ, "PATH": ":".join((_path(environ), *more))}, (*reach.elsewhere, found))


def _in_company(name: str, folder: str) -> Found | None:
    """A program that lies beside the one which the command names by its path."""
    path = os.path.join(folder, name)
    if not folder.startswith("/") or not (os.path.isfile(path) and os.access(path, os.X_OK)):
        return None
    from sandbox.host.managers import Found

    return Found(name, folder, "beside the command")


def _folder(first: str, cwd: str) -> str:
    return os.path.dirname(os.path.normpath(os.path.join(cwd, first))) if "/" in first else ""


def _path(environ: Mapping[str, str]) -> str:
    return environ.get("PATH") or DEFAULT_PATH


def _place(name: str, environ: Mapping[str, str], cwd: str) -> str:
    """Where PATH leads to `name`, or nowhere; that it cannot be executed is said by whoever executes it."""
    try:
        return which(name, environ=environ, cwd=cwd)
    except SandboxError:
        return ""


def _by_env(path: str) -> str:
    """The interpreter that a script's first line has `env` look for on PATH."""
    try:
        with open(path, "rb") as file:
            line = os.fsdecode(file.read(_SHEBANG).split(b"\n")[0])
    except OSError:
        return ""
    if not line.startswith("#!"):
        return ""
    first, _, rest = line[2:].strip().partition(" ")
    if os.path.basename(first) != "env":
        return ""
    return next((word for word in rest.split() if not word.startswith("-") and "=" not in word), "")
