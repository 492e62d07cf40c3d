"""PyPI packages: the steps that install their wheels into a venv, and how their programs start."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from sandbox.errors import CommandNotFound, SandboxNotBuilt
from sandbox.records import replace
from sandbox.supply import inside, programs, registries, settings, spec
from sandbox.supply.job import CONFIG, MOUNT, SCRATCH, BuildJob, Order
from sandbox.supply.key import uv_path, wanted_python
from sandbox.supply.programs import Interpreter
from sandbox.supply.request import Request
from sandbox.supply.tree import head, names

_UV_INSIDE = f"{CONFIG}/bin/uv"
_VENV = f"{MOUNT}/bin/python"
_COMPILE = (
    "import compileall, py_compile; "
    f"compileall.compile_dir('{MOUNT}/lib', quiet=2, "
    "invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"
)
# pip ignores `--only-binary` for a dependency that is given by its place (PEP 508, `name @ URL`) and would
# build it: whatever runs code of a package is a process of its own, so the guarded pip may start none.
# Where the host's pip lies its other packages lie too: on the path they would count as installed already.
_NO_PROCESS = """
import sys
def refuse(event, args):
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"):
        raise PermissionError(13, "building source distributions is disabled")
sys.path.insert(0, sys.argv.pop(1))
import pip
del sys.path[0]
from pip._internal.cli.main import main
sys.addaudithook(refuse)
sys.exit(main())
"""
# As `pip --python` does: the host's pip, run by the python of the venv.
_GUARDED_PIP = (
    "import os, pip, sys; "
    "os.execv(sys.argv[1], [sys.argv[1], '-I', '-c', sys.argv[2], "
    "os.path.dirname(os.path.dirname(pip.__file__)), *sys.argv[3:]])"
)
_PIP_OPTIONS = frozenset({"--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--no-index"})


def interpreter(request: Request, environ: Mapping[str, str]) -> Interpreter:
    """The host's python that meets the request."""
    return programs.python(wanted_python(request, environ), uv_path(request.runner, environ), environ)


def jobs(order: Order, specs: Sequence[str], python: Interpreter, staging: str) -> list[BuildJob]:
    """A venv with wheels in it; a source distribution runs its own code and is built only if in `scripts`."""
    request, environ = order.request, order.environ
    uv, binary = (inside.UV, ()) if order.image else _placed(uv_path(request.runner, environ))
    asked = registries.pypi(settings.pypi(environ, request.options), request.options, "uv" if uv else "pip")
    found = asked.settings
    if order.image and request.python:
        # uv looks for it among the image's, and says it where there is none.
        python = replace(python, path=request.python)
    steps = (_uv if uv else _pip)(uv, python, request, specs, order.scripts)
    # The base python compiles, without `site`: the venv's would run the `.pth` lines of the packages.
    compiling = (inside.PYTHON if order.image else python.path, "-I", "-S", "-c", _COMPILE)
    caches = {
        "UV_CACHE_DIR": f"{MOUNT}/{SCRATCH}/uv",
        "PIP_CACHE_DIR": f"{MOUNT}/{SCRATCH}/pip",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return [
        BuildJob(
            title=request.title,
            steps=(*steps, compiling),
            staging=os.path.join(staging, "tree"),
            programs=(python.path,),
            env=(*found.env, *sorted(caches.items())),
            log=os.path.join(staging, "log"),
            mounts=(*found.mounts, *binary),
            files=found.files,
            hosts=asked.hosts,
            proxies=asked.proxies,
        )
    ]


def _placed(uv: str | None) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Where uv stands inside, and the mount of that one file: what lies around it (a venv) stays out."""
    real = os.path.realpath(uv) if uv else ""
    if not real or real.startswith("/usr/"):
        return real, ()
    return _UV_INSIDE, ((real, _UV_INSIDE),)


def _sources(scripts: Sequence[str]) -> tuple[str, ...]:
    # `@scope/name` is npm's: one profile may serve both.
    names = [spec.pypi_base(spec.pypi(name)) for name in scripts if not name.startswith("@")]
    named = (word for name in names for word in ("--no-binary", name))
    return ("--only-binary", ":all:", *named)


def _uv(
    uv: str, python: Interpreter, request: Request, specs: Sequence[str], scripts: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    shared = ("--no-progress", "--no-python-downloads", "--color=never")
    venv = (uv, "venv", "--relocatable", "--allow-existing", "--no-project", "--python", python.path)
    install = (uv, "pip", "install", "--python", _VENV, *_sources(scripts), *request.options)
    return (*venv, *shared, MOUNT), (*install, *shared, "--", *specs)


def _pip(
    _: str, python: Interpreter, request: Request, specs: Sequence[str], scripts: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    if not set(request.options[::2]) <= _PIP_OPTIONS:
        raise CommandNotFound(
            "uv-not-found",
            f"`{' '.join(request.options)}` needs uv, which is not installed",
            hint="install it, for example `pipx install uv`",
        )
    venv = (python.path, "-I", "-m", "venv", "--without-pip", "--symlinks", MOUNT)
    pip: tuple[str, ...] = (python.path, "-I", "-c", _GUARDED_PIP, _VENV, _NO_PROCESS)
    if scripts:
        pip = (python.path, "-I", "-m", "pip", "--python", _VENV)
    install = (*pip, "install", "--no-compile", "--no-input")
    options = ("--disable-pip-version-check", "--progress-bar=off", *_sources(scripts), *request.options)
    return venv, (*install, *options, "--", *specs)


def prepare(tree: str) -> None:
    """A venv needs nothing before its first step."""


def finish(tree: str) -> None:
    """The activation scripts go: nothing starts through them, and they name the mount."""
    for name in names(tree, "bin"):
        if name.startswith(("activate", "deactivate", "Activate")) or name == "pydoc.bat":
            os.unlink(os.path.join(tree, "bin", name))


def resolved(tree: str, specs: Sequence[str]) -> tuple[str, ...]:
    """The packages asked for, each at the version that is in the tree."""
    versions = _installed(tree)
    wanted = [spec.pypi_base(each) for each in specs]
    missing = [name for name in wanted if name not in versions]
    if missing:
        raise SandboxNotBuilt("package-not-built", f"`{missing[0]}` was not installed")
    return tuple(f"{name}=={versions[name]}" for name in wanted)


def _installed(tree: str) -> dict[str, str]:
    """Distribution and version of every `.dist-info`, by the name PEP 503 compares."""
    found = {}
    for python in names(tree, "lib"):
        for name in names(tree, "lib", python, "site-packages"):
            if name.endswith(".dist-info"):
                distribution, _, version = name.removesuffix(".dist-info").rpartition("-")
                found[spec.normal(distribution)] = version
    return found


def unrun(tree: str, scripts: Sequence[str]) -> tuple[str, ...]:
    """A wheel has no install scripts; a source distribution that may not run its own is no package at all."""
    return ()


def default(tree: str, specs: Sequence[str]) -> str | None:
    """uvx and pipx always name the program."""
    return None


def starts(tree: str, python: Interpreter) -> dict[str, tuple[str, ...]]:
    """How each program of the venv starts: with the venv's python where it is a script, else itself."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names(tree, "bin"):
        path, inside = os.path.join(tree, "bin", name), f"{MOUNT}/bin/{name}"
        if os.path.islink(path):
            if name.startswith("python"):
                found[name] = (inside,)
        elif os.path.isfile(path):
            found[name] = (_VENV, inside) if _is_python(head(path)) else (inside,)
    return found


def _is_python(first: bytes) -> bool:
    """A `#!` line with python, or the shell line with which uv and pip find a python beside the script."""
    line, _, rest = first.partition(b"\n")
    return line.startswith(b"#!") and (b"python" in line or rest.startswith(b"'''exec'"))
