"""What becomes of one config file: decided as a whole, then done, in an order that can be undone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from sandbox.clients import codec, keep, record, remote_entry, shapes
from sandbox.clients.engine_entry import Contained, contained
from sandbox.clients.gather import Around, Config, fit, leads_away
from sandbox.clients.gather import contained as is_contained
from sandbox.clients.keep import NotChanged
from sandbox.clients.record import Record, Written
from sandbox.clients.words import REMOVED, Edit, Entry, Found
from sandbox.clients.wrapping import Left, Wrapped, unwrapped, words_of, wrapped
from sandbox.errors import SandboxError
from sandbox.places import APP, config_dir
from sandbox.policy.cache import replace_private
from sandbox.records import dataclass, field, replace

MOST_SINGLY: Final = 200
"""Entries of a file that are tried one by one, where not all can be edited together."""
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


@dataclass(frozen=True, slots=True)
class _Made:
    """One entry's change, and what carries it out."""

    change: Change
    edits: tuple[Edit, ...]
    profile: tuple[tuple[str, str], ...] = ()


def to_wrap(config: Config, around: Around, program: str, chosen: Chosen) -> Plan:
    """Every chosen server in its sandbox, as far as that can be."""
    made: list[_Made] = []
    left: list[tuple[Entry, Left]] = []
    for entry in filter(chosen, config.entries):
        if entry.url and not entry.command:
            found = _reached(entry, config, around, program)
        else:
            found = _wrapped(entry, config.found, around, program)
        if isinstance(found, Left):
            left.append((entry, found))
        else:
            made.append(found)
    if made and leads_away(config.found, around):
        what = f"`{config.found.path}` is a link out of its project, to `{config.held.real}`"
        raise NotChanged("link-away", what, hint="wrap it from the project that the file is in")
    content, made, refused = _written(config, made)
    changes = tuple(one.change for one in made)
    profiles = tuple(profile for one in made for profile in one.profile)
    kept = _remembered(config, around, content, changes, profiles)
    return Plan(config, content, changes, (*left, *refused), kept, profiles)


def _written(config: Config, made: list[_Made]) -> tuple[bytes, list[_Made], list[tuple[Entry, Left]]]:
    """The file with these changes; where one of them cannot be made, without that one."""
    try:
        return _edited(config, made), made, []
    except SandboxError as error:
        if len(made) > MOST_SINGLY:
            raise
        if len(made) == 1:
            return config.held.content, [], [(made[0].change.entry, Left(error.what))]
    good: list[_Made] = []
    refused: list[tuple[Entry, Left]] = []
    for one in made:
        _, fits, why = _written(config, [one])
        try:
            _edited(config, [*good, *fits])
            good += fits
        except SandboxError as error:
            why = [(one.change.entry, Left(error.what))]
        refused += why
    return _edited(config, good), good, refused


def _edited(config: Config, made: Sequence[_Made]) -> bytes:
    edits = [edit for one in made for edit in one.edits]
    content = config.document.edited(edits) if edits else config.held.content
    _check(config, content, [one.change for one in made])
    return content


def _reached(entry: Entry, config: Config, around: Around, program: str) -> _Made | Left:
    """A server elsewhere, reached through us."""
    members = shapes.members_of(config.document.data(), entry.path)
    made = remote_entry.wrapped(entry, members, program, fit(entry, config.found, around))
    if isinstance(made, Left):
        return made
    then, edits = shapes.rewritten(entry, members, made.members)
    change = Change(entry, then, (entry.url,), (then.command, *then.args), made.notes)
    return _Made(change, tuple(edits))


def _wrapped(entry: Entry, found: Found, around: Around, program: str) -> _Made | Left:
    known = fit(entry, found, around)
    folder = os.path.join(config_dir(around.environ), "profiles")
    usual = os.path.join(around.home, ".config", APP, "profiles")
    # Clients hand HOME on, and XDG_CONFIG_HOME mostly not.
    by_engine = contained(entry, program, known, words_of(entry), folder if folder != usual else "")
    made = wrapped(entry, program, known) if by_engine is None else by_engine
    if isinstance(made, Left):
        return made
    profile: tuple[tuple[str, str], ...] = ()
    if isinstance(made, Contained):
        profile = ((os.path.join(folder, f"{made.profile}.toml"), made.text),)
        made = made.wrapped
    edits = (*shapes.started_by(entry, made.command, made.args), *_variables(entry, made))
    after = (made.command, *made.args)
    return _Made(Change(entry, made.on(entry), words_of(entry), after, made.notes), edits, profile)


def _remembered(
    config: Config,
    around: Around,
    content: bytes,
    changes: Sequence[Change],
    profiles: Sequence[tuple[str, str]],
) -> Record | None:
    known = record.recall(config.held.real, around.environ)
    if not changes:
        return known
    states = (record.digest(config.held.content), record.digest(content))
    there = {(entry.command, entry.args) for entry in config.entries}
    older = [one for one in known.written if (one.command, one.args) in there] if known else []
    written = [Written(one.entry.path, one.then.command, one.then.args) for one in changes]
    sums = dict(known.profiles) if known else {}
    sums |= {path: record.digest(text.encode()) for path, text in profiles}
    base = base_of(config, known, around)
    return Record(config.held.real, base, states, (*older, *written), tuple(sums.items()))


def base_of(config: Config, known: Record | None, around: Around) -> bytes:
    """The file without anything of ours; what nobody remembers that we wrote is somebody's own."""
    if known is None:
        return config.held.content
    if record.digest(config.held.content) in known.states:
        return known.base
    edits = _back(config, known, around, lambda _: True).edits
    return config.document.edited(edits) if edits else config.held.content


def to_unwrap(config: Config, around: Around, chosen: Chosen, *, named: bool = False) -> Plan:
    """Every chosen server as its client had it; byte for byte where nobody has changed the file since.

    One that was wrapped before us is its owner's, and is taken out where it is `named`.
    """
    known = record.recall(config.held.real, around.environ)
    back = _back(config, known, around, chosen, named=named)
    gone = {one.entry.path for one in back.changes}
    rest = _back(config, known, around, lambda entry: entry.path not in gone)
    more = rest.changes or any(not left.contained for _, left in rest.left)
    if known is not None and back.changes and not more and not back.owners:
        base = base_of(config, known, around)
        return Plan(config, base, tuple(back.changes), tuple(back.left), None)
    content = config.document.edited(back.edits) if back.edits else config.held.content
    _check(config, content, back.changes)
    if known is not None:
        known = _still_known(config, known, around, content, back)
    return Plan(config, content, tuple(back.changes), tuple(back.left), known)


def _still_known(config: Config, known: Record, around: Around, content: bytes, back: _Back) -> Record:
    if back.owners:
        return replace(known, states=())  # the base has them, and is no longer what the file would be
    states = (record.digest(config.held.content), record.digest(content))
    return replace(known, states=states, base=base_of(config, known, around))


@dataclass(slots=True)
class _Back:
    """The way back of some entries."""

    edits: list[Edit] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    left: list[tuple[Entry, Left]] = field(default_factory=list)
    owners: bool = False
    """Among them is one that was wrapped before us."""


def _back(
    config: Config, known: Record | None, around: Around, chosen: Chosen, *, named: bool = False
) -> _Back:
    base = codec.parse(known.base, config.found.format, config.found.path) if known else None
    before = {_key(entry): entry for entry in base.entries(config.found.row)} if base else {}
    written = {(one.command, one.args) for one in known.written} if known else set()
    back = _Back()
    for entry in filter(chosen, config.entries):
        if not is_contained(entry, config.found, around):
            continue
        was = before.get(_key(entry))
        if was is not None and (was.command, was.args) == (entry.command, entry.args):
            if not named:
                back.left.append((entry, Left("contained before `clients wrap`", contained=True)))
                continue
            back.owners = True
        if remote_entry.is_remote(entry):
            _give_url(back, config, entry, shapes.members_of(base.data(), was.path) if base and was else None)
            continue
        now = (entry.command, entry.args)
        made = unwrapped(entry, was, now if now in written else None)
        if made is None:
            back.left.append((entry, Left("what it was before is not known any more")))
            continue
        given = _given(made, entry, was)
        back.edits += [*shapes.started_by(entry, made.command, given), *_variables(entry, made)]
        after = (made.command, *made.args)
        back.changes.append(Change(entry, made.on(entry), (entry.command, *entry.args), after))
    return back


def _give_url(back: _Back, config: Config, entry: Entry, had: dict[str, Any] | None) -> None:
    """The way back of a server elsewhere; what it was counts where that was no wrapped one."""
    members = shapes.members_of(config.document.data(), entry.path)
    was = had if had is not None and remote_entry.has_url(entry, had) else None
    then, edits = shapes.rewritten(entry, members, remote_entry.unwrapped(entry, members, was))
    back.edits += edits
    back.changes.append(Change(entry, then, (entry.command, *entry.args), (then.url,)))


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


def _key(entry: Entry) -> tuple[object, ...]:
    """Which server it is; a place in a list moves, its name does not."""
    return (*entry.path[:-1], entry.name)


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
