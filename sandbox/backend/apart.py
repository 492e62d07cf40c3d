"""A question that is asked in a process of its own: nothing else of what was read for it stays here."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

from sandbox import linux
from sandbox.errors import SandboxError, SandboxNotBuilt

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from typing import NoReturn


def asked_apart(question: Callable[[], str]) -> str:
    """The answer alone, or what stopped it, raised here; its process ends with ours. Before any thread."""
    reading, writing = os.pipe()
    ours, child = os.getpid(), os.fork()
    if child == 0:
        _answer(writing, question, ours)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        raise SandboxNotBuilt("no-answer", "the process that was to answer ended without a word")
    kind, *words = json.loads(said)
    if kind == "error":
        raise SandboxNotBuilt(words[0], words[1], rule=words[2], hint=words[3])
    return str(words[0])


def _answer(to: int, question: Callable[[], str], parent: int) -> NoReturn:
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we asked for that
            os._exit(1)
        with open(to, "w") as pipe:
            json.dump(_said(question), pipe)
    finally:
        os._exit(0)


def _said(question: Callable[[], str]) -> list[str]:
    try:
        return ["answer", question()]
    except SandboxError as error:
        return ["error", error.code, error.what, error.rule, error.hint]
    except BaseException as error:
        return ["error", "no-answer", f"{type(error).__name__}: {error}"[:200], "", ""]
