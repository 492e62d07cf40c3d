"""The other names that mounts give to secret places: a bind of a home elsewhere is still that home (P)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from sandbox.policy.paths import below
from sandbox.records import dataclass

SPECIAL = {
    **dict.fromkeys(("proc",), "the host's processes"),
    **dict.fromkeys(("devtmpfs", "devpts"), "the host's devices"),
    **dict.fromkeys(
        ("sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "bpf", "configfs", "efivarfs"),
        "the host's kernel",
    ),
}
"""What is no file system of files, by its kind, wherever it is mounted."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of mountinfo: the device, the part of it that is shown, where, and its kind."""

    device: str
    root: str
    point: str
    kind: str


def aliases(mountinfo: str, places: Mapping[str, str]) -> dict[str, str]:
    """Every further path of a place, and each special file system, from proc_pid_mountinfo(5)."""
    mounts = list(_mounts(mountinfo))
    found = {mount.point: SPECIAL[mount.kind] for mount in mounts if mount.kind in SPECIAL}
    shared = {device for device, times in Counter(mount.device for mount in mounts).items() if times > 1}
    seen_twice = [mount for mount in mounts if mount.device in shared]
    if not seen_twice:
        return found
    last = {mount.point: mount for mount in mounts}
    for place, why in places.items():
        device, path = _located(place, last)
        for mount in seen_twice if device in shared else ():
            alias = _through(mount, path) if mount.device == device else None
            if alias is not None and not below(alias, place):
                found[alias] = f"{why} (it is `{place}`)"
    return found


def _mounts(mountinfo: str) -> Iterator[Mounted]:
    for line in mountinfo.splitlines():
        fields, _, tail = line.partition(" - ")
        words = fields.split(" ")
        yield Mounted(words[2], _plain(words[3]), _plain(words[4]), tail.partition(" ")[0])


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text) if "\\" in text else text


def _located(path: str, last: Mapping[str, Mounted]) -> tuple[str, str]:
    """The device and the path on it: of the deepest mount above `path`, by point the last of a stack."""
    point = path
    while point not in last:
        if point in ("/", ""):
            return "", path
        point = point.rpartition("/")[0] or "/"
    over = last[point]
    return over.device, _joined(over.root, path[len(point.rstrip("/")) :])


def _through(mount: Mounted, path: str) -> str | None:
    """Where `mount` shows the path of its device; its own point where it shows a part of that."""
    if below(path, mount.root):
        return _joined(mount.point, path[len(mount.root.rstrip("/")) :])
    return mount.point if below(mount.root, path) else None


def _joined(base: str, rest: str) -> str:
    return base.rstrip("/") + rest or "/"
