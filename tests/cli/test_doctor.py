"""`doctor` as root and as a user, on this host as it is and with something taken away."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Prefix = Callable[[list[str]], list[str]]
Require = Callable[[str], None]

DOCTOR = "import sys; from sandbox.cli.main import main; sys.exit(main(['doctor', *sys.argv[1:]]))"
NEEDED = ("namespaces", "read-only view", "own /proc", "seccomp")

# A filter under which no seccomp filter can be added: seccomp(2) answers EINVAL.
_SECCOMP = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
_ROWS = [(0x20, 0, 0, 0), (0x15, 0, 1, _SECCOMP), (0x06, 0, 0, 0x00050016), (0x06, 0, 0, 0x7FFF0000)]
NO_SECCOMP = (
    "from sandbox import linux; linux.prctl(38, 1); "
    f"linux.install_filter({b''.join(struct.pack('=HBBI', *row) for row in _ROWS)!r})\n"
)


def doctor(
    *options: str, prefix: Prefix = lambda argv: argv, before: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        prefix([sys.executable, "-c", before + DOCTOR, *options]),
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )


def states(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    document = json.loads(done.stdout)
    return {row["name"]: row["state"] for row in (*document["probes"], *document["backends"])}


@pytest.mark.parametrize("who", [pytest.param("root", marks=pytest.mark.root), "user"])
def test_a_host_that_can_is_told_so(who: str, as_user: Prefix, require: Require) -> None:
    require("native")
    done = doctor("--json", prefix=as_user if who == "user" else lambda argv: argv)

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert next(iter(document)) == "schema"
    assert document["usable"] is True
    assert document["host"]["uid"] == 0 or who == "user"
    found = states(done)
    assert {found[name] for name in NEEDED} == {"works"}
    assert found["native"] in ("works", "limited")
    assert (found["native"] == "works") == (document["cgroups"]["version"] > 0)


def test_the_table_is_plain_where_no_terminal_reads_it(as_user: Prefix) -> None:
    done = doctor(prefix=as_user)

    assert done.stderr == ""
    assert "\033" not in done.stdout
    lines = done.stdout.splitlines()
    for name in (*NEEDED, "cgroups", "landlock", "bubblewrap", "docker engine", "gvisor", "native", "docker"):
        assert [line for line in lines if f"  {name} " in line], name
    assert "later version" in lines[-1]


def test_a_finding_is_exit_1_with_its_hint(as_user: Prefix, require: Require) -> None:
    require("native")
    done = doctor(prefix=as_user, before=NO_SECCOMP)

    assert done.returncode == 1
    lines = done.stdout.splitlines()
    place = next(n for n, line in enumerate(lines) if line.split()[:2] == ["FAILS", "seccomp"])
    assert lines[place + 1].strip().startswith("hint: ")
    assert any("FAILS" in line and "cannot be used here: seccomp" in line for line in lines)
    assert json.loads(doctor("--json", prefix=as_user, before=NO_SECCOMP).stdout)["usable"] is False


def test_a_host_that_cannot_even_fork_is_a_finding_and_no_traceback(as_user: Prefix) -> None:
    no_fork = "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))\n"
    done = doctor(prefix=as_user, before=no_fork)

    assert (done.returncode, done.stderr) == (1, "")
    assert "fork: EAGAIN" in done.stdout


def test_it_measures_and_never_repeats_a_memory(tmp_path: Path, require: Require) -> None:
    require("native")
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    assert doctor(**cache).returncode == 0
    assert list(tmp_path.glob("mcp-sandbox/facts-*.json"))

    done = doctor("--refresh", before=NO_SECCOMP, **cache)

    assert done.returncode == 1
    # What `run` would have believed is gone with the bad news.
    assert not list(tmp_path.glob("mcp-sandbox/facts-*.json"))


def test_an_engine_that_answers_is_found_and_one_that_does_not_is_soon_given_up(
    tmp_path: Path, as_user: Prefix
) -> None:
    silent = f"unix://{tmp_path}/no.sock"

    assert states(doctor("--json", prefix=as_user, DOCKER_HOST=silent))["docker engine"] == "absent"
    assert states(doctor("--json", DOCKER_HOST=_engine(tmp_path)))["docker engine"] == "works"


def _engine(folder: Path) -> str:
    """A socket that answers one ping as an engine does, from a thread of the test's."""
    import socket
    import threading

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/engine.sock")
    listener.listen(1)
    listener.settimeout(30)

    def serve() -> None:
        with listener, listener.accept()[0] as wire:
            wire.recv(1024)
            wire.sendall(b"HTTP/1.0 200 OK\r\n\r\nOK")

    threading.Thread(target=serve, daemon=True).start()
    return f"unix://{folder}/engine.sock"


def test_an_unknown_option_is_a_usage_error() -> None:
    assert doctor("--everything").returncode == 2
