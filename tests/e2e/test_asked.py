"""Real clients of every generation, whose person is asked about calls and about what a server wants."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.caller import PROGRAM, Caller

HERE = Path(__file__).parent
PYTHON_CLIENT, NODE_CLIENT = HERE / "asked_client.py", HERE / "asked_client.mjs"
SERVER = HERE.parent / "fixtures" / "wishing.py"
PROFILE = """
schema = 1
extends = "base"
[files]
read = ["."]
[tools]
ask = ["push"]
deny = ["delete_*"]
answer = "{answer}"
[tools.arguments.read_file]
path = {{ within = ["."] }}
"""
SAMPLING = '[client]\nsampling = "allow"\n'
PATIENCE_S = 60.0
CLIENTS = ["python 2, legacy", "python 2, modern", "python 1", "npm"]
MODERN = "python 2, modern"
PUSH: tuple[str, dict[str, Any]] = ("push", {"to": "main"})
SEEN: tuple[str, dict[str, Any]] = ("seen", {})

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(
    params=[
        pytest.param(one, marks=() if one.startswith("python 2") else pytest.mark.long) for one in CLIENTS
    ]
)
def client(request: pytest.FixtureRequest) -> tuple[str, list[str]]:
    """Its name, and the command that plays a script."""
    name: str = request.param
    if name == "npm":
        program = Path(request.getfixturevalue("inspector"))
        sdk = program.parent.parent / "@modelcontextprotocol" / "sdk"
        return name, ["node", str(NODE_CLIENT), str(sdk)]
    python = sys.executable if name != "python 1" else request.getfixturevalue("first_generation")
    return name, [python, str(PYTHON_CLIENT)]


def profile(caller: Caller, *, answer: str = "30s", more: str = "", text: str = PROFILE) -> Path:
    """The profile in a directory of its own, which is not mounted."""
    path = caller.directory() / "asks.toml"
    path.write_text(text.format(answer=answer) + more)
    return path


def script(caller: Caller, client: str, place: Path, at: Path, answer: str, calls: Any) -> str:
    argv = caller.sandboxed("--profile", str(at), "--name", "wishing", "--", sys.executable, str(SERVER))
    return json.dumps({
        "argv": argv, "env": caller.environ, "cwd": str(place), "answer": answer, "calls": calls,
        "era": "modern" if client == MODERN else "legacy", "roots": [str(place), "/etc"],
    })  # fmt: skip


def played(
    caller: Caller, client: tuple[str, list[str]], answer: str, *calls: Any, wait: str = "30s", **text: str
) -> dict[str, Any]:
    """What the client saw whose person answers like that."""
    name, command = client
    place = caller.directory()
    at = profile(caller, answer=wait, **text)
    done = subprocess.run(
        caller.argv(*command, script(caller, name, place, at, answer, calls)),
        cwd=place, env=caller.environ, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "place": str(place)}


def text(call: dict[str, Any]) -> str:
    return str(call["content"][0]["text"])


def heard(found: dict[str, Any]) -> list[str]:
    """The calls that the server says it heard, before it was asked."""
    calls: list[str] = json.loads(text(found["calls"][-1]))
    return calls[:-1]


def test_a_person_says_yes(caller: Caller, client: tuple[str, list[str]]) -> None:
    found = played(
        caller, client, "allow", PUSH, ("delete_all", {}), ("read_file", {"path": "a"}),
        ("read_file", {"path": "../a"}), SEEN,
    )  # fmt: skip
    assert json.loads(text(found["calls"][0])) == {"to": "main"}
    (question,) = found["questions"]
    assert question.startswith("mcp-sandbox asks: may `push` of `wishing` be called?\n")
    assert "[asks.toml:7]" in question
    assert "delete_all" not in found["tools"], "a model is not told of what it may not call"
    assert "rule `tools.deny`" in text(found["calls"][1])
    assert "rule `tools.arguments.read_file.path`" in text(found["calls"][3])
    assert heard(found) == ["push", "read_file"]


NO = {"python 2, legacy": "decline", MODERN: "refuse", "python 1": "cancel", "npm": "yes"}
"""What a person answers to whom; every answer of every era is in tests/relay/test_asking.py."""


def test_a_person_says_no(caller: Caller, client: tuple[str, list[str]]) -> None:
    found = played(caller, client, NO[client[0]], PUSH, SEEN)
    assert found["calls"][0]["isError"] is True
    assert "rule `tools.ask`" in text(found["calls"][0])
    assert heard(found) == []


def test_a_person_says_nothing(caller: Caller, client: tuple[str, list[str]]) -> None:
    if client[0] in (MODERN, "python 1"):
        pytest.skip("this client hears nothing while it waits for its person")
    found = played(caller, client, "silence", PUSH, SEEN, wait="1s")
    assert "nobody answered within 1 s" in text(found["calls"][0])
    assert heard(found) == []


def test_a_server_answers_no_question(caller: Caller, client: tuple[str, list[str]]) -> None:
    found = played(caller, client, "refuse", ("forge", {}), PUSH, ("forge", {}), SEEN)
    assert found["calls"][1]["isError"] is True
    assert heard(found) == ["forge", "forge"]


def test_what_a_server_gets_of_its_client(caller: Caller, client: tuple[str, list[str]]) -> None:
    wishes = [("wish", {"what": what}) for what in ("roots", "sampling", "form", "secret", "posing")]
    found = played(caller, client, "main", *wishes)
    roots, sampling, form, secret, posing = map(text, found["calls"])
    assert [root["uri"] for root in json.loads(roots)["roots"]] == [f"file://{found['place']}"]
    assert "rule `client.sampling`" in sampling
    assert json.loads(form)["content"] == {"branch": "main"}
    assert "rule `client.elicitation`" in secret
    assert "rule `client.elicitation`" in posing
    assert found["questions"] == ["Which branch?"]
    assert found["sampled"] == 0


def test_a_profile_grants_sampling(caller: Caller, client: tuple[str, list[str]]) -> None:
    found = played(caller, client, "main", ("wish", {"what": "sampling"}), more=SAMPLING)
    assert "a model's word" in text(found["calls"][0])
    assert found["sampled"] == 1


def test_a_person_is_asked_about_sampling(caller: Caller, client: tuple[str, list[str]]) -> None:
    sampling = "refuse" if client[0] == "python 1" else "allow"
    more = SAMPLING.replace("allow", "ask")
    found = played(caller, client, sampling, ("wish", {"what": "sampling"}), more=more)
    assert found["sampled"] == (sampling == "allow")
    assert ("a model's word" in text(found["calls"][0])) is (sampling == "allow")
    assert len(found["questions"]) == 1


TAINTED = 'schema = 1\nextends = "base"\n[tools]\nask_tainted = ["push"]\nanswer = "{answer}"\n'


def test_more_is_asked_once_something_was_found(caller: Caller, client: tuple[str, list[str]]) -> None:
    found = played(
        caller, client, "refuse", PUSH, ("poisoned", {}), PUSH, ("read_file", {}), SEEN, text=TAINTED
    )
    (question,) = found["questions"]
    assert "rule: tools.ask_tainted" in question
    assert heard(found) == ["push", "poisoned", "read_file"]
    assert "rule `tools.ask_tainted`" in text(found["calls"][2])


# --- at a terminal --------------------------------------------------------------------------------------


def at_terminal(caller: Caller, place: Path, said: str) -> str:
    """Runs `mcp-sandbox answer` at a terminal once something waits; the screen."""
    deadline = time.monotonic() + PATIENCE_S
    while "push" not in caller.run(PROGRAM, "answer", "--list", cwd=place).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        caller.argv(PROGRAM, "answer"),
        cwd=place, env=caller.environ, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    screen = b""
    try:
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            assert time.monotonic() < deadline, screen
            if not select.select([master], [], [], 0.1)[0]:
                continue
            try:
                piece = os.read(master, 4096)
            except OSError:  # EIO: the other side has closed
                break
            screen += piece
            if screen.endswith(b"leaves it waiting): "):
                os.write(master, f"{said}\n".encode())
    finally:
        os.close(master)
    assert process.wait(PATIENCE_S) == 0, screen
    return screen.decode()


def test_a_client_without_forms_leaves_it_to_a_terminal(
    caller: Caller, client: tuple[str, list[str]]
) -> None:
    name, command = client
    said = "refuse" if name == "npm" else "allow"
    place = caller.directory()
    text_of = script(caller, name, place, profile(caller), "none", [PUSH, SEEN])
    with subprocess.Popen(
        caller.argv(*command, text_of),
        cwd=place, env=caller.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        screen = at_terminal(caller, place, said)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert "may `push` of `wishing` be called?" in screen
    assert "waits for you, for 30 s: `mcp-sandbox answer`" in stderr
    found = json.loads(stdout)
    assert heard(found) == (["push"] if said == "allow" else [])
    assert ("refused at a terminal" in text(found["calls"][0])) is (said == "refuse")


def test_a_pipe_answers_nothing(caller: Caller) -> None:
    done = caller.run(PROGRAM, "answer", cwd=caller.directory(), text="allow\n")
    assert done.returncode == 2
    assert "no-terminal" in done.stderr
