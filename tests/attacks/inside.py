"""One attack program, two places: outside under the same caller as the control, and in the real sandbox.

Every proof runs inside first, looks at the world, and then lets the control succeed: an attack that fails
everywhere proves nothing. Attacks that this caller could not make outside either are skipped, and say so.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox.images import state_file
from tests import backends
from tests.backends import CALLERS as CALLERS
from tests.conftest import ROOT, unprivileged_user
from tests.e2e.remains import named

PROGRAM = Path(__file__).with_name("program")
PYTHON = os.path.realpath(sys.executable)
RUN = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"
SECONDS = 30.0
PLAIN = 'schema = 1\nextends = "base"\n'
PATIENT = '\n[breach]\nsyscall = "warn"\n'
RUNTIME = '\n[isolation]\nruntime = "gvisor"\n'

Answer = dict[str, Any]


class World:
    """A caller with a home full of canaries, a project that is granted, and everything else that is not."""

    def __init__(self, caller: str, backend: str = backends.NATIVE, images: str = "") -> None:
        """`images`: the note of what was built, which the state directory needs for a container engine."""
        self.caller = caller
        self.backend = backend
        self._images = images
        self.uid, self.gid = _ids(caller)
        self.word = f"canary-{secrets.token_hex(12)}"
        self.base = Path(tempfile.mkdtemp(prefix="mcp-attacks-")).resolve()
        self.home = self.base / "home"
        self.project = self.home / "allow"
        self.out = self.project / "out"
        self.evil = self.home / "allow_evil"
        self.program = self.base / "program"
        self.scratch = self.base / "scratch"
        self.name = f"attack{secrets.token_hex(4)}"
        self._furnish()

    def _furnish(self) -> None:
        for directory in (self.home / ".ssh", self.out, self.evil, self.scratch):
            directory.mkdir(parents=True)
        shutil.copytree(PROGRAM, self.program, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (self.home / ".ssh" / "id_ed25519", self.home / "notes.txt", self.evil / "notes.txt"):
            file.write_text(self.word)
        (self.project / "readme.txt").write_text("granted\n")
        (self.project / "absolute").symlink_to(self.home / "notes.txt")
        (self.project / "relative").symlink_to("../notes.txt")
        if self.backend != backends.NATIVE:
            self._note_images()
        self.base.chmod(0o755)
        self.own(self.base)

    def _note_images(self) -> None:
        note = Path(state_file({"HOME": str(self.home)}))
        note.parent.mkdir(parents=True)
        note.write_text(self._images)

    def own(self, top: Path) -> Path:
        """Gives everything from `top` down to the caller."""
        for path in (top, *top.rglob("*")):
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        return top

    def file(self, name: str, directory: Path | None = None, content: str = "original\n") -> Path:
        """A fresh file of the caller's, in the project unless said otherwise."""
        path = (directory or self.project) / name
        path.unlink(missing_ok=True)
        path.write_text(content)
        return self.own(path)

    @property
    def environ(self) -> dict[str, str]:
        """What the client gives the wrapper: more than any server should have."""
        mine = {
            "HOME": str(self.home),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TMPDIR": str(self.scratch),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CANARY_TOKEN": self.word,
            "AWS_SECRET_ACCESS_KEY": self.word,
        }
        return mine | {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}

    def prefix(self) -> list[str]:
        """What makes a command the caller's."""
        if self.uid == os.geteuid():
            return []
        groups = ["--clear-groups"] if self.backend == backends.NATIVE else backends.groups()
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", *groups, "--"]

    def command(self, *options: str, server: Iterable[str] = ()) -> list[str]:
        """`mcp-sandbox run` with the attack program behind it, or another server."""
        chosen = [*self.where(), *self._runtime(options)]
        words = ["--name", self.name, *chosen, "--", *(tuple(server) or self.server())]
        return [*self.prefix(), sys.executable, "-c", RUN, "run", *words]

    def where(self) -> tuple[str, ...]:
        """The options of `run` that choose this world's backend."""
        return ("--backend", "native" if self.backend == backends.NATIVE else "docker")

    def _runtime(self, options: Iterable[str]) -> list[str]:
        """The options, with a profile that asks for gVisor too, or alone."""
        words = list(options)
        if self.backend != backends.GVISOR:
            return words
        at = words.index("--profile") + 1 if "--profile" in words else 0
        text = Path(words[at]).read_text() if at else PLAIN
        name = f"gvisor-{hashlib.sha256(text.encode()).hexdigest()[:8]}.toml"
        path = str(self.file(name, self.base, text + RUNTIME))
        return [*words[:at], path, *words[at + 1 :]] if at else ["--profile", path, *words]

    def server(self) -> tuple[str, ...]:
        return (PYTHON, str(self.program / "server.py"))

    def inside(self, *options: str, **more: Any) -> Attacker:
        """The attack program behind `mcp-sandbox run`; the program's own directory is granted."""
        return Attacker(self.command("--allow-read", str(self.program), *options), self.environ, **more)

    def outside(self, **more: Any) -> Attacker:
        """The same program under the same caller, below a shell that holds the caller's secrets."""
        plain = ["env", "-u", "CANARY_TOKEN", "-u", "AWS_SECRET_ACCESS_KEY", *self.server()]
        return Attacker([*self.prefix(), "sh", "-c", '"$@"; exit $?', "sh", *plain], self.environ, **more)

    def init(self, attacker: Attacker) -> int:
        """The sandbox's first process, as the host numbers it."""
        if self.backend == backends.NATIVE:
            return named("mcp-init", attacker.process.pid)
        return backends.container(attacker.process.pid).pid

    def remove(self) -> None:
        shutil.rmtree(self.base)


@contextmanager
def furnished(caller: str, backend: str = backends.NATIVE, images: str = "") -> Iterator[World]:
    """A world of the caller's; skips where that caller cannot read this clone."""
    made = World(caller, backend, images)
    try:
        probe = [*made.prefix(), sys.executable, "-c", "import sandbox.cli.main"]
        done = subprocess.run(probe, cwd="/", env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=30)
        if done.returncode != 0:
            assert made.prefix(), "the package cannot be imported"
            pytest.skip("this clone is root's alone: proved by the run as an ordinary user")
        yield made
    finally:
        made.remove()


def _ids(caller: str) -> tuple[int, int]:
    if caller == "user" and os.geteuid() == 0:
        user = unprivileged_user()
        return user.pw_uid, user.pw_gid
    return os.geteuid(), os.getegid()


class Attacker:
    """The attack program, running; `call` is one attack."""

    def __init__(self, argv: list[str], environ: Mapping[str, str], **more: Any) -> None:
        pipes: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        self.process = subprocess.Popen(argv, env=dict(environ), cwd="/", **(pipes | more))
        self._calls = 0
        self._buffer = b""

    def __enter__(self) -> Attacker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, name: str, /, **arguments: Any) -> int:
        """Sends one attack and does not wait; its id."""
        self._calls += 1
        params = {"name": name, "arguments": arguments}
        request = {"jsonrpc": "2.0", "id": self._calls, "method": "tools/call", "params": params}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return self._calls

    def message(self, seconds: float = SECONDS) -> Answer:
        """The next message on stdout; empty at its end."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        while b"\n" not in self._buffer:
            if not select.select([fd], [], [], seconds)[0]:
                raise TimeoutError(f"no answer in {seconds} s")
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                return {}
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: Answer = json.loads(line)
        return message

    def call(self, name: str, /, *, child: bool = True, **arguments: Any) -> Answer:
        """What came of one attack; `child` makes it in a process of its own."""
        self.ask(name, child=child, **arguments)
        message = self.message()
        assert "result" in message, message or self.finish()
        answer: Answer = message["result"]
        return answer

    def finish(self, seconds: float = 10.0) -> tuple[int, str]:
        """Closes stdin and waits; the exit status and what was said on stderr."""
        try:
            _, said = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, (said or b"").decode(errors="replace")

    def close(self) -> None:
        """Ends it, politely first; nothing of it outlives the test."""
        if self.process.poll() is None:
            self.finish()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


class Sides:
    """One world with the attack program on both sides of the wall."""

    def __init__(self, world: World) -> None:
        self.world = world
        # A forbidden system call would end it: here each is to fail alone, whatever else stands behind.
        patient = str(world.file("patient.toml", world.base, PLAIN + PATIENT))
        grants = ("--allow-read", str(world.project), "--allow-write", str(world.out), "--profile", patient)
        self.outside = world.outside()
        self.inside = world.inside(*grants)
        try:
            for one in (self.outside, self.inside):
                one.call("processes.parent")
        except BaseException:
            self.close()
            raise

    def refused(
        self, name: str, expected: str, /, *, outside: Mapping[str, Any] | None = None, **asked: Any
    ) -> Any:
        """The attack fails inside with one of `expected` (errno names); what the control then got."""
        result = self.inside.call(name, **asked)
        assert result.get("failed") in expected.split(), f"{name}{asked} inside: {result}"
        return self.control(name, **{**asked, **(outside or {})})

    def control(self, name: str, /, **asked: Any) -> Any:
        """The attack outside; it must succeed."""
        result = self.outside.call(name, **asked)
        assert "got" in result, f"the control of {name}{asked} failed, so this proves nothing: {result}"
        return result["got"]

    def got(self, name: str, /, **asked: Any) -> Any:
        """What a question inside gave; it must not fail."""
        result = self.inside.call(name, **asked)
        assert "got" in result, f"{name}{asked} inside: {result}"
        return result["got"]

    def alive(self) -> bool:
        """Whether both can be asked again."""
        return self.inside.process.poll() is None and self.outside.process.poll() is None

    def close(self) -> None:
        self.inside.close()
        self.outside.close()


def tree(top: Path) -> dict[str, tuple[int, int, int, str]]:
    """Mode, times and hash of everything below `top`: equal means untouched, attributes too (ctime)."""
    found = {}
    for path in sorted(top.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (
            status.st_mode,
            status.st_mtime_ns,
            status.st_ctime_ns,
            hashlib.sha256(content).hexdigest(),
        )
    return found
