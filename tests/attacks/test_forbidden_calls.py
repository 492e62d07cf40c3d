"""A forbidden system call ends the sandbox before it is made, and the log names it; a needless one fails."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.forbidden import C_SERVER, FORBIDDEN, NODE_SERVER, PYTHON_SERVER, Forbidden, arguments, elf
from tests.attacks.inside import CALLERS, PATIENT, PLAIN, PYTHON, Attacker, World
from tests.differences import differs

pytestmark = [
    pytest.mark.backends,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86_64"),
]
KILLED_S = 2.0
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def c_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The program in C, where there is a compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        yield None
        return
    folder = tmp_path_factory.mktemp("c")
    (folder / "server.c").write_text(C_SERVER)
    subprocess.run([compiler, "-O1", "-o", "server", "server.c"], cwd=folder, check=True, timeout=60)
    yield folder / "server"


def programs(world: World, one: Forbidden, c_server: Path | None) -> dict[str, list[str]]:
    """The command lines of the servers that make this call, by language."""
    code = _program(world, f"forbidden-{one.name}", elf(one))
    found = {
        "machine code": [code],
        "python": [PYTHON, "-c", PYTHON_SERVER, *arguments(one)],
        "node": ["/usr/bin/node", "-e", NODE_SERVER, code],
    }
    if c_server is not None:
        del found["machine code"]
        found["c"] = [_program(world, "forbidden-c", c_server.read_bytes()), *arguments(one)]
    return found


def _program(world: World, name: str, content: bytes) -> str:
    path = world.program / name
    if not path.exists():
        path.write_bytes(content)
        path.chmod(0o755)
        world.own(path)
    return str(path)


class Run:
    """One server in a sandbox of its own, asked once; its log is its own too."""

    def __init__(self, world: World, server: list[str], name: str, content: str = PLAIN) -> None:
        self.log = world.scratch / f"{name.replace(' ', '-')}.jsonl"
        self.log.unlink(missing_ok=True)
        profile = str(world.file(f"{self.log.stem}.toml", world.base, content))
        options = ["--profile", profile, "--allow-read", str(world.program), "--audit", str(self.log)]
        self.attacker = Attacker(world.command(*options, server=server), world.environ)

    def asked(self) -> dict[str, Any]:
        """What came of one call."""
        self.attacker.ask("call")
        return self.attacker.message()

    def ended(self) -> tuple[int, str]:
        found = self.attacker.finish()
        self.attacker.close()
        return found

    def denials(self) -> list[dict[str, Any]]:
        """What the log says of calls that were not made."""
        events = map(json.loads, self.log.read_text().splitlines())
        return [event["detail"] for event in events if event["kind"] == "syscall.deny"]


def outside(server: list[str]) -> bytes:
    """The same server without a sandbox."""
    return subprocess.run(server, input=b"{}\n", capture_output=True, timeout=30).stdout


@pytest.fixture(scope="module")
def lived() -> set[str]:
    """The controls that were made: a call does the same for every caller, since it hurts nothing."""
    return set()


@pytest.mark.threat("T2", proves="each forbidden call, in C, Python and Node, ends the sandbox and is named")
@pytest.mark.threat("H2", proves="the call is not made: its caller never hears of it again")
@pytest.mark.parametrize("one", FORBIDDEN, ids=lambda one: f"{one.name} of {one.machine}")
def test_a_forbidden_call_is_named_and_ends_the_sandbox(
    one: Forbidden, world: World, c_server: Path | None, lived: set[str], require: Callable[[str], None]
) -> None:
    require("node")
    servers = programs(world, one, c_server)
    if world.caller != "root" and len(CALLERS) > 1:
        del servers["node"]  # the program that it starts is the same one, and root's run has it
    names = {language: f"{one.name} {one.machine} {language}" for language in servers}
    with ThreadPoolExecutor(len(servers)) as pool:
        new = [language for language in servers if names[language] not in lived]
        said = pool.map(outside, (servers[language] for language in new))
        assert [language for language, out in zip(new, said, strict=True) if b'"result"' not in out] == []
        lived |= {names[language] for language in new}
        runs = [pool.submit(_judged, world, servers[language], names[language]) for language in servers]
        for language, run in zip(servers, runs, strict=True):
            _check(one, language, *run.result())


def _judged(world: World, server: list[str], name: str) -> tuple[dict[str, Any], int, str, list[Any]]:
    run = Run(world, server, name)
    answer = run.asked()
    status, said = run.ended()
    return answer, status, said, run.denials()


def _check(
    one: Forbidden, language: str, answer: dict[str, Any], status: int, said: str, denials: list[Any]
) -> None:
    assert status == 124, (language, status, said)
    assert answer["error"]["data"]["rule"] == "syscalls.tier"
    (denial,) = [row for row in denials if row["class"] == "dangerous"]
    name = {"python": Path(PYTHON).name, "c": "forbidden-c"}.get(language, f"forbidden-{one.name}"[:15])
    assert denial["call"] == one.name
    assert denial["machine"] == one.machine
    assert denial["verdict"] == "killed"
    assert denial["process"].startswith(name[:6])
    assert denial["pid"] > 1
    if one.machine == "x86_64":
        asked = [hex(value & (2**64 - 1)) for value in one.args]
        assert denial["args"][: len(asked)] == asked
    assert f"`{one.name}`" in said
    assert f"`{one.name}`" in answer["error"]["message"]


# --- with another ending, and what is merely not needed -----------------------------------------

# Makes the calls that it is asked for, by number, and says what came of each.
CALLER = """
import ctypes, json, os, signal, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def made(number, times=1):
    for _ in range(times):
        ctypes.set_errno(0)
        libc.syscall(ctypes.c_long(number), *(ctypes.c_long(-1),) * 4)
    return ctypes.get_errno()
def flooded(number, seconds):
    counts = [0] * 8
    until = time.monotonic() + seconds
    def one(place):
        while time.monotonic() < until:
            made(number)
            counts[place] += 1
    threads = [threading.Thread(target=one, args=(place,)) for place in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return sum(counts)
def gone(number, times):
    for _ in range(times):
        child = os.fork()
        if child == 0:
            while True: made(number)
        time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return times
def later(number):
    for _ in range(40):
        child = os.fork()
        if child == 0:
            made(number)
            os._exit(0)
        time.sleep(0.3)  # whoever looks at it finds it still
        os.waitpid(child, 0)
for line in sys.stdin:
    call = json.loads(line)
    asked = call["params"]["arguments"]
    got = globals()[call["params"]["name"]](**{k: v for k, v in asked.items() if k != "child"})
    print(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": {"got": got}}), flush=True)
"""
PTRACE, SETXATTR, IOPRIO_SET = 101, 188, 251
EPERM, ENOSYS = 1, 38


def _caller(world: World, name: str, content: str = PLAIN) -> Run:
    return Run(world, [PYTHON, "-c", CALLER], name, content)


def test_with_warn_a_forbidden_call_fails_and_the_server_goes_on(world: World) -> None:
    run = _caller(world, "warned", PLAIN + PATIENT)
    for _ in range(3):
        assert run.attacker.call("made", number=PTRACE, times=2) == {"got": EPERM}
    assert run.attacker.call("made", number=0x40000000 | 110) == {"got": ENOSYS}
    status, said = run.ended()
    assert status == 0
    assert said.count("`ptrace` was called by") == 1, "a person is told once"
    first, x32, total = run.denials()
    assert (first["call"], first["class"], first["verdict"]) == ("ptrace", "dangerous", "EPERM")
    assert (x32["call"], x32["machine"], x32["verdict"]) == ("getppid", "x32", "ENOSYS")
    assert (total["call"], total["count"]) == ("ptrace", 6)


def test_a_needless_call_fails_is_told_once_and_counted(world: World) -> None:
    run = _caller(world, "needless")
    assert run.attacker.call("made", number=SETXATTR, times=7) == {"got": EPERM}
    assert run.attacker.call("made", number=IOPRIO_SET) == {"got": EPERM}
    status, said = run.ended()
    assert status == 0
    assert "setxattr" not in said, "no person needs to know"
    told = [(row["call"], row["class"], row.get("verdict"), row.get("count")) for row in run.denials()]
    assert told == [
        ("setxattr", "refused", "EPERM", None),
        ("ioprio_set", "refused", "EPERM", None),
        ("setxattr", "refused", None, 7),
    ]


@pytest.mark.threat("T2", proves="a flood of refused calls is answered at a bounded rate, at a bounded cost")
def test_a_flood_of_refused_calls_costs_a_bounded_part_of_a_core(world: World) -> None:
    seconds = 1.0
    run = _caller(world, "flood")
    run.attacker.call("made", number=SETXATTR)
    wrapper = _wrapper(run)
    before, began = _ticks(wrapper), time.monotonic()
    made = run.attacker.call("flooded", number=SETXATTR, seconds=seconds)["got"]
    share = (_ticks(wrapper) - before) / TICKS / (time.monotonic() - began)
    assert 0 < made <= 2500 * (seconds + 0.5)
    assert share < 0.4, f"{share:.0%} of a core for {made} calls"
    assert run.ended()[0] == 0
    assert [row.get("count") for row in run.denials()] == [None, made + 1]


def test_callers_that_are_killed_while_they_wait_harm_nobody(world: World) -> None:
    run = _caller(world, "gone")
    assert run.attacker.call("gone", number=SETXATTR, times=50) == {"got": 50}
    assert run.attacker.call("made", number=SETXATTR) == {"got": EPERM}
    assert run.ended()[0] == 0


def _wrapper(run: Run) -> int:
    """The wrapper's pid: below setpriv it is the same process."""
    return run.attacker.process.pid


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


# --- on every backend ----------------------------------------------------------------------------


@pytest.mark.backends(docker="root user", gvisor="user")
@pytest.mark.threat(
    "T2", proves="on each backend a forbidden call is not made; but for gVisor it is a breach"
)
def test_what_a_forbidden_call_comes_to(world: World) -> None:
    becomes = differs("a forbidden call", world.backend, "named, then killed")
    run = _caller(world, "becomes")
    run.attacker.ask("made", number=PTRACE)
    answer = run.attacker.message()
    status, _ = run.ended()
    if becomes == "EPERM":
        assert (status, answer["result"]) == (0, {"got": EPERM})
        return
    assert status == 124
    assert answer["error"]["data"]["rule"] == "syscalls.tier"
    (denial,) = run.denials()
    named = {"ptrace"} if becomes.startswith("named") else {"ptrace", "unknown"}
    assert (denial["call"] in named, denial["class"], denial["verdict"]) == (True, "dangerous", "killed")


@pytest.mark.root
@pytest.mark.backends(docker="root")
def test_a_child_s_forbidden_call_in_a_container_is_found_in_the_kernel_s_log(world: World) -> None:
    """Natively the listener hears of it, as of any."""
    run = _caller(world, "later")
    run.attacker.ask("later", number=PTRACE)
    assert run.attacker.message()["error"]["data"]["rule"] == "syscalls.tier"
    assert run.ended()[0] == 124
    (denial,) = run.denials()
    assert (denial["call"], denial["process"]) == ("ptrace", Path(PYTHON).name)


@pytest.mark.backends(docker="user")
def test_with_warn_a_container_s_filter_kills_nobody(world: World) -> None:
    run = _caller(world, "warned-too", PLAIN + PATIENT)
    assert run.attacker.call("made", number=PTRACE) == {"got": EPERM}
    assert run.ended()[0] == 0
