"""What an engine says is read as it is meant; what it cannot do is an error; a memory fits or is none."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import CannotEnforce, SandboxError, SandboxNotBuilt
from sandbox.host import answers
from sandbox.host.engine import decode, engine, measure
from sandbox.plan.facts import Engine
from tests.host.fake_engine import INFO, VERSION, Fake, fake
from tests.host.podman import podman

Require = Callable[[str], None]
UNIX = "unix:///var/run/docker.sock"
HOST = os.uname_result(("Linux", "host", "6.1.0", "#1", "x86_64"))
PODMAN = {**VERSION, "Version": "4.3.1", "Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}]}
FULL = ("memory", "swap", "pids", "cpu")
RUNSC = {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=host", "--oci-seccomp"]}


def read(endpoint: str = UNIX, version: Any = VERSION, controllers: Any = None, **info: Any) -> Engine:
    return answers.facts(endpoint, version, {**INFO, **info}, HOST, controllers)


# --- what it says --------------------------------------------------------------------------------


def test_an_engine_of_this_machine_holds_everything() -> None:
    found = read()

    assert (found.kind, found.version, found.api) == ("docker", "20.10.24", "1.41")
    assert (found.place, found.rootless, found.cgroup, found.seccomp) == ("local", False, 2, True)
    assert (found.limits, found.runtimes, found.gvisor) == (FULL, ("runc",), "")
    assert (found.machine, found.root) == ("x86_64", "/var/lib/docker")


@pytest.mark.parametrize(
    ("endpoint", "info", "place"),
    [
        pytest.param("tcp://127.0.0.1:2375", {}, "local", id="by its loopback"),
        pytest.param("tcp://[::1]:2375", {}, "local", id="by its IPv6 loopback"),
        pytest.param("tcp://192.0.2.7:2375", {}, "remote", id="another address, the same name"),
        pytest.param("ssh://me@host", {}, "remote", id="over ssh"),
        pytest.param(UNIX, {"Name": "build7"}, "remote", id="the socket is the end of a tunnel, or lent"),
        pytest.param(UNIX, {"KernelVersion": "6.6.9"}, "remote", id="another kernel, and nobody says why"),
        pytest.param(UNIX, {"Name": "docker-desktop"}, "vm", id="docker desktop by its name"),
        pytest.param(UNIX, {"OperatingSystem": "Docker Desktop"}, "vm", id="docker desktop"),
        pytest.param(UNIX, {"Name": "colima"}, "vm", id="colima"),
        pytest.param("tcp://192.0.2.7:2375", {"Name": "colima"}, "remote", id="somebody else's colima"),
    ],
)
def test_where_it_is(endpoint: str, info: dict[str, Any], place: str) -> None:
    assert read(endpoint, **info).place == place


@pytest.mark.parametrize(
    ("info", "limits"),
    [
        pytest.param({"SwapLimit": False}, ("memory", "pids", "cpu"), id="no swap accounting"),
        pytest.param({"CpuCfsPeriod": False}, ("memory", "swap", "pids"), id="half of a cpu quota is none"),
        pytest.param({"CgroupDriver": "none"}, (), id="a rootless engine without delegation"),
        pytest.param({"MemoryLimit": False}, ("pids", "cpu"), id="swap alone bounds nothing"),
        pytest.param(
            {"CgroupVersion": "1", "SecurityOptions": ["name=rootless"]}, (), id="rootless with cgroup v1"
        ),
        pytest.param({"CgroupVersion": "1"}, FULL, id="control: root with cgroup v1"),
        pytest.param({"SecurityOptions": ["name=rootless"]}, FULL, id="control: rootless with cgroup v2"),
    ],
)
def test_limits_that_it_does_not_hold_are_not_counted(info: dict[str, Any], limits: tuple[str, ...]) -> None:
    assert read(**info).limits == limits


def test_podman_says_more_than_it_does() -> None:
    delegated = read(version=PODMAN, controllers=["memory", "pids"], Rootless=True)
    without = read(version=PODMAN, controllers=[], Rootless=True, CgroupVersion="1")
    listed = {"crun": {"path": "/usr/bin/crun"}, "runsc": RUNSC}
    runtimes = read(version=PODMAN, controllers=[], Runtimes=listed, DefaultRuntime="crun")

    assert (delegated.kind, delegated.rootless, delegated.limits) == (
        "podman",
        True,
        ("memory", "swap", "pids"),
    )
    assert without.limits == ()
    assert (runtimes.runtimes, runtimes.gvisor) == (("crun",), "")


@pytest.mark.parametrize(
    ("runtimes", "name", "said"),
    [
        pytest.param({"g": RUNSC}, "g", "--oci-seccomp", id="by what it runs, not by its name"),
        pytest.param({"runsc": {"path": "/usr/bin/runc"}}, "", "no runtime", id="a name is no gVisor"),
        pytest.param(
            {"runsc": {"path": "runsc", "runtimeArgs": ["--network=host"]}},
            "",
            "lacks --oci-seccomp",
            id="takes our filter and leaves it unused",
        ),
        pytest.param(
            {"runsc": {"path": "runsc"}}, "", "lacks --network=host --oci-seccomp", id="a network of its own"
        ),
        pytest.param({"a": {"path": "runsc"}, "b": RUNSC}, "b", "runtime `b`", id="the one that is set up"),
        pytest.param({"x": {"runtimeType": "io.containerd.runsc.v1"}}, "", "no runtime", id="a shim"),
    ],
)
def test_gvisor_counts_where_it_is_set_up_as_needed(runtimes: dict[str, Any], name: str, said: str) -> None:
    assert read(Runtimes=runtimes).gvisor == name
    assert said in answers.gvisor("docker", {"Runtimes": runtimes})[1].detail


# --- engines that will not do --------------------------------------------------------------------


def ask(server: Fake, folder: Path, **more: str) -> dict[str, str]:
    return {"DOCKER_HOST": server.endpoint, "HOME": str(folder), "XDG_CACHE_HOME": str(folder), **more}


@pytest.mark.parametrize(
    ("version", "info", "kind", "code"),
    [
        pytest.param({"ApiVersion": "1.40"}, {}, CannotEnforce, "engine-too-old", id="Docker 19.03"),
        pytest.param({"ApiVersion": "x"}, {}, SandboxNotBuilt, "engine-failed", id="no version"),
        pytest.param({}, {"OSType": "windows"}, CannotEnforce, "engine-not-linux", id="Windows containers"),
        pytest.param({}, {"OSType": ""}, SandboxNotBuilt, "engine-failed", id="another service with JSON"),
    ],
)
def test_what_will_not_do_is_named(
    tmp_path: Path, version: dict[str, Any], info: dict[str, Any], kind: type[SandboxError], code: str
) -> None:
    with (
        fake(tmp_path, {**VERSION, **version}, {**INFO, **info}) as server,
        pytest.raises(kind) as caught,
    ):
        engine(ask(server, tmp_path))

    assert caught.value.code == code
    assert caught.value.hint
    assert not list(tmp_path.glob("mcp-sandbox/engine-*"))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", id="no JSON"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", id="JSON of another kind"),
        pytest.param(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", id="an engine in trouble"),
        pytest.param(b"", id="closes at once"),
    ],
)
def test_nonsense_is_an_error_and_no_traceback(tmp_path: Path, raw: bytes) -> None:
    with fake(tmp_path, raw=raw or b"\r\n") as server, pytest.raises(SandboxError) as caught:
        engine(ask(server, tmp_path))

    assert server.endpoint in caught.value.what


@pytest.mark.slow
def test_an_engine_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    path = str(tmp_path / "hung.sock")
    environ = {"DOCKER_HOST": f"unix://{path}", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        before = time.monotonic()
        with pytest.raises(SandboxNotBuilt) as caught:
            engine(environ)

    assert caught.value.code == "engine-hung"
    assert "does not answer" in caught.value.what
    assert time.monotonic() - before < 25


def test_no_socket_is_said_in_one_line(tmp_path: Path) -> None:
    environ = {"DOCKER_HOST": f"unix://{tmp_path}/none", "HOME": str(tmp_path)}

    with pytest.raises(SandboxNotBuilt) as caught:
        engine(environ)

    assert (caught.value.code, caught.value.what) == (
        "no-engine",
        f"no engine's socket at unix://{tmp_path}/none",
    )


# --- the memory ----------------------------------------------------------------------------------


def memory(folder: Path) -> Path:
    return folder / f"mcp-sandbox/engine-{os.geteuid()}.json"


def test_it_is_asked_once_and_without_the_sdk_after_that(tmp_path: Path) -> None:
    with fake(tmp_path) as server:
        environ = ask(server, tmp_path)
        first = engine(environ)
        asked = len(server.asked)
        code = "import os, sys; from sandbox.host.engine import engine; print(engine(os.environ).version)"
        code += "; sys.exit('docker' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, timeout=30)

        assert asked > 0
        assert (done.returncode, done.stdout) == (0, f"{first.version}\n".encode()), done.stderr
        assert engine(environ) == first
        assert len(server.asked) == asked
        assert engine(environ, refresh=True) == first
        assert len(server.asked) > asked
    assert stat.S_IMODE(memory(tmp_path).stat().st_mode) == 0o600


def _another_socket(server: Fake, folder: Path, environ: dict[str, str]) -> None:
    os.rename(server.path, f"{server.path}.old")
    os.link(f"{server.path}.old", server.path)


def _another_context(server: Fake, folder: Path, environ: dict[str, str]) -> None:
    (folder / ".docker").mkdir()
    (folder / ".docker/config.json").write_text("{}")


def _another_variable(server: Fake, folder: Path, environ: dict[str, str]) -> None:
    environ["DOCKER_CERT_PATH"] = "/elsewhere"


def _a_day_later(server: Fake, folder: Path, environ: dict[str, str]) -> None:
    _rewrite(folder, "measured", time.time() - 25 * 3600)


def _from_the_future(server: Fake, folder: Path, environ: dict[str, str]) -> None:
    _rewrite(folder, "measured", time.time() + 3600)


def _readable_by_all(server: Fake, folder: Path, environ: dict[str, str]) -> None:
    memory(folder).chmod(0o644)


def _damaged(server: Fake, folder: Path, environ: dict[str, str]) -> None:
    memory(folder).write_text(memory(folder).read_text()[:-9])


def _rewrite(folder: Path, key: str, value: object) -> None:
    known = json.loads(memory(folder).read_text())
    memory(folder).write_text(json.dumps({**known, key: value}))


@pytest.mark.parametrize(
    "change",
    [
        _another_socket,
        _another_context,
        _another_variable,
        _a_day_later,
        _from_the_future,
        _readable_by_all,
        _damaged,
    ],
)
def test_a_memory_that_does_not_fit_is_none(
    tmp_path: Path, change: Callable[[Fake, Path, dict[str, str]], None]
) -> None:
    with fake(tmp_path) as server:
        environ = ask(server, tmp_path)
        engine(environ)
        asked = len(server.asked)
        engine(environ)
        assert len(server.asked) == asked, "control: nothing has changed yet"

        change(server, tmp_path, environ)
        engine(environ)

        assert len(server.asked) > asked


def test_bad_news_is_never_remembered_and_ends_what_was(tmp_path: Path) -> None:
    with fake(tmp_path) as server:
        environ = ask(server, tmp_path)
        engine(environ)
        assert memory(tmp_path).exists()
        server.answers["info"] = {**INFO, "OSType": "windows"}
        with pytest.raises(CannotEnforce):
            engine(environ, refresh=True)
        assert not memory(tmp_path).exists()

        server.answers["info"] = {**INFO, "SecurityOptions": []}
        assert engine(environ).seccomp is False
        assert not memory(tmp_path).exists()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"kind": "other"}, "choices"),
        ({"place": "here"}, "choices"),
        ({"cgroup": "2"}, "choices"),
        ({"rootless": 1}, "switches"),
        ({"limits": "memory"}, "words"),
        ({"limits": [1]}, "words"),
        ({"version": None}, "texts"),
        ({"more": ""}, "other fields"),
    ],
)
def test_a_memory_of_another_form_is_refused(wrong: dict[str, Any], why: str) -> None:
    value = json.loads(json.dumps(asdict(read())))
    assert decode(value) == read()

    with pytest.raises(ValueError, match=why):
        decode({**value, **wrong})


# --- real engines --------------------------------------------------------------------------------


def test_the_engine_of_this_machine_is_described_as_it_is(require: Require, tmp_path: Path) -> None:
    require("docker")
    environ = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    asked = ["docker", "info", "--format", "{{json .}}"]
    truth = json.loads(subprocess.run(asked, capture_output=True, timeout=30, check=True).stdout)

    found = measure(environ)

    assert found.engine.version == truth["ServerVersion"]
    assert found.engine.place == "local"
    assert found.engine.machine == os.uname().machine
    assert found.engine.root == truth["DockerRootDir"]
    assert set(found.engine.runtimes) == set(truth["Runtimes"])
    assert found.engine.seccomp
    assert found.free is not None
    assert found.free > 0
    assert engine(environ) == found.engine


def test_podman_is_known_and_what_it_cannot_do_is_not_believed(require: Require, tmp_path: Path) -> None:
    require("podman")
    with podman() as place:
        environ = {**os.environ, "DOCKER_HOST": place, "XDG_CACHE_HOME": str(tmp_path)}
        found = measure(environ).engine

    root = os.geteuid() == 0
    assert (found.kind, found.place, found.rootless) == ("podman", "local", not root)
    assert found.gvisor == ""
    if root:
        assert found.limits == FULL
    elif found.cgroup == 1:
        assert found.limits == ()
