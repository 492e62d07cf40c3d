"""What becomes of one config file: decided as a whole, then done, in an order that can be undone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from sandbox.clients import codec, keep, record, shapes
from sandbox.clients.engine_entry import contained
from sandbox.clients.gather import Around, Config, fit
from sandbox.clients.gather import contained as is_contained
from sandbox.clients.keep import NotChanged
from sandbox.clients.record import Record, Written
from sandbox.clients.words import REMOVED, Edit, Entry, Found
from sandbox.clients.wrapping import Left, Wrapped, unwrapped, words_of, wrapped
from sandbox.places import APP, config_dir
from sandbox.policy.cache import replace_private
from sandbox.records import dataclass, replace

Chosen = Callable[[Entry], bool]


@dataclass(frozen=True, slots=True)
class Change:
    """One server's: what the client starts now, what it is to start, and what has to be said."""

    entry: Entry
    then: Entry
    """The entry as the client reads it afterwards."""
    before: tuple[str, ...]
    after: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """One file's: nothing is done yet."""

    config: Config
    content: bytes
    changes: tuple[Change, ...]
    left: tuple[tuple[Entry, Left], ...]
    kept: Record | None
    """What is remembered afterwards; None where nothing of ours is left in the file."""
    profiles: tuple[tuple[str, str], ...] = ()
    """Profiles to write, by path."""


def to_wrap(config: Config, around: Around, program: str, chosen: Chosen) -> Plan:
    """Every chosen server in its sandbox, as far as that can be."""
    edits: list[Edit] = []
    changes: list[Change] = []
    left: list[tuple[Entry, Left]] = []
    written: list[Written] = []
    profiles: dict[str, str] = {}
    for entry in filter(chosen, config.entries):
        made, profile = _wrapped(entry, config.found, around, program)
        if isinstance(made, Left):
            left.append((entry, made))
            continue
        profiles |= profile
        edits += [*shapes.started_by(entry, made.command, made.args), *_variables(entry, made)]
        written.append(Written(entry.path, made.command, made.args))
        changes.append(Change(entry, made.on(entry), words_of(entry), (made.command, *made.args), made.notes))
    content = config.document.edited(edits) if edits else config.held.content
    _check(config, content, changes)
    kept = _remembered(config, around, content, written, profiles)
    return Plan(config, content, tuple(changes), tuple(left), kept, tuple(profiles.items()))


def _wrapped(
    entry: Entry, found: Found, around: Around, program: str
) -> tuple[Wrapped | Left, dict[str, str]]:
    known = fit(entry, found, around)
    folder = os.path.join(config_dir(around.environ), "profiles")
    usual = os.path.join(around.home, ".config", APP, "profiles")
    # Clients hand HOME on, and XDG_CONFIG_HOME mostly not.
    by_engine = contained(entry, program, known, words_of(entry), folder if folder != usual else "")
    if by_engine is None:
        return wrapped(entry, program, known), {}
    if isinstance(by_engine, Left):
        return by_engine, {}
    return by_engine.wrapped, {os.path.join(folder, f"{by_engine.profile}.toml"): by_engine.text}


def _remembered(
    config: Config, around: Around, content: bytes, written: Sequence[Written], profiles: dict[str, str]
) -> Record | None:
    known = record.recall(config.held.real, around.environ)
    if not written:
        return known
    states = (record.digest(config.held.content), record.digest(content))
    sums = {path: record.digest(text.encode()) for path, text in profiles.items()}
    there = {(entry.command, entry.args) for entry in config.entries}
    older = [one for one in known.written if (one.command, one.args) in there] if known else []
    sums = {**(dict(known.profiles) if known else {}), **sums}
    base = base_of(config, known, around)
    return Record(config.held.real, base, states, (*older, *written), tuple(sums.items()))


def base_of(config: Config, known: Record | None, around: Around) -> bytes:
    """The file without anything of ours."""
    if known is not None and record.digest(config.held.content) in known.states:
        return known.base
    edits, _, _ = _back(config, known, around, lambda _: True)
    return config.document.edited(edits) if edits else config.held.content


def to_unwrap(config: Config, around: Around, chosen: Chosen) -> Plan:
    """Every chosen server as its client had it; byte for byte where nobody has changed the file since."""
    known = record.recall(config.held.real, around.environ)
    edits, changes, left = _back(config, known, around, chosen)
    gone = [one.entry for one in changes]
    stays = any(is_contained(one, config.found, around) for one in config.entries if one not in gone)
    if not stays and changes:
        content = base_of(config, known, around)
    else:
        content = config.document.edited(edits) if edits else config.held.content
    _check(config, content, changes if stays else [])
    if known is not None and stays:
        states = (record.digest(config.held.content), record.digest(content))
        known = replace(known, states=states, base=base_of(config, known, around))
    return Plan(config, content, tuple(changes), tuple(left), known if stays else None)


def _back(
    config: Config, known: Record | None, around: Around, chosen: Chosen
) -> tuple[list[Edit], list[Change], list[tuple[Entry, Left]]]:
    before = _entries(known.base, config.found) if known else {}
    edits: list[Edit] = []
    changes: list[Change] = []
    left: list[tuple[Entry, Left]] = []
    for entry in filter(chosen, config.entries):
        if not is_contained(entry, config.found, around):
            continue
        made = unwrapped(entry, before.get(_key(entry)), _as_written(entry, known))
        if made is None:
            left.append((entry, Left("what it was before is not known any more")))
            continue
        given = _given(made, entry, before.get(_key(entry)))
        edits += [*shapes.started_by(entry, made.command, given), *_variables(entry, made)]
        changes.append(
            Change(entry, made.on(entry), (entry.command, *entry.args), (made.command, *made.args))
        )
    return edits, changes, left


def _variables(entry: Entry, made: Wrapped) -> Iterator[Edit]:
    """The edits of the entry's variables."""
    shape = shapes.SHAPES[entry.shape]
    base = (*entry.path, shape.inner) if shape.inner else entry.path
    previous = dict(zip(made.env, ["", *made.env], strict=False))
    for name, value in made.env.items():
        given = REMOVED if value is None else value
        yield Edit((*base, shape.env, name), given, after=previous[name])


def _given(made: Wrapped, entry: Entry, before: Entry | None) -> Sequence[str] | None:
    """The arguments; None where the entry had no such member."""
    if made.args or (before is not None and before.args_given and made.command == before.command):
        return made.args
    return None


def _entries(content: bytes, found: Found) -> dict[tuple[object, ...], Entry]:
    document = codec.parse(content, found.format, found.path)
    return {_key(entry): entry for entry in document.entries(found.row)}


def _key(entry: Entry) -> tuple[object, ...]:
    """Which server it is; a place in a list moves, its name does not."""
    return (*entry.path[:-1], entry.name)


def _as_written(entry: Entry, known: Record | None) -> tuple[str, tuple[str, ...]] | None:
    now = (entry.command, entry.args)
    return now if known and any((one.command, one.args) == now for one in known.written) else None


def _check(config: Config, content: bytes, changes: Sequence[Change]) -> None:
    """The client will read what was meant, and nothing else has changed: read again, and compared."""
    if not changes:
        return
    again = codec.parse(content, config.found.format, config.found.path).entries(config.found.row)
    meant = {one.entry.path: one.then for one in changes}
    if [_read(one) for one in again] != [_read(meant.get(one.path, one)) for one in config.entries]:
        what = f"`{config.found.path}` cannot be changed without changing more than was meant"
        raise NotChanged("not-understood", what, hint="report the file's form, without its secrets")


def _read(entry: Entry) -> tuple[object, ...]:
    env = tuple(sorted(entry.env))
    return (entry.name, entry.command, entry.args, env, entry.cwd, entry.url, entry.disabled)


def carry_out(plan: Plan, around: Around) -> str:
    """Does it; returns where the file as it was is kept. Whatever ends us leaves the old file or the new."""
    known = record.recall(plan.config.held.real, around.environ)
    for path, text in plan.profiles:
        _write_profile(path, text)
    kept = record.remember(plan.kept, around.environ) if plan.kept else ""
    if plan.content != plan.config.held.content:
        keep.replace(plan.config.held, plan.content)
    if plan.kept is None:
        record.forget(plan.config.held.real, around.environ)
    if known is not None:
        _remove_profiles(known, plan.kept)
    return kept


def _write_profile(path: str, text: str) -> None:
    """The name says the content's digest: a file of that name that differs is somebody's, and stays."""
    if os.path.lexists(path):
        return
    try:
        replace_private(path, text.encode())
    except OSError as error:
        raise NotChanged("no-profile", f"`{path}` cannot be written: {error.strerror}") from None


def _remove_profiles(known: Record, kept: Record | None) -> None:
    """Those that no entry needs any more, while they are what we wrote."""
    needed = dict(kept.profiles) if kept else {}
    for path, sum_ in known.profiles:
        if path in needed:
            continue
        with suppress(OSError):
            with open(path, "rb") as file:
                same = record.digest(file.read(keep.LARGEST)) == sum_
            if same:
                os.unlink(path)
