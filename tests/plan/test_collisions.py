"""The audit log is never where the server could write it."""

from __future__ import annotations

import pytest

from sandbox.errors import ProfileError
from sandbox.plan.plan import plan
from tests.plan.world import facts, policy, survey

TREE = {
    "/home/u": "dir",
    "/home/u/work": "dir",
    "/home/u/work/logs": "-> /home/u/elsewhere",
    "/home/u/elsewhere": "dir",
    "/home/u/alias": "-> /home/u/work",
    "/home/u/workshop": "dir",
}


@pytest.mark.threat("S7", proves="no log lies in a directory that the server may write, by any alias")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/home/u/work/audit.jsonl", id="in the tree"),
        pytest.param("work/audit.jsonl", id="relative"),
        pytest.param("workshop/../work/audit.jsonl", id="by dots"),
        pytest.param("/home/u/alias/audit.jsonl", id="through a link to it"),
        pytest.param("/home/u/work/logs/audit.jsonl", id="through a link in it, which the server may turn"),
    ],
)
def test_a_log_in_a_writable_mount_is_refused(path: str) -> None:
    table = {"files": {"write": ["/home/u/work"]}, "audit": {"path": path}}
    with pytest.raises(ProfileError, match="the server may write"):
        plan(policy(table), facts(), survey(TREE))


@pytest.mark.parametrize("path", ["/home/u/workshop/audit.jsonl", "audit.jsonl", "/home/u/elsewhere/a.jsonl"])
def test_a_log_beside_it_is_not(path: str) -> None:
    table = {"files": {"write": ["/home/u/work"]}, "audit": {"path": path}}
    assert plan(policy(table), facts(), survey(TREE))


def test_a_log_in_a_read_only_mount_is_not() -> None:
    """The server may read what it said; it cannot change it."""
    table = {"files": {"read": ["/home/u/work"]}, "audit": {"path": "/home/u/work/audit.jsonl"}}
    assert plan(policy(table), facts(), survey(TREE))
