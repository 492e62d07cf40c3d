"""A lock is switched, and switched back, at once or not at all: whatever is killed, one of the two starts."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pytest

from sandbox import locks
from sandbox.errors import SandboxNotBuilt, UsageError
from sandbox.inspect.pinned import Pinned
from sandbox.prepared import Wish
from sandbox.records import replace
from sandbox.supply import accepted
from sandbox.supply.lock import Lock, Package, Tree
from sandbox.supply.lock_text import spell
from sandbox.update.report import Outcome
from sandbox.update.rollback import go, way
from sandbox.update.update import Asked, Update, opened, switch

FITS = "linux-x86_64 node-115"
OLD = Lock("mail", "npm", ("mail@latest",), ("npx", "-y", "mail"), "2026-11-01T00:00:00Z", "me",
           packages=(Package("mail", "1.0.0", ("sha512-AA==",), place="node_modules/mail"),),
           trees=(Tree(FITS, "1" * 64, 1, 1, (("mail", ("/opt/mcp/m",)),), "mail"),),
           profile="node", keys=("npm mail",))  # fmt: skip
NEW = replace(
    OLD,
    made="2026-11-20T00:00:00Z",
    packages=(replace(OLD.packages[0], version="2.0.0"),),
    trees=(replace(OLD.trees[0], digest="2" * 64),),
)
STEPS = ("rename", "fsync")


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def path(environ: Mapping[str, str]) -> str:
    """The old lock, accepted."""
    made = accepted.path_of("mail", accepted.user_dir(environ))
    accepted.put(made, OLD, environ)
    return os.path.realpath(made)


def counted(path: str, environ: Mapping[str, str]) -> str:
    """The version that starts now; a lock that does not count is an error."""
    found = locks.read(path, accepted.every(environ), environ)
    return locks.whole(found).packages[0].version


def update(path: str, environ: Mapping[str, str]) -> Update:
    found = locks.read(path, accepted.every(environ), environ)
    outcome = Outcome("mail", path, OLD, NEW, ())
    return Update(outcome, found, None, Pinned("mail"))  # type: ignore[arg-type]


def killed_at(number: int, work: Callable[[], None]) -> bool:
    """Whether `work` was killed, by SIGKILL, at its step of that number; it runs in a process of its own."""
    pid = os.fork()
    if pid == 0:
        left = [number]
        for name in STEPS:
            _count(name, left)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def _count(name: str, left: list[int]) -> None:
    real = getattr(os, name)

    def step(*args: object, **more: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **more)

    setattr(os, name, step)


def everywhere(work: Callable[[], None], check: Callable[[], None]) -> int:
    """Kills `work` at each of its steps in turn, and checks after each; how many there were."""
    for number in range(1, 200):
        killed = killed_at(number, work)
        check()
        if not killed:
            return number - 1
    raise AssertionError("it does not end")


def test_the_new_lock_counts_and_the_old_one_waits(path: str, environ: Mapping[str, str]) -> None:
    switch(update(path, environ), environ)
    assert counted(path, environ) == "2.0.0"
    assert counted(path + accepted.PREVIOUS, environ) == "1.0.0"
    assert {"1" * 64, "2" * 64} <= {*accepted.kept(environ)}
    assert stat.S_IMODE(os.stat(path + accepted.PREVIOUS).st_mode) == 0o600


def test_a_switch_that_is_killed_leaves_a_lock_that_starts(path: str, environ: Mapping[str, str]) -> None:
    made, seen = update(path, environ), set[str]()

    def check() -> None:
        seen.add(counted(path, environ))
        accepted.put(path, OLD, environ)  # the next attempt begins where this one did

    assert everywhere(lambda: switch(made, environ), check) >= 8
    assert seen == {"1.0.0", "2.0.0"}


def test_going_back_that_is_killed_leaves_a_lock_that_starts(path: str, environ: Mapping[str, str]) -> None:
    switch(update(path, environ), environ)
    seen = set[tuple[str, str]]()

    def check() -> None:
        seen.add((counted(path, environ), counted(path + accepted.PREVIOUS, environ)))
        accepted.put(path + accepted.PREVIOUS, OLD, environ)
        accepted.put(path, NEW, environ)

    chosen = way(path, environ)
    assert everywhere(lambda: go(chosen, chosen.back, environ), check) >= 8
    assert seen == {("2.0.0", "1.0.0"), ("1.0.0", "1.0.0"), ("1.0.0", "2.0.0")}


def test_back_and_forth(path: str, environ: Mapping[str, str]) -> None:
    switch(update(path, environ), environ)
    for version in ("1.0.0", "2.0.0", "1.0.0"):
        chosen = way(path, environ)
        go(chosen, chosen.back, environ)
        assert counted(path, environ) == version


def test_nothing_to_go_back_to(path: str, environ: Mapping[str, str]) -> None:
    with pytest.raises(UsageError, match="before"):
        way(path, environ)


def test_a_lock_that_was_tampered_with_is_gone_back_from_and_not_kept(
    path: str, environ: Mapping[str, str]
) -> None:
    switch(update(path, environ), environ)
    Path(path).write_text(Path(path).read_text().replace("2.0.0", "6.6.6"))
    chosen = way(path, environ)
    assert chosen.now is None
    go(chosen, chosen.back, environ)
    assert counted(path, environ) == "1.0.0"
    assert counted(path + accepted.PREVIOUS, environ) == "1.0.0"


def test_a_previous_lock_that_was_tampered_with_is_not_gone_back_to(
    path: str, environ: Mapping[str, str]
) -> None:
    switch(update(path, environ), environ)
    before = Path(path + accepted.PREVIOUS)
    before.write_text(before.read_text().replace("1.0.0", "6.6.6"))
    with pytest.raises(SandboxNotBuilt) as refused:
        way(path, environ)
    assert refused.value.code == "lock-changed"
    assert str(before) in refused.value.what


def test_a_lock_that_changed_while_a_person_read_is_not_switched(
    path: str, environ: Mapping[str, str]
) -> None:
    made = update(path, environ)
    accepted.put(path, replace(OLD, by="somebody else"), environ)
    with pytest.raises(SandboxNotBuilt) as refused:
        switch(made, environ)
    assert refused.value.code == "lock-changed"
    assert counted(path, environ) == "1.0.0"


@pytest.mark.parametrize("switches", ["never", "on-yes"])
def test_a_lock_that_nobody_accepted_is_only_looked_at(
    switches: Literal["never", "on-yes"], environ: Mapping[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "mail.lock"
    path.write_text(spell(OLD))
    asked = Asked(str(path), Wish((), environ, "/"), print, print, switches=switches)
    if switches == "never":
        assert opened(asked).resolved == ("mail@1.0.0",)
        return
    with pytest.raises(UsageError) as refused:
        opened(asked)
    assert refused.value.code == "untrusted-lock"


def test_the_digest_of_an_update_is_the_same_whenever_it_is_made(
    path: str, environ: Mapping[str, str]
) -> None:
    made = update(path, environ)
    later = replace(made, outcome=replace(made.outcome, new=replace(NEW, made="2026-12-01T00:00:00Z")))
    other = replace(made, outcome=replace(made.outcome, new=replace(NEW, wants=("evil.example:443",))))
    assert made.digest == later.digest
    assert made.digest != other.digest
