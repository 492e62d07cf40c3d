"""Gets the packages of contained servers now: a first start takes longer than some clients wait."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sandbox.cli import options
from sandbox.cli.clients_diff import one_line
from sandbox.cli.clients_exposure import parsed
from sandbox.cli.output import note
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from sandbox.clients.gather import Around, Config
    from sandbox.clients.words import Entry, Found


AT_ONCE = 3
"""Builds side by side: each mostly waits for a registry."""


def build(configs: Iterable[Config], chosen: Callable[[Entry], bool], here: Around) -> int:
    """Each contained server as far as its start; how many of them would not start, which is told."""
    running: set[int] = set()
    failed = 0
    for config in configs:
        for entry in filter(chosen, config.entries):
            if len(running) == AT_ONCE:
                failed += _ended(running)
            running.add(_forked(entry, config.found, here))
    while running:
        failed += _ended(running)
    return failed


def _forked(entry: Entry, found: Found, here: Around) -> int:
    """A process of its own: what one of them loads, forks and says is no other's business."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        status = 0 if _built(entry, found, here) else 1
    except KeyboardInterrupt:
        pass  # the terminal has told all of us
    except Exception as error:
        note(f"{one_line(entry.name)}: {error!r}")
    finally:
        os._exit(status)


def _ended(running: set[int]) -> int:
    """Waits for one of them; 1 where it failed."""
    child, status = os.wait()
    running.discard(child)
    return 1 if status else 0


def _built(entry: Entry, found: Found, here: Around) -> bool:
    from sandbox.clients.gather import contained
    from sandbox.clients.wrapping import ours
    from sandbox.prepare import prepare

    name = one_line(entry.name)
    args = ours(entry.command, entry.args)
    if args is None or not contained(entry, found, here):
        return True
    try:
        prepare(
            options.wish(parsed(args), {**here.environ, **_settings(entry, found)}, here.cwd),
            lambda text: note(f"{name}: {text}"),
        )
    except SandboxError as error:
        note(f"{name}: it would not start here: {error.what}")
        return False
    except SystemExit:
        note(f"{name}: its options are not those of `run`")
        return False
    return True


def _settings(entry: Entry, found: Found) -> dict[str, str]:
    """The variables that the user's own file gives it, where the client puts nothing in their place."""
    from sandbox.clients.credential import literal

    if found.scope == "project":
        return {}  # a stranger's may lead to another registry
    return {name: value for name, value in entry.env if literal(value)}
