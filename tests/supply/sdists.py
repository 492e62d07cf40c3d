"""Source distributions of our own, honest and hostile, and a `setuptools` that takes milliseconds."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.supply import registry

# What a build leaves: name and version of the file, its metadata's, and files besides its own module.
_WRITE = """
import hashlib, base64, os, zipfile
def write(directory, name, version, *, says=None, more=(), requires=(), tag="py3-none-any"):
    file, info = f"{name}-{version}-{tag}.whl", f"{name}-{version}.dist-info"
    who, which = says or (name, version)
    lines = ["Metadata-Version: 2.1", f"Name: {who}", f"Version: {which}"]
    lines += [f"Requires-Dist: {one}" for one in requires]
    files = {
        f"{name}.py": "def main(): print('built')\\n",
        info + "/METADATA": "\\n".join(lines) + "\\n",
        info + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: " + tag + "\\n",
        info + "/entry_points.txt": f"[console_scripts]\\n{name} = {name}:main\\n",
        **dict(more),
    }
    def noted(path, text):
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        return f"{path},sha256={digest},{len(text.encode())}\\n"
    record = "".join(noted(path, text) for path, text in files.items()) + info + "/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(directory, file), "w") as archive:
        for path, text in {**files, info + "/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return file
"""
_LEGACY = """
class Legacy:
    def _run(self):
        told = {}
        def setup(**words):
            told.update(words)
        import setuptools
        setuptools.setup = setup
        with open("setup.py") as file:
            exec(compile(file.read(), "setup.py", "exec"), {"__name__": "__main__", "__file__": "setup.py"})
        return told
    def get_requires_for_build_wheel(self, settings=None):
        return self._run().get("setup_requires", [])
    def build_wheel(self, directory, settings=None, metadata=None):
        told = self._run()
        requires = told.get("install_requires", ())
        return write(directory, told["name"], told["version"], requires=requires, more=MORE)
__legacy__ = Legacy()
"""


def setuptools(folder: Path, version: str = "99.0", *, more: str = "") -> None:
    """A wheel by that name, which does as much of it as our sources need; it writes `more` into a module."""
    legacy = _LEGACY.replace("MORE", repr({"made_with.py": f"version = '{version}' {more}\n"}))
    files = {"setuptools/__init__.py": "", "setuptools/build_meta.py": _WRITE + legacy}
    registry.wheel(folder, "setuptools", version, files, {})


def legacy(folder: Path, name: str, setup: str, version: str = "1.0") -> None:
    """A source with nothing but a `setup.py`: only its code knows what it requires."""
    pack(folder, name, version, {"setup.py": setup})


def own(
    folder: Path,
    name: str,
    *,
    code: str = "",
    wheel: str = "name, version",
    wants: str = "[]",
    dynamic: bool = False,
    version: str = "1.0",
) -> None:
    """A source that builds itself: `code` runs, then `write(directory, WHEEL)`; `wants` is asked for."""
    known = 'dynamic = ["dependencies"]\n' if dynamic else ""
    project = f'[project]\nname = "{name}"\nversion = "{version}"\n{known}'
    system = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    backend = (
        f"{_WRITE}\nname, version = {name!r}, {version!r}\n"
        f"def get_requires_for_build_wheel(settings=None):\n    return {wants}\n"
        "def build_wheel(directory, settings=None, metadata=None):\n"
        + "".join(f"    {line}\n" for line in code.splitlines())
        + f"    return write(directory, {wheel})\n"
    )
    pack(folder, name, version, {"pyproject.toml": system + project, "own.py": backend})


def pack(folder: Path, name: str, version: str, files: Mapping[str, str]) -> None:
    """Writes a source whose metadata of its own says no more than its name and version."""
    told = {"PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", **files}
    with tarfile.open(folder / f"{name}-{version}.tar.gz", mode="w:gz") as archive:
        for path, text in told.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size, member.mode = len(text.encode()), 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
