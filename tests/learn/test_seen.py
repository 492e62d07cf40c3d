"""A run's log, read for what was wanted, reached, used and refused."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.egress import decide
from sandbox.learn.seen import MOST_HOSTS, Peaks, Refused, grantable, seen
from sandbox.policy import hosts

HOME = "/home/mcp"


def event(kind: str, rule: str = "", **detail: Any) -> dict[str, Any]:
    return {"kind": kind, "rule": rule, "detail": detail}


def denied(answer: object, **more: Any) -> dict[str, Any]:
    """As the gateway tells of a denial."""
    assert isinstance(answer, decide.Denied)
    kind = "egress.deny" if answer.port else "dns.deny"
    return event(kind, host=answer.host, port=answer.port, reason=answer.reason, **more)


LISTED = (hosts.parse("a.example.org:8443"),)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        pytest.param(decide.lookup((), "api.example.com"), ["api.example.com"], id="a name"),
        pytest.param(
            decide.route(LISTED, "192.0.2.1", 80, "a.example.org"), ["a.example.org:80"], id="another port"
        ),
        pytest.param(
            decide.stray("tcp", "192.0.2.1", 80, "b.example.org"), ["b.example.org:80"], id="no port"
        ),
        pytest.param(decide.route((), "127.0.0.1", 5432, None), ["localhost:5432"], id="this machine's own"),
        pytest.param(decide.route((), "203.0.113.7", 443, None), ["203.0.113.7:443"], id="an address"),
        pytest.param(decide.lookup((), "7.113.0.203.in-addr.arpa"), [], id="a reverse lookup"),
        pytest.param(decide.lookup((), "printer"), [], id="a bare name"),
        pytest.param(decide.route((), "169.254.169.254", 80, None), [], id="a cloud's metadata"),
        pytest.param(decide.stray("udp", "203.0.113.7", 443, None), [], id="no TCP"),
        pytest.param(
            decide.Denied("a.example.org", 443, "no SNI says which host is meant", decide.PINNED),
            [],
            id="hidden",
        ),
    ],
)
def test_what_may_be_granted_of_what_was_denied(answer: object, wanted: list[str]) -> None:
    assert [*seen([denied(answer)], HOME).wanted] == wanted


def test_a_denial_for_another_reason_is_told_and_not_offered() -> None:
    found = seen([denied(decide.Denied("a.example.org", 443, "SNI says `b`", decide.PINNED))], HOME)
    assert (dict(found.wanted), dict(found.hopeless)) == ({}, {"a.example.org:443": "SNI says `b`"})


def test_what_was_let_through_and_what_came_of_it() -> None:
    found = seen(
        [
            event("egress.allow", host="a.example.org", port=443),
            event("egress.allow", host="a.example.org", port=443),
            event("egress.close", host="a.example.org", port=443, up=10, down=200, end="closed"),
            event("egress.close", host="a.example.org", port=443, up=5, down=0, end="reset"),
            event("egress.close", host="b.example.org", port=80, up=0, down=0, end="no address"),
        ],
        HOME,
    )
    assert found.reached == {"a.example.org:443": 2}
    assert found.failed == {"b.example.org:80": "no address"}
    assert (found.peaks.sent, found.peaks.received) == (15, 200)


def test_the_most_that_was_meant_with_a_path_counts() -> None:
    uses = [
        ("granted", "/a", "write"),
        ("granted", "/a", "read"),
        ("outside", "/b", "look"),
        ("outside", "/b", "read"),
    ]
    events = [event("file.used", place=place, path=path, intent=what, count=1) for place, path, what in uses]
    found = seen([*events, event("file.used", place="outside", path="others", intent="look", count=7)], HOME)
    assert (found.granted, found.outside, found.more) == ({"/a": "write"}, {"/b": "read"}, 7)


def test_calls_that_were_refused_and_peaks() -> None:
    found = seen(
        [
            event("syscall.deny", call="setxattr", **{"class": "refused"}, why="not needed"),
            event("syscall.deny", call="setxattr", **{"class": "refused"}, count=9),
            event("syscall.deny", call="ptrace", **{"class": "dangerous"}, why="controls another process"),
            event("quota.sample", memory=5, peak=9, pids=3, open_files=4, disks={HOME: {"used": 8}}),
            event("quota.sample", memory=7, pids=2),
            event("session.end", status=0),
        ],
        HOME,
    )
    assert found.refused == (
        Refused("setxattr", False, "not needed", 9),
        Refused("ptrace", True, "controls another process", 1),
    )
    assert (found.peaks, found.status) == (Peaks(9, 3, 4, 8), 0)


def test_a_flood_of_names_is_cut() -> None:
    events = [denied(decide.lookup((), f"n{number}.example.com")) for number in range(3 * MOST_HOSTS)]
    assert len(seen(events, HOME).wanted) == MOST_HOSTS


def test_what_is_no_host_is_granted_by_nobody() -> None:
    assert [grantable(host, port) for host in ("", "a b", "*.com", "x" * 300) for port in (0, 443)] == [
        ""
    ] * 8
