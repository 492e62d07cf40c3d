"""Doing the real thing in a forked child, and learning at which step and with which errno it failed."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable

from sandbox import linux
from sandbox.records import dataclass

Tell = Callable[[str], None]
Body = Callable[[Tell], None]

TIMEOUT_S = 3.0
_DONE = "done"
# A uid that no account and no container range has; the launcher takes one of the same range.
_SPARE_UID = 1_900_000_000

NAMESPACES = (
    linux.CLONE_NEWUSER
    | linux.CLONE_NEWNS
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWCGROUP
    | linux.CLONE_NEWNET
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The steps that were begun; `error` 0 and every step done, or the errno that stopped the last one."""

    steps: tuple[str, ...]
    error: int = 0
    message: str = ""

    @property
    def works(self) -> bool:
        """True when the child said so itself, at its very end."""
        return bool(self.steps) and self.steps[-1] == _DONE

    @property
    def step(self) -> str:
        """The step that failed, or the last one."""
        return self.steps[-1] if self.steps else "start"

    def reached(self, step: str) -> bool:
        """True when everything before `step` worked."""
        return step in self.steps


def attempt(body: Body, *, timeout: float = TIMEOUT_S) -> Outcome:
    """Runs `body` in a child of its own, which ends with the trial whatever happens."""
    read, write = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        os.close(read)
        os.close(write)
        return Outcome(("fork",), error.errno or 0, str(error))
    if child == 0:
        os.close(read)
        _perform(body, write)
    os.close(write)
    try:
        return _outcome(_everything(read, timeout))
    finally:
        os.close(read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _perform(body: Body, write: int) -> None:
    # Lines of one step each; one that starts with `!` is the failure of the step before.
    def tell(line: str) -> None:
        os.write(write, f"{line}\n".encode())

    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        body(tell)
        tell(_DONE)
    except OSError as error:
        tell(f"!{error.errno or 0} {error}")
    except BaseException as error:  # a child must never run on into its parent's code
        tell(f"!0 {error!r}")
    finally:
        os._exit(0)


def _everything(fd: int, timeout: float) -> str:
    text, end = b"", time.monotonic() + timeout
    while True:
        ready, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return text.decode() + f"!110 no answer within {timeout:g} s\n"
        chunk = os.read(fd, 4096)
        if not chunk:
            return text.decode()
        text += chunk


def _outcome(text: str) -> Outcome:
    lines = text.splitlines()
    steps = tuple(line for line in lines if not line.startswith("!"))
    failed = next((line for line in lines if line.startswith("!")), "")
    if not failed:
        return Outcome(steps) if steps and steps[-1] == _DONE else Outcome(steps, 0, "the child ended early")
    number, _, message = failed[1:].partition(" ")
    return Outcome(steps, int(number), message)


def as_nobody() -> None:
    """A root caller gives up root first, as the launcher does: what root may do says nothing about it."""
    if os.geteuid() != 0:
        return
    spare = _SPARE_UID + os.getpid()
    os.setgroups([])
    os.setresgid(spare, spare, spare)
    os.setresuid(spare, spare, spare)
    # A change of uid makes /proc/self root's own, and uid_map with it.
    linux.prctl(linux.PR_SET_DUMPABLE, 1)


def inside_namespaces(body: Body) -> Body:
    """`body` as process 1 of fresh namespaces of every kind, entered by an unprivileged uid."""

    def outer(tell: Tell) -> None:
        tell("drop root")
        as_nobody()
        uid, gid = os.geteuid(), os.getegid()
        tell("namespaces")
        child = linux.clone(NAMESPACES)
        if child == 0:
            _first_process(body, tell, uid, gid)
        _, status = os.waitpid(child, 0)
        if status:
            # The child has told its own failure; this end adds nothing to it.
            os._exit(0)

    return outer


def _first_process(body: Body, tell: Tell, uid: int, gid: int) -> None:
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        tell("ids")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        tell("propagation")
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE)
        body(tell)
    except OSError as error:
        tell(f"!{error.errno or 0} {error}")
        os._exit(1)
    except BaseException as error:  # as above
        tell(f"!0 {error!r}")
        os._exit(1)
    os._exit(0)
