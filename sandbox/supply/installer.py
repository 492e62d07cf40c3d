"""uv or pip in a job: where it stands inside, what it is told of the user's, and the words that start uv."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence

from sandbox.records import dataclass, replace
from sandbox.supply import inside, registries, settings, spec
from sandbox.supply.job import CONFIG, MOUNT, SCRATCH, BuildJob, Order
from sandbox.supply.key import uv_path
from sandbox.supply.programs import Interpreter
from sandbox.supply.registries import Registries

Step = tuple[str, ...]
Files = tuple[tuple[str, bytes], ...]
Mounts = tuple[tuple[str, str], ...]

Metadata = tuple[str, str, Sequence[str], Sequence[str], str]
"""Of a source: name, version, what it requires, its extras, and the pythons that it accepts."""

CONFIG_FILE = f"{CONFIG}/uv/uv.toml"
WHEELS = ("--only-binary", ":all:")
ASKED = f"{CONFIG}/asked.txt"
"""What is to be resolved or installed, as requirements."""
CACHE = f"{MOUNT}/{SCRATCH}/uv"
_UV_INSIDE, _STEPS = f"{CONFIG}/bin/uv", f"{CONFIG}/steps.json"
_SHARED = ("--no-progress", "--no-python-downloads", "--color=never")
_EACH = """
import json, os, sys
with open(sys.argv[1]) as file:
    steps = json.load(file)
for step in steps:
    status = os.spawnv(os.P_WAIT, step[0], step)
    if status:
        sys.exit(status if status > 0 else 128 - status)
"""


@dataclass(frozen=True, slots=True)
class Installer:
    """What every job that installs from an index stands on, for one order."""

    python: Interpreter
    """For whom packages are installed: a path inside, or what uv is to look for in an image."""
    runs: str
    """The python inside that runs steps of ours."""
    uv: str
    """Where uv stands inside; empty: pip installs."""
    asked: Registries
    mounts: Mounts
    options: tuple[str, ...]
    aged: tuple[str, ...]
    """uv's options that keep young releases out of a resolution."""
    in_image: bool

    def venv(self, place: str) -> Step:
        """An empty environment at `place`."""
        python = ("--no-project", "--python", self.python.path)
        return (self.uv, "venv", "--relocatable", "--allow-existing", *python, *_SHARED, place)

    def resolve(self, python: str, wanted: str, into: str, binary: Sequence[str], *more: str) -> Step:
        """The requirements of the file `wanted`, resolved for the environment of `python`, hashed."""
        options = ("--python", python, *binary, *self.options, *_SHARED)
        listing = ("--generate-hashes", "--no-annotate", "--no-header", "-o", into)
        return (self.uv, "pip", "compile", *options, *self.aged, *more, *listing, wanted)

    def install(self, python: str, known: str, binary: Sequence[str], *more: str) -> Step:
        """Files with a hash that is known by then, and nothing else."""
        options = ("--python", python, *binary, *self.options, *_SHARED)
        return (self.uv, "pip", "install", *options, *more, "--no-deps", "--require-hashes", "-r", known)

    def acquainted(self, python: str) -> Step:
        """uv has asked this python what it is, and need not start it again: `alone` lets it start none."""
        return (self.uv, "pip", "list", "--quiet", "--python", python, *_SHARED)

    def told(self, known: Iterable[Metadata]) -> tuple[str, bytes]:
        """The user's uv.toml, with what is known of sources: uv does not build them to learn it."""
        theirs = dict(self.asked.settings.files).get(CONFIG_FILE, b"")
        return CONFIG_FILE, b"\n".join([theirs, *(_table(each).encode() for each in known)])

    def job(
        self,
        title: str,
        steps: Sequence[Step],
        staging: str,
        log: str,
        files: Files = (),
        mounts: Mounts = (),
        *,
        narrows: bool = False,
    ) -> BuildJob:
        """One that reaches the registries, with what the user's settings say of them."""
        found = self.asked.settings
        caches = {
            "UV_CACHE_DIR": CACHE,
            "PIP_CACHE_DIR": f"{MOUNT}/{SCRATCH}/pip",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # What is told last counts: a file of ours stands in the place of the user's.
        told = {**dict(found.files), **dict(files)}
        return BuildJob(
            title=title,
            steps=tuple(steps),
            staging=staging,
            programs=(self.python.path,),
            env=(*found.env, *sorted(caches.items())),
            log=log,
            mounts=(*found.mounts, *self.mounts, *mounts),
            files=tuple(told.items()),
            hosts=self.asked.hosts,
            proxies=self.asked.proxies,
            narrows=narrows,
        )

    def together(self, steps: Sequence[Step]) -> tuple[tuple[Step, ...], Files]:
        """The same in one sandbox, whose start costs most of their time: none runs a package's code.

        They come by a file: an option of them may hold a login, which the words of a step show.
        """
        if self.in_image:
            return tuple(steps), ()
        one = (self.runs, "-I", "-S", "-c", _EACH, _STEPS)
        return (one,), ((_STEPS, json.dumps(steps).encode()),)


def installer(order: Order, specs: Sequence[str], python: Interpreter) -> Installer:
    """uv where there is one, the image's where an image runs the packages."""
    request, environ = order.request, order.environ
    uv, binary = (inside.UV, ()) if order.image else _placed(uv_path(request.runner, environ))
    theirs = settings.pypi(environ, request.options)
    asked = registries.pypi(theirs, request.options, "uv" if uv else "pip")
    runs = inside.PYTHON if order.image else python.path
    if order.image and request.python:
        # uv looks for it among the image's, and says it where there is none.
        python = replace(python, path=request.python)
    aged = () if settings.limited(asked.settings) else _aged(order, specs)
    return Installer(python, runs, uv, asked, binary, request.options, aged, order.image is not None)


def _table(known: Metadata) -> str:
    """One entry of uv's `dependency-metadata`; a string of JSON's in printable ASCII is one of TOML's."""
    name, version, requires, extras, python = known
    pairs = {"name": name, "version": version, "requires-dist": requires, "provides-extra": extras}
    more = {"requires-python": python} if python else {}
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**pairs, **more}.items()]
    return "\n".join(["[[dependency-metadata]]", *lines, ""])


def _placed(uv: str | None) -> tuple[str, Mounts]:
    """Where uv stands inside, and the mount of that one file: what lies around it (a venv) stays out."""
    real = os.path.realpath(uv) if uv else ""
    if not real or real.startswith("/usr/"):
        return real, ()
    return _UV_INSIDE, ((real, _UV_INSIDE),)


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
