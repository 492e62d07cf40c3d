"""Which system calls a server may make: four tiers as tables, compiled by `scripts/build-filters`.

A name stands in at most one class of a tier; a name in none is refused. A number that has no name or is
newer than `NEWEST` does not exist for the server, so that a libc built for a later kernel falls back.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import product

from sandbox.plan.spec import Tier
from sandbox.plan.syscall_arguments import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    AF_UNIX,
    BROWSER_NAMESPACES,
    CLONE_IOCTLS,
    CLONE_NAMESPACES,
    CLONE_NEWTIME,
    DANGEROUS_FAMILIES,
    DANGEROUS_IOCTLS,
    DANGEROUS_NETLINK,
    INTERFACE_IOCTLS,
    IOCTLS,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_IP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    MODES,
    NETLINK_ROUTE,
    OWN_SANDBOX_PRCTLS,
    PRCTLS,
    RLIMITS,
    SET_IDS,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOCK_TYPE_MASK,
    TERMINAL_IOCTLS,
)

NEWEST = 456
"""The highest number these tables were written for; numbers from 424 on are the same on every machine."""

MACHINES = ("x86_64", "aarch64")


class Answer(Enum):
    """What becomes of a call; the value is the error the server sees, 0 where the call is made."""

    ALLOW = (0, "allowed")
    DANGEROUS = (errno.EPERM, "attacks the kernel, the host or other processes")
    REFUSED = (errno.EPERM, "not needed, refused")
    ABSENT = (errno.ENOSYS, "as on a kernel without it: the caller falls back")
    NO_FAMILY = (errno.EAFNOSUPPORT, "as on a machine without that network")

    @property
    def errno(self) -> int:
        return self.value[0]


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that serve one purpose, and why they have their answer."""

    why: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bits:
    """Holds when `argument & mask == value`; the mask never reaches above the low 32 bits.

    The kernel truncates an `int` argument, so whatever stands in the high half is not looked at.
    """

    argument: int
    value: int
    mask: int = 0xFFFFFFFF

    def holds(self, args: Sequence[int]) -> bool:
        return args[self.argument] & self.mask == self.value


@dataclass(frozen=True, slots=True)
class Rule:
    """The answer for one call where all of its tests hold; a call with rules is otherwise refused."""

    name: str
    tests: tuple[Bits, ...]
    answer: Answer
    why: str


@dataclass(frozen=True)
class Table:
    """A tier: names with one answer, and rules for names whose arguments decide."""

    allowed: tuple[Group, ...]
    absent: tuple[Group, ...]
    dangerous: tuple[Group, ...]
    rules: tuple[Rule, ...]

    @cached_property
    def answers(self) -> dict[str, Answer]:
        """The answer of every name that needs no look at its arguments."""
        classes = (
            (self.allowed, Answer.ALLOW),
            (self.absent, Answer.ABSENT),
            (self.dangerous, Answer.DANGEROUS),
        )
        return {name: answer for groups, answer in classes for group in groups for name in group.names}

    def answer(self, name: str, args: Sequence[int]) -> Answer:
        """What the tier answers to `name(args)`; refused where nothing says otherwise."""
        for rule in self.rules:
            if rule.name == name and all(test.holds(args) for test in rule.tests):
                return rule.answer
        return self.answers.get(name, Answer.REFUSED)


def _group(why: str, names: str) -> Group:
    return Group(why, tuple(names.split()))


_FILES = (
    _group(
        "read and write what is open",
        """read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek sendfile splice
        copy_file_range close close_range dup dup2 dup3 fcntl flock ftruncate fallocate fsync fdatasync
        sync_file_range fadvise64 readahead""",
    ),
    _group(
        "look at paths; the mounts decide what exists",
        """stat lstat fstat newfstatat statx statfs fstatfs access faccessat
        faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir umask""",
    ),
    _group(
        "change names, sizes, owners and times below writable mounts",
        """mkdir mkdirat rmdir rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat
        truncate chown fchown lchown fchownat utime utimes futimesat utimensat""",
    ),
    _group("read extended attributes", "getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr"),
    _group("file watchers", "inotify_init inotify_init1 inotify_add_watch inotify_rm_watch"),
)
_PROCESSES = (
    _group(
        "memory, of the caller only; JIT compilers change protections",
        """brk mmap munmap mremap mprotect madvise msync mincore mlock munlock membarrier
        pkey_alloc pkey_free pkey_mprotect""",
    ),
    _group(
        "start, wait for and end processes of the sandbox's own pid namespace",
        """fork vfork execve exit exit_group wait4 waitid kill tkill tgkill pidfd_open pidfd_send_signal
        setpgid getpgid getpgrp setsid getsid getpid getppid gettid set_tid_address""",
    ),
    _group("who am I", "getuid geteuid getresuid getgid getegid getresgid getgroups capget"),
    _group(
        "threads and their scheduling, never above the quota",
        """futex set_robust_list get_robust_list rseq arch_prctl sched_yield sched_getaffinity
        sched_setaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min
        getcpu getpriority setpriority""",
    ),
    _group(
        "signals",
        """rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigpending rt_sigtimedwait
        rt_sigqueueinfo rt_tgsigqueueinfo sigaltstack signalfd signalfd4 pause restart_syscall""",
    ),
    _group(
        "clocks and timers, reading and waiting",
        """clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times alarm getitimer
        setitimer timer_create timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create
        timerfd_settime timerfd_gettime""",
    ),
    _group("limits and usage", "getrlimit getrusage sysinfo uname"),
    _group("randomness", "getrandom"),
)
_WAITING = (
    _group(
        "wait for many descriptors, pass bytes between threads",
        """poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
        epoll_pwait2 eventfd eventfd2 pipe pipe2""",
    ),
    _group(
        "use sockets; which may exist at all is decided at `socket`",
        """bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt sendto sendmsg
        sendmmsg recvfrom recvmsg recvmmsg shutdown""",
    ),
)
_BASE = _FILES + _PROCESSES + _WAITING

_OWN_SANDBOX = (
    _group(
        "a program that sandboxes itself further; nothing it installs can loosen this filter",
        "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    ),
)
_IDENTITY = (
    _group(
        "change to an identity one may have; without capabilities that is one's own",
        """setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset""",
    ),
)
_TUNING = (
    _group(
        "priorities of threads and of disk access, memory kept resident",
        """sched_setscheduler sched_setparam sched_setattr sched_getattr sched_rr_get_interval ioprio_get
        ioprio_set mlock2 mlockall munlockall""",
    ),
)
_BROWSER = (
    *_IDENTITY,
    *_TUNING,
    *_OWN_SANDBOX,
    _group(
        "frames shared with renderers; it can be executed too, which only this tier accepts", "memfd_create"
    ),
    _group("an empty root for renderers, inside their own user namespace", "chroot"),
)
_SELDOM = (
    _group(
        "System V and POSIX queues, semaphores and memory, of the sandbox's own ipc namespace",
        """shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
        mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr""",
    ),
    _group(
        "databases' asynchronous files",
        "io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents",
    ),
    _group("memory policies of numeric libraries", "mbind get_mempolicy set_mempolicy remap_file_pages"),
    _group("flush, and move pages between pipes", "sync syncfs tee vmsplice"),
    _group(
        "newer waiting and page cache statistics",
        "futex_waitv futex_wait futex_wake futex_requeue cachestat",
    ),
)
_ODD = (
    *_IDENTITY,
    *_TUNING,
    *_OWN_SANDBOX,
    *_SELDOM,
    # Elsewhere refused and not absent: copying programs shrug at EPERM, not at ENOSYS.
    _group(
        "write extended attributes",
        "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr",
    ),
)

_ABSENT = (
    _group("its flags lie behind a pointer no filter can read; libc falls back to clone", "clone3"),
    _group("its mode lies behind a pointer too, and may hold the setuid bit; openat is there", "openat2"),
    _group(
        "runs other calls unseen by the filter; event loops probe it at start and do without",
        "io_uring_setup io_uring_enter io_uring_register",
    ),
    _group("executes what is in no file; fexecve falls back to a path", "memfd_create execveat memfd_secret"),
    *_OWN_SANDBOX,
    *_SELDOM,
    _group("shadow stacks are the kernel's choice", "map_shadow_stack"),
)
# Not kcmp, name_to_handle_at, move_pages (libraries go on without), syslog, adjtimex, quotactl (tools read).
_DANGEROUS = (
    _group(
        "controls another process", "ptrace process_vm_readv process_vm_writev pidfd_getfd process_madvise"
    ),
    _group(
        "changes what exists: mounts, roots and namespaces",
        """mount umount2 pivot_root chroot unshare setns open_tree move_mount fsopen fsconfig fsmount fspick
        mount_setattr""",
    ),
    _group("opens files by number, past every mount", "open_by_handle_at"),
    _group("programs the kernel or makes its bugs exploitable", "bpf perf_event_open userfaultfd modify_ldt"),
    _group("keys of the user and the session, shared across namespaces", "add_key request_key keyctl"),
    _group(
        "replaces, extends or stops the kernel",
        "kexec_load kexec_file_load init_module finit_module delete_module create_module reboot",
    ),
    _group(
        "administers the machine",
        """swapon swapoff acct sethostname setdomainname settimeofday clock_settime vhangup
        iopl ioperm lookup_dcookie nfsservctl fanotify_init fanotify_mark migrate_pages""",
    ),
)


def _each(name: str, argument: int, values: Mapping[int, str], answer: Answer) -> tuple[Rule, ...]:
    return tuple(Rule(name, (Bits(argument, value),), answer, why) for value, why in values.items())


def _internet(protocols: tuple[int, ...]) -> tuple[Rule, ...]:
    """Streams and datagrams only: most other types and protocols load a kernel module."""
    why = "TCP, UDP and, for servers that ping, ICMP"
    combinations = product((AF_INET, AF_INET6), (SOCK_STREAM, SOCK_DGRAM), protocols)
    return tuple(
        Rule("socket", (Bits(0, family), Bits(1, kind, SOCK_TYPE_MASK), Bits(2, protocol)), Answer.ALLOW, why)
        for family, kind, protocol in combinations
    )


def _netlink(answer: Answer) -> Rule:
    tests = (Bits(0, AF_NETLINK), Bits(2, NETLINK_ROUTE))
    return Rule("socket", tests, answer, "the list of interfaces")


def _namespaces(name: str, flags: int, allowed: int) -> tuple[Rule, ...]:
    """`name` without a namespace of `flags` but those `allowed`; each other one is dangerous."""
    denied = flags & ~allowed
    bits = [1 << n for n in range(32) if denied >> n & 1]
    return (
        Rule(name, (Bits(0, 0, denied),), Answer.ALLOW, "threads, processes, allowed namespaces"),
        *(Rule(name, (Bits(0, bit, bit),), Answer.DANGEROUS, f"a namespace, {bit:#x}") for bit in bits),
    )


_ANY_TIER = (
    *(
        Rule(name, (Bits(argument, 0, mask),), Answer.ALLOW, "no setuid or setgid bit, or nothing is created")
        for name, argument, mask in MODES
    ),
    Rule("socket", (Bits(0, AF_UNIX),), Answer.ALLOW, "sockets between the sandbox's own processes"),
    Rule("socketpair", (Bits(0, AF_UNIX),), Answer.ALLOW, "pipes of both directions"),
    *_each("socket", 0, DANGEROUS_FAMILIES, Answer.DANGEROUS),
    *(
        Rule("socket", (Bits(0, AF_NETLINK), Bits(2, protocol)), Answer.DANGEROUS, why)
        for protocol, why in DANGEROUS_NETLINK.items()
    ),
    *_each("ioctl", 1, IOCTLS, Answer.ALLOW),
    *_each("ioctl", 1, DANGEROUS_IOCTLS, Answer.DANGEROUS),
    *_each("prctl", 0, PRCTLS, Answer.ALLOW),
    *_each("setrlimit", 0, RLIMITS, Answer.ALLOW),
    *_each("prlimit64", 1, RLIMITS, Answer.ALLOW),
    *_each("personality", 0, {0: "Linux, plain", 0xFFFFFFFF: "which one is it"}, Answer.ALLOW),
    *(
        Rule(name, (Bits(argument, kind, 0xF000 | SET_IDS),), Answer.ALLOW, "a FIFO or a file, no device")
        for (name, argument), kind in product((("mknod", 1), ("mknodat", 2)), (0o010000, 0o100000, 0))
    ),
)
_NO_NETWORK = (
    *_each("socket", 0, {AF_INET: "no IPv4", AF_INET6: "no IPv6"}, Answer.NO_FAMILY),
    _netlink(Answer.NO_FAMILY),
)
_NETWORK = (_netlink(Answer.ALLOW), *_each("ioctl", 1, INTERFACE_IOCTLS, Answer.ALLOW))
_CLONE = _namespaces("clone", CLONE_NAMESPACES, 0)
_TCP_UDP = (IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP)


def _without(groups: tuple[Group, ...], *others: tuple[Group, ...]) -> tuple[Group, ...]:
    """`groups` less every name that stands in `others`, so that a name has one answer."""
    taken = {name for group in (g for groups_ in others for g in groups_) for name in group.names}
    left = (Group(g.why, tuple(n for n in g.names if n not in taken)) for g in groups)
    return tuple(group for group in left if group.names)


def _table(extra: tuple[Group, ...], rules: tuple[Rule, ...]) -> Table:
    by_argument = (Group("decided by rules", tuple({rule.name for rule in rules})),)
    allowed = _BASE + extra
    return Table(
        allowed=allowed,
        absent=_without(_ABSENT, allowed, by_argument),
        dangerous=_without(_DANGEROUS, allowed, by_argument),
        rules=_ANY_TIER + rules,
    )


_OWN_PRCTLS = _each("prctl", 0, OWN_SANDBOX_PRCTLS, Answer.ALLOW)
_PTYS = _each("ioctl", 1, TERMINAL_IOCTLS | CLONE_IOCTLS, Answer.ALLOW)

TIERS: Mapping[Tier, Table] = {
    "strict": _table((), _NO_NETWORK + _CLONE),
    "net": _table((), _NETWORK + _internet(_TCP_UDP) + _CLONE),
    "browser": _table(
        _BROWSER,
        (
            *_NETWORK,
            *_internet(_TCP_UDP),
            *_namespaces("clone", CLONE_NAMESPACES, BROWSER_NAMESPACES),
            *_namespaces("unshare", CLONE_NAMESPACES | CLONE_NEWTIME, BROWSER_NAMESPACES),
            *_OWN_PRCTLS,
            *_PTYS,
        ),
    ),
    "compat": _table(
        _ODD,
        (
            *_NETWORK,
            *_internet((*_TCP_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6)),
            *_CLONE,
            *_OWN_PRCTLS,
            *_PTYS,
        ),
    ),
}
