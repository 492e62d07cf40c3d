"""Code for first looks, kept between sessions (`inspect.first_look`): without it a start takes longer."""

from __future__ import annotations

import os
import sys
import threading
import time
from binascii import crc32
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from sandbox.inspect.first_look import Question
from sandbox.places import cache_dir, has_cache
from sandbox.policy.cache import read_private, replace_private

OLD_S = 30 * 86400.0
"""What was made so long ago goes when something is kept: most often its rules are gone too."""
FIRST_PAUSE_S = 0.05
PAUSE_S = 0.002
"""Before and between pieces of what is made ahead, which hold the interpreter: waiting clients go first."""
LONG_S = 10.0
"""A session that lasts so long has time to make it for the next one."""

_HURRY = threading.Event()
_KEEPING = threading.Lock()


def look_first(questions: Iterable[Question], environ: Mapping[str, str]) -> None:
    """From now on, by what was kept."""
    directory = _directory(environ)
    for question in questions:
        question.look_first(lambda pattern: read_private(_path(directory, pattern)))


def keep(questions: Iterable[Question], environ: Mapping[str, str]) -> None:
    """Makes and keeps what was not there; a cache that cannot be written costs time, never a session."""
    missing = [question for question in questions if not question.kept]
    if not missing or not has_cache(environ):
        return
    directory = _directory(environ)
    # One at a time: the interpreter is busy for 30 ms with each, and messages wait.
    with _KEEPING, suppress(OSError):
        for question in missing:
            pattern, code = question.code()
            if code:
                replace_private(_path(directory, pattern), code)
                question.kept = True
        _clear(directory)


def keep_shipped(environ: Mapping[str, str]) -> None:
    """The same of the shipped rules: for the next start, by a command that takes its time."""
    from sandbox.inspect import credentials, poison_rules
    from sandbox.inspect.reading import Reader

    questions = (*credentials.shipped().questions, *Reader(*poison_rules.shipped()).questions)
    look_first(questions, environ)
    keep(questions, environ)


def at_leisure(steps: Iterable[object], questions: Sequence[Question], environ: Mapping[str, str]) -> None:
    """In a thread, once a fast server has answered: `steps`, and `keep` where the session is long."""
    _HURRY.wait(FIRST_PAUSE_S)
    for _ in steps:
        time.sleep(PAUSE_S)
    if all(question.kept for question in questions) or _HURRY.wait(LONG_S):
        return
    keep(questions, environ)


def hurry() -> None:
    """Whoever waits for the threads does not wait long, and nothing more is kept."""
    _HURRY.set()


def _directory(environ: Mapping[str, str]) -> str:
    return os.path.join(cache_dir(environ), "first-looks")


def _path(directory: str, pattern: bytes) -> str:
    # A checksum names the file; two patterns that share one only overwrite each other's.
    return os.path.join(directory, f"{crc32(pattern):08x}.{sys.implementation.cache_tag}")


def _clear(directory: str) -> None:
    with os.scandir(directory) as entries:
        for entry in entries:
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > OLD_S:
                os.unlink(entry.path)
