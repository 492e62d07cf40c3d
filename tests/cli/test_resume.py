"""`resume`: a sandbox that was frozen at a breach goes on; any other answer is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox import leases
from sandbox.cli import main
from sandbox.control import Control
from sandbox.leases import Lease
from tests.attacks.inside import World
from tests.cli.running import sandboxes, tried, until

FREEZES = 'schema = 1\nextends = "base"\n[quota]\nidle = "1s"\n[breach]\nidle = "freeze"\nanswer = "1m"\n'


def living(session: str) -> None:
    own = os.getpid()
    leases.take(Lease(session, "files", own, leases.start_time(own)), os.environ)


@pytest.mark.parametrize(
    ("resumed", "status", "words"),
    [(True, 0, "goes on: files"), (False, 1, "not-frozen"), ("yes", 1, "not-frozen"), (None, 1, "no-answer")],
)
def test_what_the_session_answers(
    resumed: object, status: int, words: str, own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    living("s-1")
    session = Control("s-1", os.environ)
    session.open({} if resumed is None else {"resume": lambda: {"resumed": resumed}})
    assert main.main(["resume", "files"]) == status
    assert words in "".join(capsys.readouterr())
    session.close()


def test_only_one_at_a_time(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    living("s-1")
    living("s-2")
    assert main.main(["resume", "files"]) == 2
    assert "ambiguous-session" in capsys.readouterr().err


@pytest.mark.backends(docker="user")
def test_a_frozen_sandbox_goes_on(world: World) -> None:
    profile = world.file("freezes.toml", world.base, FREEZES)
    with sandboxes(world, "files", options=("--profile", str(profile))) as (server,):
        until(world, lambda all: all[0]["state"] == "frozen")
        asked = server.ask("processes.parent")
        with pytest.raises(TimeoutError):
            server.message(0.3)
        assert tried(world, "resume", "files").returncode == 0
        assert server.message()["id"] == asked, "what waited is answered"
