"""A made-up user: a home, a project in it, and profiles written where a test wants them."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings

from sandbox.policy.flags import Flags
from sandbox.policy.load import load
from sandbox.policy.model import Policy

# No example database: the tree may belong to another user. No deadline: others share the machine.
settings.register_profile("shared", database=None, deadline=None)
settings.load_profile("shared")


@dataclass
class World:
    """A home directory with a project in it; `cwd` is the project."""

    home: Path
    cwd: Path
    environ: dict[str, str] = field(default_factory=dict)

    def user(self, name: str, text: str) -> Path:
        """A profile of the user's own."""
        return self._write(self.home / ".config/mcp-sandbox/profiles" / f"{name}.toml", text)

    def project(self, name: str, text: str, below: str = "") -> Path:
        """A profile that the project brings."""
        return self._write(self.cwd / below / ".mcp-sandbox" / f"{name}.toml", text)

    def file(self, name: str, text: str) -> Path:
        """Any other file in the project."""
        return self._write(self.cwd / name, text)

    def load(self, name: str | None = None, **flags: object) -> Policy:
        """What `run` would get."""
        return load(name, environ=self.environ, cwd=str(self.cwd), flags=Flags(**flags))

    def entries(self) -> list[Path]:
        """The cache's entries."""
        return sorted((self.home / ".cache/mcp-sandbox/policies").glob("*"))

    @staticmethod
    def _write(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if "schema" in text else f"schema = 1\n{text}")
        return path


@pytest.fixture
def world(tmp_path: Path) -> World:
    home = tmp_path / "home"
    cwd = home / "project"
    (cwd / ".git").mkdir(parents=True)
    return World(home, cwd, {"HOME": str(home)})
