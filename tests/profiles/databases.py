"""Real databases on a free port of loopback, started for one test and ended with it."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import unprivileged_user

PATIENCE_S = 30.0
PEOPLE = "CREATE TABLE people (name TEXT); INSERT INTO people VALUES ('Ada');"


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _program(name: str, *places: Path) -> str:
    found = shutil.which(name, path=":".join([*map(str, places), os.environ.get("PATH", os.defpath)]))
    if found is None:
        pytest.skip(f"`{name}` is not installed")
    return found


@contextmanager
def _running(argv: list[str], port: int) -> Iterator[None]:
    """The program, once it takes connections; ended before this returns."""
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    try:
        _await(child, port)
        yield
    finally:
        child.terminate()
        child.wait(PATIENCE_S)


def _await(child: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert child.poll() is None, f"`{child.args!r}` ended with {child.returncode}"
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, "it does not listen"
        time.sleep(0.05)


# --- PostgreSQL ----------------------------------------------------------------------------------


@contextmanager
def postgres(_here: Path) -> Iterator[Mapping[str, str]]:
    """PostgreSQL at `{port}`, where user `postgres` with `{password}` may do anything."""
    bins = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    password, port = secrets.token_hex(12), free_port()
    with tempfile.TemporaryDirectory(prefix="postgres-", dir="/tmp") as made:
        drop = _as_somebody(Path(made))
        (Path(made) / "password").write_text(password)
        data = f"{made}/data"
        first = [_program("initdb", *bins), "-D", data, "-U", "postgres", "-A", "scram-sha-256", "--no-sync"]
        _do([*drop, *first, f"--pwfile={made}/password"])
        served = [_program("postgres", *bins), "-D", data, "-p", str(port), "-k", made, "-h", "127.0.0.1"]
        with _running([*drop, *served], port):
            told(port, password, PEOPLE)
            yield {"port": str(port), "password": password}


def _as_somebody(place: Path) -> list[str]:
    """What a command begins with so that it is not root's: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    user = unprivileged_user()
    os.chown(place, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]


def _do(argv: list[str], **environ: str) -> str:
    done = subprocess.run(
        argv, check=True, timeout=60, capture_output=True, text=True, cwd="/", env={**os.environ, **environ}
    )
    return done.stdout


def told(port: int, password: str, sql: str) -> str:
    """What PostgreSQL answers its own client."""
    psql = [_program("psql"), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-qAtc", sql]
    return _do(psql, PGPASSWORD=password)


# --- Redis ---------------------------------------------------------------------------------------


@contextmanager
def redis(_here: Path) -> Iterator[Mapping[str, str]]:
    """Redis at `{port}`, for who knows `{password}`; it keeps nothing."""
    password = secrets.token_hex(12)
    with _redis("--requirepass", password) as port:
        yield {"port": str(port), "password": password}


@contextmanager
def open_redis(_here: Path) -> Iterator[Mapping[str, str]]:
    """Redis at `{port}`, for whoever reaches it."""
    with _redis() as port:
        yield {"port": str(port)}


@contextmanager
def _redis(*options: str) -> Iterator[int]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="redis-") as made:
        words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", made, *options]
        with _running([_program("redis-server"), *words], port):
            yield port


# --- MariaDB -------------------------------------------------------------------------------------


@contextmanager
def mariadb(_here: Path) -> Iterator[Mapping[str, str]]:
    """MariaDB at `{port}`, with a database `zoo` for user `keeper` with `{password}`."""
    password, port = secrets.token_hex(12), free_port()
    with tempfile.TemporaryDirectory(prefix="mariadb-", dir="/tmp") as made:
        drop = _as_somebody(Path(made))
        data = ["--no-defaults", f"--datadir={made}/data"]
        _do([*drop, _program("mariadb-install-db"), *data, "--auth-root-authentication-method=normal"])
        (Path(made) / "first.sql").write_text(
            "CREATE DATABASE zoo;\nUSE zoo;\nCREATE TABLE people (name TEXT);\n"
            f"INSERT INTO people VALUES ('Ada');\nCREATE USER keeper@localhost IDENTIFIED BY '{password}';\n"
            "GRANT ALL ON zoo.* TO keeper@localhost;\n"
        )
        served = [_program("mariadbd", Path("/usr/sbin")), *data, f"--init-file={made}/first.sql"]
        place = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={made}/socket"]
        with _running([*drop, *served, *place], port):
            yield {"port": str(port), "password": password}


# --- memcached -----------------------------------------------------------------------------------


@contextmanager
def memcached(_here: Path) -> Iterator[Mapping[str, str]]:
    """memcached at `{port}`, for whoever reaches it."""
    port, drop = free_port(), ["-u", unprivileged_user().pw_name] if os.geteuid() == 0 else []
    with _running([_program("memcached"), "-p", str(port), "-l", "127.0.0.1", "-U", "0", *drop], port):
        yield {"port": str(port)}
