"""Says what becomes of pins: to the log, and a few lines of it on stderr."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping

from sandbox import pins
from sandbox.event import Event, Value
from sandbox.inspect.pin_diff import quoted
from sandbox.inspect.pinned import Pinned
from sandbox.records import dataclass

NAMES_MAX = 32
"""Names in one event; how many there are stands beside them."""
NOTES_MAX = 5
SHORT = 5
"""Shorter names are like many others by chance."""
_RULE = "tools.pin"
_LOOKS = str.maketrans("01357|", "oleasl")
_WORDS = {
    "identity": "says that it is another than before",
    "instructions": "has other instructions than before, which are withheld",
}


class Telling:
    """One session's; `name` is what `mcp-sandbox approve` calls the server."""

    def __init__(
        self,
        name: str,
        server: str,
        environ: Mapping[str, str],
        emit: Callable[[Event], None],
        note: Callable[[str], None],
    ) -> None:
        self._name = name
        self._server = server
        self._environ = environ
        self._emit = emit
        self._note = note
        self._notes = 0
        self._told: set[Likeness] = set()

    def decided(self, decisions: Iterable[tuple[str, str, str]]) -> None:
        """What a person has decided while no session was there to log it."""
        groups: dict[tuple[str, str], list[str]] = {}
        for what, kind, key in decisions:
            groups.setdefault((what, kind), []).append(key)
        for (what, kind), keys in groups.items():
            detail: dict[str, Value] = {
                "decision": what,
                "kind": kind,
                "count": len(keys),
                "items": _few(keys),
            }
            self._emit(Event("pin.approved", detail, _RULE))

    def pinned(self, kind: str, keys: list[str]) -> None:
        """These were pinned, since nothing was known of them."""
        self._emit(Event("pin.new", {"kind": kind, "count": len(keys), "items": _few(keys)}, _RULE))
        if kind == "tool":
            for one in likenesses(self._name, self._server, keys, self._environ):
                if one in self._told:
                    continue
                self._told.add(one)
                self._emit(Event("pin.new", one.detail(), one.rule))
                self._note(f"mcp-sandbox: {one.said(self._server)}")

    def withheld(self, kind: str, key: str, what: str) -> None:
        """This one waits for a person."""
        self._notes += 1
        if self._notes > NOTES_MAX:
            return
        hint = f"look at it with `mcp-sandbox approve {self._name}`"
        if self._notes == NOTES_MAX:
            hint += ", and whatever else is withheld from now on"
        self._note(f"mcp-sandbox: {self._withheld(kind, key, what)}; {hint}")

    def _withheld(self, kind: str, key: str, what: str) -> str:
        if kind == "server":
            return f"`{self._server}` {_WORDS.get(key, 'speaks another revision than before')}"
        return f"withheld from the client: {kind} {quoted(key)} of `{self._server}`, which {what}"

    def approved(self, kind: str, key: str) -> None:
        """A person has approved it while this session ran."""
        self._emit(Event("pin.approved", {"kind": kind, "item": quoted(key)}, _RULE))


def _few(keys: Iterable[str]) -> list[Value]:
    return [quoted(key) for key, _ in zip(keys, range(NAMES_MAX), strict=False)]


# --- other servers ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Likeness:
    """Another server that a person, or a model, may take for this one."""

    other: str
    alike: bool
    tools: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """What is alike: the name, or tools."""
        return "pins.alike" if self.alike else "pins.shared"

    def detail(self) -> dict[str, Value]:
        """For the log."""
        return {
            "server": self.other,
            "alike": self.alike,
            "count": len(self.tools),
            "tools": _few(self.tools),
        }

    def said(self, server: str) -> str:
        """For a person."""
        if self.alike:
            return f"the name `{server}` looks like that of another server of yours, `{self.other}`"
        names = ", ".join(quoted(tool) for tool in self.tools[:3])
        more = f" and {len(self.tools) - 3} more" if len(self.tools) > 3 else ""
        return f"tools of `{server}` are called as those of `{self.other}` are: {names}{more}"


def likenesses(
    name: str, server: str, tools: Iterable[str], environ: Mapping[str, str]
) -> Iterator[Likeness]:
    """Servers whose name looks like this one's, and those that have tools of the same names."""
    own = {*tools}
    for _, pinned in others(name, environ):
        if pinned.server == server:
            continue  # the same with other arguments
        if alike(server, pinned.server):
            yield Likeness(pinned.server, alike=True)
        if shared := sorted(own & pinned.holds("tool").keys()):
            yield Likeness(pinned.server, alike=False, tools=tuple(shared))


def others(name: str, environ: Mapping[str, str]) -> Iterator[tuple[str, Pinned]]:
    """The pins of all other servers; what cannot be read says nothing."""
    for other in pins.every(environ):
        if other == name:
            continue
        try:
            yield other, pins.load(pins.path_of(other, environ))
        except (OSError, ValueError):
            continue


def alike(one: str, other: str) -> bool:
    """Whether two names may be taken for each other: equal but for how they are drawn, or one slip apart."""
    first, second = _drawn(one), _drawn(other)
    if first == second:
        return True
    numbered = _unnumbered(one) == _unnumbered(other)
    return not numbered and min(len(first), len(second)) >= SHORT and _one_slip(first, second)


def _unnumbered(name: str) -> str:
    return "".join(char for char in name if not char.isdecimal())


def _drawn(name: str) -> str:
    """A name as it looks at a glance: no case, no separators, digits as the letters that they resemble."""
    folded = unicodedata.normalize("NFKD", name).casefold().translate(_LOOKS).replace("rn", "m")
    return "".join(char for char in folded if char.isalnum())


def _one_slip(one: str, other: str) -> bool:
    """Whether one character was added, left out or replaced, or two were swapped."""
    head = _common(one, other)
    one, other = one[head:], other[head:]
    tail = _common(one[::-1], other[::-1])
    one, other = one[: len(one) - tail], other[: len(other) - tail]
    return max(len(one), len(other)) <= 1 or (len(one) == 2 and other == one[::-1])


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


class Elsewhere:
    """The tools that other servers have and this one has not, by name; read once, at the first question."""

    def __init__(self, store: pins.Store, environ: Mapping[str, str]) -> None:
        self._store = store
        self._environ = environ
        self._found: dict[str, str] | None = None

    def __call__(self) -> Mapping[str, str]:
        """Each name with the server that has it."""
        if self._found is None:
            own = self._store.read()
            self._found = {
                tool: pinned.server
                for _, pinned in others(self._store.name, self._environ)
                if pinned.server != own.server
                for tool in pinned.holds("tool")
                if tool not in own.holds("tool")
            }
        return self._found
