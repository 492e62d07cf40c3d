"""What this host can do, found by doing it: no version is compared and no setting believed."""

from __future__ import annotations

import errno
import os
import signal
import struct
from _socket import AF_INET, AF_UNIX, SOCK_SEQPACKET, SOCK_STREAM, socket, socketpair
from collections.abc import Mapping

from sandbox import linux
from sandbox.host import cgroups, engines
from sandbox.host.trial import Outcome, Tell, as_nobody, attempt, inside_namespaces
from sandbox.plan.facts import HostFacts, Probe
from sandbox.trap import receive, set_trap

# cBPF: return SECCOMP_RET_ALLOW.
ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
_READ_ONLY = linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV

_SOMEBODY, _PORT = "192.0.2.1", 443  # TEST-NET-1: nobody's, wherever a packet should get to

_NO_NAMESPACES = {
    errno.ENOSPC: "an administrator's limit on user namespaces is used up: `sysctl user.max_user_namespaces`",
    errno.EUSERS: "user namespaces are nested too deeply here: start it outside the other sandbox",
    errno.EPERM: "a container or the administrator forbids user namespaces: start it outside the container",
    errno.ENOSYS: "this kernel has no user namespaces",
    errno.EINVAL: "this kernel has no user namespaces",
}
# The namespace was given and its capabilities were not: Ubuntu's AppArmor restriction looks like this.
_NO_CAPABILITIES = (
    "the namespace came without capabilities, as AppArmor does it: ask for a profile with a `userns,` rule "
    "for this one program; leave the restriction on for all others"
)
_OLD_KERNEL = "mount_setattr(2) came with Linux 5.12: a newer kernel is needed"
_MASKED_PROC = "a container with a masked /proc forbids a fresh one: start it outside the container"


def probe(environ: Mapping[str, str] | None = None) -> HostFacts:
    """Tries everything the launcher relies on; some tens of milliseconds, nothing is left behind."""
    environ = os.environ if environ is None else environ
    name = os.uname()
    namespaces, mounts = namespaces_and_mounts()
    return HostFacts(
        kernel=name.release,
        machine=name.machine,
        uid=os.geteuid(),
        gid=os.getegid(),
        namespaces=namespaces,
        mounts=mounts,
        proc=fresh_proc() if namespaces.works else Probe(False, "not tried without namespaces"),
        seccomp=seccomp(),
        idmap=idmap(),
        trap=trap() if namespaces.works else Probe(False, "not tried without namespaces"),
        landlock_abi=linux.landlock_abi(),
        cgroups=cgroups.find(),
        bubblewrap=engines.bubblewrap(environ),
        docker=engines.docker(environ),
        gvisor=engines.gvisor(environ),
    )


def namespaces_and_mounts() -> tuple[Probe, Probe]:
    """Every namespace with a tmpfs in it; and in that the read-only view, by the calls the launcher uses."""
    outcome = attempt(inside_namespaces(_build_a_view))
    if not outcome.reached("copy tree"):
        return _failed(outcome, _namespace_hint(outcome)), Probe(False, "not tried without namespaces")
    kinds = "user, mount, pid, ipc, uts, cgroup, net; a tmpfs mounts"
    if outcome.works:
        return Probe(True, kinds), Probe(True, "read-only recursive copies and pivot_root")
    return Probe(True, kinds), _failed(outcome, _OLD_KERNEL if outcome.error == errno.ENOSYS else "")


def fresh_proc() -> Probe:
    """A /proc that shows the sandbox's own processes and no other."""

    def body(tell: Tell) -> None:
        tell("mount proc")
        base = _empty_root()
        os.mkdir(f"{base}/proc")
        flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("proc", f"{base}/proc", "proc", flags)
        tell("own processes")
        seen = [name for name in os.listdir(f"{base}/proc") if name.isdigit()]
        if seen != ["1"]:
            raise OSError(errno.EPERM, f"processes {', '.join(seen)} are seen inside")

    outcome = attempt(inside_namespaces(body))
    return (
        Probe(True, "of its own, in a new pid namespace") if outcome.works else _failed(outcome, _MASKED_PROC)
    )


def seccomp() -> Probe:
    """no_new_privs and a filter, installed by an unprivileged process that then finds itself filtered."""

    def body(tell: Tell) -> None:
        as_nobody()
        tell("no_new_privs")
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        tell("filter")
        linux.install_filter(ALLOW_ALL)
        tell("status")
        with open("/proc/self/status") as status:
            mode = next((line.split()[1] for line in status if line.startswith("Seccomp:")), "")
        if mode != "2":
            raise OSError(errno.ENOSYS, f"the kernel says seccomp mode `{mode}`, not 2")

    outcome = attempt(body)
    if outcome.works:
        return Probe(True, "filters install after no_new_privs")
    return _failed(outcome, "a kernel with CONFIG_SECCOMP_FILTER is needed")


def trap() -> Probe:
    """A connection to an address of somebody else's ends in our own listener, which is told the address."""

    def body(tell: Tell) -> None:
        tell("set the trap")
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        set_trap((_PORT,), theirs.fileno())
        tell("receive its sockets")
        listener = next(one.fd for one in receive(ours.fileno()) if (one.kind, one.port) == ("tcp", _PORT))
        tell("connect")
        socket(AF_INET, SOCK_STREAM).connect((_SOMEBODY, _PORT))
        tell("destination")
        accepted, _ = socket(fileno=listener)._accept()  # type: ignore[attr-defined]
        if socket(fileno=accepted).getsockname() != (_SOMEBODY, _PORT):
            raise OSError(errno.EPROTO, "the destination is not told")

    outcome = attempt(inside_namespaces(body))
    if outcome.works:
        return Probe(True, "every address local, listeners, packet socket")
    return _failed(outcome, "a kernel with CONFIG_PACKET, and network namespaces, is needed")


def idmap() -> Probe:
    """An idmapped copy of the root filesystem's tree: how a root caller's files reach the sandbox's uid."""
    if os.geteuid() != 0:
        return Probe(False, "only a root caller needs it")
    outcome = attempt(_map_the_root)
    if outcome.works:
        return Probe(True, "on the root filesystem")
    return _failed(outcome, "profiles that mount files cannot run as root here: run as an ordinary user")


def _failed(outcome: Outcome, hint: str) -> Probe:
    name = errno.errorcode.get(outcome.error, "")
    message = outcome.message.removeprefix(f"[Errno {outcome.error}] ")
    return Probe(False, f"{outcome.step}: {name + ': ' if name else ''}{message}", hint)


def _namespace_hint(outcome: Outcome) -> str:
    if outcome.step == "namespaces":
        return _NO_NAMESPACES.get(outcome.error, "")
    return _NO_CAPABILITIES if outcome.error in (errno.EPERM, errno.EACCES) else ""


def _empty_root() -> str:
    base = next(path for path in ("/tmp", "/mnt", "/dev") if os.path.isdir(path))  # noqa: S108 - a place to hide
    linux.mount("tmpfs", base, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=64k,mode=755")
    return base


def _build_a_view(tell: Tell) -> None:
    tell("tmpfs")
    base = _empty_root()
    os.mkdir(f"{base}/usr")
    tell("copy tree")
    source = linux.open_path("/usr")
    tree = linux.clone_tree(source, "/usr")
    tell("read-only attributes")
    linux.set_mount_attributes(tree, _READ_ONLY, "/usr")
    tell("attach tree")
    linux.attach_tree(tree, f"{base}/usr")
    tell("pivot_root")
    os.chdir(base)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")
    tell("view")
    if os.listdir("/") != ["usr"] or not os.statvfs("/usr").f_flag & os.ST_RDONLY:
        raise OSError(errno.EPERM, "the view is not the one that was built")


def _map_the_root(tell: Tell) -> None:
    tell("mapping namespace")
    ready, told = os.pipe()
    holder = os.fork()
    if holder == 0:
        _hold_namespace(told)
    os.close(told)
    if os.read(ready, 1) != b"1":
        raise OSError(errno.EPERM, "no user namespace to map with")
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{holder}/{name}", "w") as file:
            file.write("0 65534 1")
    mapping = os.open(f"/proc/{holder}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    tell("copy tree")
    tree = linux.clone_tree(linux.open_path("/"), "/")
    tell("idmap")
    linux.set_mount_attributes(tree, linux.MOUNT_ATTR_IDMAP, "/", userns=mapping, recursive=False)


def _hold_namespace(told: int) -> None:
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        linux.unshare(linux.CLONE_NEWUSER)
        os.write(told, b"1")
        signal.pause()
    finally:
        os._exit(1)
