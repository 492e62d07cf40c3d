"""PyPI packages: the steps that install their wheels into a venv, and how their programs start."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence

from sandbox.errors import CommandNotFound, SandboxNotBuilt
from sandbox.records import replace
from sandbox.supply import inside, programs, pypi_lock, registries, settings, spec
from sandbox.supply.job import CONFIG, MOUNT, SCRATCH, BuildJob, Order, Settings
from sandbox.supply.key import uv_path, wanted_python
from sandbox.supply.programs import Interpreter
from sandbox.supply.request import Request
from sandbox.supply.resolved import Resolution, Said
from sandbox.supply.tree import content, drop, head, names, within

_UV_INSIDE = f"{CONFIG}/bin/uv"
_VENV = f"{MOUNT}/bin/python"
_ASKED, _STEPS = f"{CONFIG}/asked.txt", f"{CONFIG}/steps.json"
# An uv that knows no such file writes hashed requirements into it, and reads them: `pypi_lock` reads both.
_OWN_CODE = (
    "`{}` was built from its source: its own code ran beside the installer, which it may have told anything"
)
_LOCK, _REPORT = "pylock.toml", "report.json"
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
_EACH = """
import json, os, sys
with open(sys.argv[1]) as file:
    steps = json.load(file)
for step in steps:
    status = os.spawnv(os.P_WAIT, step[0], step)
    if status:
        sys.exit(status if status > 0 else 128 - status)
"""
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
    _refuse_login(order, found)
    if order.image and request.python:
        # uv looks for it among the image's, and says it where there is none.
        python = replace(python, path=request.python)
    aged = () if settings.limited(found) else _aged(order, specs)
    steps = _uv(uv, python, order, aged) if uv else _pip(python, order)
    steps, told = _together(steps, order, python)
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
            files=(*found.files, *told, (_ASKED, _requirements(order, specs))),
            hosts=asked.hosts,
            proxies=asked.proxies,
        )
    ]


def _refuse_login(order: Order, found: Settings) -> None:
    """A source is built by its own code beside the installer: it would have whatever logs in to an index."""
    named = [name for name in order.scripts if not name.startswith("@")]
    if named and settings.logins(found, order.request.options):
        raise SandboxNotBuilt(
            "source-beside-login",
            f"`{named[0]}` would be built from its source, whose code could read the login of your index",
            rule="[supply] scripts",
            hint="keep a wheel of it in your index, and leave it out of `[supply] scripts`",
        )


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


def _together(
    steps: tuple[tuple[str, ...], ...], order: Order, python: Interpreter
) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, bytes], ...]]:
    """The same in one sandbox, whose start costs most of their time, where none runs a package's code.

    They come by a file: an option of them may hold a login, which the words of a step show.
    """
    if order.image is not None or order.scripts:
        return steps, ()
    return ((python.path, "-I", "-S", "-c", _EACH, _STEPS),), ((_STEPS, json.dumps(steps).encode()),)


def _requirements(order: Order, specs: Sequence[str]) -> bytes:
    if order.locked:
        return pypi_lock.requirements(order.locked)
    return "".join(f"{each}\n" for each in specs).encode()


def _uv(uv: str, python: Interpreter, order: Order, aged: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Resolve, then install what was resolved: nothing but files with a hash that is known by then."""
    shared = ("--no-progress", "--no-python-downloads", "--color=never")
    venv = (uv, "venv", "--relocatable", "--allow-existing", "--no-project", "--python", python.path)
    options = ("--python", _VENV, *_sources(order.scripts), *order.request.options, *shared)
    lock = f"{MOUNT}/{SCRATCH}/{_LOCK}"
    listing = ("--generate-hashes", "--no-annotate", "--no-header", "-o", lock)
    resolve = (uv, "pip", "compile", *options, *aged, *listing, _ASKED)
    known = _ASKED if order.locked else lock
    install = (uv, "pip", "install", *options, "--no-deps", "--require-hashes", "-r", known)
    return (*venv, *shared, MOUNT), *(() if order.locked else (resolve,)), install


def _aged(order: Order, specs: Sequence[str]) -> tuple[str, ...]:
    """Nothing published later than `age` ago, unless the user's own option says what is too new."""
    if not order.age or "--exclude-newer" in order.request.options:
        return ()
    now = time.time()
    newest, tomorrow = (_moment(each) for each in (now - order.age, now + 86400))
    # What is asked for by its very version is the judge's to refuse.
    pinned = (spec.pypi_base(each) for each in specs if spec.pypi_pinned(each))
    exempt = {*pinned, *(spec.normal(name) for name in order.age_waive if not name.startswith("@"))}
    more = (word for name in sorted(exempt) for word in ("--exclude-newer-package", f"{name}={tomorrow}"))
    return ("--exclude-newer", newest, *more)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _pip(python: Interpreter, order: Order) -> tuple[tuple[str, ...], ...]:
    """The same in one step, since pip says what it resolved as it installs."""
    if not set(order.request.options[::2]) <= _PIP_OPTIONS:
        raise CommandNotFound(
            "uv-not-found",
            f"`{' '.join(order.request.options)}` needs uv, which is not installed",
            hint="install it, for example `pipx install uv`",
        )
    venv = (python.path, "-I", "-m", "venv", "--without-pip", "--symlinks", MOUNT)
    pip: tuple[str, ...] = (python.path, "-I", "-c", _GUARDED_PIP, _VENV, _NO_PROCESS)
    if order.scripts:
        pip = (python.path, "-I", "-m", "pip", "--python", _VENV)
    install = (*pip, "install", "--no-compile", "--no-input", "--disable-pip-version-check")
    options = ("--progress-bar=off", *_sources(order.scripts), *order.request.options)
    only = ("--require-hashes", "--no-deps") if order.locked else (f"--report={MOUNT}/{SCRATCH}/{_REPORT}",)
    return venv, (*install, *options, *only, "-r", _ASKED)


def prepare(tree: str, order: Order, specs: Sequence[str]) -> None:
    """A place for what the installer says of its choice."""
    os.mkdir(os.path.join(tree, SCRATCH))


def found(tree: str, order: Order, log: str) -> Resolution:
    """What uv or pip resolved, as far as it is in the tree."""
    text = _scratch(tree, _LOCK)
    if text is not None:
        releases, gone = pypi_lock.releases(text), pypi_lock.yanked(log)
    else:
        releases, yanked = pypi_lock.report(_scratch(tree, _REPORT) or b"")
        gone = dict.fromkeys(yanked, "yes")
    packages = tuple(pypi_lock.kept(releases, _wheels(tree)))
    dated = any(each.published for each in packages)
    ran = tuple(each.name for each in packages if each.scripts)
    return Resolution(
        packages,
        said=tuple(Said(*each, yanked=why) for each, why in sorted(gone.items())),
        ran=ran,
        unchecked=tuple(_OWN_CODE.format(name) for name in ran),
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
            found[name] = (_VENV, inside) if _is_python(head(path)) else (inside,)
    return found


def _is_python(first: bytes) -> bool:
    """A `#!` line with python, or the shell line with which uv and pip find a python beside the script."""
    line, _, rest = first.partition(b"\n")
    return line.startswith(b"#!") and (b"python" in line or rest.startswith(b"'''exec'"))
