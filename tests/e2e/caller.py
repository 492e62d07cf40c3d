"""Who starts the sandbox in an end-to-end test, and as what: this process's own user, or an ordinary one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandbox.images import state_file
from tests.backends import NATIVE

PROGRAM = str(Path(sys.executable).with_name("mcp-sandbox"))


@dataclass(frozen=True)
class Caller:
    """A user with a home, an environment and a ground to make directories on."""

    name: str
    prefix: tuple[str, ...]
    environ: dict[str, str]
    ground: Path
    uid: int
    gid: int
    backend: str = NATIVE

    def directory(self) -> Path:
        """A fresh directory of this caller's own, by its real path."""
        made = Path(tempfile.mkdtemp(dir=self.ground)).resolve()
        os.chown(made, self.uid, self.gid)
        return made

    def argv(self, *words: str) -> list[str]:
        """The command line that runs `words` as this caller."""
        return [*self.prefix, *words]

    def run(
        self, *words: str, cwd: Path, text: str = "", timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Runs `words` as this caller to their end; `text` is all of stdin."""
        return subprocess.run(
            self.argv(*words),
            cwd=cwd, env=self.environ, input=text, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    def sandboxed(self, *words: str) -> list[str]:
        """`mcp-sandbox run WORDS` on this caller's backend, without who runs it."""
        where = [] if self.backend == NATIVE else ["--backend", "docker"]
        return [PROGRAM, "run", *where, *words]

    def note(self, images: str) -> None:
        """Leaves the note of what was built for a container engine where this caller's sandboxes look."""
        path = Path(state_file(self.environ))
        if images and not path.exists():
            make = 'mkdir -p "$1" && cat > "$2"'
            self.run("sh", "-c", make, "sh", str(path.parent), str(path), cwd=self.ground, text=images)

    def reaches(self, *paths: str | Path) -> bool:
        """True where this caller can execute or enter every one of `paths`."""
        return all(subprocess.run(self.argv("test", "-x", str(path))).returncode == 0 for path in paths)
