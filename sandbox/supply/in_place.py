"""Programs and trees outside the store: measured where they are, and never changed by that."""

from __future__ import annotations

import os
import stat

from sandbox.digest import sha256
from sandbox.errors import SandboxNotBuilt
from sandbox.supply import stamps
from sandbox.supply.compared import Changed, hashed
from sandbox.supply.verify import Listed, check, refusal, remember

MOST_FILES = 200_000
MOST_BYTES = 16 << 30


def measured(path: str, *, without: frozenset[str] = frozenset(), notes: str = "") -> tuple[str, int, int]:
    """Digest, number of files and bytes of the file or directory, neither more than is reasonable.

    `without`: names at its top that do not count, such as `.git`. `notes`: a directory of ours where its
    list is kept, so that `unchanged` can name what differs.
    """
    status = os.lstat(path)
    if stat.S_ISREG(status.st_mode):
        if status.st_size > MOST_BYTES:
            raise _refused(path, f"it has more than {MOST_BYTES >> 30} GiB")
        return hashed(None, os.fsencode(path)), 1, status.st_size
    if not stat.S_ISDIR(status.st_mode):
        raise _refused(path, "it is no file and no directory")
    digest, listed, files, size = _listed(path, without)
    if notes:
        os.makedirs(notes, mode=0o700, exist_ok=True)
        _write(_note(path, digest, notes, without, "").manifest, listed)
    return digest, files, size


def _listed(path: str, without: frozenset[str]) -> tuple[str, bytes, int, int]:
    from sandbox.supply import manifest, tree  # where something is locked, not at a start

    files = size = 0
    records = []
    try:
        for name, entry in tree.walk(path, lambda _: None, without=without):
            files += 1
            size += entry.stat(follow_symlinks=False).st_size
            if files > MOST_FILES or size > MOST_BYTES:
                raise _refused(path, f"it has more than {MOST_FILES} files or {MOST_BYTES >> 30} GiB")
            records.append(tree.record(name, entry, lambda file, _: hashed(None, os.fsencode(file))))
    except SandboxNotBuilt as error:
        if error.code == "not-measured":
            raise
        raise _refused(path, error.what) from error
    except OSError as error:
        raise _refused(path, f"`{error.filename}`: {error.strerror}") from error
    listed = manifest.spell(records)
    return manifest.digest(listed), listed, files, size


def _refused(path: str, why: str) -> SandboxNotBuilt:
    return SandboxNotBuilt("not-measured", f"`{path}` cannot be locked: {why}")


def unchanged(
    path: str, digest: str, notes: str, *, without: frozenset[str] = frozenset(), hint: str = ""
) -> None:
    """`path` still measures as `digest`, else `tree-changed` naming what differs.

    `notes` is where `measured` kept its list; with the stamps there, the next look is cheap.
    """
    listed = _note(path, digest, notes, without, hint)
    try:
        if os.path.isfile(path):
            _file(path, listed)
        elif os.path.isfile(listed.manifest):
            check(listed)
        elif measured(path, without=without, notes=notes)[0] != digest:
            raise refusal(listed, Changed(b".", "is not what was locked"))
    except OSError as error:
        raise refusal(listed, Changed(b".", f"cannot be read: {error.strerror}")) from error


def _note(path: str, digest: str, notes: str, without: frozenset[str], hint: str) -> Listed:
    name = os.path.join(notes, f"{digest[:32]}-{sha256(os.fsencode(path)).hexdigest()[:16]}")
    return Listed(path, digest, f"{name}.manifest", f"{name}.stamps", without=without, hint=hint)


def _file(path: str, listed: Listed) -> None:
    with open(path, "rb", opener=_opener) as file:
        now = stamps.of(os.fstat(file.fileno()))
        kept = stamps.read(listed.stamps, listed.digest)
        if kept is not None and stamps.same(kept, path, file.fileno()):
            return
    if hashed(None, os.fsencode(path)) != listed.digest:
        raise refusal(listed, Changed(b".", "has another content"))
    os.makedirs(os.path.dirname(listed.stamps), mode=0o700, exist_ok=True)
    remember(listed, [], [now, now])


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _write(path: str, content: bytes) -> None:
    part = f"{path}.{os.getpid()}"
    with open(part, "wb") as file:
        file.write(content)
    os.rename(part, path)
