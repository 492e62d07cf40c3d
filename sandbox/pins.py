"""Keeps the pins of servers in the state directory: a private file for each, written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sandbox.digest import sha256
from sandbox.errors import SandboxNotBuilt
from sandbox.inspect.canonical import NAMES
from sandbox.inspect.pinned import Item, Pinned
from sandbox.places import config_dir, state_dir
from sandbox.policy.cache import replace_private
from sandbox.policy.model import Policy
from sandbox.policy.search import shipped
from sandbox.prepared import Prepared
from sandbox.wire.structs import msgspec

_RUN_A_PROJECT = frozenset(
    "uv npm pnpm yarn bun deno poetry pdm hatch pipenv make cargo go mvn gradle".split()
)
FOLDER = "pins"
SUFFIX = ".json"
LARGEST = 64 << 20
NAME_CHARS = 80
LOCK_S = 2.0
"""How long a session waits for another that writes; no write takes as many milliseconds."""
_PAUSE_S = 0.005
_MARK = 8
"""Hex digits of a digest that tell servers of one name apart."""
SECRET_MARK = 16
"""Hex digits of a digest that tell names apart in which there is a secret."""
_VERSION_OF = "@"


class Store:
    """The pins of one server (`inspect.pin_view.Store`); other sessions and a person may write them too."""

    def __init__(
        self, name: str, server: str, environ: Mapping[str, str], clean: Callable[[str], str] = str
    ) -> None:
        self.name = name
        self._server = server
        self._path = path_of(name, environ)
        self._clean = clean
        self._seen: tuple[int, ...] | None = None
        self._pinned = self.held(Pinned(server))

    def held(self, pinned: Pinned) -> Pinned:
        """What holds besides what the file says: of a server with a lock, what that says."""
        return pinned

    def open(self) -> Pinned:
        """The pins as they are; a file that cannot be trusted stops the start."""
        try:
            self._load()
        except (OSError, ValueError) as error:
            raise _unusable(self._path, error) from None
        return self._pinned

    def read(self) -> Pinned:
        """The pins as they are now; what another process has spoilt meanwhile is not believed."""
        try:
            self._load()
        except (OSError, ValueError):
            pass  # what was read before still holds
        return self._pinned

    def first(self, kind: str, items: Mapping[str, Item]) -> Pinned:
        """Pins what is not pinned yet; `OSError` where that cannot be kept."""
        return self._change(lambda pinned: pinned.first(kind, items))

    def hold(self, kind: str, items: Mapping[str, Item]) -> Pinned:
        """Keeps these to be shown to a person, where they can be kept."""
        try:
            return self._change(lambda pinned: pinned.hold(kind, items))
        except OSError:
            return self._pinned

    def withdraw(self, kind: str, keys: list[str]) -> None:
        """The server has gone back to what holds."""
        try:
            self._change(lambda pinned: pinned.withdraw(kind, keys))
        except OSError:
            return  # a person is shown it once more

    def approve(self, chosen: Mapping[str, Mapping[str, str]], open_: Iterable[str] = ()) -> None:
        """From now on these hold, by kind and name, if they are still what their digest says."""

        def change(pinned: Pinned) -> None:
            for kind, items in chosen.items():
                waits = pinned.waits(kind)
                if any(key not in waits or waits[key].digest != digest for key, digest in items.items()):
                    raise FileChanged(errno.ESTALE, "the server has changed meanwhile")
            pinned.approve(chosen)
            for kind in open_:
                pinned.grow(kind)

        self._change(change)

    def forget(self) -> None:
        """Knows nothing of this server any more, but that this was decided."""
        with _locked(self._path):
            fresh = Pinned(self.read().server)
            fresh.decide("forget", "", "")
            replace_private(self._path, msgspec.json.encode(fresh))

    def decisions(self) -> list[tuple[str, str, str]]:
        """What a person has decided since this was last asked, for a log."""
        if not self._pinned.decided:
            return []
        found: list[tuple[str, str, str]] = []

        def take(pinned: Pinned) -> None:
            found.extend(pinned.decided)
            pinned.decided.clear()

        try:
            self._change(take)
        except OSError:
            return []  # it stays for the next session
        return found

    def known_as(self, key: str) -> str:
        """The name under which an item is kept: with a digest in place of what is secret in it."""
        return known_as(key, self._clean)

    def conceal(self, value: Any) -> Any:
        """A JSON value without secrets, in names and texts."""
        return concealed(value, self._clean)

    def _change(self, change: Callable[[Pinned], None]) -> Pinned:
        """What another session has written meanwhile stays; what could not be written was not changed."""
        with _locked(self._path):
            try:
                fresh = load(self._path)
            except FileNotFoundError:
                fresh = Pinned(self._server)
            except ValueError as error:
                raise OSError(errno.EINVAL, str(error), self._path) from None
            change(self.held(fresh))
            replace_private(self._path, msgspec.json.encode(fresh))
            self._pinned, self._seen = fresh, _signature(os.stat(self._path))
        return self._pinned

    def _load(self) -> None:
        """Reads the file where it is another than before."""
        try:
            seen = _signature(os.stat(self._path, follow_symlinks=False))
        except FileNotFoundError:
            if self._seen is not None:
                self._pinned, self._seen = self.held(Pinned(self._server)), None
            return
        if seen != self._seen:
            self._pinned, self._seen = self.held(load(self._path)), seen


class FileChanged(OSError):
    """What was shown is not what waits any more."""


def known_as(key: str, clean: Callable[[str], str]) -> str:
    """The name under which an item is kept: with a digest in place of what is secret in it."""
    kept = clean(key)
    return key if kept == key else f"{kept} (sha256 {sha256(key.encode()).hexdigest()[:SECRET_MARK]})"


def concealed(value: Any, clean: Callable[[str], str]) -> Any:
    """A JSON value without secrets, in names and texts."""
    if type(value) is str:
        return clean(value)
    if type(value) is dict:
        return {clean(name): concealed(one, clean) for name, one in value.items()}
    return [concealed(one, clean) for one in value] if type(value) is list else value


# --- files -------------------------------------------------------------------------------------------


def folder_of(environ: Mapping[str, str]) -> str:
    """Where the pins are."""
    return os.path.join(state_dir(environ), FOLDER)


def path_of(name: str, environ: Mapping[str, str]) -> str:
    """The file of one server."""
    return os.path.join(folder_of(environ), name + SUFFIX)


def every(environ: Mapping[str, str]) -> list[str]:
    """The names of all servers that have pins."""
    try:
        found = os.listdir(folder_of(environ))
    except OSError:
        return []
    return sorted(name.removesuffix(SUFFIX) for name in found if name.endswith(SUFFIX))


def load(path: str) -> Pinned:
    """The pins in a file that nobody else can have written; `ValueError` says why they are none."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(fd, "rb") as file:
        held = os.fstat(fd)
        if held.st_uid != os.geteuid() or stat.S_IMODE(held.st_mode) & 0o022:
            raise ValueError("others can write it")
        if not stat.S_ISREG(held.st_mode) or held.st_size > LARGEST:
            raise ValueError("it is no file of pins")
        text = file.read(LARGEST)
    pinned = msgspec.json.decode(text, type=Pinned)
    if pinned.schema != 1 or {*pinned.approved, *pinned.waiting, *pinned.begun, *pinned.open} - {*NAMES}:
        raise ValueError("it was written by another version")
    return pinned


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Nobody else changes pins meanwhile."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(f"{os.path.dirname(path)}/lock", flags, 0o600)
    try:
        until = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(fd)


def _signature(held: os.stat_result) -> tuple[int, ...]:
    return held.st_ino, held.st_mtime_ns, held.st_size, held.st_ctime_ns


def _unusable(path: str, error: Exception) -> SandboxNotBuilt:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return SandboxNotBuilt(
        "pins-unusable",
        f"`{path}` cannot be used: {why}",
        rule="tools.pin",
        hint="look at it, then `mcp-sandbox approve --forget` or remove it",
    )


# --- names -------------------------------------------------------------------------------------------


def name_of(prepared: Prepared, environ: Mapping[str, str]) -> str:
    """The name under which a server is pinned: its profile, or its own and a digest of what starts it.

    A package's version is no part of it: an update is what pins are held against.
    """
    policy, wish = prepared.policy, prepared.wish
    if not wish.command and wish.name is None:
        elsewhere = _elsewhere(policy, environ)
        return _safe(policy.name) + (f"-{_mark(elsewhere)}" if elsewhere else "")
    words = (policy.server.url,) if policy.server.url else wish.command or policy.server.command
    packages = {_unversioned(spec) for spec in prepared.request.specs} if prepared.request else set()
    meant = [bare if (bare := _unversioned(word)) in packages else _whole(word, wish.cwd) for word in words]
    if words and not packages and os.path.basename(words[0]) in _RUN_A_PROJECT:
        meant.append(wish.cwd)  # it runs what this directory holds, and need not name anything of it
    return f"{_safe(prepared.spec.server)}-{_mark(chr(0).join(meant))}"


def _whole(word: str, cwd: str) -> str:
    """The path of what a word names below the working directory, or the word."""
    path = os.path.normpath(os.path.join(cwd, word))
    return path if word and not word.startswith("-") and os.path.lexists(path) else word


def _elsewhere(policy: Policy, environ: Mapping[str, str]) -> str:
    """The file of a profile that is neither the user's nor ours: its name alone says little."""
    file = policy.sources[0][0] if policy.sources else ""
    own = os.path.join(config_dir(environ), "profiles")
    return "" if not file or os.path.dirname(file) in (own, shipped()) else os.path.realpath(file)


def _unversioned(spec: str) -> str:
    """`@scope/server@1.2` and `server==1.2` without what says which version."""
    head, name = (spec[:1], spec[1:]) if spec.startswith(_VERSION_OF) else ("", spec)
    end = next((at for at, char in enumerate(name) if char in "@=<>~!"), len(name))
    return head + name[:end]


def _safe(name: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name)
    return kept[:NAME_CHARS].lstrip("-.") or "server"


def _mark(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_MARK]
