"""The tables are sound, and every shipped filter says exactly what they say, on both architectures."""

from __future__ import annotations

import errno
import functools
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from sandbox.backend.native import seccomp
from sandbox.errors import CannotEnforce, SandboxNotBuilt
from sandbox.plan import syscalls
from sandbox.plan.syscalls import NEWEST, TIERS, Answer
from tests.plan import bpf

ROOT = Path(__file__).resolve().parent.parent.parent
FILTERS = ROOT / "sandbox" / "backend" / "native" / "filters"
X32 = 0x40000000
GARBAGE = 0xDEADBEEF << 32
EVERY_FILTER = [pytest.param(m, t, id=f"{m} {t}") for m, t in product(syscalls.MACHINES, TIERS)]

# What Node 20 and Python 3.11 servers were seen to call (stdio, HTTP, subprocess, sqlite, threads),
# less the calls whose arguments decide and clone3, which must be absent.
NEEDED = """
accept4 access arch_prctl bind brk capget chdir chmod clock_nanosleep close close_range connect
copy_file_range dup2 epoll_create1 epoll_ctl epoll_pwait epoll_wait eventfd2 execve exit exit_group
fadvise64 fchmod fchown fcntl fdatasync flock fstat fsync ftruncate futex getcwd getdents64 getegid
geteuid getgid getpeername getpid getppid getpriority getrandom getsockname getsockopt gettid getuid
inotify_add_watch inotify_init1 inotify_rm_watch kill link listen listxattr lseek madvise mkdir mmap
mprotect munmap newfstatat openat pipe2 pkey_alloc poll pread64 prlimit64 pwrite64 read readlink recvfrom
recvmsg rename rmdir rseq rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend sched_getaffinity
sendfile sendmmsg sendto set_robust_list set_tid_address setitimer setpgid setsid setsockopt shutdown
statfs statx symlink sysinfo tgkill timer_create timer_settime truncate umask uname unlink unlinkat
utimensat vfork wait4 write writev
""".split()


@functools.cache
def numbers(machine: str) -> dict[str, int]:
    lines = (FILTERS / f"{machine}.numbers").read_text().splitlines()
    return {name: int(number) for number, name in (line.split() for line in lines)}


@functools.cache
def program(machine: str, tier: str) -> bpf.Program:
    return bpf.decode(seccomp.load(tier, machine))


def asked(machine: str, tier: str, name: str, *args: int) -> int | None:
    """The errno the filter gives, 0 where it allows; None where it kills."""
    action, _ = bpf.run(program(machine, tier), bpf.ARCH[machine], numbers(machine)[name], args)
    if action == bpf.ALLOW:
        return 0
    return action & 0xFFFF if action & ~0xFFFF == bpf.ERRNO else None


def _deepest(rules: list[syscalls.Rule]) -> int:
    return max(2, *(test.argument for rule in rules for test in rule.tests))


def probes(name: str) -> set[tuple[int, ...]]:
    """Arguments that matter for `name`: every value of every rule, its neighbours, and single bits."""
    rules = [rule for table in TIERS.values() for rule in table.rules if rule.name == name]
    if not rules:
        return {(0,) * 6, (2**64 - 1,) * 6}
    choices: list[set[int]] = [{0, 1, 0xFFFFFFFF} for _ in range(_deepest(rules) + 1)]
    for test in (test for rule in rules for test in rule.tests):
        choices[test.argument] |= {test.value, (test.value + 1) & 0xFFFFFFFF, test.value ^ 0x80000000}
        choices[test.argument] |= {
            bit for n in range(32) if (bit := 1 << n) & test.mask and test.mask != 0xFFFFFFFF
        }
    plain = set(product(*choices))
    return plain | {tuple(value | GARBAGE for value in args) for args in plain}


# --- the shipped filters -------------------------------------------------------------------------


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_filter_says_what_the_table_says_for_every_number(machine: str, tier: str) -> None:
    """Names, arguments and numbers without a name: no call is left out."""
    names = {number: name for name, number in numbers(machine).items()}
    table, code, arch = TIERS[tier], program(machine, tier), bpf.ARCH[machine]
    wrong = []
    for number in range(NEWEST + 1):
        name = names.get(number, "")
        for args in probes(name):
            answer = table.answer(name, args) if name else Answer.ABSENT
            expected = bpf.ALLOW if answer is Answer.ALLOW else bpf.ERRNO | answer.errno
            action, _ = bpf.run(code, arch, number, args)
            if action != expected:
                wrong.append((name or number, [hex(a) for a in args], hex(action), answer.name))
    assert wrong == []


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_what_nobody_needs_is_told_to_a_listener_and_all_else_is_as_without_one(
    machine: str, tier: str
) -> None:
    """Instruction by instruction: what is told otherwise fails with EPERM, does not exist, or kills."""
    alone = program(machine, tier)
    listened = bpf.decode(seccomp.load(tier, machine, listened=True))
    told = {
        seccomp.RET_USER_NOTIF | errno.EPERM: bpf.ERRNO | errno.EPERM,
        seccomp.RET_USER_NOTIF | errno.ENOSYS: bpf.ERRNO | errno.ENOSYS,
        seccomp.RET_USER_NOTIF | seccomp.FOREIGN: bpf.KILL_PROCESS,
    }
    changed = [(a, b) for a, b in zip(listened, alone, strict=True) if a != b]
    assert all(a[:3] == b[:3] and told[a[3]] == b[3] for a, b in changed)
    assert not any(value & ~0xFFFF == seccomp.RET_USER_NOTIF for *_, value in alone)
    assert {a[3] for a, _ in changed} == set(told) - (
        set() if machine == "x86_64" else {seccomp.RET_USER_NOTIF | errno.ENOSYS}
    )
    assert bpf.ERRNO | errno.EPERM not in {value for *_, value in listened}


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_a_newer_call_does_not_exist(machine: str, tier: str) -> None:
    for number in (NEWEST + 1, 470, 600, 1023, 0x3FFFFFFF, 0xFFFFFFFF):
        action, _ = bpf.run(program(machine, tier), bpf.ARCH[machine], number, ())
        assert action == bpf.ERRNO | errno.ENOSYS, number


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_another_architecture_is_killed_whatever_the_call(machine: str, tier: str) -> None:
    foreign = [arch for name, arch in bpf.ARCH.items() if name != machine]
    for arch, number in product(foreign, (0, 1, 4, 20, 102, 359, NEWEST + 1, X32, 0xFFFFFFFF)):
        action, _ = bpf.run(program(machine, tier), arch, number, (2, 1, 0))
        assert action == bpf.KILL_PROCESS, (hex(arch), number)


@pytest.mark.parametrize("tier", TIERS)
def test_x32_numbers_do_not_exist(tier: str) -> None:
    """`X32 | socket` reaches the same kernel code as `socket`."""
    for number in range(NEWEST + 100):
        action, _ = bpf.run(program("x86_64", tier), bpf.ARCH["x86_64"], X32 | number, (2, 1, 0))
        assert action == bpf.ERRNO | errno.ENOSYS, number


CASES = [
    pytest.param("strict", "socket", (2, 1, 0), errno.EAFNOSUPPORT, id="strict has no IPv4"),
    pytest.param("strict", "socket", (10, 2, 0), errno.EAFNOSUPPORT, id="strict has no IPv6"),
    pytest.param(
        "strict", "socket", (2 | GARBAGE, 1, 0), errno.EAFNOSUPPORT, id="nor behind a dirty register"
    ),
    pytest.param("strict", "socket", (16, 3, 0), errno.EAFNOSUPPORT, id="strict has no netlink"),
    pytest.param("strict", "socket", (1, 1, 0), 0, id="strict has unix sockets"),
    pytest.param("net", "socket", (2, 1 | 0x80800, 6), 0, id="net has TCP, non-blocking"),
    pytest.param("net", "socket", (10 | GARBAGE, 2, 17), 0, id="net has UDP over IPv6"),
    pytest.param("net", "socket", (16, 3, 0), 0, id="net has rtnetlink"),
    pytest.param("net", "socket", (16, 3, 12), errno.EPERM, id="net has no netfilter"),
    pytest.param("net", "socket", (16, 3, GARBAGE | 9), errno.EPERM, id="net has no audit netlink"),
    pytest.param("net", "socket", (2, 3, 1), errno.EPERM, id="net has no raw sockets"),
    pytest.param("net", "socket", (2, 1, 132), errno.EPERM, id="net has no SCTP"),
    pytest.param("net", "socket", (17, 3, 0), errno.EPERM, id="net has no packet sockets"),
    pytest.param("compat", "socket", (38, 5, 0), errno.EPERM, id="compat has no AF_ALG"),
    pytest.param("compat", "socket", (40, 1, 0), errno.EPERM, id="compat has no AF_VSOCK"),
    pytest.param("browser", "socket", (16, 3, 12), errno.EPERM, id="browser has no netfilter"),
    pytest.param("net", "socketpair", (1, 1, 0), 0, id="unix socket pairs"),
    pytest.param("net", "socketpair", (30, 1, 0), errno.EPERM, id="no TIPC socket pairs"),
    pytest.param("net", "clone", (0x3D0F00,), 0, id="a thread"),
    pytest.param("net", "clone", (0x01200011,), 0, id="a fork"),
    pytest.param("net", "clone", (0x10000011,), errno.EPERM, id="no user namespace by clone"),
    pytest.param(
        "net", "clone", (0x3D0F00 | 0x40000000,), errno.EPERM, id="no net namespace among thread flags"
    ),
    pytest.param("browser", "clone", (0x70000011,), 0, id="the browser's renderer namespaces"),
    pytest.param("browser", "clone", (0x10020011,), errno.EPERM, id="no mount namespace in a browser"),
    pytest.param("browser", "unshare", (0x10000000,), 0, id="the browser's user namespace"),
    pytest.param("browser", "unshare", (0x10020000,), errno.EPERM, id="no unshared mounts in a browser"),
    pytest.param("browser", "unshare", (0x10000080,), errno.EPERM, id="no time namespace in a browser"),
    pytest.param("browser", "mount", (), errno.EPERM, id="no mount in a browser"),
    pytest.param("compat", "unshare", (0x10000000,), errno.EPERM, id="no user namespace in compat"),
    pytest.param("compat", "clone3", (), errno.ENOSYS, id="clone3 is absent in compat"),
    pytest.param("browser", "clone3", (), errno.ENOSYS, id="clone3 is absent in browser"),
    pytest.param("net", "ioctl", (0, 0x5401), 0, id="isatty"),
    pytest.param("net", "ioctl", (0, GARBAGE | 0x5413), 0, id="the window size, sign-extended"),
    pytest.param("net", "ioctl", (0, 0x5412), errno.EPERM, id="no TIOCSTI"),
    pytest.param(
        "compat", "ioctl", (0, GARBAGE | 0x5412), errno.EPERM, id="no TIOCSTI behind a dirty register"
    ),
    pytest.param("browser", "ioctl", (0, 0x541C), errno.EPERM, id="no TIOCLINUX"),
    pytest.param("compat", "ioctl", (0, 0x5423), errno.EPERM, id="no line disciplines"),
    pytest.param("net", "prctl", (15,), 0, id="a thread's name"),
    pytest.param("net", "prctl", (35,), errno.EPERM, id="no PR_SET_MM"),
    pytest.param("net", "prctl", (22,), errno.EPERM, id="no filter of the server's own"),
    pytest.param("browser", "prctl", (22,), 0, id="a filter of the browser's own"),
    pytest.param("net", "personality", (0xFFFFFFFF,), 0, id="which personality"),
    pytest.param(
        "net", "personality", (0x0040000,), errno.EPERM, id="no personality without randomised addresses"
    ),
    pytest.param("net", "mknodat", (0, 0, 0o010644), 0, id="a FIFO"),
    pytest.param("net", "mknodat", (0, 0, 0o020644), errno.EPERM, id="no character device"),
    pytest.param("compat", "mknodat", (0, 0, 0o060644), errno.EPERM, id="no block device"),
    pytest.param("net", "mknodat", (0, 0, 0o104755), errno.EPERM, id="no setuid file by mknod"),
    pytest.param("net", "fchmod", (0, 0o1777), 0, id="a sticky directory"),
    pytest.param("net", "fchmod", (0, 0o4755), errno.EPERM, id="no setuid bit"),
    pytest.param("compat", "fchmod", (0, 0o2755), errno.EPERM, id="no setgid bit, in compat too"),
    pytest.param("browser", "fchmodat", (0, 0, 0o104755), errno.EPERM, id="nor among a file type's bits"),
    pytest.param("net", "fchmodat2", (0, 0, GARBAGE | 0o4755, 0), errno.EPERM, id="nor below a dirty half"),
    pytest.param("net", "openat", (0, 0, 0o101, 0o644), 0, id="a new file"),
    pytest.param("net", "openat", (0, 0, 0o101, 0o4755), errno.EPERM, id="no new setuid file"),
    pytest.param("net", "openat", (0, 0, 0o20200002, 0o2755), errno.EPERM, id="nor one without a name"),
    pytest.param("net", "openat", (0, 0, 0, 0o7777), 0, id="reading leaves any mode in its register"),
    pytest.param("compat", "openat2", (), errno.ENOSYS, id="openat2 is absent, its mode cannot be read"),
    pytest.param("net", "prlimit64", (0, 7, 1), 0, id="the number of descriptors"),
    pytest.param("net", "prlimit64", (0, 4, 1), errno.EPERM, id="no core dumps for the host's handler"),
    pytest.param("compat", "setrlimit", (GARBAGE | 4, 1), errno.EPERM, id="nor by the older call"),
    pytest.param("net", "memfd_create", (), errno.ENOSYS, id="no file without a name"),
    pytest.param("compat", "memfd_create", (), errno.ENOSYS, id="no file without a name in compat"),
    pytest.param("compat", "execveat", (), errno.ENOSYS, id="no execution without a path"),
    pytest.param("browser", "execveat", (), errno.ENOSYS, id="nor in a browser"),
]


@pytest.mark.parametrize("machine", syscalls.MACHINES)
@pytest.mark.parametrize(("tier", "name", "args", "expected"), CASES)
def test_case(machine: str, tier: str, name: str, args: tuple[int, ...], expected: int) -> None:
    assert asked(machine, tier, name, *args) == expected


ALWAYS_DENIED = """
ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp mount umount2 pivot_root setns open_tree
move_mount fsopen mount_setattr open_by_handle_at name_to_handle_at bpf perf_event_open userfaultfd add_key
request_key keyctl kexec_load kexec_file_load init_module finit_module delete_module reboot swapon acct
syslog io_uring_setup io_uring_enter io_uring_register clone3 execveat settimeofday clock_settime
""".split()


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_no_tier_makes_a_dangerous_call(machine: str, tier: str) -> None:
    """And each fails by errno: libuv probes io_uring at start and would die of a kill."""
    answers = {name: asked(machine, tier, name) for name in ALWAYS_DENIED}
    assert set(answers.values()) <= {errno.EPERM, errno.ENOSYS}, answers


@pytest.mark.parametrize("machine", syscalls.MACHINES)
@pytest.mark.parametrize("tier", TIERS)
def test_what_servers_were_seen_to_need_is_allowed(machine: str, tier: str) -> None:
    existing = [name for name in NEEDED if name in numbers(machine)]
    assert len(existing) > 80
    assert [name for name in existing if asked(machine, tier, name) != 0] == []


@pytest.mark.parametrize("machine", syscalls.MACHINES)
def test_a_hot_call_is_answered_without_its_arguments(machine: str) -> None:
    """The kernel caches such answers (Linux 5.11), so that the filter does not run for them at all."""
    depth = {}
    for name in ("read", "write", "futex", "epoll_pwait", "recvmsg", "sendmsg"):
        action, depth[name] = bpf.run(program(machine, "net"), bpf.ARCH[machine], numbers(machine)[name], ())
        assert action == bpf.ALLOW
    assert max(depth.values()) <= 32, depth


# --- the tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_a_name_has_one_answer(tier: str) -> None:
    table = TIERS[tier]
    listed = [name for group in table.allowed + table.absent + table.dangerous for name in group.names]
    assert sorted(listed) == sorted(set(listed))
    assert {rule.name for rule in table.rules} & set(listed) == set()


@pytest.mark.parametrize("tier", TIERS)
def test_rules_of_a_call_do_not_contradict_each_other(tier: str) -> None:
    """So their order carries no meaning, and a new rule cannot be shadowed."""
    table = TIERS[tier]
    for name in {rule.name for rule in table.rules}:
        for args in probes(name):
            answers = {
                rule.answer
                for rule in table.rules
                if rule.name == name and all(t.holds(args) for t in rule.tests)
            }
            assert len(answers) <= 1, (name, args)


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        pytest.param("strict", "net", id="net allows what strict allows"),
        pytest.param("net", "browser", id="browser allows what net allows"),
        pytest.param("net", "compat", id="compat allows what net allows"),
    ],
)
def test_tiers_grow(inner: str, outer: str) -> None:
    lost = [
        (name, args)
        for name in numbers("x86_64")
        for args in probes(name)
        if TIERS[inner].answer(name, args) is Answer.ALLOW
        and TIERS[outer].answer(name, args) is not Answer.ALLOW
    ]
    assert lost == []


def test_only_a_browser_makes_namespaces() -> None:
    flags = 0x10000000
    allowed = [
        tier
        for tier, table in TIERS.items()
        if Answer.ALLOW in (table.answer("clone", (flags,)), table.answer("unshare", (flags,)))
    ]
    assert allowed == ["browser"]


def test_every_group_has_a_reason() -> None:
    groups = [g for t in TIERS.values() for g in t.allowed + t.absent + t.dangerous]
    assert all(group.why and group.names for group in groups)


# --- loading and building ------------------------------------------------------------------------


def test_a_machine_without_a_filter_is_not_run() -> None:
    with pytest.raises(CannotEnforce, match="riscv64"):
        seccomp.load("net", "riscv64")


def test_an_unknown_tier_is_not_a_weaker_one() -> None:
    with pytest.raises(CannotEnforce, match="nett"):
        seccomp.load("nett", "x86_64")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"1234567", id="cut within an instruction"),
        pytest.param(bytes(8 * 4097), id="longer than the kernel takes"),
    ],
)
def test_a_damaged_filter_is_not_run(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seccomp, "_DIRECTORY", str(tmp_path))
    if content is not None:
        (tmp_path / "x86_64-net.bpf").write_bytes(content)
    with pytest.raises(SandboxNotBuilt, match=r"x86_64-net\.bpf"):
        seccomp.load("net", "x86_64")


def test_loader_knows_the_tiers_and_machines_of_the_tables() -> None:
    assert set(seccomp.TIERS) == set(TIERS)
    assert seccomp.MACHINES == syscalls.MACHINES


def test_loading_needs_no_ctypes() -> None:
    load = "from sandbox.backend.native.seccomp import load; load('net', 'x86_64')"
    code = f"import sys; {load}; print('ctypes' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "False\n"


def test_shipped_filters_are_built_from_the_tables() -> None:
    script = str(ROOT / "scripts" / "build-filters")
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("machine", syscalls.MACHINES)
def test_numbers_are_those_of_libseccomp(machine: str) -> None:
    """A second source for the numbers that every filter stands on."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError) as missing:
        if os.environ.get("CI"):
            pytest.fail(f"CI must provide pyseccomp and libseccomp2: {missing}")
        pytest.skip(f"needs pyseccomp and libseccomp2: {missing}")
    arch = {"x86_64": pyseccomp.Arch.X86_64, "aarch64": pyseccomp.Arch.AARCH64}[machine]
    theirs = {name: pyseccomp.resolve_syscall(arch, name) for name in numbers(machine)}
    # An older library has no number for a newer name: a negative one, which contradicts nothing.
    assert {name: nr for name, nr in theirs.items() if nr >= 0 and nr != numbers(machine)[name]} == {}
    assert len(theirs) > 300
    assert sum(nr >= 0 for nr in theirs.values()) > 290
