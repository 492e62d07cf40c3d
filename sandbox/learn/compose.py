"""The least profile in which a server could do what it was seen to do, and what was seen of each line (P)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from sandbox.learn.seen import Peaks, Seen
from sandbox.learn.wants import CALL, HOST, READ, WRITE, Want, granted, times
from sandbox.plan.spec import Spec, Tier
from sandbox.policy import hosts
from sandbox.policy.model import Policy, Quota, Server
from sandbox.policy.quota import show_duration, show_size
from sandbox.records import dataclass

_RELEASE: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,5}", re.ASCII)
M: Final = 1 << 20
LEAST_MEMORY, LEAST_PIDS, LEAST_FILES, LEAST_DISK = 256 * M, 64, 256, 32 * M
LEAST_UPLOAD, LEAST_DOWNLOAD, LEAST_CONNECTIONS = M, 64 * M, 500
"""A short run shows little of what a server needs at work, and its children come and go unmeasured."""
_WIDE: Final = 104
_MOST_COMMENTS: Final = 40


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that a profile is composed of."""

    title: str
    """What was run, for the first line."""
    command: tuple[str, ...]
    extends: str
    policy: Policy
    """What the last run was allowed."""
    spec: Spec
    seen: Seen
    runs: int
    called: tuple[tuple[str, str], ...]
    """Tool and outcome."""
    not_granted: tuple[Want, ...]
    variables: tuple[str, ...]
    """What the package's source names."""
    at_home: Mapping[str, str]
    """What it looked for in its home and the caller has in theirs."""
    package: tuple[str, str] | None = None
    """`npm:NAME` or `pypi:NAME`, and the version that was run."""
    started: tuple[str, ...] = ()
    """Programs that it started."""
    trusted: bool = False
    """Nobody was asked about names."""
    tier: Tier = "net"
    tried: str = ""
    """How the tier was chosen."""


def profile(material: Material) -> str:
    """The text of a profile file."""
    parts: tuple[Callable[[Material], Iterable[str]], ...] = (
        _head,
        _server,
        _files,
        _network,
        _variables,
        _quota,
        _syscalls,
    )
    blocks = ("\n".join(part(material)) for part in parts)
    return "\n\n".join(block for block in blocks if block) + "\n"


def _head(made: Material) -> Iterator[str]:
    runs = "one contained run" if made.runs == 1 else f"{made.runs} contained runs"
    yield from _comment(f"Learnt from {runs} of {made.title}.")
    said = ", ".join(f"{tool} ({how})" for tool, how in made.called)
    yield from _comment(
        f"Called: {said}." if said else "No tool was called: what only a call needs was not seen."
    )
    yield from _comment(
        "What the server did not do here is not granted; run `mcp-sandbox learn --diff` on this file later."
    )
    if made.started:
        yield from _comment(f"It started {_some(made.started)}.")
    yield "schema = 1"
    yield f"extends = {_quoted(made.extends)}"
    yield f"description = {_quoted(f'learnt: {made.spec.server}')}"


def _server(made: Material) -> Iterator[str]:
    if made.package is not None:
        name, version = made.package
        yield "[match]"
        yield f"packages = [{_quoted(name)}]"
        if _RELEASE.fullmatch(version):
            after = int(version.partition(".")[0]) + 1
            yield f'versions = ">={version},<{after}"   # another one is told at its start, and runs'
        yield ""
    yield "[server]"
    yield f"command = [{', '.join(map(_quoted, made.command))}]"
    yield from _listening(made.policy.server)


def _listening(server: Server) -> Iterator[str]:
    if server.transport != "http":
        return
    yield 'transport = "http"   # inside; the client sees stdin and stdout'
    yield f"port = {server.port}"
    if server.path is not None:
        yield f"path = {_quoted(server.path)}"
    if server.ready is not None:
        yield f"ready = {_quoted(show_duration(server.ready))}"


def _files(made: Material) -> Iterator[str]:
    read, write = _mounts(made)
    comments = [*_refused(made, (READ, WRITE)), *_home(made), *_unseen(made)]
    if not (read or write):
        yield from _comment("No file of this machine's was used: [files] grants nothing.")
        yield from comments
        return
    yield "[files]"
    yield from _list("read", read)
    yield from _list("write", write)
    yield from comments


Line = tuple[str, str]
"""A value, and what was seen of it."""


def _mounts(made: Material) -> tuple[list[Line], list[Line]]:
    """What was granted and used; a writable mount in which nothing was changed is to be read."""
    read, write = list[Line](), list[Line]()
    for step in granted(made.spec):
        intent = made.seen.granted.get(step.target)
        if intent is None and made.spec.backend == "native":
            continue
        text = step.source if step.source == step.target else f"{step.source}:{step.target}"
        changed = step.writable and intent in ("write", None)
        into, why = (write, _CHANGED[intent]) if changed else (read, _LOOKED.get(intent or "", "granted"))
        into.append((text, why))
    return read, write


_CHANGED = {"write": "it changed something there", None: "granted; files are not observed in a container"}
_LOOKED = {
    "look": "it looked at it",
    "read": "it read there",
    "write": "it read there, and may not change it",
}


def _home(made: Material) -> Iterator[str]:
    wrote = sorted(path for path, intent in made.seen.home.items() if intent == "write")
    if wrote:
        yield from _comment(
            f"It writes to its home, which is gone at the end without `persist`: {_some(wrote)}."
        )
    if made.at_home:
        yield from _comment(
            f"It looked in its home for what is in yours, and went without: {_some(sorted(made.at_home))}."
        )


def _unseen(made: Material) -> Iterator[str]:
    if made.spec.backend != "native":
        yield from _comment("What a server does with files in a container is not observed.")
    if made.seen.more:
        yield from _comment(f"It asked for more paths than are kept: {times(made.seen.more)}.")


def _network(made: Material) -> Iterator[str]:
    allow = [(where, f"connected {times(count)}") for where, count in _reached(made)]
    failed = [(where, why) for where, why in made.seen.failed.items() if _may_be_written(where)]
    comments = list(_refused(made, (HOST,)))
    if made.trusted:
        told = (
            _comment(f"Not granted: network.allow {_quoted(where)}: no connection came about ({why})")
            for where, why in failed
        )
        comments += [line for lines in told for line in lines]
    else:
        allow += [(where, f"granted, and no connection came about: {why}") for where, why in failed]
    if not allow:
        yield from _comment("No connection was made: [network] allows nothing.")
        yield from comments
        return
    yield "[network]"
    yield from _list("allow", allow)
    yield from _budgets(made)
    yield from comments


def _budgets(made: Material) -> Iterator[str]:
    """What a session may carry in all: room for many times what was seen, and an end to it."""
    peaks, held = made.seen.peaks, made.policy.network
    upload = max(LEAST_UPLOAD, _up(16 * peaks.sent, M))
    download = max(LEAST_DOWNLOAD, _up(16 * peaks.received, M))
    connections = max(LEAST_CONNECTIONS, 16 * sum(made.seen.reached.values()))
    yield f"upload = {_size(upload, held.upload)}   # it sent {_amount(peaks.sent)}; a session's budget"
    yield f"download = {_size(download, held.download)}   # {_amount(peaks.received)} came back"
    yield f"connections = {connections if held.connections is None else min(connections, held.connections)}"


def _size(learnt: int, held: int | None) -> str:
    return _quoted(show_size(learnt if held is None else min(learnt, held)))


def _amount(number: int) -> str:
    return f"{number / M:.1f}M" if number >= M else f"{number / 1024:.1f}K"


def _reached(made: Material) -> list[tuple[str, int]]:
    return [(where, count) for where, count in made.seen.reached.items() if _may_be_written(where)]


def _may_be_written(where: str) -> bool:
    try:
        hosts.parse(where)
    except ValueError:
        return False
    return True


def _variables(made: Material) -> Iterator[str]:
    env, secrets = made.policy.env, made.policy.secrets
    asked = [name for name in env.passed if _optional(made, f"env.pass.{name}")]
    fixed = [pair for pair in env.fixed if _optional(made, f"env.set.{pair[0]}")]
    if asked or fixed:
        yield "[env]"
        yield from _list("pass", [(name, "granted; whether it is read cannot be seen") for name in asked])
    if fixed:
        yield f"set = {{ {', '.join(f'{name} = {_quoted(value)}' for name, value in fixed)} }}"
    for one in secrets:
        if _optional(made, f"secrets.{one.name}.from"):
            yield f"\n[secrets.{one.name}]\nfrom = {_quoted(one.source)}"
    held = {*env.passed, *(name for name, _ in env.fixed), *(one.name for one in secrets)}
    named = [name for name in made.variables if name not in held]
    if named:
        told = f"Which variables it reads cannot be seen. The package's source names: {', '.join(named)}."
        yield from _comment(told)


def _optional(made: Material, key: str) -> bool:
    """Whether an option of the learning has it, and not the profile that is extended."""
    return made.policy.origin(key).file.startswith("--")


def _quota(made: Material) -> Iterator[str]:
    yield "[quota]"
    held = made.policy.quota
    measured = [*_limits(made.seen.peaks, held)]
    for name, value, why in measured:
        yield f"{name} = {value}   # {why}"
    told = {name for name, _, _ in measured}
    for name, show in _ASKED.items():
        value = getattr(held, name)
        if name not in told and value is not None and _optional(made, f"quota.{name}"):
            yield f"{name} = {show(value)}   # asked for"


_ASKED: Final[Mapping[str, Callable[[Any], str]]] = {
    "memory": lambda value: _quoted(show_size(value)),
    "cpus": str,
    "pids": str,
    "wall": lambda value: _quoted(show_duration(value)),
    "idle": lambda value: _quoted(show_duration(value)),
}


def _limits(peaks: Peaks, held: Quota) -> Iterator[tuple[str, str, str]]:
    """Twice the peak and never below what a working server needs once it is busy, nor above what was held."""
    if peaks.memory and held.memory:
        limit = min(held.memory, max(LEAST_MEMORY, _up(2 * peaks.memory, 64 * M)))
        yield "memory", _quoted(show_size(limit)), f"it used {peaks.memory / M:.0f}M at the most"
    if peaks.pids and held.pids:
        yield (
            "pids",
            str(min(held.pids, max(LEAST_PIDS, _up(2 * peaks.pids, 8)))),
            f"{peaks.pids} processes and threads",
        )
    if peaks.open_files and held.open_files:
        limit = min(held.open_files, max(LEAST_FILES, _up(4 * peaks.open_files, 64)))
        yield "open_files", str(limit), f"{peaks.open_files} open in one process"
    if held.disk:
        limit = min(held.disk, max(LEAST_DISK, _up(4 * peaks.home, 16 * M)))
        yield "disk", _quoted(show_size(limit)), f"its home held {peaks.home / M:.1f}M"


def _up(number: int, step: int) -> int:
    return -(-number // step) * step


def _syscalls(made: Material) -> Iterator[str]:
    if made.tried:
        yield "[syscalls]"
        yield f"tier = {_quoted(made.tier)}   # {_plain(made.tried)}"
    yield from _refused(made, (CALL,))


def _refused(made: Material, keys: Sequence[str]) -> Iterator[str]:
    found = [one for one in made.not_granted if one.key in keys and one.counts]
    for one in found[:_MOST_COMMENTS]:
        never = f" ({one.never})" if one.never and one.never not in one.why else ""
        yield from _comment(f"Not granted: {one.key} {_quoted(one.value)}: {one.why}{never}")
    if len(found) > _MOST_COMMENTS:
        yield from _comment(f"and {len(found) - _MOST_COMMENTS} more that were not granted")
    usual = [one.value for one in made.not_granted if one.key in keys and not one.counts]
    if usual:
        yield from _comment(f"It went without what programs look for on any machine: {_some(usual)}.")


# --- words -----------------------------------------------------------------------------------------------


def _list(name: str, lines: Sequence[Line]) -> Iterator[str]:
    if lines:
        yield f"{name} = ["
        yield from (f"    {_quoted(value)},   # {_plain(why)}" for value, why in lines)
        yield "]"


def _comment(text: str) -> Iterator[str]:
    """As many lines as it takes; nothing of it can end the comment."""
    line = "#"
    for word in _plain(text).split(" "):
        if len(line) + len(word) >= _WIDE and line != "#":
            yield line
            line = "# "
        line = f"{line} {word}" if line != "# " else f"#   {word}"
    yield line


def _plain(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text
    )


def _quoted(text: str) -> str:
    """A basic string of TOML (1.0.0, String), in which nothing stands raw that a terminal would obey."""
    clean = text.encode("utf-8", "backslashreplace").decode()
    return f'"{"".join(map(_character, clean))}"'


def _character(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    if one.isprintable():
        return one
    return f"\\u{ord(one):04X}" if ord(one) < 0x10000 else f"\\U{ord(one):08X}"


def _some(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
