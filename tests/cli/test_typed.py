"""An answer is what is typed after its question."""

from __future__ import annotations

import os
import pty
import sys

PROGRAM = """
import select, sys
from sandbox.cli.typed import typed
sys.stderr.write("ready")
sys.stderr.flush()
assert select.select([0], [], [], 20)[0]  # it is there before the question is
print([typed("first? ")], [typed("second? ")])
"""


def test_what_was_typed_before_the_question_is_no_answer() -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM])  # noqa: S606 - a fixed program
    screen, sent = b"", {b"ready": b"yes\n", b"first? ": b"no\n", b"second? ": b"later\n"}
    try:
        while True:
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # EIO: the other side has closed
                break
            screen += piece
            for word in [word for word in sent if word in screen]:
                os.write(terminal, sent.pop(word))
    finally:
        os.waitpid(pid, 0)
        os.close(terminal)
    assert b"['no'] ['later']" in screen
