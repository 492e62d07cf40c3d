"""Takes the samples, interleaved: every round visits every variant, each round beginning with another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from benchmark import memory
from benchmark.client import Client
from benchmark.subjects import Subject

SMALL, MEDIUM, LARGE = 200, 4096, 1 << 20
WORDS = "The file was read and has 14 lines; the first of them says what the others are for. "
# Package managers and spares are only about starting: afterwards the processes are the same.
START_ONLY = ("runner", "wrapped-cold")
OURS = ("wrapped", "wrapped-runner")


@dataclass(frozen=True)
class Amount:
    """How many samples of each kind."""

    starts: int
    rounds: int
    calls: int
    large: int


Samples = dict[str, dict[str, list[float]]]


def measure(
    subject: Subject, amount: Amount, environ: Mapping[str, str], cwd: str, say: Callable[[str], None]
) -> dict[str, object]:
    """Milliseconds of every sample, by kind and variant, and the memory of our own processes."""
    say(f"{subject.name}: {amount.starts} starts of each of {', '.join(subject.variants)}")
    samples = {"start": starts(subject, amount, environ, cwd)}
    say(f"{subject.name}: {amount.rounds * amount.calls} calls of each")
    samples |= calls(subject, amount, environ, cwd)
    held = {
        name: _memory(subject, argv, environ, cwd)
        for name, argv in subject.variants.items()
        if name in OURS
    }  # fmt: skip
    return {"samples_ms": samples, "memory": held}


def turns(names: list[str], rounds: int) -> Iterator[str]:
    """Every name once a round, beginning with another one each time: drift falls on all alike."""
    for number in range(rounds):
        cut = number % len(names)
        yield from names[cut:] + names[:cut]


def starts(subject: Subject, amount: Amount, environ: Mapping[str, str], cwd: str) -> dict[str, list[float]]:
    """From spawn to the `initialize` result; the first start of each variant warms up and is not counted."""
    found: dict[str, list[float]] = {name: [] for name in subject.variants}
    for number, name in enumerate(turns(list(subject.variants), amount.starts + 1)):
        subject.before.get(name, _nothing)()
        client = Client(subject.variants[name], environ, cwd, subject.ended_s)
        client.end()
        if number >= len(found):
            found[name].append(_ms(client.start_s))
    return found


def calls(subject: Subject, amount: Amount, environ: Mapping[str, str], cwd: str) -> Samples:
    """Round trips in sessions that all live at once, some calls of one after some of another."""
    names = [name for name in subject.variants if name not in START_ONLY]
    found: Samples = {"call": {name: [] for name in names}}
    with ExitStack() as stack:
        clients = {}
        for name in names:
            clients[name] = Client(subject.variants[name], environ, cwd, subject.ended_s)
            stack.callback(clients[name].end)
            clients[name].list_tools()
        for name in turns(names, 1):
            _calls(clients[name], subject, SMALL, 20)
        for name in turns(names, amount.rounds):
            found["call"][name] += _calls(clients[name], subject, SMALL, amount.calls)
        if subject.echoes:
            found["medium"] = {name: [] for name in names}
            for name in turns(names, amount.rounds):
                found["medium"][name] += _calls(clients[name], subject, MEDIUM, amount.calls)
            found["large"] = {name: [] for name in names}
            for number, name in enumerate(turns(names, amount.large + 1)):
                took = _calls(clients[name], subject, LARGE, 1)
                if number >= len(names):
                    found["large"][name] += took
    return found


def _calls(client: Client, subject: Subject, size: int, count: int) -> list[float]:
    text = (WORDS * (size // len(WORDS) + 1))[:size]
    arguments = {"message": text} if subject.echoes else subject.arguments
    return [_ms(client.call(subject.tool, arguments)) for _ in range(count)]


def _nothing() -> None:
    """What most variants wait for."""


def _memory(subject: Subject, argv: tuple[str, ...], environ: Mapping[str, str], cwd: str) -> memory.Held:
    """Measured alone, so that no second copy of ours shares its pages, and after it has worked."""
    client = Client(argv, environ, cwd, subject.ended_s)
    try:
        client.list_tools()
        _calls(client, subject, SMALL, 50)
        if subject.echoes:
            _calls(client, subject, LARGE, 2)
        return subject.held(client.child.pid)
    finally:
        client.end()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)
