"""What an image takes from npm and PyPI, by the machine's own npm and pip, checked by hash."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping

from sandbox.errors import SandboxNotBuilt
from sandbox.imaging.recipe import EPOCH, Download, downloads, links

PATIENCE_S = 300
COMPONENTS = "usr/share/mcp-sandbox/components"
_WHEELS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
File = tuple[str, int, bytes]
"""A path of the image, its permissions (0: a symbolic link), its bytes (or where the link leads)."""


def bundle(name: str, machine: str, cache: str, environ: Mapping[str, str]) -> bytes:
    """A tar archive of everything that the image itself takes from elsewhere, and of its links; the same for
    the same pins."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for one in downloads(name, machine):
            for path, mode, content in files(one, _fetched(one, cache, environ)):
                _add(archive, path, mode, content)
        for place, target in links(name):
            _add(archive, place.lstrip("/"), 0, target.encode())
    return out.getvalue()


def _add(archive: tarfile.TarFile, path: str, mode: int, content: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.mtime = EPOCH
    if mode:
        entry.mode, entry.size = mode, len(content)
    else:
        entry.type, entry.mode, entry.linkname = tarfile.SYMTYPE, 0o777, content.decode()
    archive.addfile(entry, io.BytesIO(content) if mode else None)


def files(one: Download, content: bytes) -> Iterator[File]:
    """What of a package goes where in the image."""
    kind = {"npm": _npm, "pypi": _wheel}[one.registry]
    if one.name == "npm":
        yield from _npm_itself(content)
    else:
        yield from kind(content)
    yield f"{COMPONENTS}/{one.registry}-{one.name}.json", 0o644, json.dumps(component(one)).encode()


def component(one: Download) -> dict[str, object]:
    """The entry of a download in the list of what the image holds."""
    purl = f"pkg:{one.registry}/{one.name}@{one.version}"
    alg, value = integrity(one.integrity)
    hashes = [{"alg": {"sha512": "SHA-512", "sha256": "SHA-256"}[alg], "content": value}]
    return {"type": "application", "name": one.name, "version": one.version, "purl": purl, "hashes": hashes}


def _npm(content: bytes) -> Iterator[File]:
    """A package that is one program."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive:
            if entry.isfile() and entry.name.startswith("package/bin/"):
                yield f"usr/local/bin/{os.path.basename(entry.name)}", 0o755, _read(archive, entry)


def _npm_itself(content: bytes) -> Iterator[File]:
    place = "usr/local/lib/node_modules/npm"
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in sorted(archive.getmembers(), key=lambda entry: entry.name):
            inside = entry.name.removeprefix("package/")
            if entry.isfile() and not inside.startswith(("docs/", "man/")):
                mode = 0o755 if inside.startswith("bin/") or entry.mode & 0o100 else 0o644
                yield f"{place}/{inside}", mode, _read(archive, entry)
    for program in ("npm", "npx"):
        yield f"usr/local/bin/{program}", 0, f"../lib/node_modules/npm/bin/{program}-cli.js".encode()


def _read(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(entry)
    return opened.read() if opened else b""


def _wheel(content: bytes) -> Iterator[File]:
    """The programs of a wheel; nothing of it that is Python."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in sorted(archive.namelist()):
            if ".data/scripts/" in name and not name.endswith("/"):
                yield f"usr/local/bin/{os.path.basename(name)}", 0o755, archive.read(name)


# --- from the registry ----------------------------------------------------------------------------


def integrity(written: str) -> tuple[str, str]:
    """The hash's name and its hexadecimal value, of npm's form (base64) or pip's."""
    if written.startswith("sha512-"):
        return "sha512", base64.b64decode(written[7:]).hex()
    alg, _, value = written.partition(":")
    return alg, value


def _fetched(one: Download, cache: str, environ: Mapping[str, str]) -> bytes:
    """The bytes of a download, from the cache if they are there and right."""
    alg, wanted = integrity(one.integrity)
    place = os.path.join(cache, wanted)
    if not (os.path.isfile(place) and _hash(place, alg) == wanted):
        _fetch(one, place, alg, wanted, environ)
    with open(place, "rb") as opened:
        return opened.read()


def _hash(path: str, alg: str) -> str:
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, alg).hexdigest()


def _fetch(one: Download, place: str, alg: str, wanted: str, environ: Mapping[str, str]) -> None:
    os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(place)) as staging:
        _ask(one, staging, environ)
        (got,) = os.listdir(staging)
        path = os.path.join(staging, got)
        if _hash(path, alg) != wanted:
            what = f"{one.name} {one.version} from {one.registry} has another hash than its pin"
            raise SandboxNotBuilt(
                "download-differs",
                what,
                rule="what an image holds is pinned by hash",
                hint="compare the registry's copy",
            )
        os.replace(path, place)


def _ask(one: Download, staging: str, environ: Mapping[str, str]) -> None:
    """The registry's own client puts the package's one file into the empty directory."""
    command = {"npm": _npm_command, "pypi": _pip_command}[one.registry](one, staging)
    try:
        done = subprocess.run(  # noqa: S603 - npm or pip, no shell
            command, env=dict(environ), cwd=staging, capture_output=True, text=True, timeout=PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        raise _failed(one, f"nothing came within {PATIENCE_S} s") from None
    if done.returncode or len(os.listdir(staging)) != 1:
        raise _failed(one, (done.stderr or done.stdout).strip()[-600:])


def _failed(one: Download, said: str) -> SandboxNotBuilt:
    what = f"{one.name} {one.version} cannot be had from {one.registry}: {said}"
    return SandboxNotBuilt(
        "download-failed", what, hint="check the network and the registry's settings, then try again"
    )


def _npm_command(one: Download, staging: str) -> list[str]:
    npm = shutil.which("npm")
    if npm is None:
        what = f"{one.name} comes from the npm registry, and there is no `npm`"
        raise SandboxNotBuilt("no-npm", what, hint="sudo apt-get install npm")
    return [
        npm,
        "pack",
        "--silent",
        "--ignore-scripts",
        f"--pack-destination={staging}",
        f"{one.name}@{one.version}",
    ]


def _pip_command(one: Download, staging: str) -> list[str]:
    wanted = [f"--platform={kind}_{one.machine}" for kind in _WHEELS]
    # By `-m pip`: in an environment without pip (uv's) the system's Python still has one.
    python = next((path for path in (sys.executable, "/usr/bin/python3") if _has_pip(path)), None)
    if python is None:
        what = f"{one.name} comes from PyPI, and there is no `pip`"
        raise SandboxNotBuilt("no-pip", what, hint="sudo apt-get install python3-pip")
    options = [
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        *wanted,
        "--dest",
        staging,
    ]
    return [python, "-m", "pip", "download", *options, f"{one.name}=={one.version}"]


def _has_pip(python: str) -> bool:
    if not os.access(python, os.X_OK):
        return False
    asked = [python, "-m", "pip", "--version"]
    return subprocess.run(asked, capture_output=True, timeout=30).returncode == 0  # noqa: S603 - no shell
