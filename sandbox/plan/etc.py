"""The sandbox's /etc: some twenty files, ours or copies of public ones; never the host's directory."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.hints import Literal
from sandbox.patterns import regex
from sandbox.plan.spec import Bind, File, Identity, Symlink, ViewStep

COPIED = (
    "/etc/os-release",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld-musl-x86_64.path",
    "/etc/ld-musl-aarch64.path",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/mime.types",
    "/etc/protocols",
    "/etc/services",
    "/etc/gai.conf",
    "/etc/locale.alias",
    "/etc/debian_version",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/openssl.cnf",
)
"""World-readable on every distribution, about the system and not about its users."""

COPIED_DIRECTORIES = ("/etc/ld.so.conf.d",)
COPIED_SUFFIXES = (".conf", ".properties", ".cfg")
"""Directories whose files of these names are copied too, and Java's (see `JAVA`)."""

JAVA = regex(r"/etc/java-?\d*-openjdk")
JAVA_TREE = "security"
"""Directories where Debian and Arch keep what a Java reads before its first class. Of what lies deeper only
the tree is bound: `management` may hold the passwords of those who may look into a running one."""

NETWORKED = ("/etc/resolv.conf", "/etc/hosts")
"""Copied only where the host's network is shared: how this machine finds other hosts."""

TREES = (
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/etc/crypto-policies",
    "/etc/alternatives",
    "/etc/chromium.d",
)
"""Bound whole: public certificates (never their private siblings), links behind /usr/bin and OpenSSL, and the
options that Debian's /usr/bin/chromium reads, without which it does not start."""

LINKS = ("/etc/localtime", "/etc/ssl/cert.pem", "/etc/pki/tls/cert.pem")
"""Kept as links where the host has links. The zone: ICU reads its name there, or else compares every zone."""

NSSWITCH = b"""passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
"""
HOSTS = """127.0.0.1 localhost {hostname}
::1 localhost ip6-localhost ip6-loopback
"""


def etc(
    identity: Identity,
    contents: Mapping[str, bytes],
    system: Mapping[str, str],
    network: Literal["trap", "host"],
) -> tuple[ViewStep, ...]:
    """Every step below /etc; the same bytes for the same host, in a stable order."""
    written = synthetic(identity)
    copied = {path: contents[path] for path in contents if path not in NETWORKED}
    if network == "host":
        written = {path: content for path, content in written.items() if path not in contents}
        copied = dict(contents)
    steps: list[ViewStep] = [File(path, content) for path, content in sorted(written.items())]
    steps += [Symlink("/etc/mtab", "/proc/self/mounts")]
    for path in LINKS:
        if system.get(path):
            steps += [Symlink(path, system[path])]
            copied.pop(path, None)
    steps += [File(path, content, copied=True) for path, content in sorted(copied.items(), key=_by_directory)]
    return (*steps, *_trees(system))


def synthetic(identity: Identity) -> dict[str, bytes]:
    """The files that we write: who is inside, and that names are asked of the trap."""
    name, uid, gid = identity.name, identity.uid, identity.gid
    passwd = [
        "root:x:0:0:root:/nonexistent:/usr/sbin/nologin",
        f"{name}:x:{uid}:{gid}::{identity.home}:/bin/sh",
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
    ]
    group = ["root:x:0:", f"{name}:x:{gid}:", "nogroup:x:65534:"]
    return {
        "/etc/passwd": _lines(passwd),
        "/etc/group": _lines(group),
        "/etc/nsswitch.conf": NSSWITCH,
        "/etc/hosts": HOSTS.format(hostname=identity.hostname).encode(),
        "/etc/hostname": _lines([identity.hostname]),
        # The trap answers at every address. A name may take the gateway a moment, and one answer may be lost.
        "/etc/resolv.conf": _lines(["nameserver 127.0.0.53", "options timeout:2 attempts:2 edns0"]),
        "/etc/host.conf": _lines(["multi on"]),
        "/etc/shells": _lines(["/bin/sh"]),
    }


def _by_directory(entry: tuple[str, bytes]) -> tuple[str, str]:
    directory, _, name = entry[0].rpartition("/")
    return directory, name


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _trees(system: Mapping[str, str]) -> list[ViewStep]:
    trees: list[ViewStep] = []
    java = sorted(path for path in system if JAVA.fullmatch(path.removesuffix(f"/{JAVA_TREE}")))
    for path in (*TREES, *java):
        link = system.get(path)
        if link:
            trees.append(Symlink(path, link))
        elif link is not None:
            trees.append(Bind(path, path, why="system"))
    return trees
