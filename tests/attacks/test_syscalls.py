"""Forbidden system calls on this kernel, under the filter alone and, as the control, without it."""

from __future__ import annotations

import errno
import json
import platform
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.backend.native import seccomp

MACHINE = platform.machine()
FILTERS = Path(seccomp.__file__).parent / "filters"
PROBE = Path(__file__).with_name("syscall_probe.py")
UNDER_FILTER = """
import os, sys
from sandbox import linux
from sandbox.backend.native import seccomp
bpf = seccomp.load(sys.argv[1], os.uname().machine)
linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
seccomp.install(bpf)
os.execvp(sys.argv[2], sys.argv[2:])
"""
only_x86_64 = pytest.mark.skipif(MACHINE != "x86_64", reason="a convention of x86_64")
needs_root = pytest.mark.root


def numbers() -> dict[str, int]:
    lines = (FILTERS / f"{MACHINE}.numbers").read_text().splitlines()
    return {name: int(number) for number, name in (line.split() for line in lines)}


def attack(name: str, bpf: bytes) -> int | str:
    """What came of it: the result, minus the errno, the signal's name, or `executed`."""
    asked = json.dumps({"attack": name, "filter": bpf.hex(), "numbers": numbers()})
    done = subprocess.run([sys.executable, PROBE], input=asked, capture_output=True, text=True, timeout=30)
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    assert done.returncode == 0, done.stderr
    return int(done.stdout) if done.stdout else "executed"


DENIED = [
    pytest.param("ptrace", errno.EPERM, id="ptrace"),
    pytest.param("process_vm_readv", errno.EPERM, id="read another process's memory"),
    pytest.param("process_vm_writev", errno.EPERM, id="write another process's memory"),
    pytest.param("pidfd_getfd", errno.EPERM, id="take another process's descriptor"),
    pytest.param("add_key", errno.EPERM, id="add a key"),
    pytest.param("request_key", errno.EPERM, id="request a key"),
    pytest.param("keyctl", errno.EPERM, id="keyctl"),
    pytest.param("bpf", errno.EPERM, id="bpf"),
    pytest.param("perf_event_open", errno.EPERM, id="perf"),
    pytest.param("userfaultfd", errno.EPERM, id="userfaultfd"),
    pytest.param("io_uring_setup", errno.ENOSYS, id="io_uring"),
    pytest.param("unshare", errno.EPERM, id="a user namespace by unshare"),
    pytest.param("clone", errno.EPERM, id="a user namespace by clone"),
    pytest.param("clone3", errno.ENOSYS, id="clone3"),
    pytest.param("setns", errno.EPERM, id="enter a namespace"),
    pytest.param("mount", errno.EPERM, id="mount"),
    pytest.param("umount2", errno.EPERM, id="unmount"),
    pytest.param("chroot", errno.EPERM, id="chroot"),
    pytest.param("open_tree", errno.EPERM, id="copy a mount"),
    pytest.param("mount_setattr", errno.EPERM, id="change a mount"),
    pytest.param("name_to_handle_at", errno.EPERM, id="a file's handle"),
    pytest.param("open_by_handle_at", errno.EPERM, id="open by handle", marks=needs_root),
    pytest.param("kexec_load", errno.EPERM, id="load a kernel", marks=needs_root),
    pytest.param("init_module", errno.EPERM, id="load a module from memory", marks=needs_root),
    pytest.param("finit_module", errno.EPERM, id="load a module from a file", marks=needs_root),
    pytest.param("delete_module", errno.EPERM, id="remove a module", marks=needs_root),
    pytest.param("reboot", errno.EPERM, id="reboot", marks=needs_root),
    pytest.param("syslog", errno.EPERM, id="read the kernel's log", marks=needs_root),
    pytest.param("AF_ALG", errno.EPERM, id="the kernel's ciphers"),
    pytest.param("dirty AF_ALG", errno.EPERM, id="the kernel's ciphers, high bits set"),
    pytest.param("AF_VSOCK", errno.EPERM, id="the hypervisor"),
    pytest.param("AF_PACKET", errno.EPERM, id="raw frames", marks=needs_root),
    pytest.param("NETLINK_SOCK_DIAG", errno.EPERM, id="netlink's list of sockets"),
    pytest.param("NETLINK_NETFILTER", errno.EPERM, id="netlink's firewall"),
    pytest.param("TIOCSTI", errno.EPERM, id="type into the terminal"),
    pytest.param("dirty TIOCSTI", errno.EPERM, id="type into the terminal, high bits set"),
    pytest.param("memfd_create", errno.ENOSYS, id="a file without a name"),
    pytest.param("execveat", errno.ENOSYS, id="execute a descriptor"),
    pytest.param("personality", errno.EPERM, id="an address space without randomness"),
    pytest.param("prctl", errno.EPERM, id="a filter by prctl"),
    pytest.param("seccomp", errno.ENOSYS, id="a filter by seccomp"),
]


@pytest.mark.threat(
    "H2", proves="each forbidden call fails under the filter and behaves otherwise without it"
)
@pytest.mark.parametrize("tier", ["strict", "net"])
@pytest.mark.parametrize(("name", "expected"), DENIED)
def test_forbidden_call(name: str, expected: int, tier: str, require: Callable[[str], None]) -> None:
    if name in ("unshare", "clone"):
        require("native")
    control = attack(name, b"")
    assert control != -expected, "the kernel alone answers so: this proves nothing"
    assert attack(name, seccomp.load(tier, MACHINE)) == -expected


@pytest.mark.threat("D3", proves="no internet socket can be made in the strict tier")
@pytest.mark.parametrize("name", ["AF_INET", "dirty AF_INET"])
def test_strict_has_no_internet_sockets(name: str) -> None:
    assert isinstance(fd := attack(name, b""), int)
    assert fd >= 0
    assert attack(name, seccomp.load("net", MACHINE)) == fd
    assert attack(name, seccomp.load("strict", MACHINE)) == -errno.EAFNOSUPPORT


@pytest.mark.threat("H2", proves="a protocol that loads a kernel module is refused before it is looked for")
def test_no_protocol_that_loads_a_module() -> None:
    """SCTP is answered by the kernel itself (a descriptor, or that it has no such protocol)."""
    assert attack("SCTP", b"") != -errno.EPERM
    assert attack("SCTP", seccomp.load("net", MACHINE)) == -errno.EPERM
    assert attack("SCTP", seccomp.load("strict", MACHINE)) == -errno.EAFNOSUPPORT


@only_x86_64
@pytest.mark.threat("H2", proves="a 32-bit system call kills the process that makes it")
@pytest.mark.parametrize("tier", seccomp.TIERS)
def test_32_bit_calls_kill(tier: str) -> None:
    """Without 32-bit support in the kernel the control dies too, but of another signal."""
    assert attack("i386 socketcall", b"") != "SIGSYS"
    assert attack("i386 socketcall", seccomp.load(tier, MACHINE)) == "SIGSYS"


@only_x86_64
@pytest.mark.threat("H2", proves="x32 numbers are answered by the filter, before the kernel looks")
@pytest.mark.parametrize("tier", seccomp.TIERS)
def test_x32_numbers_are_answered_by_the_filter(tier: str) -> None:
    """Most kernels have no x32 and say ENOSYS themselves; a changed errno shows who spoke."""
    bpf = seccomp.load(tier, MACHINE)
    assert attack("x32 getpid", bpf) == -errno.ENOSYS
    ours, changed = (struct.pack("<HBBI", 6, 0, 0, 0x50000 | e) for e in (errno.ENOSYS, errno.EXFULL))
    assert attack("x32 getpid", bpf.replace(ours, changed)) == -errno.EXFULL


# --- and honest programs still run ---------------------------------------------------------------

PYTHON_WORK = """
import asyncio, errno, multiprocessing, os, shutil, socket, sqlite3, subprocess, sys, tempfile, threading
network = sys.argv[1] == "net"
seen = []
threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert sorted(seen) == list(range(8))
assert subprocess.run(["sh", "-c", "echo hello | tr a-z A-Z"], capture_output=True).stdout == b"HELLO\\n"
os.chdir(tempfile.mkdtemp())
with sqlite3.connect("x.db") as db:
    db.execute("pragma journal_mode=wal"); db.execute("create table t(a)")
    db.execute("insert into t values(1)")
    assert db.execute("select a from t").fetchall() == [(1,)]
db.close()
shutil.copy2("x.db", "y.db")
async def served(reader, writer):
    writer.write((await reader.readline()).upper()); await writer.drain(); writer.close()
async def main():
    child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    assert (await child.communicate(b"x"))[0] == b"x"
    server = await asyncio.start_unix_server(served, "s")
    r, w = await asyncio.open_unix_connection("s")
    w.write(b"unix\\n"); assert await r.read() == b"UNIX\\n"; w.close(); server.close()
    if network:
        server = await asyncio.start_server(served, "127.0.0.1", 0)
        r, w = await asyncio.open_connection(*server.sockets[0].getsockname())
        w.write(b"inet\\n"); assert await r.read() == b"INET\\n"; w.close(); server.close()
asyncio.run(main())
if not network:
    try: socket.socket(); raise SystemExit("an internet socket")
    except OSError as e: assert e.errno == errno.EAFNOSUPPORT
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
os.mkfifo("f"); assert not os.isatty(0); shutil.rmtree(os.getcwd())
print("done")
"""
NODE_WORK = """
const [net, fs, os, path] = ["net", "fs", "os", "path"].map(require);
const [cp, wt] = ["child_process", "worker_threads"].map(require);
const network = process.argv[2] === "net";
const home = fs.mkdtempSync(path.join(os.tmpdir(), "n-"));
const echo = where => new Promise((ok, no) => {
  const server = net.createServer(s => s.pipe(s)).on("error", no).listen(where, () =>
    net.connect(server.address().port || where, function () { this.end("ping"); })
      .on("error", no).on("data", d => { server.close(); ok(String(d)); }));
});
(async () => {
  const answer = "require('worker_threads').parentPort.postMessage(6*7)";
  const n = await new Promise((ok, no) =>
    new wt.Worker(answer, {eval: true}).on("message", ok).on("error", no));
  if (n !== 42) throw n;
  if (String(cp.execSync("echo hi")) !== "hi\\n") throw "child";
  await fs.promises.writeFile(path.join(home, "a"), "x".repeat(1 << 20));
  await fs.promises.copyFile(path.join(home, "a"), path.join(home, "b"));
  fs.watch(home).close();
  if (await echo(path.join(home, "s")) !== "ping") throw "unix";
  if (network) { if (await echo(0) !== "ping") throw "inet"; os.networkInterfaces(); }
  else { const e = await echo(0).catch(e => e.code); if (e !== "EAFNOSUPPORT") throw "reached " + e; }
  require("crypto").randomBytes(16); fs.rmSync(home, {recursive: true}); console.log("done");
})().catch(e => { console.error(e); process.exit(1); });
"""


def run_under(tier: str, argv: list[str]) -> str:
    """Its stdout; it must end well."""
    command = [sys.executable, "-c", UNDER_FILTER, tier, *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("tier", seccomp.TIERS)
def test_python_runs(tier: str) -> None:
    """Threads, children, sqlite, asyncio, a process pool, a FIFO; the network where the tier has it."""
    network = "none" if tier == "strict" else "net"
    assert run_under(tier, [sys.executable, "-c", PYTHON_WORK, network]) == "done\n"


@pytest.mark.parametrize("tier", seccomp.TIERS)
def test_node_runs(tier: str, tmp_path: Path, require: Callable[[str], None]) -> None:
    """Workers, children, files, watchers, sockets; libuv's io_uring probe must not kill it."""
    require("node")
    script = tmp_path / "work.js"
    script.write_text(NODE_WORK)
    assert run_under(tier, ["node", str(script), "none" if tier == "strict" else "net"]) == "done\n"


@pytest.mark.threat("H2", proves="the filter holds for every child and cannot be taken off")
def test_children_inherit_the_filter(require: Callable[[str], None]) -> None:
    require("native")
    code = "import subprocess; print(subprocess.run(['sh', '-c', 'unshare --user true']).returncode != 0)"
    assert run_under("net", [sys.executable, "-c", code]) == "True\n"
    assert run_under("browser", [sys.executable, "-c", code]) == "False\n"
