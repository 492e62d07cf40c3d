"""What a build reaches: the registries of the settings, by their proxy, and nothing that a package wants."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sandbox.build import builder
from sandbox.building import policy_of
from sandbox.errors import CannotEnforce, SandboxNotBuilt
from sandbox.host.probe import probe
from sandbox.supply.job import BuildJob, BuildOutcome, Frozen
from tests.supply import reaching, registry
from tests.supply.toolchain import frozen

TOOL = "console.log('ran')"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A caller with a home, a store of this test's own and no registry settings."""
    node = os.path.dirname(os.path.realpath(shutil.which("node") or "/usr/bin/node"))
    return {
        "HOME": os.environ["HOME"],
        "PATH": f"{node}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "no_proxy": "127.0.0.1",
    }


class Build:
    """`frozen` by the real build sandbox; keeps the jobs, what they gave back and what was told."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.told: list[str] = []
        self.jobs: list[BuildJob] = []
        self.outcomes: list[BuildOutcome] = []

    def __call__(self, command: str, *, hosts: tuple[str, ...] = (), **more: Any) -> Frozen:
        build = builder(probe(), self.environ, hosts, self.told.append)

        def run(job: BuildJob) -> BuildOutcome:
            self.jobs.append(job)
            self.outcomes.append(build(job))
            return self.outcomes[-1]

        return frozen(command, self.environ, run, **more)

    @property
    def reached(self) -> set[str]:
        return {one for outcome in self.outcomes for one in outcome.reached}

    def logs(self) -> list[list[dict[str, Any]]]:
        """The events of each build, the oldest first."""
        folder = Path(self.environ["HOME"]) / ".local/state/mcp-sandbox/audit"
        logs = sorted(folder.glob("*-build-*.jsonl"), key=lambda one: one.stat().st_mtime_ns)
        return [[json.loads(line) for line in log.read_text().splitlines()] for log in logs]


@pytest.fixture
def build(environ: dict[str, str]) -> Build:
    return Build(environ)


# --- an install script ------------------------------------------------------------------------------


@pytest.fixture
def spied(npm: registry.Npm, environ: dict[str, str], tmp_path: Path) -> Iterator[reaching.Sink]:
    """A caller with a project, a token and a login, and the package that is after them."""
    project, home = tmp_path / "project", Path(environ["HOME"])
    project.mkdir()
    (project / "plans.txt").write_text("s")
    (home / ".netrc").write_text("machine a.test login me password t0ken-netrc\n")
    host = npm.url.removeprefix("http:")
    (home / ".npmrc").write_text(f"registry={npm.url}\n{host}:_authToken=t0ken-npm\n")
    environ["GITHUB_TOKEN"] = "t0ken-github"  # noqa: S105 - a decoy
    with reaching.sink() as place:
        reaching.publish(npm, home, project, place)
        yield place


@pytest.mark.threat("K4", proves="an install script sees nothing, reaches nothing and is reported")
def test_an_install_script_sees_nothing_reaches_nothing_and_is_reported(
    npm: registry.Npm, spied: reaching.Sink, build: Build
) -> None:
    saw = reaching.saw(Path(build("npx -y spy", scripts=("spy",)).tree))
    assert saw["home"] in ("ENOENT", "EACCES")
    assert saw["root"] in ("ENOENT", "EACCES", [])
    assert (saw["project"], saw["netrc"], saw["npmrc"]) == ("ENOENT", "ENOENT", "")
    assert "t0ken" not in json.dumps(saw)
    assert (saw["name"], saw["literal"], saw["sink"]) == ("ENOTFOUND", "ECONNREFUSED", "ECONNREFUSED")
    assert saw["registry"] == "ECONNREFUSED"
    assert spied.heard == []
    wanted = {f"localhost:{spied.port}", reaching.NAME, f"{reaching.LITERAL}:443", f"{reaching.LITERAL}:9"}
    assert wanted <= build.reached
    assert any(reaching.NAME in line and "install scripts of spy" in line for line in build.told)
    install, scripts = build.logs()
    assert not [event for event in install if event["kind"].endswith("deny")]
    denied = {
        event["detail"].get("host") for event in scripts if event["kind"] in ("dns.deny", "egress.deny")
    }
    assert {reaching.NAME, reaching.LITERAL, "localhost"} <= denied
    assert [scripts[0]["kind"], scripts[-1]["kind"]] == ["session.start", "session.end"]
    assert set(scripts[-1]["detail"]["reached"]) == build.reached
    assert "t0ken" not in json.dumps([install, scripts])


def test_the_control_bare_npm_lets_the_same_script_see_and_reach_it_all(
    spied: reaching.Sink, environ: dict[str, str], tmp_path: Path
) -> None:
    words = ["npm", "install", "--prefix", str(tmp_path / "bare"), "--cache", str(tmp_path / "npm"), "spy"]
    subprocess.run(words, env=environ, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    saw = reaching.saw(tmp_path / "bare")
    assert ".npmrc" in saw["home"]
    assert saw["project"] == ["plans.txt"]
    assert "t0ken-netrc" in saw["netrc"]
    assert saw["env"]["GITHUB_TOKEN"] == "t0ken-github"  # noqa: S105 - a decoy
    assert saw["sink"] == 204
    assert len(spied.heard) == 1


@pytest.mark.long
def test_a_host_that_the_profile_adds_is_reached_by_a_script_and_is_no_finding(
    npm: registry.Npm, spied: reaching.Sink, build: Build
) -> None:
    made = build("npx -y spy", scripts=("spy",), hosts=(f"localhost:{spied.port}",))
    assert reaching.saw(Path(made.tree))["sink"] == 204
    assert len(spied.heard) == 1
    assert reaching.NAME in build.reached
    assert f"localhost:{spied.port}" not in build.reached


# --- the installer ----------------------------------------------------------------------------------


def test_a_dependency_at_another_host_stops_the_build_and_is_named(npm: registry.Npm, build: Build) -> None:
    with reaching.sink() as place:
        url = f"http://127.0.0.1:{place.port}/evil-1.0.0.tgz"
        npm.publish("tool", "1.0.0", {"t.js": TOOL}, bin={"tool": "t.js"}, dependencies={"evil": url})
        build.environ = {**build.environ, "npm_config_registry": npm.url, "npm_config_fetch_retries": "0"}
        with pytest.raises(SandboxNotBuilt) as refused:
            build("npx -y tool")
        assert place.heard == []
    assert refused.value.code == "build-denied"
    assert f"localhost:{place.port}" in refused.value.what
    assert f'hosts = ["localhost:{place.port}"]' in refused.value.hint


def test_an_honest_build_is_denied_nothing_and_logs_what_it_reached(npm: registry.Npm, build: Build) -> None:
    npm.publish("tool", "1.0.0", {"t.js": TOOL}, bin={"tool": "t.js"})
    build.environ = {**build.environ, "npm_config_registry": npm.url}
    build("npx -y tool")
    assert (build.reached, build.told) == (set(), [])
    (events,) = build.logs()
    kinds = [event["kind"] for event in events]
    assert (kinds[0], kinds[-1]) == ("session.start", "session.end")
    assert kinds.count("egress.allow") >= 2
    assert {event["server"] for event in events} == {"build"}
    (spec,) = [event["detail"] for event in events if event["kind"] == "spec"]
    assert spec["network"] == "trap"
    assert spec["hosts"] == [npm.url.removeprefix("http://").strip("/")]
    shown = subprocess.run(
        [os.path.dirname(sys.executable) + "/mcp-sandbox", "audit", "verify"],
        env={**build.environ}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stdout + shown.stderr


# --- the host's proxy -------------------------------------------------------------------------------


@pytest.fixture
def proxy(npm: registry.Npm) -> Iterator[tuple[str, list[str]]]:
    """A proxy that knows one name, `packages.test`, and wants a login: its URL, and what it was asked."""
    asked: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    at = int(npm.url.rpartition(":")[2].strip("/"))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_tunnel, args=(client, at, asked), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://clerk:horse@127.0.0.1:{listener.getsockname()[1]}", asked
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def _tunnel(client: socket.socket, at: int, asked: list[str]) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4096)
    first = head.split(b"\r\n")[0].decode()
    has_login = b"\nproxy-authorization: basic " in head.lower()
    asked.append(first + (" with a login" if has_login else ""))
    if not first.startswith("CONNECT packages.test:80 "):
        client.close()
        return
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    with socket.create_connection(("127.0.0.1", at)) as there:
        back = threading.Thread(target=_copy, args=(there, client), daemon=True)
        back.start()
        _copy(client, there)
        back.join()
    client.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.mark.parametrize("by", ["npmrc", pytest.param("variable", marks=pytest.mark.long)])
def test_a_registry_behind_the_proxy_of_the_settings_is_reached(
    by: str, npm: registry.Npm, proxy: tuple[str, list[str]], build: Build
) -> None:
    url, asked = proxy
    npm.url = "http://packages.test/"  # where it says that its files are
    npm.publish("tool", "1.0.0", {"t.js": TOOL}, bin={"tool": "t.js"})
    settings = "registry=http://packages.test/\n"
    if by == "npmrc":
        settings += f"proxy={url}\n"
    else:
        build.environ = {**build.environ, "http_proxy": url}
    (Path(build.environ["HOME"]) / ".npmrc").write_text(settings)
    assert build("npx -y tool").resolved == ("tool@1.0.0",)
    assert set(asked) == {"CONNECT packages.test:80 HTTP/1.1 with a login"}
    inside = [(job.steps, job.env, job.files) for job in build.jobs]
    assert "horse" not in repr(inside)
    assert "horse" not in json.dumps(build.logs())
    assert "waiver" in [event["kind"] for event in build.logs()[0]]


# --- the profile ------------------------------------------------------------------------------------


def _own_profile(build: Build, text: str) -> None:
    place = Path(build.environ["HOME"]) / ".config/mcp-sandbox/profiles/build.toml"
    place.parent.mkdir(parents=True)
    place.write_text(f'schema = 1\nextends = "build"\n{text}')


@pytest.mark.long
def test_a_build_that_takes_too_long_is_ended_and_says_so(npm: registry.Npm, build: Build) -> None:
    npm.publish("tool", "1.0.0", {"t.js": TOOL}, bin={"tool": "t.js"})
    build.environ = {**build.environ, "npm_config_registry": npm.url}
    _own_profile(build, '[quota]\nwall = "2s"\n')
    npm.open.clear()
    with pytest.raises(SandboxNotBuilt, match=r"took too long \[quota\.wall\]") as failed:
        build("npx -y tool")
    assert failed.value.exit_status == 125
    (events,) = build.logs()
    assert [event["rule"] for event in events if event["kind"] == "quota.breach"] == ["quota.wall"]
    assert events[-1]["detail"]["reason"] == "quota.wall"


@pytest.mark.long
def test_a_script_that_eats_the_memory_is_ended_and_says_so(npm: registry.Npm, build: Build) -> None:
    eater = "const kept = []; for (;;) kept.push(Buffer.alloc(1 << 24, 1))"
    npm.publish("tool", "1.0.0", {"t.js": TOOL, "e.js": eater}, bin={"tool": "t.js"},
                scripts={"postinstall": "node e.js"})  # fmt: skip
    build.environ = {**build.environ, "npm_config_registry": npm.url}
    _own_profile(build, '[quota]\nmemory = "256M"\n')
    with pytest.raises(SandboxNotBuilt, match=r"quota\.memory"):
        build("npx -y tool", scripts=("tool",))
    assert build.outcomes[-1].status == 124


@pytest.mark.long
def test_what_a_budget_of_the_network_allows_is_all(npm: registry.Npm, build: Build) -> None:
    npm.publish("tool", "1.0.0", {"t.js": TOOL, "big.bin": os.urandom(1 << 20).hex()}, bin={"tool": "t.js"})
    build.environ = {**build.environ, "npm_config_registry": npm.url}
    _own_profile(build, '[network]\ndownload = "100K"\n')
    with pytest.raises(SandboxNotBuilt, match=r"network\.download"):
        build("npx -y tool")


@pytest.mark.long
def test_the_users_own_profile_allows_more_for_every_build(
    npm: registry.Npm, spied: reaching.Sink, build: Build
) -> None:
    _own_profile(build, f'[network]\nallow = ["localhost:{spied.port}"]\n')
    made = build("npx -y spy", scripts=("spy",))
    assert reaching.saw(Path(made.tree))["sink"] == 204


def test_a_registry_may_be_anywhere_and_what_a_profile_adds_at_public_addresses_alone(build: Build) -> None:
    job = BuildJob("tool", (("/bin/true",),), "/n", (), (), "/n/log", hosts=("r.test:8443",))
    _own_profile(build, '[network]\nprivate = ["own.test"]\n')
    rules = policy_of(job, ("added.test",), build.environ).network.allow
    assert [(rule.host, rule.port, rule.anywhere, rule.private) for rule in rules] == [
        ("r.test", 8443, True, False),
        ("added.test", 443, False, False),
        ("own.test", 443, False, True),
    ]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[isolation]\ndecoys = true\n", id="decoys"),
        pytest.param('[isolation]\nruntime = "gvisor"\n', id="another kernel"),
        pytest.param('[server]\nimage = "node"\n', id="an image"),
    ],
)
def test_a_profile_that_asks_for_what_no_build_has_is_refused(text: str, build: Build) -> None:
    job = BuildJob("tool", (("/bin/true",),), "/nowhere", (), (), "/nowhere/log")
    assert policy_of(job, (), build.environ).network.allow == ()
    _own_profile(build, text)
    with pytest.raises(CannotEnforce):
        policy_of(job, (), build.environ)


@pytest.mark.long
def test_a_projects_own_build_profile_is_not_read(
    npm: registry.Npm, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "hostile/.mcp-sandbox"
    project.mkdir(parents=True)
    (project / "build.toml").write_text("no profile at all")
    monkeypatch.chdir(project.parent)
    npm.publish("tool", "1.0.0", {"t.js": TOOL}, bin={"tool": "t.js"})
    build.environ = {**build.environ, "npm_config_registry": npm.url}
    assert build("npx -y tool", cwd=str(project.parent)).resolved == ("tool@1.0.0",)
