"""Sources that builders of the real index build: setuptools by a `setup.py` and without, hatchling, flit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.build import builder
from sandbox.host.probe import probe
from sandbox.supply.resolved import resolution
from tests.supply import sdists
from tests.supply.toolchain import frozen, offline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MODULE = '"""A tool."""\n\n__version__ = "1.0"\n\n\ndef main():\n    print("ran")\n'
PROJECT = '[project]\nname = "our-tool"\n{}\n[project.scripts]\nour-tool = "our_tool:main"\n'
SETUP = (
    "from setuptools import setup\n"
    "setup(name='our-tool', version='1.0', py_modules=['our_tool'], install_requires=['six'],\n"
    "      entry_points={'console_scripts': ['our-tool=our_tool:main']})\n"
)


def _pyproject(requires: str, backend: str, project: str, more: str = "") -> str:
    system = f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{backend}"\n'
    return system + PROJECT.format(project) + more


SETUPTOOLS = _pyproject(
    "setuptools>=61", "setuptools.build_meta", 'dynamic = ["version", "dependencies"]',
    '[tool.setuptools]\npy-modules = ["our_tool"]\n[tool.setuptools.dynamic]\n'
    'version = {attr = "our_tool.__version__"}\ndependencies = {file = ["needs.txt"]}\n',
)  # fmt: skip
HATCHLING = _pyproject(
    "hatchling", "hatchling.build", 'version = "1.0"\ndependencies = ["six"]',
    '[tool.hatch.build.targets.wheel]\nonly-include = ["our_tool.py"]\n',
)  # fmt: skip
FLIT = _pyproject(
    "flit_core>=3.2,<5", "flit_core.buildapi", 'dynamic = ["version", "description"]\ndependencies = ["six"]',
    '[tool.flit.module]\nname = "our_tool"\n',
)  # fmt: skip


@pytest.fixture
def environ(tmp_path: Path, require: Callable[[str], None]) -> dict[str, str]:
    """This machine's own settings of the index, and besides a directory of ours."""
    require("native")
    python = os.path.dirname(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    (tmp_path / "ours").mkdir()
    more = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "UV_FIND_LINKS": str(tmp_path / "ours")}
    return {**os.environ, **more, "PATH": f"{python}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("files", "builder_is"),
    [
        pytest.param({"setup.py": SETUP}, "setuptools", id="a setup.py", marks=pytest.mark.long),
        pytest.param({"pyproject.toml": SETUPTOOLS, "needs.txt": "six\n"}, "setuptools", id="setuptools"),
        pytest.param({"pyproject.toml": HATCHLING}, "hatchling", id="hatchling"),
        pytest.param({"pyproject.toml": FLIT}, "flit-core", id="flit", marks=pytest.mark.long),
    ],
)
def test_it_is_built_by_its_own_builder(
    files: dict[str, str], builder_is: str, environ: dict[str, str], tmp_path: Path
) -> None:
    sdists.pack(tmp_path / "ours", "our-tool", "1.0", {**files, "our_tool.py": MODULE})
    made = frozen("uvx our-tool", environ, builder(probe(), environ), scripts=("our-tool",))
    done = subprocess.run(offline(made.tree, *made.argv), capture_output=True, text=True, timeout=60)
    assert done.stdout == "ran\n", done.stderr
    found = resolution(made.tree)
    assert found is not None
    assert [each.name for each in found.packages] == ["our-tool", "six"]
    built_with = dict(found.packages[0].rest)["built-with"]
    assert builder_is in {name.partition("==")[0] for name in built_with}


def test_a_source_of_the_index_itself(environ: dict[str, str]) -> None:
    """docopt 0.6.2 has no wheel there, and its `setup.py` alone knows what it requires."""
    command = "uvx --from docopt==0.6.2 python"
    made = frozen(command, environ, builder(probe(), environ), scripts=("docopt",))
    found = resolution(made.tree)
    assert found is not None
    (package,) = found.packages
    assert (package.name, package.scripts) == ("docopt", True)
    assert package.source.endswith("/docopt-0.6.2.tar.gz")
    assert package.integrity == ("sha256:49b3a825280bd66b3aa83585ef59c4a8c82f2c8a522dbe754a8bc8d08c85c491",)
