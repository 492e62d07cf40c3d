"""A server under its shipped profile: what it is asked, what it must be refused, and what a session shows."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sandbox.cli.profile import rows
from sandbox.policy.load import read
from tests.e2e.caller import PROGRAM
from tests.talking import TELLS, Client, events

SHIPPED = Path(__file__).resolve().parents[2] / "profiles"
BUILDING_S = 300.0
"""How long an answer may take: the first session of a server builds its package."""

Ground = Callable[[Path], AbstractContextManager[Mapping[str, str]]]


@contextmanager
def empty(_here: Path) -> Iterator[Mapping[str, str]]:
    """A directory with nothing in it, and nothing beside it."""
    yield {}


@dataclass(frozen=True)
class Call:
    """One call of a tool; `{here}` and the ground's own words are replaced in its arguments."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    says: str = ""
    """A part of the answer, which must not be an error."""
    dials: str = ""
    """The host that it goes to; the answer is then not looked at: there is no account behind the token."""


@dataclass(frozen=True)
class Refused:
    """A call that fails under the profile alone and does its job with the waiver."""

    call: Call
    waiver: str
    """Options of `run`, such as `--allow-write {here}`."""
    told: str = ""
    """A part of the refusal, for servers that do not mark it as an error."""


@dataclass(frozen=True)
class Served:
    """A row: a shipped profile, how its server is started and everything that it is asked."""

    profile: str
    calls: tuple[Call, ...] = ()
    refused: tuple[Refused, ...] = ()
    flags: str = ""
    """Options of `run` that every user of this profile has to give."""
    variant: str = ""
    """Tells rows of one profile apart."""
    command: str = ""
    """What is run under the profile; empty: the profile's own command."""
    env: Mapping[str, str] = field(default_factory=dict)
    """What the client's config gives; dummies for tokens."""
    ground: Ground = empty
    """Makes what the server works on in its directory, and starts what it speaks to: yields words."""
    tries: tuple[str, ...] = ()
    """Names that it is known to try and is refused (`*` too), with the reason in the profile."""
    spares: tuple[str, ...] = ()
    """System calls that it asks for, is refused and does without."""
    unlisted: str = ""
    """Why it lists no tools here; empty: it does."""
    finds: tuple[str, ...] = ()
    """Parts of the reasons of findings that are right about it, told in its profile or here."""
    native: str = ""
    """Why it is not run natively; empty: it is."""
    docker: str = ""
    """Why it is not run at a container engine; empty: it is."""
    oldest: str = ""
    """The oldest version that does the same job under this profile, where another than today's was tried."""
    quick: bool = False
    """Run natively by every run of the tests: its package is built for other tests anyway."""

    @property
    def id(self) -> str:
        """What tests and files are called by."""
        return f"{self.profile}-{self.variant}" if self.variant else self.profile

    def words(self, words: Mapping[str, str], *more: str) -> list[str]:
        """The options and the command of `run`."""
        said = " ".join(
            [*more, self.flags, "--profile", self.profile, *(["--", self.command] * bool(self.command))]
        )
        return [filled(word, words) for word in said.split()]


@dataclass(frozen=True)
class Shown:
    """What one session showed: the tools listed, an answer a call, the log, and stderr."""

    tools: tuple[str, ...]
    answers: tuple[dict[str, Any], ...]
    events: tuple[dict[str, Any], ...]
    stderr: str
    status: int

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        """The events of these kinds."""
        return [event for event in self.events if event["kind"] in kinds]


def grants(profile: str) -> str:
    """The digest of all that a shipped profile says of its server, but for comments and versions."""
    policy = read(str(SHIPPED / f"{profile}.toml"), environ={"HOME": "/root"}, cwd="/", trusted_only=False)
    said = [(key, value) for key, value, _ in rows(policy) if not key.startswith("match.")]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def filled(text: str, words: Mapping[str, str]) -> str:
    """`text` with each `{word}` replaced."""
    for name, value in words.items():
        text = text.replace("{" + name + "}", value)
    return text


def asked(call: Call, words: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The tool and its arguments, with the words in place."""
    return call.tool, json.loads(filled(json.dumps(call.arguments), words))


def session(
    row: Served, backend: str, here: Path, words: Mapping[str, str], calls: list[Call], *more: str
) -> Shown:
    """One session of the row's server under its profile, in the directory `here`."""
    with tempfile.TemporaryDirectory(prefix="state-") as state:
        environ = {
            **os.environ,
            "XDG_STATE_HOME": _noted(state),
            **{k: filled(v, words) for k, v in row.env.items()},
        }
        where = [] if backend == "native" else ["--backend", backend]
        client = Client([PROGRAM, "run", *where, *row.words(words, *more)], here, environ, BUILDING_S)
        try:
            told = client.lead("legacy", [])
            assert told.opened is not None, told.refused
            answers = [
                client.call("legacy", f"call-{at}", *asked(call, words)) for at, call in enumerate(calls)
            ]
            stderr = client.end()
        finally:
            client.kill()
        tools = tuple(str(tool.get("name")) for tool in told.items["tools/list"])
        return Shown(tools, tuple(answers), tuple(events(Path(state))), stderr, client.child.returncode)


def _noted(state: str) -> str:
    """A state directory of its own that knows which images are built."""
    from sandbox.images import state_file

    known, own = Path(state_file(dict(os.environ))), Path(state_file({"XDG_STATE_HOME": state}))
    if known.exists():
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_bytes(known.read_bytes())
    return state


def text(answer: Mapping[str, Any]) -> str:
    """All that an answer says, or what its error does."""
    result = answer.get("result")
    if not isinstance(result, dict):
        return json.dumps(answer.get("error"), ensure_ascii=False)
    parts = [str(part.get("text", f"<{part.get('type')}>")) for part in result.get("content", [])]
    return "\n".join([*parts, json.dumps(result.get("structuredContent", ""), ensure_ascii=False)])


def failed(answer: Mapping[str, Any]) -> bool:
    """Whether the answer says itself that the call did not do its job."""
    result = answer.get("result")
    return not isinstance(result, dict) or bool(result.get("isError"))


def dialled(shown: Shown) -> set[str]:
    """The hosts that the gateway let it connect to, whether anybody was there or not."""
    return {str(event["detail"].get("host")) for event in shown.of("egress.allow", "egress.close")}


def strange(row: Served, shown: Shown) -> list[dict[str, Any]]:
    """What the log holds that an honest session of this server gives no reason for."""
    found = [one for one in shown.of(*TELLS, "quota.breach", "kill", "canary.seen") if not _right(row, one)]
    denied = shown.of("egress.deny", "dns.deny", "syscall.deny")
    return found + [event for event in denied if not _known(row, event)]


def _right(row: Served, event: Mapping[str, Any]) -> bool:
    return any(one in str(event["detail"].get("reason")) for one in row.finds)


def _known(row: Served, event: Mapping[str, Any]) -> bool:
    detail = event["detail"]
    if "repeated" in detail:  # what was told before, again: how often
        return not detail.get("further")
    if event["kind"] == "syscall.deny":
        return detail.get("class") == "refused" and detail["call"] in row.spares
    names = [str(detail.get(key, "")) for key in ("name", "host", "address")]
    return any(fnmatchcase(name, one) for name in names if name for one in row.tries)
