"""The sandbox's network namespace: lo up, and nothing else."""

from __future__ import annotations

import fcntl
import struct

# The module below `socket`, which turns every constant into an enum at a cost of milliseconds a start.
from _socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket

SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def loopback_up() -> None:
    """Sets lo up (netdevice(7)); servers that talk to themselves over 127.0.0.1 or ::1 need it."""
    request = struct.pack("16sh22x", b"lo", IFF_UP)
    control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        fcntl.ioctl(control.fileno(), SIOCSIFFLAGS, request)
    finally:
        control.close()
