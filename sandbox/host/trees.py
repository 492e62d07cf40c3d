"""Which tree of the host a program or a script belongs to, and the list of what a command's closure holds."""

from __future__ import annotations

import os
import re
from collections.abc import Container

from sandbox.errors import CommandNotExecutable
from sandbox.host.lookup import COLLECTIONS, climb, is_secret, is_system, too_wide
from sandbox.plan.facts import Closure
from sandbox.records import dataclass, field

_STORES = ("/nix/store", "/gnu/store")
_MARKS = {
    "node": ("package.json", "deno.json", "deno.jsonc"),
    "python": ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"),
}


@dataclass(slots=True)
class Gathered:
    """What was found so far, in order and without doubles."""

    home: str
    binds: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    path: dict[str, None] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, None] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    cwd: str = ""

    def bind(self, tree: str, why: str) -> None:
        """Adds a real path of the host, unless the view's /usr has it; one in a secret place is refused."""
        if is_secret(tree, self.home):
            raise CommandNotExecutable(
                "secret-place",
                f"the command needs `{tree}`, which lies where secrets are and is never mounted",
            )
        if not is_system(tree):
            self.binds.setdefault(tree, why)

    def link(self, links: list[tuple[str, str]]) -> None:
        """Adds the links met on the way; one at the top (`/home` -> `/var/home`) becomes a second place."""
        for place, text in links:
            if is_system(place):
                continue
            if place.count("/") == 1:
                self.aliases[place] = os.path.realpath(place)
            else:
                self.links.setdefault(place, text)

    def closure(self, argv: tuple[str, ...]) -> Closure:
        """The closure of `argv`: no bind below another, no link below a bind."""
        outer = sorted(t for t in self.binds if not _below_any(t, self.binds))
        inside = {p: t for p, t in self.links.items() if p not in self.binds and not _below_any(p, outer)}
        places = [(tree, tree) for tree in outer]
        links = list(inside.items())
        for alias, real in self.aliases.items():
            places += [(t, alias + t[len(real) :]) for t in outer if t.startswith(f"{real}/")]
            links += [(alias + p[len(real) :], t) for p, t in inside.items() if p.startswith(f"{real}/")]
        return Closure(
            argv=argv,
            binds=tuple(places),
            links=tuple(links),
            path=tuple(p for p in self.path if not is_system(p)),
            env=tuple(self.env.items()),
            why=", ".join(dict.fromkeys(why for tree, why in self.binds.items() if tree in outer))
            or "all of it is in /usr",
            cwd=self.cwd,
            skipped=tuple(self.skipped),
        )


def _below_any(path: str, trees: Container[str]) -> bool:
    folder = os.path.dirname(path)
    while folder != "/":
        if folder in trees:
            return True
        folder = os.path.dirname(folder)
    return False


def venv_of(program: str) -> str:
    """The virtual environment whose `bin` holds `program`, or nothing."""
    folder, name = os.path.split(os.path.dirname(program))
    return folder if name in ("bin", "Scripts") and os.path.isfile(f"{folder}/pyvenv.cfg") else ""


def venv_base(venv: str) -> str:
    """The directory of the interpreter that the environment was made from (`home` of pyvenv.cfg)."""
    try:
        with open(f"{venv}/pyvenv.cfg", encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 16)
    except OSError:
        return ""
    found = re.search(r"^\s*home\s*=\s*(/.*?)\s*$", text, re.MULTILINE)
    return found[1] if found else ""


def is_prefix(tree: str) -> bool:
    """True for the installation of one interpreter: node's, python's or conda's own files lie in it."""
    if os.path.isdir(f"{tree}/include/node") or os.path.isdir(f"{tree}/conda-meta"):
        return True
    try:
        names = os.listdir(f"{tree}/lib")
    except OSError:
        return False
    standard = (n for n in names if re.fullmatch(r"(python|pypy)\d\.\d+t?", n))
    return "node_modules" in names or any(os.path.isfile(f"{tree}/lib/{n}/os.py") for n in standard)


def tree_of(real: str, home: str) -> tuple[str, str]:
    """The smallest tree that makes the program at the real path run, and what it is; else the file alone."""
    name = os.path.basename(real)
    for tree, why in _candidates(real, home):
        if tree and not too_wide(tree, home):
            return tree, why
    return real, f"the file `{name}`"


def _candidates(real: str, home: str) -> list[tuple[str, str]]:
    store = next((s for s in _STORES if real.startswith(f"{s}/")), "")
    if store:
        return [(store, "the package store")]
    if "/.linuxbrew/" in real:
        return [(real.partition("/.linuxbrew/")[0] + "/.linuxbrew", "the brew prefix")]
    if real.startswith("/snap/"):
        return [("/".join(real.split("/")[:4]), "the snap")]
    if "/node_modules/" in real:
        return [(real.partition("/node_modules/")[0] + "/node_modules", "its node_modules")]
    folder = os.path.dirname(real)
    prefix = os.path.dirname(folder) if os.path.basename(folder) in ("bin", "sbin") else ""
    if prefix and not too_wide(prefix, home) and is_prefix(prefix):
        return [(prefix, f"the installation of `{os.path.basename(real)}`")]
    if real.startswith("/opt/") and real.count("/") > 2:
        return [("/".join(real.split("/")[:3]), "the /opt prefix")]
    return []


def around(script: str, language: str, home: str) -> list[tuple[str, str]]:
    """The project of a script: the nearest directory with a manifest, else its own, else the file alone.

    Of node's, the node_modules of the parents too: that is how `require` looks for packages.
    """
    name = os.path.basename(script)
    if "/node_modules/" in script:
        return [tree_of(script, home)]
    folder = os.path.dirname(script)
    marks = _MARKS.get(language, ())
    if not marks or too_wide(folder, home):
        return [(script, f"the file `{name}`")]
    parents = climb(folder, home)
    root = next((p for p in parents if any(os.path.isfile(f"{p}/{m}") for m in marks)), "")
    if not root and folder.removeprefix(f"{home}/") in COLLECTIONS:
        return [(script, f"the file `{name}`")]
    root = root or folder
    found = [(root, f"the project of `{name}`")]
    if language == "node" and not os.path.exists(f"{root}/.git"):
        above = (f"{p}/node_modules" for p in climb(os.path.dirname(root), home))
        found += [(p, "node_modules above it") for p in above if os.path.isdir(p) and not os.path.islink(p)]
    return found
