"""Secrets as the names of members: each goes, in time that grows with the message alone."""

from __future__ import annotations

import json
import time

from sandbox.inspect.judged import Asked
from sandbox.verdict import Action
from sandbox.wire.splice import splice
from tests.inspect.secret_values import GITHUB, MAKING, STRIPE, frame, inspector

MANY = 600


def test_many_names_of_one_object_are_taken_out_at_once() -> None:
    names = {MAKING.example("ghp_{w36}"): 1 for _ in range(MANY)}
    message = frame({"id": 1, "result": {"content": [], "structuredContent": names}})
    looking = inspector()
    looking.to_client(frame({"id": 1, "result": {}}), Asked("tools/call", "t"))
    began = time.process_time()
    judged = looking.to_client(message, Asked("tools/call", "t"))
    # A minute, where the object is written anew for each of its names.
    assert time.process_time() - began < 5
    assert judged is not None
    assert judged.verdict.action is Action.REDACT
    left = json.loads(splice(message.data, judged.edits))["result"]["structuredContent"]
    assert len(left) == MANY
    assert not any("ghp_" in name for name in left)


def test_names_inside_what_is_written_anew_go_too() -> None:
    deep = {GITHUB: {"a": {STRIPE: [{GITHUB: STRIPE}]}}, "b": {STRIPE: 1}}
    message = frame({"id": 1, "result": {"content": [], "structuredContent": {"c": deep, "d": {GITHUB: 2}}}})
    judged = inspector().to_client(message, Asked("tools/call", "t"))
    assert judged is not None
    left = splice(message.data, judged.edits).decode()
    assert GITHUB not in left
    assert STRIPE not in left
