"""One caller on the machine: starts sandboxes, lets bombs off in them, and says what was seen."""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

PROGRAM = "/payload/venv/bin/mcp-sandbox"
BOMB = Path(__file__).with_name("bomb.py").read_text()
CGROUPS = Path("/sys/fs/cgroup")
MEMORY = 128 << 20
STARTS, KILLS = 9, 20
# Longer than logind waits for a user to come back (logind.conf(5), UserStopDelaySec).
LOGOUT_S = 20
# As a client passes it on: no XDG_RUNTIME_DIR, no bus.
ENVIRONMENT = {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin", "USER": os.environ.get("USER", "root")}


def main() -> None:
    """The parts named as arguments."""
    for name in sys.argv[1:]:
        try:
            said: Any = PARTS[name]()
        except Exception as error:  # one part's failure is a finding, and the next part goes on
            said = {"error": repr(error)}
        own = text("/proc/self/cgroup").strip()[3:]
        sys.stdout.write(json.dumps({"part": name, "own": own, "said": said}) + "\n")
        sys.stdout.flush()


def doctor() -> dict[str, object]:
    """What it says of cgroups and of the native backend, and what a plan says of memory."""
    found = json.loads(output("doctor", "--json", "--refresh"))
    rows = {row["name"]: row for row in (*found["probes"], *found["backends"])}
    plan = output("plan", "--", "/usr/bin/cat").splitlines()
    planned = [line.strip() for line in plan if "memory:" in line or "cpus:" in line]
    return {"cgroups": rows["cgroups"], "native": rows["native"], "plan": planned}


def start() -> dict[str, object]:
    """Milliseconds from the spawn to the first answer; to a server that does nothing, several times."""
    spent = []
    for _ in range(STARTS):
        began = time.monotonic()
        with Sandbox() as sandbox:
            spent.append((time.monotonic() - began) * 1000)
            sandbox.stop()
    median = round(statistics.median(spent), 1)
    return {"median_ms": median, "least_ms": round(min(spent), 1), "left": remains(2)}


def memory() -> dict[str, object]:
    """A bomb against 128 MiB."""
    with Sandbox("--memory", "128M") as sandbox:
        files = sandbox.cgroup
        swap, group = files.read("memory.swap.max"), files.read("memory.oom.group")
        sandbox.call("memory")
        if not files.path.name.startswith("mcp-sandbox-"):
            return polled(sandbox)
        peak, reached, events = 0, 0.0, ""
        while sandbox.process.poll() is None:
            now = number(files.read("memory.peak"))
            peak, events = max(peak, now), files.read("memory.events") or events
            if not reached and now >= MEMORY * 0.95:
                reached = time.monotonic()
        return {
            "exit": sandbox.process.returncode,
            "after_limit_ms": round((time.monotonic() - reached) * 1000) if reached else None,
            "peak_of_limit": round(peak / MEMORY, 3), "swap, oom.group": swap + " " + group,
            "events": events.split(),
            "answer": sandbox.rest(), "where": files.path.name, "left": remains(2),
        }  # fmt: skip


def polled(sandbox: Sandbox) -> dict[str, object]:
    """Without a cgroup of its own the wrapper's own measure is all there is."""
    status, said = sandbox.process.wait(30), sandbox.rest()
    errors = [line["error"] for line in said if isinstance(line, dict) and "error" in line]
    measured = max((error["data"]["measured"] for error in errors), default=0)
    return {"exit": status, "peak_of_limit": round(measured / MEMORY, 3), "answer": said, "left": remains(2)}


def pids() -> dict[str, object]:
    """A bomb against 32 processes."""
    with Sandbox("--pids", "32") as sandbox:
        sandbox.call("pids")
        seen, events, refused, patience = 0, "", 0.0, time.monotonic() + 30
        while sandbox.process.poll() is None and time.monotonic() < patience:
            seen = max(seen, number(sandbox.cgroup.read("pids.current")))
            events = sandbox.cgroup.read("pids.events") or events
            if not refused and events.split()[-1:] == ["1"]:
                refused = time.monotonic()
        after, status = round((time.monotonic() - refused) * 1000), sandbox.process.poll()
        sandbox.stop()
        found = {"exit": status, "most": seen, "events": events.split(), "answer": sandbox.rest()}
        return {**found, "after_limit_ms": after if refused else None, "left": remains(2)}


def cpu() -> dict[str, object]:
    """Two busy processes against half a processor: the share of one that they got."""
    refused = refusal("--cpus", "0.5")
    if refused:
        return {"refused": refused, "left": remains(2)}
    with Sandbox("--cpus", "0.5") as sandbox:
        before, began = used(sandbox.cgroup), time.monotonic()
        sandbox.ask("cpu")
        share = (used(sandbox.cgroup) - before) / (time.monotonic() - began)
        throttled = sandbox.cgroup.read("cpu.stat").splitlines()
        sandbox.stop()
        return {
            "share": round(share, 2), "cpu.max": sandbox.limits["cpu.max"],
            "stat": [line for line in throttled if "thrott" in line or "periods" in line], "left": remains(2),
        }  # fmt: skip


def used(files: Files) -> float:
    """Seconds of a processor, as the kernel counts them: exact, where a process's own times are sampled."""
    return int(files.read("cpu.stat").split()[1]) / 1e6


def frozen() -> dict[str, object]:
    """Whether the caller may freeze and kill what it started, through the cgroup alone."""
    with Sandbox() as sandbox:
        if not sandbox.cgroup.path.name.startswith("mcp-sandbox-"):
            return {"nothing": "no cgroup of its own"}
        said = {}
        for value in ("1", "0"):
            (sandbox.cgroup.path / "cgroup.freeze").write_text(value)
            time.sleep(0.05)
            said[value] = sandbox.cgroup.read("cgroup.events").splitlines()[-1]
        (sandbox.cgroup.path / "cgroup.kill").write_text("1")
        return {"freeze": said, "exit": sandbox.process.wait(3), "left": remains(2)}


def seen() -> dict[str, object]:
    """What `ps` says of a sandbox that runs: by which mechanism, and which of its numbers are known."""
    with Sandbox() as sandbox:
        time.sleep(3)  # a sample, and one more
        sessions = json.loads(output("ps", "--json"))["sessions"]
        one = next(one for one in sessions if one["pid"] == sandbox.process.pid)
        sandbox.stop()
        known = {
            name: one["use"][name] for name in ("memory", "peak", "swap", "ooms", "pids", "refused", "cpu")
        }
        return {"mechanism": one["mechanism"], "use": known, "left": remains(2)}


def stopped() -> dict[str, object]:
    """What a person sees who stops the scope, as a logout does too."""
    with Sandbox() as sandbox:
        if sandbox.cgroup.path.parent.suffix != ".scope":
            return {"nothing": "no scope of its own"}
        began = time.monotonic()
        manage("stop", sandbox.cgroup.path.parent.name)
        status = sandbox.process.wait(10)
        spent = round((time.monotonic() - began) * 1000)
        return {"exit": status, "ended_ms": spent, "answer": sandbox.rest(), "left": remains(3)}


def outlive() -> dict[str, object]:
    """Whether a sandbox goes on when its user has logged out and its client has not ended."""
    with Sandbox() as sandbox:
        time.sleep(LOGOUT_S)
        answered = sandbox.ask("nothing")
        sandbox.stop()
        return {"answered": answered is not None, "left": remains(2)}


def storm() -> dict[str, object]:
    """Wrappers, and every second time their keepers too, killed at random moments; what is left of it all."""
    chance, slowest, stayed = random.Random(1), 0.0, []  # noqa: S311 - chooses moments, guards nothing
    for turn in range(KILLS):
        wrapper = spawn()
        time.sleep(chance.uniform(0.0, 0.3))
        keepers = [pid for pid in below(wrapper.pid) if turn % 2 and comm(pid) == "mcp-keeper"]
        victims = [wrapper.pid, *keepers]
        for pid in victims:
            os.kill(pid, signal.SIGSTOP)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        wrapper.wait(3)
        left = remains(2)
        slowest = max(slowest, time.monotonic() - killed)
        stayed += [left] if left else []
    with Sandbox() as sandbox:
        sandbox.stop()
    return {"kills": KILLS, "slowest_ms": round(slowest * 1000), "stayed": stayed[:5], "left": remains(2)}


class Files:
    """The files of one cgroup, while it is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> str:
        """A file's text, empty where it is not there or no more."""
        return text(str(self.path / name)).strip()


class Sandbox:
    """A sandbox with the bomb in it, initialised."""

    def __init__(self, *options: str) -> None:
        self.process = spawn(*options)
        self.stdin, self.stdout, self.stderr = streams(self.process)
        self.cgroup, self.limits = Files(CGROUPS), dict[str, str]()

    def __enter__(self) -> Sandbox:
        client = {"name": "v2", "version": "1"}
        told = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        self.send({"id": 0, "method": "initialize", "params": told})
        if not self.receive():
            raise RuntimeError(f"no answer: {self.rest()}")
        self.send({"method": "notifications/initialized"})
        (init,) = [pid for pid in below(self.process.pid) if comm(pid) == "mcp-init"]
        self.cgroup = Files(CGROUPS / text(f"/proc/{init}/cgroup").strip()[4:])
        self.limits = {name: self.cgroup.read(name) for name in ("cpu.max", "memory.max", "pids.max")}
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(3)

    def send(self, message: dict[str, object]) -> None:
        """One message to the server."""
        with suppress(BrokenPipeError):
            self.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            self.stdin.flush()

    def receive(self) -> Any:
        """The next message of the server, or None."""
        line = self.stdout.readline()
        return json.loads(line) if line else None

    def call(self, name: str) -> None:
        """Begins a call."""
        self.send({"id": 1, "method": "tools/call", "params": {"name": name, "arguments": {}}})

    def ask(self, name: str) -> Any:
        """A call and its answer."""
        self.call(name)
        return self.receive()

    def rest(self) -> list[Any]:
        """All that was still said, as JSON, and the last line of stderr."""
        lines = [json.loads(line) for line in self.stdout.read().splitlines()]
        return [*lines, self.stderr.read().strip().splitlines()[-2:]]

    def stop(self) -> int:
        """As a client ends: it closes stdin."""
        if self.process.poll() is None:
            self.stdin.close()
            return self.process.wait(10)
        return self.process.returncode


def spawn(*options: str) -> subprocess.Popen[str]:
    """The program with the bomb, and nothing of this environment but what a client passes on."""
    argv = [PROGRAM, "run", "--name", "v2", *options, "--", "/usr/bin/python3", "-c", BOMB]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(argv, env=ENVIRONMENT, text=True, **pipes)  # type: ignore[call-overload,no-any-return]  # noqa: S603


def refusal(*options: str) -> str:
    """Why a server would not be started at all, with these options."""
    process = spawn(*options)
    _, said = process.communicate(timeout=30)
    return said.strip().splitlines()[0] if process.returncode == 125 else ""


def streams(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str], IO[str]]:
    """Its three pipes."""
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise RuntimeError("started without pipes")
    return process.stdin, process.stdout, process.stderr


def output(*words: str) -> str:
    """What the program says to a command."""
    return run([PROGRAM, *words], ENVIRONMENT)


def run(words: list[str], environ: dict[str, str]) -> str:
    """A command's stdout; its failure shows in that."""
    done = subprocess.run(words, env=environ, text=True, capture_output=True, timeout=120, check=False)  # noqa: S603
    return done.stdout


def remains(seconds: float) -> list[str]:
    """What of sandboxes is still there when nothing is, or when the time is up."""
    deadline = time.monotonic() + seconds
    while (left := [*processes(), *cgroups(), *units()]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def processes() -> list[str]:
    """Names of living processes of a sandbox, of this caller's."""
    names = {"mcp-init", "mcp-keeper", "mcp-sandbox"}
    return [f"process {pid} {comm(pid)}" for pid in every() if comm(pid) in names and state(pid) not in "ZX"]


def cgroups() -> list[str]:
    """Directories of ours, wherever they are."""
    found = [path for path, _, _ in os.walk(CGROUPS) if os.path.basename(path).startswith("mcp-sandbox-")]
    return [f"cgroup {path}" for path in found]


def units() -> list[str]:
    """Units of ours that a manager still knows."""
    listed = manage("list-units", "--all", "--plain", "--no-legend", "mcp-sandbox-*")
    return [f"unit {line}" for line in listed.splitlines()]


def manage(*words: str) -> str:
    """What the caller's own service manager says."""
    own = [] if os.getuid() == 0 else ["--user"]
    environment = {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}", "PATH": "/usr/bin"}
    return run(["systemctl", *own, *words], environment)


def below(root: int) -> list[int]:
    """All descendants of a process."""
    stats = {pid: text(f"/proc/{pid}/stat").rpartition(")")[2].split() for pid in every()}
    parents = {pid: int(fields[1]) for pid, fields in stats.items() if fields}
    found, left = [], [root]
    while left:
        parent = left.pop()
        children = [pid for pid, of in parents.items() if of == parent]
        found += children
        left += children
    return found


def every() -> list[int]:
    """The pids there are."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def state(pid: int) -> str:
    """One letter, or nothing for a process that is gone."""
    return "".join(text(f"/proc/{pid}/stat").rpartition(")")[2].split()[:1])


def comm(pid: int) -> str:
    """A process's own name."""
    return text(f"/proc/{pid}/comm").strip()


def number(value: str) -> int:
    """A file's number; 0 where there is none."""
    return int(value) if value.isdigit() else 0


def text(path: str) -> str:
    """A file's text, or nothing."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


PARTS = {
    one.__name__: one for one in (doctor, start, memory, pids, cpu, seen, frozen, stopped, storm, outlive)
}

if __name__ == "__main__":
    main()
