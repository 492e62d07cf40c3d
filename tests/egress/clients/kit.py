"""The clients of these tests: fetched or compiled once, where every caller can read them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PROGRAMS = Path(__file__).with_name("programs")
PYPI = ("aiohttp", "grpcio", "httpx", "requests", "websockets")
NPM = ("axios", "undici", "ws")


class Kit:
    """A directory with packages of PyPI and npm, and two programs that were compiled."""

    def __init__(self, place: Path, ca: Path) -> None:
        self.place = place
        self.ca = ca
        self._authorities = ca.with_name("authorities.jks")

    def need(self, part: str) -> None:
        """Makes one part, `pypi`, `npm`, `java` or `go`, unless it is there."""
        made = self.place / part / "made"
        if part and not made.exists():
            (self.place / part).mkdir(parents=True, exist_ok=True)
            getattr(self, f"_{part}")(self.place / part)
            made.touch()
        if part == "java" and not self._authorities.exists():
            self._trust()

    def _pypi(self, place: Path) -> None:
        quiet = ["--quiet", "--disable-pip-version-check", "--no-warn-script-location"]
        _run([sys.executable, "-m", "pip", "install", *quiet, "--target", place, *PYPI])

    def _npm(self, place: Path) -> None:
        quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]
        _run(["npm", "install", *quiet, f"--cache={place}/cache", f"--prefix={place}", *NPM])
        shutil.rmtree(place / "cache", ignore_errors=True)

    def _java(self, place: Path) -> None:
        _run(["javac", "-d", place, PROGRAMS / "Fetch.java"])

    def _go(self, place: Path) -> None:
        cache = place / "cache"
        own = {"GOCACHE": str(cache), "GOPATH": f"{place}/path", "GOFLAGS": "-mod=mod", "HOME": str(place)}
        build = ["go", "build", "-o", place / "fetch", PROGRAMS / "fetch.go"]
        _run(["env", *(f"{name}={value}" for name, value in own.items()), *build])
        shutil.rmtree(cache, ignore_errors=True)

    def _trust(self) -> None:
        """Java's own kind of file for the certificate authority, which is new in each run."""
        plain = ["-noprompt", "-storetype", "JKS", "-storepass", "changeit", "-alias", "authority"]
        _run(["keytool", "-importcert", *plain, "-file", self.ca, "-keystore", self._authorities])
        self._authorities.chmod(0o644)

    @property
    def paths(self) -> list[Path]:
        """What a profile grants for them."""
        return [path for path in (self.place, self.ca, self._authorities, PROGRAMS) if path.exists()]

    def environ(self) -> dict[str, str]:
        """What a profile sets so that each client finds its packages and trusts the authority."""
        trusting = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
        return {
            **dict.fromkeys((*trusting, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "PGSSLROOTCERT"), str(self.ca)),
            "PYTHONPATH": str(self.place / "pypi"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "JAVA_TOOL_OPTIONS": f"-Djavax.net.ssl.trustStore={self._authorities}",
            "NODE_PATH": str(self.place / "npm" / "node_modules"),
        }


def _run(words: Sequence[str | Path]) -> None:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"


def profile(
    read: Sequence[Path], environ: Mapping[str, str], allow: Sequence[str], opaque: Sequence[str] = ()
) -> str:
    """A profile that grants exactly that."""
    variables = ", ".join(f"{name} = {json.dumps(value)}" for name, value in sorted(environ.items()))
    return f"""schema = 1
extends = "base"
description = "clients of a test"
[files]
read = {json.dumps([str(path) for path in read])}
[env]
set = {{ {variables} }}
[network]
allow = {json.dumps(list(allow))}
opaque = {json.dumps(list(opaque))}
"""
