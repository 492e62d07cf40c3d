"""An image's tree from Debian's packages alone, where no registry answers: mmdebstrap, also without root."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, cast

from sandbox.errors import SandboxNotBuilt
from sandbox.imaging import fetch, recipe, sources
from sandbox.imaging.tree import Layer

Consume = Callable[[IO[bytes]], None]
_MIRRORS = "/etc/apt/apt.conf.d/90machine"
_DEBS = "/var/cache/apt/archives"
# As mmdebstrap itself installs: apt from outside, which knows the mirrors, and dpkg inside.
_INSTALL = (
    'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes -oDir::Bin::dpkg=env -oDPkg::Options::=--unset=TMPDIR '
    '-oDPkg::Options::=dpkg -oDPkg::Chroot-Directory="$1" install '
)
_WHITEOUTS = (
    """find "$1" -xdev -name '.wh.*' | """
    """while read -r gone; do rm -rf "${gone%/*}/${gone##*/.wh.}" "$gone"; done"""
)


def build(
    name: str,
    below: Sequence[Layer],
    cache: str,
    environ: Mapping[str, str],
    consume: Consume,
) -> None:
    """Makes the tree of `name` upon the layers of its parents; `consume` gets it as a tar stream."""
    program = _mmdebstrap()
    with tempfile.TemporaryDirectory(prefix="mcp-sandbox-image-") as work:
        _fill(work, name, below, cache, environ)
        _run([program, *arguments(name, len(below), root=os.geteuid() == 0)], work, environ, consume)


def _mmdebstrap() -> str:
    found = shutil.which("mmdebstrap")
    if found is None:
        what = "there is no `mmdebstrap`, which makes an image from Debian's packages"
        raise SandboxNotBuilt("no-mmdebstrap", what, hint="sudo apt-get install mmdebstrap")
    return found


def arguments(name: str, below: int, *, root: bool) -> list[str]:
    """The command line of mmdebstrap, for a work directory that `_fill` filled; `below` counts the layers."""
    packages = recipe.packages(name)
    return [
        f"--mode={'root' if root else 'unshare'}",
        "--format=tar",
        *(("--variant=custom",) if below else ("--variant=minbase", f"--include={','.join(packages)}")),
        '--aptopt=Acquire::Languages "none"',
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        # What was downloaded stays for the next image; /dev is the engine's. `finish` cleans up: after it
        # mmdebstrap's own apt would find no configuration of the tree's and clean this machine's lists.
        "--skip=essential/unlink,output/dev,output/mknod,download/empty,cleanup/apt",
        *(f"--setup-hook={hook}" for hook in _before(below)),
        *(f"--customize-hook={hook}" for hook in _after(packages if below else ())),
        recipe.SUITE,
        "-",
        "-",
    ]


def _before(below: int) -> Iterator[str]:
    yield from (f"tar-in layer{number} /" for number in range(below))
    if below:
        yield _WHITEOUTS
    yield f'mkdir -p "$1{_DEBS}" "$1/etc/apt/apt.conf.d"'
    yield f"sync-in debs {_DEBS}"
    yield f"upload settings {_MIRRORS}"


def _after(packages: Sequence[str]) -> Iterator[str]:
    if packages:
        yield _INSTALL + " ".join(packages)
    yield f"sync-out {_DEBS} debs"
    yield "copy-in build /"
    yield 'chroot "$1" sh /build/finish'


def _fill(work: str, name: str, below: Sequence[Layer], cache: str, environ: Mapping[str, str]) -> None:
    """The files that the hooks copy, under names that need no quoting."""
    os.chmod(work, 0o755)  # noqa: S103 - in a user namespace the hooks run under another uid
    os.mkdir(f"{work}/build")
    for file in recipe.SHARED:
        shutil.copyfile(os.path.join(recipe.folder(), file), f"{work}/build/{file}")
    elsewhere = fetch.bundle(name, platform.machine(), f"{cache}/downloads", environ)
    _write(f"{work}/build/files.tar", elsewhere)
    os.makedirs(f"{cache}/debs", mode=0o700, exist_ok=True)
    os.symlink(f"{cache}/debs", f"{work}/debs")
    for number, layer in enumerate(below):
        os.symlink(layer.path, f"{work}/layer{number}")
    _write(f"{work}/settings", machine().encode())
    _write(f"{work}/sources", mirrors().encode())


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as opened:
        opened.write(content)


def _said(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 - apt's
    return done.stdout


def machine() -> str:
    """How this machine's apt reaches its mirrors, in apt's own words."""
    return sources.settings(_said("apt-config", "dump")) if shutil.which("apt-config") else ""


def mirrors() -> str:
    """The machine's own mirrors of Debian, for the suite of the images."""
    found: Sequence[str] = ()
    if shutil.which("apt-get"):
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
        found = sources.sources(_said(*sources.QUERY), codename, recipe.SUITE)
    if not found:
        what = f"this machine's apt knows no mirror of Debian from which {recipe.SUITE} could be taken"
        raise SandboxNotBuilt("no-mirror", what, hint="mcp-sandbox image build --from registry")
    return "".join(f"{line}\n" for line in found)


def _run(argv: Sequence[str], work: str, environ: Mapping[str, str], consume: Consume) -> None:
    env = {**environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    env.pop(
        "SOURCE_DATE_EPOCH", None
    )  # it would make mmdebstrap touch every file newer, and Python reread its own
    broken: tarfile.TarError | None = None
    with _process(argv, work, env) as child:
        try:
            consume(cast(IO[bytes], child.stdout))
        except tarfile.TarError as error:  # of a stream cut short: what mmdebstrap says counts
            broken = error
    if child.returncode or broken:
        with open(os.path.join(work, "log"), errors="replace") as opened:
            said = opened.read()[-1500:].strip()
        hint = "the machine's apt must reach its mirrors; a user needs /etc/subuid, or builds as root"
        raise SandboxNotBuilt("image-not-built", f"mmdebstrap failed:\n{said}", hint=hint) from broken


@contextmanager
def _process(argv: Sequence[str], work: str, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The process, ended and waited for whatever happens to us; what it says goes to the file `log`."""
    with open(os.path.join(work, "sources"), "rb") as listed, open(os.path.join(work, "log"), "wb") as log:
        child = subprocess.Popen(  # noqa: S603 - mmdebstrap, no shell
            argv, cwd=work, env=dict(env), stdin=listed, stdout=subprocess.PIPE, stderr=log
        )
        try:
            yield child
            child.wait(timeout=60)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait(timeout=60)
            if child.stdout:
                child.stdout.close()
