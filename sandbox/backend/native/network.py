"""The sandbox's network namespace: lo up, and nothing else."""

from __future__ import annotations

import fcntl
import socket
import struct

SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def loopback_up() -> None:
    """Sets lo up (netdevice(7)); servers that talk to themselves over 127.0.0.1 or ::1 need it."""
    request = struct.pack("16sh22x", b"lo", IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        fcntl.ioctl(control.fileno(), SIOCSIFFLAGS, request)
