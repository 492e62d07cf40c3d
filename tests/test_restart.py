"""A crashed server is started again behind its client's back, and nothing else ever is."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from mcp import Client, ClientSession, StdioServerParameters, stdio_client

from sandbox import engine
from tests import backends
from tests.attacks.inside import PYTHON, Attacker, World, furnished
from tests.backends import NATIVE
from tests.conftest import Ready
from tests.e2e.remains import Remains, adopted_orphans, descendants, named, text

SERVER = Path(__file__).with_name("crashing.py")
SECONDS = 2.0
INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"elicitation": {}},
    "clientInfo": {"name": "test", "version": "1"},
}
Message = dict[str, Any]
pytestmark = pytest.mark.backends(native="user")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A world is made once for each caller and backend."""
    backends.parametrise(metafunc, "module")


@pytest.fixture(scope="module")
def world(caller: str, backend: str, ready: Ready) -> Iterator[World]:
    """A caller with the server in a directory that is granted."""
    with furnished(caller, backend, ready(backend)) as made:
        (made.program / "crashing.py").write_bytes(SERVER.read_bytes())
        made.own(made.program)
        yield made


@pytest.fixture
def remains(world: World) -> Iterator[Remains]:
    """Counts what the test's sandboxes leave, whoever was their parent."""
    with adopted_orphans(), ExitStack() as stack:
        api = None if world.backend == NATIVE else stack.enter_context(closing(engine.connect(os.environ)))
        yield Remains(world.name, world.home / ".local" / "state", world.scratch, engine=api)


class Place(NamedTuple):
    """One test's server: how it is started, what it reads, and the log of its sessions."""

    world: World
    folder: Path
    argv: list[str]

    def start(self) -> Talk:
        return Talk(self.argv, self.world.environ)

    def has(self, name: str, content: str = "") -> None:
        """What the next start of the server finds."""
        self.world.file(name, self.folder, content)

    def events(self, kind: str) -> list[Message]:
        """Of all sessions of this test, in their order."""
        found = [event for log in self._logs() for event in log if event["kind"] == kind]
        return sorted(found, key=lambda event: str(event["time"]))

    def _logs(self) -> Iterator[list[Message]]:
        for path in (self.world.home / ".local/state/mcp-sandbox/audit").rglob("*.jsonl"):
            log = [json.loads(line) for line in path.read_text().splitlines()]
            if str(self.folder) in path.read_text():
                yield log


@pytest.fixture
def place(world: World, tmp_path: Path) -> Place:
    """With a folder of its own, so that no test sees another's sessions."""
    return placed(world, tmp_path.name)


def placed(world: World, name: str, restarts: int = 3, *options: str) -> Place:
    folder = world.project / name
    folder.mkdir(exist_ok=True)
    world.own(folder)
    profile = f'schema = 1\n[server]\nrestart = "on-crash"\nrestarts = {restarts}\n[quota]\nmemory = "96M"\n'
    file = str(world.file(f"{name}.toml", world.base, profile))
    granted = [*options, "--allow-read", str(world.program), "--allow-read", str(folder)]
    server = (PYTHON, str(world.program / "crashing.py"), str(folder))
    return Place(world, folder, world.command("--profile", file, *granted, server=server))


class Talk(Attacker):
    """A raw client."""

    def __enter__(self) -> Talk:
        return self

    def say(self, message: Message) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def handshake(self) -> Talk:
        self.say({"id": "i", "method": "initialize", "params": INITIALIZE})
        assert self.message()["id"] == "i"
        self.say({"method": "notifications/initialized"})
        return self

    def said(self, tool: str = "say", **arguments: Any) -> Message:
        """What a call that is answered says."""
        found: Message = json.loads(self.call(tool, child=False, **arguments)["content"][0]["text"])
        return found

    def crash(self, tool: str = "leave", **arguments: Any) -> Message:
        """Ends the server by a call; the error that the call gets."""
        asked = self.ask(tool, **(arguments or ({"status": 7} if tool == "leave" else {})))
        answer = self.message()
        assert answer["id"] == asked
        error: Message = answer["error"]
        return error

    def note(self, word: str, seconds: float = 10.0) -> str:
        """Waits until stderr has said `word`."""
        assert self.process.stderr is not None
        deadline, said = time.monotonic() + seconds, b""
        while word.encode() not in said:
            assert time.monotonic() < deadline, said
            said += os.read(self.process.stderr.fileno(), 4096)
        return said.decode()


@pytest.mark.backends(native="root user", docker="user")
def test_the_client_goes_on_as_if_nothing_had_happened(place: Place) -> None:
    with place.start().handshake() as client:
        client.say({"id": "level", "method": "logging/setLevel", "params": {"level": "error"}})
        client.say({"id": "sub", "method": "resources/subscribe", "params": {"uri": "a:b"}})
        assert [client.message()["id"] for _ in range(2)] == ["level", "sub"]
        first = client.said()
        assert "ended with status 7" in client.crash()["message"]
        # At once, while there is no server yet: all of it waits, in its order.
        asked = [client.ask("say", child=False, turn=turn) for turn in range(50)]
        answers = [client.message() for _ in asked]
        assert [answer["id"] for answer in answers] == asked
        texts = [json.loads(answer["result"]["content"][0]["text"]) for answer in answers]
        assert [one["turn"] for one in texts] == list(range(50))
        told = ["notifications/initialized", "logging/setLevel", "resources/subscribe"]
        assert {one["name"] for one in texts} != {first["name"]}
        assert texts[0]["heard"] == told, "the client said it once, to the first one"
        client.crash("die")
        assert client.said()["heard"] == told
        assert client.finish()[0] == 0
    _follow_each_other(place)


def _follow_each_other(place: Place) -> None:
    """Each session names the one before."""
    started = [event["session"] for event in place.events("session.start")]
    again = place.events("session.restart")
    assert [event["session"] for event in again] == started[1:]
    assert [event["detail"]["before"] for event in again] == started[:-1]
    assert [event["detail"]["status"] for event in again] == [7, 128 + signal.SIGSEGV]


# --- real clients ----------------------------------------------------------------------------------


async def _calls(session: Any) -> list[str]:
    """Names of the servers that answered before a crash and after it; the crash is an error."""
    names = []
    for name in ("say", "leave", "say"):
        try:
            got = await session.call_tool(name, {"status": 7})
            names.append(json.loads(got.content[0].text)["name"])
        except Exception as error:
            names.append(str(error))
    return names


async def _legacy(parameters: StdioServerParameters) -> list[str]:
    async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
        await session.initialize()
        return await _calls(session)


async def _modern(parameters: StdioServerParameters) -> list[str]:
    async with Client(stdio_client(parameters)) as client, client.listen(tools_list_changed=True) as changes:
        found = await _calls(client)
        await client.call_tool("change", {})
        # The subscription was made again: the new server's change arrives by it.
        found.append(type(await anext(aiter(changes))).__name__)
        return found


@pytest.mark.parametrize(("era", "converse"), [("legacy", _legacy), ("modern", _modern)])
def test_a_real_client_goes_on(world: World, era: str, converse: Callable[..., Any]) -> None:
    argv = placed(world, f"sdk-{era}").argv
    parameters = StdioServerParameters(command=argv[0], args=argv[1:], env=world.environ, cwd="/")

    async def within() -> list[str]:
        with anyio.fail_after(20):
            found: list[str] = await converse(parameters)
            return found

    first, crash, second, *change = anyio.run(within)
    assert "ended with status 7" in crash
    assert len(first) == len(second) == 8
    assert first != second
    assert change == ([] if era == "legacy" else ["ToolsListChanged"])


# --- what is no crash ------------------------------------------------------------------------------


@pytest.mark.threat("T2", proves="a server that broke a quota is not started again, where a crashed one is")
def test_a_breach_is_the_end(place: Place) -> None:
    with place.start().handshake() as client:
        client.crash()
        client.said()  # the control: this profile starts a crashed server again
        assert "memory" in client.crash("eat", mib=400)["message"]
        assert client.process.wait(SECONDS) == 124
    assert len(place.events("session.start")) == 2


@pytest.mark.parametrize("status", [0, 127])
def test_an_end_that_is_no_crash(place: Place, status: int) -> None:
    with place.start().handshake() as client:
        client.crash(status=status)
        assert client.process.wait(SECONDS) == status
    assert len(place.events("session.start")) == 1


def test_it_stays_down_after_so_many_crashes(world: World, tmp_path: Path) -> None:
    place = placed(world, tmp_path.name, restarts=2)
    place.has("broken")
    with place.start() as client:
        started = time.monotonic()
        client.say({"id": "i", "method": "initialize", "params": INITIALIZE})
        assert client.message()["error"]["code"] == -32603
        assert client.process.wait(20) == 3
        assert time.monotonic() - started > 0.2 + 0.4
        said = client.finish()[1]
    assert "error: crashed-too-often" in said
    assert "ended 3 times by itself, the last time with status 3" in said
    assert f"server.restarts = 2 ({place.world.base / tmp_path.name}.toml:4)" in said
    assert [one["detail"]["pause"] for one in place.events("session.restart")] == [0.2, 0.4]


def test_another_server_than_before_is_not_let_through(place: Place) -> None:
    with place.start().handshake() as client:
        place.has("version", "2")
        client.crash()
        asked = client.ask("say", child=False)
        answer = client.message()
        assert answer["id"] == asked
        assert "error" in answer, "no call reaches a server that is another one"
        assert client.process.wait(10) == 7
        assert "it answered `initialize` with another `serverInfo`" in client.finish()[1]
    assert len(place.events("session.start")) == 2


def close(client: Talk) -> None:
    assert client.process.stdin is not None
    client.process.stdin.close()
    client.process.stdin = None


def test_end_of_file_while_nothing_runs(world: World, tmp_path: Path, remains: Remains) -> None:
    """During the pause before the next attempt; the third is long enough to be sure of it."""
    place = placed(world, tmp_path.name)
    place.has("broken")
    with place.start() as client:
        client.note("restart 3 of 3 in 0.8 s")
        close(client)
        assert client.process.wait(SECONDS) == 3
        assert remains.within(SECONDS) == {}
    assert len(place.events("session.start")) == 3


def test_a_stop_while_nothing_runs(world: World, tmp_path: Path, remains: Remains) -> None:
    """A long pause has a lease of its own: it is seen, and whoever stops that ends it all."""
    place = placed(world, tmp_path.name, 4)
    place.has("broken")
    with place.start() as client:
        client.note("restart 4 of 4 in 1.6 s")
        _, pid, _ = remains.now()["leases"][0].split("~")
        assert int(pid) == client.process.pid
        os.kill(int(pid), signal.SIGTERM)
        assert client.process.wait(SECONDS) == 128 + signal.SIGTERM
        assert remains.within(SECONDS) == {}
    assert len(place.events("session.start")) == 4


def test_a_crash_buys_no_time(world: World, tmp_path: Path) -> None:
    """`wall` is of all attempts together."""
    place = placed(world, tmp_path.name, 3, "--wall", "2s")
    with place.start().handshake() as client:
        client.crash()
        client.said()
        assert client.process.wait(5) == 124
    (breach,) = place.events("quota.breach")
    first, second = (datetime.fromisoformat(event["time"]) for event in place.events("session.start"))
    ended = datetime.fromisoformat(breach["time"])
    assert (ended - first).total_seconds() > 1.5
    assert (ended - second).total_seconds() < 2 - 0.2, "the pause is counted too"


# --- how it ends -----------------------------------------------------------------------------------


def inner(client: Talk) -> int:
    """The process of the session that runs now."""
    pid = named("mcp-keeper", client.process.pid)
    return int(text(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])


ENDS = [
    pytest.param(close, 0, id="end of file"),
    pytest.param(lambda client: client.process.terminate(), 128 + signal.SIGTERM, id="SIGTERM"),
    pytest.param(lambda client: client.process.kill(), -signal.SIGKILL, id="SIGKILL of the front"),
    pytest.param(
        lambda client: os.kill(inner(client), signal.SIGTERM), 128 + signal.SIGTERM, id="stop of the session"
    ),
    pytest.param(
        lambda client: os.kill(inner(client), signal.SIGKILL),
        128 + signal.SIGKILL,
        id="SIGKILL of the session",
    ),
]


@pytest.mark.threat("T2", proves="nothing is left of a server that may be restarted, whichever process dies")
@pytest.mark.parametrize(("act", "status"), ENDS)
def test_all_of_it_ends(place: Place, remains: Remains, act: Callable[[Talk], None], status: int) -> None:
    """Within two seconds, after a crash as before one."""
    with place.start().handshake() as client:
        client.crash()
        client.said()
        assert {"processes", "leases"} <= remains.now().keys(), "the control: it is seen while it lives"
        started = time.monotonic()
        act(client)
        assert client.process.wait(SECONDS) == status
        assert remains.within(started + SECONDS - time.monotonic()) == {}
    assert len(place.events("session.start")) == 2


@pytest.mark.backends(native="", docker="user")
def test_nothing_is_left_when_the_front_is_killed(place: Place, remains: Remains) -> None:
    with place.start().handshake() as client:
        client.said()
        started = time.monotonic()
        client.process.kill()
        client.process.wait(SECONDS)
        assert remains.within(started + SECONDS - time.monotonic()) == {}


def test_a_client_that_reads_nothing_does_not_keep_it(place: Place, remains: Remains) -> None:
    """Its answers fill every pipe there is."""
    with place.start().handshake() as client:
        for _ in range(40):
            client.ask("say", child=False, filler="x" * 100_000)
        started = time.monotonic()
        client.process.terminate()
        assert client.process.wait(SECONDS) == 128 + signal.SIGTERM
        assert remains.within(started + SECONDS - time.monotonic()) == {}


def test_large_messages_pass_as_they_are(place: Place) -> None:
    with place.start().handshake() as client:
        filler = os.urandom(1 << 20).hex()
        for _ in range(2):
            assert client.said(filler=filler)["filler"] == filler


def test_a_line_that_is_too_long_is_refused_as_ever(place: Place) -> None:
    """It passes in pieces to the session, which answers it."""
    with place.start().handshake() as client:
        asked = client.ask("say", child=False, filler="x" * (11 << 20))
        refused = client.message()
        assert refused["id"] == asked
        assert refused["error"]["data"]["rule"] == "frame-size"
        client.said()


def test_the_rest_of_a_line_that_a_dead_server_had_begun_to_read_is_for_nobody(place: Place) -> None:
    with place.start().handshake() as client:
        assert client.process.stdin is not None
        line = b'{"jsonrpc":"2.0","id":9,"method":"' + b"x" * (11 << 20)
        client.process.stdin.write(line)
        client.process.stdin.flush()
        init = named("mcp-init", client.process.pid)
        os.kill(descendants(init)[0], signal.SIGKILL)
        client.note("restart 1 of 3")
        client.process.stdin.write(b'"}\n')
        client.said()
    assert place.events("relay.dropped") == []


def test_a_question_of_the_dead_server_is_not_answered_to_the_next(place: Place) -> None:
    with place.start().handshake() as client:
        asked = client.ask("ask", child=False)
        assert [client.message()["id"] for _ in range(2)] == [1, asked]
        client.crash()
        assert client.message()["params"]["requestId"] == 1, "withdrawn"
        client.ask("ask", child=False)
        shown, _ = client.message(), client.message()
        for id in (1, shown["id"]):
            client.say({"id": id, "result": {"action": "accept"}})
        assert client.said()["heard"] == ["notifications/initialized", "answer 1"], "the second answer alone"
