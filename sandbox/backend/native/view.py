"""Builds the sandbox's file system from the steps of a spec, in two passes.

First every host path is taken as a detached tree (no path of the host is looked up afterwards, and
none was reached through a symbolic link); then a fresh tmpfs becomes the root and the trees go in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from sandbox import linux
from sandbox.plan.spec import Bind, Device, Directory, File, Proc, Socket, Symlink, Tmpfs, ViewStep
from sandbox.records import dataclass

# Any directory that every host has: only this mount namespace ever sees the tmpfs that covers it.
ROOT = "/tmp"  # noqa: S108 - a mount point, nothing is created in the host's own
ROOT_SIZE = "size=64m,nr_inodes=65536,mode=755"
_QUIET = linux.MS_NOSUID | linux.MS_NODEV

Trees = dict[ViewStep, int]


@dataclass(frozen=True, slots=True)
class Made:
    """What is ours in the new root: anything else that would be created there is created on the host."""

    devices: set[int]
    """The file systems."""
    directories: set[str]
    """Those that we made in them and that nothing covers: whoever knows one need not look at it again."""

    def cover(self, path: str) -> None:
        """Something else stands there from now on."""
        below = path + "/"
        self.directories.difference_update(
            [one for one in self.directories if one == path or one.startswith(below)]
        )


def gather(steps: Sequence[ViewStep], idmaps: Mapping[tuple[int, int], int]) -> Trees:
    """Every host tree the steps name, detached, its attributes set; needs CAP_SYS_ADMIN over the mounts."""
    return {step: _tree(step, idmaps) for step in steps if isinstance(step, Bind | Device)}


def _tree(step: Bind | Device, idmaps: Mapping[tuple[int, int], int]) -> int:
    source = step.source if isinstance(step, Bind) else f"/dev/{step.name}"
    place = linux.open_path(source)
    try:
        tree = linux.clone_tree(place, source)
    finally:
        os.close(place)
    if isinstance(step, Device):
        linux.set_mount_attributes(tree, linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC, source)
        return tree
    if step.idmap:
        userns = idmaps[step.owner]
        linux.set_mount_attributes(tree, linux.MOUNT_ATTR_IDMAP, source, userns, recursive=False)
    access = 0 if step.writable else linux.MOUNT_ATTR_RDONLY
    linux.set_mount_attributes(tree, access | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV, source)
    return tree


def build(steps: Sequence[ViewStep], trees: Mapping[ViewStep, int]) -> None:
    """Makes the new root and enters it; afterwards the host's tree cannot be named any more."""
    linux.mount("tmpfs", ROOT, "tmpfs", _QUIET, ROOT_SIZE)
    made = Made({os.stat(ROOT).st_dev}, {ROOT})
    for step in steps:
        _perform(step, trees, made)
    linux.mount(None, ROOT, None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | _QUIET)
    os.chdir(ROOT)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")


def _perform(step: ViewStep, trees: Mapping[ViewStep, int], made: Made) -> None:
    match step:
        case Directory():
            _mkdirs(ROOT + step.target, made, step.mode)
        case Bind():
            _mountpoint(ROOT + step.target, step.is_dir, made)
            _attach(trees[step], ROOT + step.target)
            made.cover(ROOT + step.target)
        case Device():
            _mountpoint(f"{ROOT}/dev/{step.name}", False, made)
            _attach(trees[step], f"{ROOT}/dev/{step.name}")
        case Tmpfs():
            _tmpfs(step, made)
        case File():
            _write(ROOT + step.target, step.content, step.mode, made)
        case Symlink():
            _mkdirs(os.path.dirname(ROOT + step.target), made)
            os.symlink(step.to, ROOT + step.target)
        case Proc():
            _proc(step, made)
        case Socket():
            _mask(ROOT + step.target)
            made.cover(ROOT + step.target)


def _tmpfs(step: Tmpfs, made: Made) -> None:
    _mountpoint(ROOT + step.target, True, made)
    options = f"size={step.size},nr_inodes={step.inodes},mode={step.mode:o}"
    linux.mount("tmpfs", ROOT + step.target, "tmpfs", _QUIET, options)
    made.cover(ROOT + step.target)
    made.devices.add(os.stat(ROOT + step.target).st_dev)


def _attach(tree: int, target: str) -> None:
    linux.attach_tree(tree, target)
    os.close(tree)


def _mountpoint(path: str, is_dir: bool, made: Made) -> None:
    if is_dir:
        _mkdirs(path, made)
    elif not os.path.lexists(path):
        _write(path, b"", 0o444, made)


def _refuse_host_tree(path: str, made: Made) -> None:
    # What is missing inside a mounted host tree would be created on the host.
    parent = os.path.dirname(path)
    while parent not in made.directories and not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if parent not in made.directories and os.lstat(parent).st_dev not in made.devices:
        raise FileNotFoundError(2, f"{path[len(ROOT) :]} does not exist in the mounted tree")


def _mkdirs(path: str, made: Made, mode: int = 0o755) -> None:
    if path in made.directories or os.path.lexists(path):
        return
    _refuse_host_tree(path, made)
    _mkdirs(os.path.dirname(path), made)
    os.mkdir(path)
    os.chmod(path, mode)
    made.directories.add(path)


def _write(path: str, content: bytes, mode: int, made: Made) -> None:
    _refuse_host_tree(path, made)
    _mkdirs(os.path.dirname(path), made)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
    try:
        while content:
            content = content[os.write(fd, content) :]
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _proc(step: Proc, made: Made) -> None:
    _mountpoint(ROOT + "/proc", True, made)
    linux.mount("proc", ROOT + "/proc", "proc", _QUIET | linux.MS_NOEXEC)
    made.cover(ROOT + "/proc")
    for path in step.readonly:
        if os.path.lexists(ROOT + path):
            _cover(ROOT + path, ROOT + path)
    for path in step.masked:
        _mask(ROOT + path)


def _mask(path: str) -> None:
    if os.path.isdir(path):
        linux.mount("tmpfs", path, "tmpfs", _QUIET | linux.MS_RDONLY | linux.MS_NOEXEC, "size=0,nr_inodes=1")
    elif os.path.lexists(path):
        _cover(ROOT + "/dev/null", path)


def _cover(source: str, target: str) -> None:
    place = linux.open_path(source)
    try:
        tree = linux.clone_tree(place, source)
    finally:
        os.close(place)
    linux.set_mount_attributes(tree, linux.MOUNT_ATTR_RDONLY, source)
    _attach(tree, target)
