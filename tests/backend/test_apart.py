"""What is asked in a process of its own: the answer comes back, nothing else, and it ends with us."""

from __future__ import annotations

import os
import signal
import time

import pytest

from sandbox.backend.apart import asked_apart
from sandbox.errors import ProfileError, SandboxNotBuilt


def test_the_answer_alone() -> None:
    seen: list[int] = []

    def question() -> str:
        seen.append(os.getpid())
        return f"tökén {os.getpid() != parent}"

    parent = os.getpid()
    assert asked_apart(question) == "tökén True"
    assert seen == []


def test_what_stopped_it() -> None:
    def refused() -> str:
        raise ProfileError("a-code", "what", rule="rule", hint="hint")

    with pytest.raises(SandboxNotBuilt) as caught:
        asked_apart(refused)
    error = caught.value
    assert (error.code, error.what, error.rule, error.hint) == ("a-code", "what", "rule", "hint")


@pytest.mark.parametrize(
    "question",
    [lambda: str(1 // 0), lambda: str(os._exit(3)), lambda: str(os.kill(os.getpid(), signal.SIGKILL))],
    ids=["a fault", "an end", "a kill"],
)
def test_no_answer_is_an_error(question: object) -> None:
    with pytest.raises(SandboxNotBuilt, match=r"ZeroDivision|without a word"):
        asked_apart(question)  # type: ignore[arg-type]


def test_it_ends_with_us() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:

        def question() -> str:
            os.write(writing, b"1")
            time.sleep(60)
            return ""

        asked_apart(question)
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"1"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert os.read(reading, 1) == b"", "whoever held the other end is gone"
    os.close(reading)
