"""Which image and command a policy gets at an engine, when one is taken, and what `plan` shows of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import choice, containers, images
from sandbox import prepare as preparing
from sandbox.backend.native.identity import FIRST_UID
from sandbox.errors import CannotEnforce, CommandNotFound, ProfileError, SandboxError, SandboxNotBuilt
from sandbox.imaging import recipe
from sandbox.plan.facts import Closure, Probe
from sandbox.plan.image import Image
from sandbox.prepare import needs_engine, prepare
from sandbox.prepared import Found, Wish
from sandbox.records import replace
from sandbox.supply.lock import ImageLock, Lock
from sandbox.supply.request import parse
from tests.host.fake_engine import INFO, Fake, fake
from tests.plan.world import container, engine, facts, failing, policy

OWN = "registry.example/x@sha256:" + "a" * 64


# --- which image ---------------------------------------------------------------------------------


def script(first: bytes) -> Callable[[Path], str]:
    """A file with this first line."""

    def make(folder: Path) -> str:
        path = folder / "server"
        path.write_bytes(first + b"\nprint('x')\n")
        return str(path)

    return make


def said(name: str) -> Callable[[Path], str]:
    return lambda _: name


PROGRAMS = [
    pytest.param(said("node"), "node", id="node"),
    pytest.param(said("/opt/n/bin/node"), "node", id="node by its path"),
    pytest.param(said("/x/server"), "base", id="a file that is not there"),
    pytest.param(said("python3"), "python", id="python"),
    pytest.param(said("/x/bin/python3.12"), "python", id="python by its version"),
    pytest.param(said("/x/bin/pypy3"), "python", id="pypy"),
    pytest.param(said("bash"), "base", id="a shell"),
    pytest.param(script(b"\x7fELF\x02\x01\x01\0"), "base", id="a binary, as of Go"),
    pytest.param(script(b"#!/usr/bin/env node"), "node", id="a node script"),
    pytest.param(script(b"#!/usr/bin/env python3"), "python", id="a python script by env"),
    pytest.param(script(b"#!/usr/bin/env -S python3 -u"), "python", id="with options of both"),
    pytest.param(script(b"#! /usr/bin/python3 -u"), "python", id="with a space"),
    pytest.param(script(b"#!/home/u/venv/bin/python"), "python", id="of a virtual environment"),
    pytest.param(script(b"#!/bin/sh"), "base", id="a shell script"),
    pytest.param(script(b"#!"), "base", id="a first line that names nothing"),
    pytest.param(script(b"#!/usr/bin/env"), "base", id="env alone"),
    pytest.param(script(b"#!" + b"x" * 5000 + b"/node"), "base", id="a line without end"),
    pytest.param(script(b"#!/usr/bin/\xff\xfe"), "base", id="no text"),
    pytest.param(script(b""), "base", id="an empty line"),
]


@pytest.mark.parametrize(("program", "name"), PROGRAMS)
def test_which_image_a_command_gets(program: Callable[[Path], str], name: str, tmp_path: Path) -> None:
    needs = Closure((program(tmp_path), "x"))
    assert containers.image_name(policy(), needs, None) == name


PACKAGES = [
    pytest.param(("npx", "-y", "server-x"), "node", id="npx"),
    pytest.param(("uvx", "server-x"), "python", id="uvx"),
]


@pytest.mark.parametrize(("command", "name"), PACKAGES)
def test_which_image_a_package_gets(command: tuple[str, ...], name: str) -> None:
    request = parse(command)
    assert request is not None
    assert containers.image_name(policy(), Closure(command), request) == name


@pytest.mark.parametrize("command", [("npx", "-y", "server-x"), ("python3",), ("/x/go",)])
def test_the_browser_tier_has_the_browsers_image_whatever_the_command(command: tuple[str, ...]) -> None:
    wanted = policy({"syscalls": "browser"})
    assert containers.image_name(wanted, Closure(command), parse(command)) == "browser"


@pytest.mark.timeout(20)
def test_a_bare_name_is_no_file_of_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "waits")
    (tmp_path / "lies").write_text("#!/usr/bin/env node\n")
    monkeypatch.chdir(tmp_path)
    for name in ("waits", "lies"):
        assert containers.image_name(policy(), Closure((name,)), None) == "base"


def test_every_image_that_is_chosen_is_one_of_ours() -> None:
    assert set(containers._ECOSYSTEMS.values()) | {containers.HOLDER, "browser"} <= set(images.NAMES)


# --- the image itself ----------------------------------------------------------------------------


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What the images were asked for."""
    asked: list[tuple[str, ...]] = []

    def find(name: str, environ: Any) -> Image:
        asked.append(("find", name))
        return Image(name, f"sha256:{name}")

    def own(reference: str, environ: Any, *, unpinned: bool) -> Image:
        asked.append(("own", reference, str(unpinned)))
        return Image(reference, "sha256:own", own=True)

    monkeypatch.setattr(images, "find", find)
    monkeypatch.setattr(images, "own", own)
    return asked


SERVERS = [
    pytest.param({}, ("find", "node"), id="by the command"),
    pytest.param({"image": "python"}, ("find", "python"), id="one of ours by name"),
    pytest.param({"image": OWN}, ("own", OWN, "False"), id="another by digest"),
    pytest.param(
        {"image": "x:latest", "unpinned": True}, ("own", "x:latest", "True"), id="and by a tag, waived"
    ),
]


@pytest.mark.parametrize(("server", "asked"), SERVERS)
def test_the_profile_names_the_image(
    server: dict[str, Any], asked: tuple[str, ...], found: list[tuple[str, ...]]
) -> None:
    containers.image(policy({"server": server}), Closure(("node",)), None, {})
    assert found == [asked]


def test_a_tag_that_is_not_waived_is_refused_before_any_engine_is_asked() -> None:
    with pytest.raises(ProfileError, match="is whatever its owner last gave that name"):
        containers.image(policy({"server": {"image": "x:latest"}}), Closure(("x",)), None, {})


@pytest.mark.parametrize(("uid", "who"), [(1000, (1000, 1000)), (0, (FIRST_UID + os.getpid(),) * 2)])
def test_who_the_server_is_on_the_engines_host(
    uid: int, who: tuple[int, int], found: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "engine", lambda _: engine())
    made = containers.container(policy(), facts(uid), Closure(("node",)), None, {})
    assert (made.uid, made.gid) == who
    assert (made.engine, made.image.name) == (engine(), "node")


# --- the command ---------------------------------------------------------------------------------


def inside(*command: str, cwd: Path, server: dict[str, Any] | None = None) -> Closure:
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    return containers.closure_inside(command, policy({"server": server or {}}), environ, str(cwd))


def test_a_program_of_the_system_is_the_images(tmp_path: Path) -> None:
    for spelling in ("env", "/usr/bin/env", "/bin/env"):
        found = inside(spelling, "-i", cwd=tmp_path)
        assert (found.argv, found.binds) == (("env", "-i"), ())


def test_a_program_that_this_machine_has_not_is_the_images(tmp_path: Path) -> None:
    assert inside("no-such-program", "-x", cwd=tmp_path).argv == ("no-such-program", "-x")


@pytest.mark.parametrize("command", ["./gone", "/opt/gone/server", "bin/gone"])
def test_a_path_that_is_not_there_is_an_error(command: str, tmp_path: Path) -> None:
    with pytest.raises(CommandNotFound) as caught:
        inside(command, cwd=tmp_path)
    assert caught.value.exit_status == 127


def test_a_program_of_the_callers_stays_where_it_is_and_is_mounted(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    server = project / "server"
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    found = inside("./server", cwd=project)
    assert found.argv[0] == str(server)
    assert [source for source, _ in found.binds]


def test_an_own_image_is_given_the_command_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("")
    command = ("./gone", "/opt/x", "env")
    assert inside(*command, cwd=tmp_path, server={"image": OWN}) == Closure(command, why="the image")


def test_one_of_our_images_by_name_needs_what_the_command_needs(tmp_path: Path) -> None:
    assert inside("/usr/bin/env", cwd=tmp_path, server={"image": "node"}).argv == ("env",)


# --- which backend -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "needs"),
    [
        ({}, False),
        ({"server": {"image": "node"}}, True),
        ({"server": {"image": OWN}}, True),
        ({"isolation": {"runtime": "gvisor"}}, True),
        ({"isolation": {"runtime": "default", "decoys": True}}, False),
    ],
)
def test_what_an_engine_alone_has(table: dict[str, Any], needs: bool) -> None:
    assert needs_engine(policy(table)) is needs


class Backends:
    """Both backends as fakes: what each does when it is asked, and who was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.native: SandboxError | None = None
        self.docker: SandboxError | None = None
        self.host = facts(docker=Probe(True))
        self.notes: list[str] = []
        self._patch = monkeypatch
        monkeypatch.setattr(preparing, "remembered_facts", lambda _: self.host)
        monkeypatch.setattr(preparing, "_natively", lambda asked: self._does("native", self.native))
        monkeypatch.setattr(preparing, "_contained", lambda asked: self._does("docker", self.docker))

    def _does(self, name: str, error: SandboxError | None) -> str:
        self.asked.append(name)
        if error is not None:
            raise error
        return name

    def chosen(self, backend: str, table: dict[str, Any] | None = None) -> Any:
        self._patch.setattr(choice, "load", lambda *_, **__: policy(table))
        wish = Wish(("/usr/bin/env",), {}, "/", profile="base", backend=backend)
        return prepare(wish, self.notes.append)


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> Backends:
    return Backends(monkeypatch)


REFUSED = CannotEnforce("host-cannot-enforce", "user namespaces do not work here", rule="r", hint="h")


@pytest.mark.parametrize(
    ("backend", "table", "asked"),
    [
        pytest.param("auto", {}, ["native"], id="native where it can"),
        pytest.param("native", {}, ["native"], id="native where it is named"),
        pytest.param("docker", {}, ["docker"], id="the engine where it is named"),
        pytest.param("auto", {"server": {"image": OWN}}, ["docker"], id="the engine for an image"),
        pytest.param("auto", {"isolation": {"runtime": "gvisor"}}, ["docker"], id="and for a runtime"),
        pytest.param("native", {"server": {"image": OWN}}, ["native"], id="native is asked, which refuses"),
    ],
)
def test_which_backend_is_asked(
    backend: str, table: dict[str, Any], asked: list[str], backends: Backends
) -> None:
    assert backends.chosen(backend, table) == asked[-1]
    assert (backends.asked, backends.notes) == (asked, [])


def test_an_engine_takes_native_place_where_the_host_refuses_and_says_so(backends: Backends) -> None:
    backends.native = REFUSED
    assert backends.chosen("auto") == "docker"
    assert backends.asked == ["native", "docker"]
    assert backends.notes == ["by the Docker backend: user namespaces do not work here"]


def test_where_native_is_named_nothing_takes_its_place(backends: Backends) -> None:
    backends.native = REFUSED
    with pytest.raises(CannotEnforce):
        backends.chosen("native")
    assert backends.asked == ["native"]


def test_where_no_engine_answers_the_refusal_is_natives_own(backends: Backends) -> None:
    backends.native = REFUSED
    backends.host = facts(docker=failing("no engine", "start one"))
    with pytest.raises(CannotEnforce) as caught:
        backends.chosen("auto")
    assert caught.value is REFUSED
    assert backends.asked == ["native"]


def test_what_no_backend_could_enforce_is_not_tried_at_another(backends: Backends) -> None:
    backends.native = CannotEnforce("cannot-enforce", "`server.transport` is `http`")
    with pytest.raises(CannotEnforce):
        backends.chosen("auto", {"server": {"transport": "http"}})
    assert backends.asked == ["native"]


@pytest.mark.parametrize(
    "error", [ProfileError("mount-missing", "x"), CommandNotFound("command-not-found", "x")]
)
def test_a_mistake_is_not_another_backends_to_make(error: SandboxError, backends: Backends) -> None:
    backends.native = error
    with pytest.raises(type(error)):
        backends.chosen("auto")
    assert backends.asked == ["native"]


def test_where_neither_can_both_reasons_are_told_and_natives_hint(backends: Backends) -> None:
    backends.native = REFUSED
    backends.docker = SandboxNotBuilt("image-missing", "the image `base` is not there", hint="build it")
    with pytest.raises(CannotEnforce) as caught:
        backends.chosen("auto")
    assert caught.value.what.splitlines() == [
        "user namespaces do not work here",
        "and the Docker backend cannot take its place: the image `base` is not there",
    ]
    assert (caught.value.code, caught.value.hint) == (REFUSED.code, "h")
    assert backends.notes == []


def test_an_engine_that_is_named_and_cannot_is_not_replaced(backends: Backends) -> None:
    backends.docker = SandboxNotBuilt("no-engine", "no engine answers")
    with pytest.raises(SandboxNotBuilt):
        backends.chosen("docker")
    assert backends.asked == ["docker"]


# --- `plan --backend docker` ---------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Fake]:
    """An engine of this machine that has our images."""
    own = os.uname()
    here = {"Name": own.nodename, "KernelVersion": own.release, "Architecture": own.machine}
    with fake(tmp_path, info={**INFO, **here}) as one:
        for name in images.NAMES:
            labels = {"io.mcp-sandbox.recipe": recipe.recipe(name)}
            described = {"Id": f"sha256:{name:0<64}", "Size": 1, "Config": {"Labels": labels}}
            one.answers[f"images/{recipe.tag(name)}/json"] = described
        yield one


def planned(server: Fake, cwd: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [sys.executable, "-c", code, "plan", "--backend", "docker", *words],
        cwd=cwd,
        env={
            **os.environ,
            "DOCKER_HOST": server.endpoint,
            "XDG_CACHE_HOME": f"{server.path}.cache",
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


PROFILE = """
schema = 1
[secrets.API_TOKEN]
from = "env"
[env]
pass = ["PASSED"]
set = { WRITTEN = "v4lue-written" }
"""


def test_json_has_the_body_of_the_create_call_and_no_value_that_may_be_a_token(
    server: Fake, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    profile = project / "p.toml"
    profile.write_text(PROFILE)
    words = ("--json", "--profile", str(profile), "--allow-read", ".", "--", "/usr/bin/env", "-i")
    found = planned(server, project, *words, **{"API_TOKEN": "v4lue-secret", "PASSED": "v4lue-passed"})
    assert found.returncode == 0, found.stderr
    assert "v4lue" not in found.stdout + found.stderr
    document = json.loads(found.stdout)
    body = document["create"]
    assert document["backend"] == "docker"
    assert body["Image"] == f"sha256:{'base':0<64}"
    assert body["HostConfig"]["ReadonlyRootfs"] is True
    assert {"PASSED=…", "WRITTEN=…", "HOME=/home/mcp"} <= set(body["Env"])
    assert not any(text.startswith("API_TOKEN") for text in body["Env"])
    mounts = [(one["Source"], one["Target"]) for one in body["HostConfig"]["Mounts"]]
    assert any(target == str(project) for _, target in mounts)


def test_planning_asks_the_engine_and_makes_nothing_there(server: Fake, tmp_path: Path) -> None:
    assert planned(server, tmp_path, "--", "/usr/bin/env").returncode == 0
    assert server.asked
    # The fake answers GET alone: anything that makes or removes would have failed.
    assert not [page for page in server.asked if "containers" in page]


def test_text_shows_the_engines_mechanisms(server: Fake, tmp_path: Path) -> None:
    found = planned(server, tmp_path, "--all", "--", "/usr/bin/env")
    assert found.returncode == 0, found.stderr
    assert "docker backend" in found.stdout.splitlines()[0]
    assert "CapDrop ALL, no-new-privileges" in found.stdout
    assert "ReadonlyRootfs: true" in found.stdout


def test_an_image_that_is_missing_is_named_with_what_builds_it(tmp_path: Path) -> None:
    with fake(tmp_path) as one:
        found = planned(one, tmp_path, "--", "/usr/bin/env")
    assert found.returncode == 125
    assert "error: image-missing" in found.stderr
    assert "hint: mcp-sandbox image build base" in found.stderr


def test_natively_there_is_no_body(tmp_path: Path) -> None:
    code = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"
    argv = [sys.executable, "-c", code, "plan", "--json", "--backend", "native", "--", "/usr/bin/env"]
    found = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["create"] is None


# --- a name that moves, and a lock --------------------------------------------------------------


def waived(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Lock | None) -> tuple[str, ...]:
    """What is waived of an image under a name that moves, as it would start."""
    moving = Image("registry.example/x:1", "sha256:" + "1" * 64, own=True)
    monkeypatch.setattr(preparing, "remembered_facts", lambda _: facts())
    monkeypatch.setattr(containers, "container", lambda *_: container(image=moving))
    found = None if lock is None else Found("x", "/x.lock", "", (), lock)
    wish = Wish(("docker", "run", "-i", moving.name), {"HOME": str(tmp_path)}, str(tmp_path))
    return prepare(wish, print, lock=found).spec.waivers


def test_a_name_that_a_lock_holds_to_its_content_is_no_waiver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The control: without the lock, and by one that holds no image, the name is its owner's."""
    lock = Lock("x", "oci", ("x",), ("docker", "run", "x"), "2026-11-26T12:00:00Z", "ana")
    held = replace(lock, image=ImageLock("registry.example/x:1", "sha256:" + "1" * 64, "", ()))
    assert waived(monkeypatch, tmp_path, held) == ()
    for other in (None, lock):
        (said,) = waived(monkeypatch, tmp_path, other)
        assert "is whatever its owner last gave that name" in said
