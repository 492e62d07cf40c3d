"""Processes: nobody else's can be seen, read or ended; nothing of the caller's is inherited."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.backend.native.identity import FIRST_UID
from tests.attacks.inside import PYTHON, Sides, World
from tests.differences import OWN, differs
from tests.e2e.remains import descendants, namespaces, text

pytestmark = pytest.mark.backends(docker="root user", gvisor="user")

BYSTANDER = "import sys; print('ready', flush=True); sys.stdin.read()"
NAMESPACES = "user mnt pid net ipc uts cgroup"
GRANTED = {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER"}


@pytest.fixture
def bystander(world: World) -> Iterator[subprocess.Popen[bytes]]:
    """Another program of the same caller, with a secret in its environment."""
    words = [*world.prefix(), PYTHON, "-c", BYSTANDER, world.word]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, env=world.environ, cwd="/", **pipes) as process:
        # Before it is executed it still is what made it, and belongs to somebody else.
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process
        assert process.poll() is None, "the bystander was ended"
        process.kill()


@pytest.mark.threat("S5", proves="no process of the host or of another server is visible")
def test_no_other_process_is_visible(sides: Sides, bystander: subprocess.Popen[bytes]) -> None:
    inside = sides.got("processes.seen")
    assert str(bystander.pid) not in inside
    assert not any(sides.world.word in words for words in inside.values())
    # Process 1 (ours), the server, and the child that looked.
    assert len(inside) == 3
    assert sides.world.word in sides.control("processes.seen")[str(bystander.pid)]


@pytest.mark.threat("H2", proves="no signal, trace or read reaches a process of the host")
@pytest.mark.parametrize(
    ("attack", "more"),
    [
        pytest.param("signal_one", {"number": 0}, id="signal"),
        pytest.param("environment", {}, id="environment"),
        pytest.param("memory", {"needle": "x"}, id="memory"),
        pytest.param("descriptors", {}, id="descriptors"),
        pytest.param("through_root", {"path": "/etc/passwd"}, id="root directory"),
        pytest.param("trace", {}, id="ptrace"),
    ],
)
def test_no_other_process_is_reached(
    attack: str, more: dict[str, object], sides: Sides, bystander: subprocess.Popen[bytes]
) -> None:
    expected = "EPERM" if attack == "trace" else "ENOENT ESRCH"
    sides.refused(f"processes.{attack}", expected, pid=bystander.pid, **more)


@pytest.mark.threat("K5", proves="the wrapper's secrets are in no environment, memory or file of process 1")
@pytest.mark.parametrize(
    ("attack", "more"),
    [
        pytest.param("environment", {}, id="its environment"),
        pytest.param("memory", {"needle": "CANARY"}, id="its memory"),
        pytest.param("descriptors", {}, id="its descriptors"),
        pytest.param("through_root", {"path": "/etc/passwd"}, id="its root"),
    ],
)
def test_process_1_gives_nothing(attack: str, more: dict[str, object], sides: Sides) -> None:
    """The control reads the process above the server, which holds the caller's secrets like the wrapper."""
    above = sides.control("processes.parent", child=False)
    if differs("process 1", sides.world.backend, "EACCES EPERM") != OWN:
        assert sides.refused(f"processes.{attack}", "EACCES EPERM", outside={"pid": above}, pid=1, **more)
        return
    secret = sides.world.word
    if attack == "memory":
        more = {"needle": secret}
    inside = sides.inside.call(f"processes.{attack}", pid=1, **more)
    assert inside != {"got": True}
    assert secret not in str(inside)
    control = sides.control(f"processes.{attack}", pid=above, **more)
    assert attack in ("descriptors", "through_root") or control is True or secret in control


@pytest.mark.threat("K5", proves="nothing in /proc inside says a secret of the caller's")
def test_nothing_in_proc_says_a_secret(sides: Sides) -> None:
    assert sides.got("processes.everything_said", needle=sides.world.word) == []
    assert sides.control("processes.everything_said", needle=sides.world.word)


@pytest.mark.threat("K5", proves="nothing in /proc inside says how the wrapper was called")
def test_the_wrappers_command_line_is_not_seen(world: World) -> None:
    """Process 1 was forked from the wrapper, and a command line can be read whatever else cannot."""
    log = f"{world.home}/{world.word}.jsonl"
    with world.inside("--audit", log) as inside:
        assert inside.call("processes.everything_said", needle=world.word) == {"got": []}
        assert log in text(f"/proc/{inside.process.pid}/cmdline").split("\0"), "the control: the host sees it"


@pytest.mark.threat("K5", proves="the server's environment holds only what was granted")
def test_the_environment_holds_only_what_was_granted(world: World) -> None:
    environ = {"LD_PRELOAD": "", "NODE_OPTIONS": "--x", "SSH_AUTH_SOCK": "/x", "HTTPS_PROXY": "http://u:p@h"}
    given = world.environ | environ | {"ASKED": "yes"}
    with world.inside("--allow-env", "ASKED", "--secret", "CANARY_TOKEN") as granted:
        granted_names = set(granted.call("processes.own_environment")["got"])
    usual = GRANTED | ({"HOSTNAME"} if differs("HOSTNAME", world.backend, "not set") == "set" else set())
    assert granted_names == usual | {"CANARY_TOKEN"}, "the control: what was granted and there is passed"
    command = world.command("--allow-read", str(world.program), "--allow-env", "ASKED")
    script = "import os, sys; print(sorted(os.environ), file=sys.stderr); print(os.environ, file=sys.stderr)"
    command[command.index("--", command.index("run")) + 1 :] = [PYTHON, "-c", script]
    done = subprocess.run(
        command, env=given, cwd="/", capture_output=True, text=True, timeout=30, check=False
    )
    assert str(sorted(usual | {"ASKED"})) in done.stderr
    assert world.word not in done.stderr


@pytest.mark.threat("H2", proves="a library that the caller preloads is not loaded by the server")
def test_preloaded_library(world: World) -> None:
    # Part of glibc itself, and needed by nothing.
    library = next((str(one) for one in Path("/usr").glob("lib*/**/libBrokenLocale.so.1")), "")
    if not library:
        pytest.skip("no glibc here: nothing to preload")
    with world.inside() as inside, world.outside() as outside:
        assert library not in outside.call("processes.own_maps")["got"]
        assert library not in inside.call("processes.own_maps")["got"]
    preload = world.environ | {"LD_PRELOAD": library}
    code = "import sys; print(open('/proc/self/maps').read(), file=sys.stderr)"
    words = world.command(server=[PYTHON, "-c", code])
    inside_maps = subprocess.run(
        words, env=preload, cwd="/", capture_output=True, text=True, timeout=30
    ).stderr
    outside_maps = subprocess.run(
        [PYTHON, "-c", code], env=preload, cwd="/", capture_output=True, text=True, timeout=30
    ).stderr
    assert "libc" in inside_maps
    name = os.path.basename(library).partition(".")[0]
    assert (name in inside_maps, name in outside_maps) == (False, True)


@pytest.mark.threat("K5", proves="a descriptor that the client left open is not open inside")
def test_inherited_descriptors(world: World) -> None:
    fd = os.open(world.home / "notes.txt", os.O_RDONLY)
    try:
        with world.inside(pass_fds=(fd,)) as inside, world.outside(pass_fds=(fd,)) as outside:
            control = outside.call("processes.inherited", child=False)["got"]
            assert any(world.word in what for what in control.values())
            assert inside.call("processes.inherited", child=False)["got"] == {}
    finally:
        os.close(fd)


@pytest.mark.backends(docker="root user")  # the host sees one process of gVisor's, in namespaces of its own
@pytest.mark.threat(
    "H2", proves="seven namespaces of its own, no capability, no_new_privs, a filter, never uid 0 of the host"
)
def test_the_server_as_the_host_sees_it(sides: Sides) -> None:
    init = sides.world.init(sides.inside)
    inside = {pid: status(pid) for pid in (init, *descendants(init))}
    assert len(inside) >= 2
    for pid, fields in inside.items():
        uids = {int(uid) for uid in fields["Uid"].split()}
        assert 0 not in uids
        assert len(uids) == 1
        assert uids == {sides.world.uid} or (sides.world.caller == "root" and min(uids) > FIRST_UID)
        assert {fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2"), pid
    expected = set(differs("namespaces", sides.world.backend, NAMESPACES).split())
    assert {link.partition(":")[0] for link in namespaces(list(inside))} == expected
    # The control: the same program outside has no namespace of its own, keeps a bounding set, has no filter.
    assert not namespaces(descendants(sides.outside.process.pid))
    outside = status(max(descendants(sides.outside.process.pid)))
    assert outside["CapBnd"] != "0" * 16
    assert outside["NoNewPrivs"] == "0"


def status(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text(f"/proc/{pid}/status").splitlines() if ":\t" in line)


@pytest.mark.root
@pytest.mark.threat("S5", proves="two sandboxes of a root caller have different uids on the host")
def test_a_uid_of_its_own_for_each_session(world: World) -> None:
    if world.caller != "root":
        pytest.skip("an ordinary user has one uid to give")
    with world.inside() as a, world.inside() as b:
        for one in (a, b):
            one.call("processes.parent")
        uids = {status(world.init(one))["Uid"] for one in (a, b)}
    assert len(uids) == 2


@pytest.mark.threat("S5", proves="kill(-1) ends the server's own processes and nothing else")
def test_signalling_everything(world: World, bystander: subprocess.Popen[bytes]) -> None:
    """The control is made in a pid namespace, because outside it would end this very test."""
    with world.inside() as inside:
        assert "got" in inside.call("processes.daemonise", mark="one")
        assert inside.call("processes.signal_all", child=False) == {"got": None}
        assert inside.call("processes.alone", child=False) == {"got": True}
        assert inside.process.poll() is None
    assert bystander.poll() is None
    code = "import os,signal,subprocess as s; p=s.Popen(['sleep','60']); os.kill(-1,9); print(p.wait())"
    apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    # kill(-1) spares process 1 and its caller: the victim has to be a third.
    command = [*world.prefix(), *apart, "sh", "-c", '"$@"; exit $?', "sh", PYTHON, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() == str(-signal.SIGKILL), done.stderr


@pytest.mark.threat("S5", proves="two servers share no file, port, abstract socket or System V segment")
def test_two_servers_do_not_meet(world: World) -> None:
    key, name = int.from_bytes(os.urandom(3)) + 1, world.name
    with world.inside() as a, world.inside() as b, world.outside() as c, world.outside() as d:
        for left, right, meet in ((a, b, False), (c, d, True)):
            port = left.call("host.listen_tcp", child=False)["got"]
            assert "got" in left.call("host.listen_abstract", child=False, name=name)
            made = left.call("processes.shared_memory", child=False, key=key, size=4096, create=True)
            found = [
                right.call("host.connect_tcp", port=port),
                right.call("host.connect_abstract", name=name),
                right.call("processes.shared_memory", key=key, size=4096, create=False),
            ]
            if meet:
                remove_segment(made["got"], world)
            assert [("got" in one) for one in found] == [meet] * 3, found
        assert "got" in a.call("files.create", path="/tmp/of-a")
        assert "got" in a.call("files.create", path="/home/mcp/of-a")
        for place in ("/tmp/of-a", "/home/mcp/of-a", "/dev/shm/of-a"):
            assert b.call("files.read", path=place) == {"failed": "ENOENT"}


def remove_segment(number: int, world: World) -> None:
    code = f"import ctypes; ctypes.CDLL(None).shmctl({number}, 0, None)"
    subprocess.run([*world.prefix(), sys.executable, "-c", code], check=True, timeout=10)
