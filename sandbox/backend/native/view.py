"""Builds the sandbox's file system from the steps of a spec, in two passes.

First every host path is taken as a detached tree (no path of the host is looked up afterwards, and
none was reached through a symbolic link); then a fresh tmpfs becomes the root and the trees go in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from sandbox import linux
from sandbox.plan.spec import Bind, Device, Directory, File, Proc, Socket, Symlink, Tmpfs, ViewStep

# Any directory that every host has: only this mount namespace ever sees the tmpfs that covers it.
ROOT = "/tmp"  # noqa: S108 - a mount point, nothing is created in the host's own
ROOT_SIZE = "size=64m,nr_inodes=65536,mode=755"
_QUIET = linux.MS_NOSUID | linux.MS_NODEV

Trees = dict[ViewStep, int]


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
    own = {os.stat(ROOT).st_dev}
    for step in steps:
        _perform(step, trees, own)
    linux.mount(None, ROOT, None, linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY | _QUIET)
    os.chdir(ROOT)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")


def _perform(step: ViewStep, trees: Mapping[ViewStep, int], own: set[int]) -> None:
    match step:
        case Directory():
            _mkdirs(ROOT + step.target, own, step.mode)
        case Bind():
            _mountpoint(ROOT + step.target, step.is_dir, own)
            _attach(trees[step], ROOT + step.target)
        case Device():
            _mountpoint(f"{ROOT}/dev/{step.name}", False, own)
            _attach(trees[step], f"{ROOT}/dev/{step.name}")
        case Tmpfs():
            own.add(_tmpfs(step, own))
        case File():
            _write(ROOT + step.target, step.content, step.mode, own)
        case Symlink():
            _mkdirs(os.path.dirname(ROOT + step.target), own)
            os.symlink(step.to, ROOT + step.target)
        case Proc():
            _proc(step, own)
        case Socket():
            _mask(ROOT + step.target)


def _tmpfs(step: Tmpfs, own: set[int]) -> int:
    _mountpoint(ROOT + step.target, True, own)
    options = f"size={step.size},nr_inodes={step.inodes},mode={step.mode:o}"
    linux.mount("tmpfs", ROOT + step.target, "tmpfs", _QUIET, options)
    return os.stat(ROOT + step.target).st_dev


def _attach(tree: int, target: str) -> None:
    linux.attach_tree(tree, target)
    os.close(tree)


def _mountpoint(path: str, is_dir: bool, own: set[int]) -> None:
    if os.path.lexists(path):
        return
    if is_dir:
        _mkdirs(path, own)
    else:
        _write(path, b"", 0o444, own)


def _refuse_host_tree(path: str, own: set[int]) -> None:
    # What is missing inside a mounted host tree would be created on the host.
    parent = path
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if os.lstat(parent).st_dev not in own:
        raise FileNotFoundError(2, f"{path[len(ROOT) :]} does not exist in the mounted tree")


def _mkdirs(path: str, own: set[int], mode: int = 0o755) -> None:
    if not os.path.lexists(path):
        _refuse_host_tree(path, own)
        os.makedirs(path)
        os.chmod(path, mode)


def _write(path: str, content: bytes, mode: int, own: set[int]) -> None:
    _refuse_host_tree(path, own)
    _mkdirs(os.path.dirname(path), own)
    with open(path, "xb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)


def _proc(step: Proc, own: set[int]) -> None:
    _mountpoint(ROOT + "/proc", True, own)
    linux.mount("proc", ROOT + "/proc", "proc", _QUIET | linux.MS_NOEXEC)
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
