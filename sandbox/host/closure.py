"""A command's closure: the program, its interpreter and its own trees, found by reading, never by running."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from sandbox.errors import CommandNotExecutable, CommandNotFound
from sandbox.host import shims
from sandbox.host.lookup import DEFAULT_PATH, follow, home_of, is_system, too_wide, which
from sandbox.host.trees import Gathered, around, tree_of, venv_base, venv_of
from sandbox.host.uvrun import is_uv_run, translate
from sandbox.plan.facts import Closure

_SHEBANG = 256  # BINPRM_BUF_SIZE: the kernel reads no further
_DEPTH = 5  # interpreters of interpreters: one more than the kernel follows

# Options that take the next word as their value; `stop` ends the search for a script.
_VALUES = {
    "node": frozenset(
        {
            *("-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions"),
            *("--env-file", "--input-type", "--title", "--cwd", "-c", "--config", "--preload"),
        }
    ),
    "python": frozenset({"-W", "-X", "--check-hash-based-pycs"}),
    "shell": frozenset({"-o", "+o", "-O", "+O", "--rcfile", "--init-file"}),
}
_STOP = {
    "node": frozenset({"-e", "--eval", "-p", "--print", "-pe"}),
    "python": frozenset({"-c"}),
    "shell": frozenset({"-c", "-s"}),
}
# What the runners take before the script: `deno run x.ts`, `bun run x.ts`.
_SUBCOMMANDS = {"deno": ("run", "serve"), "bun": ("run",)}
_NODE_LIKE = ("node", "nodejs", "bun", "deno", "tsx", "ts-node")
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh")


def closure(argv: Sequence[str], *, environ: Mapping[str, str], cwd: str) -> Closure:
    """Everything that `argv` needs of the host beyond /usr to start as it would outside, and nothing more."""
    if not argv:
        raise CommandNotFound("command-not-found", "no command is given")
    work = _Closing(environ, cwd)
    found = work.command(list(argv))
    return work.gathered.closure(tuple(found))


def closure_of_program(path: str, *, environ: Mapping[str, str], cwd: str = "/") -> Closure:
    """The closure of an interpreter alone, for a package tree that lies elsewhere."""
    # A package tree is complete in itself: the user's own python packages have no part in it.
    work = _Closing({**environ, "PYTHONNOUSERSITE": "1"}, cwd)
    return work.gathered.closure((work.program(work.located(path)),))


def language_of(program: str) -> str:
    """Which interpreter a program's name says it is: node, python, shell, or nothing we know."""
    name = os.path.basename(program)
    if name in _NODE_LIKE:
        return "node"
    if re.fullmatch(r"(python|pypy)[\d.]*t?", name):
        return "python"
    return "shell" if name in _SHELLS else ""


class _Closing:
    """One closure in the making."""

    def __init__(self, environ: Mapping[str, str], cwd: str) -> None:
        self.environ = environ
        self.cwd = cwd
        self.home = home_of(environ)
        self.gathered = Gathered(self.home)

    def command(self, argv: list[str]) -> list[str]:
        """Gathers for a whole command line and returns it as it must be executed inside."""
        if is_uv_run(argv):
            argv = self.uv_run(argv)
        program = self.program(self.located(argv[0]), entry=True)
        if os.path.basename(program) == "env" and is_system(program):
            return [program, *self.after_env(argv[1:])]
        return [program, *self.arguments(program, argv[1:])]

    def uv_run(self, argv: list[str]) -> list[str]:
        """`uv run` becomes the environment's own program, with the variables that uv would set."""
        run = translate(argv, cwd=self.cwd)
        self.cwd = self.gathered.cwd = run.cwd
        self.gathered.env["VIRTUAL_ENV"] = run.venv
        self.gathered.path[f"{run.venv}/bin"] = None
        self.environ = {**self.environ, "PATH": f"{run.venv}/bin:{self.environ.get('PATH') or DEFAULT_PATH}"}
        self.virtual_env(run.venv)
        return list(run.argv)

    def after_env(self, words: list[str]) -> list[str]:
        """`env A=1 node x.js`: assignments stay, the command after them is the one that counts."""
        n = next(
            (n for n, word in enumerate(words) if "=" not in word and not word.startswith("-")), len(words)
        )
        return [*words[:n], *(self.command(words[n:]) if words[n:] else [])]

    def located(self, name: str) -> str:
        """The absolute path of a command, behind its shim; a volatile directory (/run) is resolved away."""
        path = which(name, environ=self.environ, cwd=self.cwd)
        path = shims.behind(path, environ=self.environ, cwd=self.cwd, home=self.home) or path
        if path.startswith(("/run/", "/var/run/", "/proc/", "/dev/")):
            path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        return path

    def program(self, path: str, *, entry: bool = False, base: bool = False, depth: int = 0) -> str:
        """Gathers for one executable file: its venv or tree, its libraries, its `#!` interpreter.

        `entry`: it is the command itself; `base`: it is the interpreter that an environment was made from.
        """
        if path in self.gathered.seen:
            return path
        self.gathered.seen.add(path)
        if depth > _DEPTH:
            raise CommandNotExecutable(
                "too-many-interpreters", f"`{path}` is the interpreter of too many others"
            )
        real, links = follow(path)
        self.gathered.link(links)
        venv = next(filter(None, (venv_of(p) for p in (path, *(place for place, _ in links), real))), "")
        if venv:
            self.virtual_env(venv)
        interpreter, by_path = self.shebang(real)
        self.tree(real, venv, language_of(interpreter) if entry else "")
        if interpreter:
            self.program(self.interpreter(real, interpreter, by_path), depth=depth + 1)
        else:
            self.binary(real, path, bool(venv) or base)
        return path

    def tree(self, real: str, venv: str, language: str) -> None:
        """The tree of a program outside /usr; `language` is set for a script that is itself the command."""
        if is_system(real) or (venv and real.startswith(f"{os.path.realpath(venv)}/")):
            return
        tree, why = tree_of(real, self.home)
        if tree == real and language:
            for place, reason in around(real, language, self.home):
                self.gathered.bind(place, reason)
            if language == "python":
                self.user_site(real)
            return
        self.gathered.bind(tree, why)
        if tree == real and os.path.isdir(f"{os.path.dirname(real)}/global/5"):
            # pnpm's own programs are shell scripts that point into this tree beside them.
            self.gathered.bind(f"{os.path.dirname(real)}/global", "pnpm's global packages")

    def binary(self, real: str, path: str, isolated: bool) -> None:
        """The libraries that a program outside /usr brings, the directory of one that has company there."""
        if not is_system(real):
            from sandbox.host.elf import own_libraries

            for library in own_libraries(real):
                place, links = follow(library)
                self.gathered.link(links)
                if not too_wide(place, self.home):
                    self.gathered.bind(place, "its libraries")
        if not is_system(path):
            self.gathered.path[os.path.dirname(path)] = None
        # An environment does not look at the user's own packages (site, "ENABLE_USER_SITE").
        if not isolated and language_of(real) == "python":
            self.user_site(real)

    def virtual_env(self, venv: str) -> None:
        """The environment, the interpreter it was made from, and the projects it links to."""
        real, links = follow(venv)
        if real in self.gathered.seen:
            return
        self.gathered.seen.add(real)
        self.gathered.link(links)
        if too_wide(real, self.home):
            raise CommandNotExecutable(
                "venv-too-wide", f"`{real}` is a virtual environment and holds far more"
            )
        self.gathered.bind(real, f"the virtual environment `{os.path.basename(real)}`")
        base = venv_base(real)
        for name in ("python3", "python"):
            if base and os.path.exists(f"{base}/{name}"):
                self.program(f"{base}/{name}", base=True, depth=1)
                break
        for target in _editable(real):
            self.editable(real, os.path.realpath(target))

    def editable(self, venv: str, target: str) -> None:
        """A project installed in place is mounted only from the environment's own project or the caller's.

        A repository that brings its own environment could name any directory of the home in it.
        """
        project = os.path.dirname(venv)
        near = (p for p in (project, os.path.realpath(self.cwd)) if not too_wide(p, self.home))
        if any(target == place or target.startswith(f"{place}/") for place in near):
            self.gathered.bind(target, "an editable install")
        elif not is_system(target) and not target.startswith(f"{venv}/"):
            self.gathered.skipped[target] = None

    def shebang(self, real: str) -> tuple[str, bool]:
        """The interpreter that a script's first line names, and whether PATH decides where it is."""
        try:
            with open(real, "rb") as file:
                head = file.read(_SHEBANG)
        except OSError as error:
            raise CommandNotExecutable(
                "not-readable", f"`{real}` cannot be read: {error.strerror}"
            ) from error
        if head.startswith(b"\x7fELF"):
            return "", False
        if not head.startswith(b"#!"):
            raise CommandNotExecutable(
                "not-executable", f"`{real}` is no program: neither ELF nor a script with a `#!` line"
            )
        line = os.fsdecode(head[2:].split(b"\n")[0]).strip()
        first, _, rest = line.partition(" ")
        if os.path.basename(first) != "env":
            return first, False
        words = (w for w in rest.split() if not w.startswith("-") and "=" not in w)
        return next(words, ""), True

    def interpreter(self, script: str, name: str, by_path: bool) -> str:
        """Where the interpreter of a script is; one that is missing is the script's failure to execute."""
        try:
            place = self.located(name) if by_path else which(name, environ=self.environ, cwd="/")
            program = shims.behind(place, environ=self.environ, cwd=self.cwd, home=self.home)
        except CommandNotFound as error:
            raise CommandNotExecutable(
                "no-interpreter", f"`{script}` starts with `#!` and `{name}`: {error.what}", hint=error.hint
            ) from error
        if by_path:
            self.gathered.path[os.path.dirname(place)] = None
        if program:
            # The line names the shim outright and the kernel takes it at its word.
            self.gathered.links.setdefault(place, program)
        return program or place

    def arguments(self, program: str, words: list[str]) -> list[str]:
        """Gathers for the script that an interpreter is given; its path becomes absolute."""
        language = language_of(program)
        if not language:
            return words
        done = list(words)
        for n, kind in _scripts(os.path.basename(program), language, words):
            place = os.path.normpath(os.path.join(self.cwd, words[n]))
            if kind == "module":
                self.module(words[n])
            elif os.path.isfile(place):
                self.script(place, language)
                done[n] = place
        return done

    def script(self, place: str, language: str) -> None:
        """The project around one script file, whose links node and python resolve before they look around."""
        real, links = follow(place)
        self.gathered.link(links)
        venv = venv_of(place) or venv_of(real)
        if venv:
            self.virtual_env(venv)
        elif not is_system(real):
            for tree, why in around(real, language, self.home):
                self.gathered.bind(tree, why)

    def module(self, name: str) -> None:
        """`python -m name` looks in the current directory first."""
        first = name.split(".")[0]
        for place in (
            f"{self.cwd}/{first}.py",
            f"{self.cwd}/{first}/__init__.py",
            f"{self.cwd}/{first}/__main__.py",
        ):
            if first.isidentifier() and os.path.isfile(place):
                self.script(os.path.normpath(place), "python")
                self.gathered.cwd = self.cwd
                return

    def user_site(self, real: str) -> None:
        """`pip install --user` packages: python finds them from HOME, which is another one inside."""
        base = self.environ.get("PYTHONUSERBASE") or f"{self.home}/.local"
        if self.environ.get("PYTHONNOUSERSITE") or not base.startswith("/"):
            return
        version = re.search(r"python(\d\.\d+)$", os.path.basename(real))
        names = [f"python{version[1]}"] if version else _pythons(f"{base}/lib")
        for name in names:
            site = os.path.realpath(f"{base}/lib/{name}")
            if os.path.isdir(f"{site}/site-packages") and not too_wide(site, self.home):
                self.gathered.bind(site, "the user's own python packages")
                self.gathered.env["PYTHONUSERBASE"] = base


def _scripts(name: str, language: str, words: list[str]) -> Iterator[tuple[int, str]]:
    """Where in `words` a file is named that the interpreter loads: preloads and the script itself."""
    values, stop = _VALUES[language], _STOP[language]
    subcommands = _SUBCOMMANDS.get(name, ())
    n = 0
    while n < len(words):
        word = words[n]
        if word in stop:
            return
        if language == "python" and re.fullmatch(r"-[bBdEhiIOPqsSuvx]*m", word):
            yield from [(n + 1, "module")] if n + 1 < len(words) else []
            return
        if word in values:
            yield from [(n + 1, "file")] if n + 1 < len(words) else []
            n += 1
        elif word in subcommands:
            subcommands = ()
        elif not word.startswith(("-", "+")) or word == "-":
            yield n, "file"
            return
        n += 1


def _pythons(folder: str) -> list[str]:
    try:
        return [n for n in os.listdir(folder) if re.fullmatch(r"python\d\.\d+", n)]
    except OSError:
        return []


def _editable(venv: str) -> list[str]:
    """The directories that the environment's `.pth` files and setuptools' finders add to the path."""
    found: list[str] = []
    for python in _pythons(f"{venv}/lib"):
        site = f"{venv}/lib/{python}/site-packages"
        try:
            names = os.listdir(site)
        except OSError:
            continue
        for name in names:
            if name.endswith(".pth") or (name.startswith("__editable__") and name.endswith("_finder.py")):
                found += _pointed(f"{site}/{name}")
    return [place for place in found if os.path.isdir(place)]


def _pointed(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 18).splitlines()
    except OSError:
        return []
    if path.endswith(".pth"):
        return [line.strip() for line in lines if line.startswith("/")]
    mapping = next((line for line in lines if line.startswith("MAPPING")), "")
    return re.findall(r"'(/[^']+)'", mapping)
