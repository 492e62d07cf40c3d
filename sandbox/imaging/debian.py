"""An image's tree from Debian's packages alone, where no registry answers: mmdebstrap, as root or in a user namespace."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sandbox.errors import SandboxNotBuilt
from sandbox.imaging import fetch, recipe, sources

PATIENCE_S = 1200
Say = Callable[[str], None]
Read = Callable[[object], None]


def build(name: str, cache: str, environ: Mapping[str, str], consume: Callable[[object], None]) -> None:
    """Makes the tree of `name` and hands `consume` the stream of its tar archive; raises unless all went well."""
    program = _mmdebstrap()
    with tempfile.TemporaryDirectory(prefix="mcp-sandbox-image-") as work:
        _fill(work, name, cache, environ)
        _run([program, *arguments(name, root=os.geteuid() == 0)], work, environ, consume)


def _mmdebstrap() -> str:
    found = shutil.which("mmdebstrap")
    if found is None:
        what = "there is no `mmdebstrap`, which makes an image from Debian's packages"
        raise SandboxNotBuilt("no-mmdebstrap", what, hint="sudo apt-get install mmdebstrap")
    return found


def arguments(name: str, *, root: bool) -> list[str]:
    """The command line of mmdebstrap, for a work directory that `_fill` filled."""
    hooks = [
        *_setup('mkdir -p "$1/var/cache/apt/archives" "$1/etc/apt/apt.conf.d"'),
        *_setup("sync-in debs /var/cache/apt/archives"),
        *_setup("upload settings /etc/apt/apt.conf.d/90machine"),
        *_custom("sync-out /var/cache/apt/archives debs"),
        *_custom("copy-in build /"),
        *_custom('chroot "$1" sh /build/finish'),
    ]
    return [
        f"--mode={'root' if root else 'unshare'}",
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(recipe.packages(name))}",
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=force-unsafe-io",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--skip=essential/unlink,output/dev,output/mknod,download/empty",
        *hooks,
        recipe.SUITE,
        "-",
        "-",
    ]


def _setup(hook: str) -> tuple[str]:
    return (f"--setup-hook={hook}",)


def _custom(hook: str) -> tuple[str]:
    return (f"--customize-hook={hook}",)


def _fill(work: str, name: str, cache: str, environ: Mapping[str, str]) -> None:
    """The files that the hooks copy, under names that need no quoting."""
    inside = os.path.join(work, "build")
    os.mkdir(inside)
    os.chmod(work, 0o755)  # noqa: S103 - in a user namespace the hooks run under another uid
    for file in recipe.SHARED:
        shutil.copyfile(os.path.join(recipe.folder(), file), os.path.join(inside, file))
    for one in recipe.chain(name):
        _write(
            os.path.join(inside, f"{one}.tar"),
            fetch.bundle(one, platform.machine(), f"{cache}/downloads", environ),
        )
    debs = os.path.join(cache, "debs")
    os.makedirs(debs, mode=0o700, exist_ok=True)
    os.symlink(debs, os.path.join(work, "debs"))
    _write(os.path.join(work, "settings"), sources.settings(_said("apt-config", "dump")).encode())
    _write(os.path.join(work, "sources"), _sources().encode())


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as opened:
        opened.write(content)


def _said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def _sources() -> str:
    """The machine's own mirrors of Debian, for the suite of the images."""
    found: Sequence[str] = ()
    if shutil.which("apt-get"):
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
        found = sources.sources(_said(*sources.QUERY), codename, recipe.SUITE)
    if not found:
        what = f"this machine's apt knows no mirror of Debian from which {recipe.SUITE} could be taken"
        raise SandboxNotBuilt("no-mirror", what, hint="mcp-sandbox image build --from registry")
    return "".join(f"{line}\n" for line in found)


def _run(
    argv: Sequence[str], work: str, environ: Mapping[str, str], consume: Callable[[object], None]
) -> None:
    env = {**environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    env.pop(
        "SOURCE_DATE_EPOCH", None
    )  # it would make mmdebstrap touch every file newer, and Python reread its own
    broken: tarfile.TarError | None = None
    with _process(argv, work, env) as child:
        try:
            consume(child.stdout)
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
        child = subprocess.Popen(
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
