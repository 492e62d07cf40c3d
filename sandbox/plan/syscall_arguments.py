"""The kernel's numbers for the arguments that decide a call: the same on x86_64 and aarch64."""

from __future__ import annotations

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_DGRAM, SOCK_TYPE_MASK = 1, 2, 0xF
IPPROTO_IP, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6 = 0, 1, 6, 17, 58
NETLINK_ROUTE = 0
DANGEROUS_FAMILIES = {
    15: "AF_KEY, the kernel's key store",
    17: "AF_PACKET, raw frames",
    21: "AF_RDS, a protocol nobody watches",
    29: "AF_CAN, vehicle buses",
    30: "AF_TIPC, a protocol nobody watches",
    31: "AF_BLUETOOTH, radios",
    38: "AF_ALG, the kernel's ciphers",
    40: "AF_VSOCK, the hypervisor and its other guests",
    43: "AF_SMC, shared memory over the network",
    44: "AF_XDP, packets past the stack",
}
DANGEROUS_NETLINK = {6: "NETLINK_XFRM, IPsec", 12: "NETLINK_NETFILTER, the firewall", 21: "NETLINK_CRYPTO"}

SET_IDS = 0o6000
"""S_ISUID and S_ISGID of a mode."""
O_CREATING = 0o100 | 0o20000000
"""O_CREAT and __O_TMPFILE: without them open(2) looks at no mode, and its register holds anything."""
MODES = (
    ("chmod", 1, SET_IDS), ("fchmod", 1, SET_IDS), ("fchmodat", 2, SET_IDS), ("fchmodat2", 2, SET_IDS),
    ("creat", 1, SET_IDS), ("open", 2, SET_IDS), ("open", 1, O_CREATING), ("openat", 3, SET_IDS),
    ("openat", 2, O_CREATING),
)  # fmt: skip
"""Calls that give a file its mode, and the bits of which argument must be clear for that to be harmless.

nosuid holds inside only: on the host a setuid file of the server's is one of whoever owns the granted
directory, of root where root called us. mkdir(2) ignores both bits.
"""

RLIMITS = {
    0: "CPU", 1: "FSIZE", 2: "DATA", 3: "STACK", 5: "RSS", 6: "NPROC", 7: "NOFILE", 8: "MEMLOCK", 9: "AS",
    10: "LOCKS", 11: "SIGPENDING", 12: "MSGQUEUE", 13: "NICE", 14: "RTPRIO", 15: "RTTIME",
}  # fmt: skip
"""All but CORE: with any value but the launcher's 1 a crash would start the host's handler, as root."""

CLONE_NAMESPACES = 0x7E020000
"""NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; clone(2) cannot take NEWTIME."""
CLONE_NEWTIME = 0x80
BROWSER_NAMESPACES = 0x70000000
"""NEWUSER, NEWPID and NEWNET: what Chromium's zygote puts its renderers into."""

IOCTLS = {
    0x5401: "TCGETS: isatty",
    0x802C542A: "TCGETS2: isatty from glibc 2.42 on",
    0x5413: "TIOCGWINSZ: the terminal's size",
    0x541B: "FIONREAD: bytes waiting",
    0x5421: "FIONBIO: non-blocking",
    0x5450: "FIONCLEX: keep on exec",
    0x5451: "FIOCLEX: close on exec",
}
INTERFACE_IOCTLS = {
    0x8910: "SIOCGIFNAME",
    0x8912: "SIOCGIFCONF",
    0x8913: "SIOCGIFFLAGS",
    0x8915: "SIOCGIFADDR",
    0x8919: "SIOCGIFBRDADDR",
    0x891B: "SIOCGIFNETMASK",
    0x8921: "SIOCGIFMTU",
    0x8927: "SIOCGIFHWADDR",
    0x8933: "SIOCGIFINDEX",
}
TERMINAL_IOCTLS = {
    **{0x5402 + n: f"TCSETS{suffix}: modes" for n, suffix in enumerate(("", "W", "F"))},
    **{0x402C542B + n: f"TCSETS{suffix}2: modes" for n, suffix in enumerate(("", "W", "F"))},
    0x5409: "TCSBRK: drain",
    0x540A: "TCXONC: flow",
    0x540B: "TCFLSH: flush",
    0x540E: "TIOCSCTTY: a pty of one's own as terminal",
    0x540F: "TIOCGPGRP: foreground group",
    0x5410: "TIOCSPGRP: foreground group",
    0x5411: "TIOCOUTQ: bytes unsent",
    0x5414: "TIOCSWINSZ: a pty's size",
    0x5422: "TIOCNOTTY: leave the terminal",
    0x5429: "TIOCGSID: session",
    0x5452: "FIOASYNC: signals for input",
    0x80045430: "TIOCGPTN: a pty's number",
    0x40045431: "TIOCSPTLCK: unlock a pty",
    0x5441: "TIOCGPTPEER: open a pty's other end",
}
CLONE_IOCTLS = {0x40049409: "FICLONE: copy by reference", 0x80086601: "FS_IOC_GETFLAGS: file flags"}
DANGEROUS_IOCTLS = {0x5412: "TIOCSTI types into the terminal", 0x541C: "TIOCLINUX pastes into the console"}

PRCTLS = {
    1: "SET_PDEATHSIG", 2: "GET_PDEATHSIG", 3: "GET_DUMPABLE", 4: "SET_DUMPABLE", 7: "GET_KEEPCAPS",
    15: "SET_NAME", 16: "GET_NAME", 21: "GET_SECCOMP", 23: "CAPBSET_READ", 27: "GET_SECUREBITS",
    29: "SET_TIMERSLACK", 30: "GET_TIMERSLACK", 36: "SET_CHILD_SUBREAPER", 37: "GET_CHILD_SUBREAPER",
    38: "SET_NO_NEW_PRIVS", 39: "GET_NO_NEW_PRIVS", 40: "GET_TID_ADDRESS", 41: "SET_THP_DISABLE",
    42: "GET_THP_DISABLE", 47: "CAP_AMBIENT", 51: "SVE_GET_VL", 52: "GET_SPECULATION_CTRL",
    53: "SET_SPECULATION_CTRL", 54: "PAC_RESET_KEYS", 55: "SET_TAGGED_ADDR_CTRL",
    56: "GET_TAGGED_ADDR_CTRL", 65: "SET_MDWE", 66: "GET_MDWE", 0x53564D41: "SET_VMA, names for mappings",
}  # fmt: skip
OWN_SANDBOX_PRCTLS = {
    22: "SET_SECCOMP",
    24: "CAPBSET_DROP",
    28: "SET_SECUREBITS",
    8: "SET_KEEPCAPS",
    0x59616D61: "SET_PTRACER",
}
