"""Secrets in a running relay: taken out of answers, denied in calls, and in no event."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from sandbox.policy.model import SecretMode
from sandbox.relay.inspection import Inspection
from tests.inspect.secret_values import GITHUB, OWN, inspector
from tests.relay.world import World, legacy, notification, request, result

CONTENT = [{"type": "text", "text": f"it is {GITHUB} and {OWN}"}]


def relay(mode: SecretMode | None) -> World:
    """A relay that looks for secrets, or does not."""
    if mode is None:
        made = World()
    else:
        told = {"place": "", "profile": "t.toml:1"}
        made = World(inspection=Inspection([inspector(mode)], lambda finding: told))
    legacy(made)
    return made


@pytest.fixture
def world() -> Iterator[World]:
    made = relay("redact")
    yield made
    made.close()


def answered(world: World, id: int = 1) -> str:
    world.asked(request(id, "tools/call", name="t", arguments={}))
    world.server(result(id, content=CONTENT))
    return world.relay_to_client.line().decode()


def test_an_answer_arrives_without_them(world: World) -> None:
    heard = answered(world)
    assert json.loads(heard)["id"] == 1
    assert GITHUB not in heard
    assert OWN not in heard
    assert world.open_ids() == []


def test_the_same_arrives_with_them_where_nobody_looks() -> None:
    made = relay(None)
    assert GITHUB in answered(made)
    made.close()


def test_block_answers_with_a_failed_result() -> None:
    made = relay("block")
    heard = json.loads(answered(made))
    made.close()
    assert heard["result"]["isError"] is True
    assert "secrets." in heard["result"]["content"][0]["text"]
    assert GITHUB not in json.dumps(heard)


def test_a_call_that_carries_one_is_denied_and_the_server_hears_nothing(world: World) -> None:
    world.client(request(1, "tools/call", name="t", arguments={"note": GITHUB}))
    heard = world.relay_to_client.hear()
    assert heard["result"]["isError"] is True
    assert GITHUB not in json.dumps(heard)
    world.asked(request(2, "ping"))


def test_a_mark_that_comes_back_in_a_text_is_denied(world: World) -> None:
    heard = json.loads(answered(world))
    mark = heard["result"]["content"][0]["text"].split()[2]
    world.client(request(2, "tools/call", name="write", arguments={"content": f"KEY={mark}"}))
    assert world.relay_to_client.hear()["result"]["_meta"]["mcp-sandbox/refused"]["rule"] == "secrets.mark"


def test_a_question_of_the_servers_is_refused_where_its_name_holds_one(world: World) -> None:
    world.server(request(GITHUB, "roots/list"))
    refused = world.relay_to_server.hear()
    assert refused["id"] == GITHUB
    assert "secrets.github-token" in refused["error"]["message"]


def test_no_event_holds_one(world: World) -> None:
    answered(world)
    world.server(notification("notifications/message", level="info", data=OWN))
    world.relay_to_client.hear()
    world.client(request(7, "tools/call", name="t", arguments={"note": GITHUB}))
    world.relay_to_client.hear()
    world.until(lambda: len(world.events) > 6)
    said = repr(world.events)
    assert "secret.redacted" in said
    assert "tool.deny" in said
    assert GITHUB not in said
    assert OWN not in said
