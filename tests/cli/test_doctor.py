"""`doctor` as root and as a user, on this host as it is and with something taken away."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.imaging.recipe import PARENTS, recipe
from tests.host.fake_engine import INFO, fake

Prefix = Callable[[list[str]], list[str]]
Require = Callable[[str], None]

DOCTOR = "import sys; from sandbox.cli.main import main; sys.exit(main(['doctor', *sys.argv[1:]]))"
NEEDED = ("namespaces", "read-only view", "own /proc", "seccomp")
NO_ENGINE = "unix:///nonexistent/engine.sock"

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
    titles = ("this host: ", "container engine", "backends")
    assert [line for line in lines if line.startswith(titles)] == [
        line for line in lines if line and not line.startswith(" ")
    ]


def test_a_finding_is_exit_1_with_its_hint(as_user: Prefix, require: Require) -> None:
    require("native")
    done = doctor(prefix=as_user, before=NO_SECCOMP, DOCKER_HOST=NO_ENGINE)

    assert done.returncode == 1
    lines = done.stdout.splitlines()
    place = next(n for n, line in enumerate(lines) if line.split()[:2] == ["FAILS", "seccomp"])
    assert lines[place + 1].strip().startswith("hint: ")
    assert any("FAILS" in line and "cannot be used here: seccomp" in line for line in lines)
    again = doctor("--json", prefix=as_user, before=NO_SECCOMP, DOCKER_HOST=NO_ENGINE)
    assert json.loads(again.stdout)["usable"] is False


def test_a_host_that_cannot_even_fork_is_a_finding_and_no_traceback(as_user: Prefix) -> None:
    no_fork = "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))\n"
    done = doctor(prefix=as_user, before=no_fork, DOCKER_HOST=NO_ENGINE)

    assert (done.returncode, done.stderr) == (1, "")
    assert "fork: EAGAIN" in done.stdout


def test_it_measures_and_never_repeats_a_memory(tmp_path: Path, require: Require) -> None:
    require("native")
    cache = str(tmp_path)
    assert doctor(XDG_CACHE_HOME=cache, DOCKER_HOST=NO_ENGINE).returncode == 0
    assert list(tmp_path.glob("mcp-sandbox/facts-*.json"))

    done = doctor("--refresh", before=NO_SECCOMP, XDG_CACHE_HOME=cache, DOCKER_HOST=NO_ENGINE)

    assert done.returncode == 1
    # What `run` would have believed is gone with the bad news.
    assert not list(tmp_path.glob("mcp-sandbox/facts-*.json"))


# --- the container engine --------------------------------------------------------------------------

HERE = {**INFO, "Name": os.uname().nodename, "KernelVersion": os.uname().release}
RUNSC = {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=host", "--oci-seccomp"]}


def images(*names: str) -> list[dict[str, Any]]:
    """What an engine lists that has these images of ours, made by today's recipes."""
    return [{"Id": f"sha256:{name}", "Labels": {"io.mcp-sandbox.recipe": recipe(name)}} for name in names]


def asked(folder: Path, there: tuple[str, ...] = tuple(PARENTS), **info: Any) -> dict[str, Any]:
    """The document of `doctor --json` at an engine that says this of itself."""
    with fake(folder, info={**HERE, **info}) as server:
        server.answers["images/json"] = images(*there)
        done = doctor("--json", DOCKER_HOST=server.endpoint)
    assert done.stderr == ""
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def row(document: dict[str, Any], name: str) -> dict[str, str]:
    found: dict[str, str] = next(
        one for one in (*document["probes"], *document["backends"]) if one["name"] == name
    )
    return found


def test_an_engine_that_holds_everything_gives_a_backend(tmp_path: Path) -> None:
    found = asked(tmp_path, Runtimes={"runc": {"path": "runc"}, "runsc": RUNSC})

    names = ("docker engine", "engine seccomp", "engine limits", "gvisor", "images", "docker")
    assert {name: row(found, name)["state"] for name in names} == dict.fromkeys(names, "works")
    assert found["engine"]["gvisor"] == "runsc"
    assert found["engine"]["images"] == dict.fromkeys(PARENTS, True)
    assert "on this machine" in row(found, "docker engine")["detail"]


@pytest.mark.parametrize(
    ("info", "name", "state", "said"),
    [
        pytest.param({"SwapLimit": False}, "docker", "limited", "limits swap is refused", id="no swap limit"),
        pytest.param(
            {"CgroupVersion": "1", "SecurityOptions": ["name=seccomp", "name=rootless"]},
            "engine limits",
            "limited",
            "holds none",
            id="rootless with cgroup v1",
        ),
        pytest.param({"Name": "elsewhere"}, "docker", "limited", "mounts files", id="on another machine"),
        pytest.param({"SecurityOptions": []}, "docker", "fails", "no seccomp", id="no seccomp"),
        pytest.param({"OSType": "windows"}, "docker", "fails", "not Linux", id="Windows containers"),
        pytest.param({}, "gvisor", "absent", "no runtime", id="no gVisor"),
        pytest.param(
            {"Runtimes": {"runsc": {"path": "runsc"}}}, "gvisor", "absent", "lacks", id="gVisor as it comes"
        ),
    ],
)
def test_what_an_engine_lacks_is_said_where_it_matters(
    tmp_path: Path, info: dict[str, Any], name: str, state: str, said: str
) -> None:
    found = row(asked(tmp_path, **info), name)

    assert found["state"] == state
    assert said in found["detail"]


def test_images_that_are_missing_come_with_the_command_that_makes_them(tmp_path: Path) -> None:
    found = asked(tmp_path, there=("base", "node"))

    assert row(found, "images")["state"] == "limited"
    assert row(found, "images")["hint"] == "mcp-sandbox image build python browser"
    assert row(found, "docker")["state"] == "limited"
    assert found["engine"]["images"]["node"] is True


def test_docker_that_can_do_everything_stands_in_for_native(tmp_path: Path) -> None:
    with fake(tmp_path, info=HERE) as server:
        server.answers["images/json"] = images(*PARENTS)
        whole = doctor("--json", before=NO_SECCOMP, DOCKER_HOST=server.endpoint)
        server.answers["images/json"] = []
        limited = doctor("--json", before=NO_SECCOMP, DOCKER_HOST=server.endpoint)

    assert (whole.returncode, json.loads(whole.stdout)["usable"]) == (0, True)
    assert states(whole)["native"] == "fails"
    assert (limited.returncode, json.loads(limited.stdout)["usable"]) == (1, False)


def test_no_engine_is_no_finding(as_user: Prefix, require: Require) -> None:
    require("native")
    done = doctor("--json", prefix=as_user, DOCKER_HOST=NO_ENGINE)

    assert done.returncode == 0
    assert (states(done)["docker engine"], states(done)["docker"]) == ("absent", "absent")
    assert json.loads(done.stdout)["engine"]["error"]["code"] == "no-engine"


def test_a_socket_that_is_not_for_us_is_said_with_what_helps(as_user: Prefix) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)  # noqa: S103 - the user must reach the socket to be denied it
        with fake(Path(folder)) as server:
            os.chmod(server.path, 0)
            done = doctor("--json", prefix=as_user, DOCKER_HOST=server.endpoint)

    found = row(json.loads(done.stdout), "docker")
    assert found["state"] == "fails"
    assert "may not speak" in found["detail"]
    assert "usermod -aG docker" in found["hint"]


def test_the_engine_of_this_machine_is_found(require: Require) -> None:
    require("docker")
    found = json.loads(doctor("--json", DOCKER_HOST=os.environ.get("DOCKER_HOST", "")).stdout)

    assert row(found, "docker engine")["state"] == "works"
    assert row(found, "engine seccomp")["state"] == "works"
    assert found["engine"]["free"] > 0


def test_an_unknown_option_is_a_usage_error() -> None:
    assert doctor("--everything").returncode == 2
