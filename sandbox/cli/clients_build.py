"""Gets the packages of contained servers now: a first start takes longer than some clients wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sandbox.cli import options
from sandbox.cli.clients_diff import one_line
from sandbox.cli.clients_exposure import parsed
from sandbox.cli.clients_found import around
from sandbox.cli.output import note
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from sandbox.clients.gather import Config
    from sandbox.clients.words import Entry, Found


def build(configs: Iterable[Config], chosen: Callable[[Entry], bool]) -> int:
    """Each contained server as far as its start; how many of them would not start, which is told."""
    return sum(
        not _built(entry, config.found) for config in configs for entry in filter(chosen, config.entries)
    )


def _built(entry: Entry, found: Found) -> bool:
    from sandbox.clients.gather import contained
    from sandbox.clients.wrapping import ours
    from sandbox.prepare import prepare

    here, name = around(), one_line(entry.name)
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
