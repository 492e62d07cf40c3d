"""PyPI packages: the steps that install their wheels into a venv, and how their programs start."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence

from sandbox.errors import CommandNotFound, SandboxNotBuilt
from sandbox.supply import programs, pypi_lock, spec
from sandbox.supply.installer import ASKED, WHEELS, Installer, Step, installer
from sandbox.supply.job import MOUNT, SCRATCH, BuildJob, Order
from sandbox.supply.key import uv_path, wanted_python
from sandbox.supply.programs import Interpreter
from sandbox.supply.request import Request
from sandbox.supply.resolved import Resolution, Said
from sandbox.supply.tree import content, drop, head, names, within

VENV = f"{MOUNT}/bin/python"
# An uv that knows no such file writes hashed requirements into it, and reads them: `pypi_lock` reads both.
PYLOCK, _REPORT = "pylock.toml", "report.json"
LOCK = f"{MOUNT}/{SCRATCH}/{PYLOCK}"
"""What uv resolved."""
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
if tuple(map(int, pip.__version__.split(".")[:2])) < (22, 2):
    sys.argv = [word for word in sys.argv if not word.startswith("--report=")]
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
_NOTES = ("REQUESTED", "uv_cache.json", "uv_build.json", "direct_url.json")
_VENV_KEPT = ("home", "include-system-site-packages", "relocatable")
_LARGEST = 8 << 20
_PIP_OPTIONS = frozenset({"--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--no-index"})


def interpreter(request: Request, environ: Mapping[str, str]) -> Interpreter:
    """The host's python that meets the request."""
    return programs.python(wanted_python(request, environ), uv_path(request.runner, environ), environ)


def jobs(order: Order, specs: Sequence[str], python: Interpreter, staging: str) -> list[BuildJob]:
    """A venv with wheels in it, of which none runs: what is built from its source is `sources`'."""
    tool = installer(order, specs, python)
    steps = _uv(tool, order) if tool.uv else _pip(python, order)
    steps, told = tool.together(steps)
    files = (*told, (ASKED, _requirements(order, specs)))
    tree, log = os.path.join(staging, "tree"), os.path.join(staging, "log")
    return [tool.job(order.request.title, (*steps, compiling(tool)), tree, log, files)]


def compiling(tool: Installer) -> Step:
    """The base python compiles, without `site`: the venv's would run the `.pth` lines of the packages."""
    return (tool.runs, "-I", "-S", "-c", _COMPILE)


def _requirements(order: Order, specs: Sequence[str]) -> bytes:
    if order.locked:
        return pypi_lock.requirements(order.locked)
    return "".join(f"{each}\n" for each in specs).encode()


def _uv(tool: Installer, order: Order) -> tuple[Step, ...]:
    """Resolve, then install what was resolved: nothing but files with a hash that is known by then."""
    venv, resolve = tool.venv(MOUNT), tool.resolve(VENV, ASKED, LOCK, WHEELS)
    if order.locked:
        return venv, tool.install(VENV, ASKED, WHEELS)
    return venv, resolve, tool.install(VENV, LOCK, WHEELS)


def _pip(python: Interpreter, order: Order) -> tuple[Step, ...]:
    """The same in one step, since pip says what it resolved as it installs."""
    if not set(order.request.options[::2]) <= _PIP_OPTIONS:
        raise CommandNotFound(
            "uv-not-found",
            f"`{' '.join(order.request.options)}` needs uv, which is not installed",
            hint="install it, for example `pipx install uv`",
        )
    venv = (python.path, "-I", "-m", "venv", "--without-pip", "--symlinks", MOUNT)
    pip = (python.path, "-I", "-c", _GUARDED_PIP, VENV, _NO_PROCESS)
    install = (*pip, "install", "--no-compile", "--no-input", "--disable-pip-version-check")
    options = ("--progress-bar=off", *WHEELS, *order.request.options)
    only = ("--require-hashes", "--no-deps") if order.locked else (f"--report={MOUNT}/{SCRATCH}/{_REPORT}",)
    return venv, (*install, *options, *only, "-r", ASKED)


def prepare(tree: str, order: Order, specs: Sequence[str]) -> None:
    """A place for what the installer says of its choice."""
    os.mkdir(os.path.join(tree, SCRATCH))


def found(tree: str, order: Order, log: str) -> Resolution:
    """What uv or pip resolved, as far as it is in the tree."""
    text = _scratch(tree, PYLOCK)
    if text is not None:
        releases, gone = pypi_lock.releases(text), pypi_lock.yanked(log)
    else:
        releases, yanked = pypi_lock.report(_scratch(tree, _REPORT) or b"")
        gone = dict.fromkeys(yanked, "yes")
    packages = tuple(pypi_lock.kept(releases, _wheels(tree)))
    dated = any(each.published for each in packages)
    return Resolution(
        packages,
        said=tuple(Said(*each, yanked=why) for each, why in sorted(gone.items())),
        dated=dated or order.age is not None,
    )


def _scratch(tree: str, name: str) -> bytes | None:
    real = within(tree, os.path.join(tree, SCRATCH, name))
    return content(os.path.join(tree, real), pypi_lock.LARGEST) if real else None


def finish(tree: str) -> None:
    """What says how and where it was installed goes: equal packages give equal trees, by any uv."""
    for name in names(tree, "bin"):
        if name.startswith(("activate", "deactivate", "Activate")) or name == "pydoc.bat":
            drop(tree, f"bin/{name}")
    for info in _infos(tree):
        _forget(tree, info)
    _rewrite(tree, "pyvenv.cfg", lambda line: line.partition(" =")[0] in _VENV_KEPT)


def _forget(tree: str, info: str) -> None:
    """No file that its installer left as a note to itself, and no line of it among the installed ones."""
    for name in _NOTES:
        drop(tree, f"{info}/{name}")
    notes = {f"{info.rpartition('/')[2]}/{name}" for name in _NOTES}
    _rewrite(tree, f"{info}/RECORD", lambda line: next(csv.reader(io.StringIO(line)), [""])[0] not in notes)


def _rewrite(tree: str, path: str, kept: Callable[[str], bool]) -> None:
    """The same file with the `kept` lines alone; as it is where a link leads elsewhere."""
    text = (
        content(os.path.join(tree, path), _LARGEST)
        if within(tree, os.path.join(tree, path)) == path
        else None
    )
    if text is None:
        return
    lines = [line for line in text.decode("utf-8", "surrogateescape").splitlines(keepends=True) if kept(line)]
    drop(tree, path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(os.path.join(tree, path), flags, 0o644), "wb") as opened:
        opened.write("".join(lines).encode("utf-8", "surrogateescape"))


def _infos(tree: str) -> list[str]:
    """Every `.dist-info` of the tree."""
    places = [(python, "site-packages") for python in names(tree, "lib")]
    return [
        f"lib/{python}/{below}/{name}"
        for python, below in places
        for name in names(tree, "lib", python, below)
        if name.endswith(".dist-info")
    ]


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
    parts = (info.rpartition("/")[2].removesuffix(".dist-info").rpartition("-") for info in _infos(tree))
    return {spec.normal(distribution): version for distribution, _, version in parts}


def _wheels(tree: str) -> dict[str, frozenset[str]]:
    """The tags of the wheel that each distribution was installed from, as it says itself."""
    tagged = {}
    for info in _infos(tree):
        real = within(tree, os.path.join(tree, info, "WHEEL"))
        text = (content(os.path.join(tree, real), _LARGEST) or b"" if real else b"").decode(
            "utf-8", "replace"
        )
        name = spec.normal(info.rpartition("/")[2].removesuffix(".dist-info").rpartition("-")[0])
        tagged[name] = frozenset(line[4:].strip() for line in text.splitlines() if line.startswith("Tag:"))
    return tagged


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
            found[name] = (VENV, inside) if _is_python(head(path)) else (inside,)
    return found


def _is_python(first: bytes) -> bool:
    """A `#!` line with python, or the shell line with which uv and pip find a python beside the script."""
    line, _, rest = first.partition(b"\n")
    return line.startswith(b"#!") and (b"python" in line or rest.startswith(b"'''exec'"))
