"""Where a path belongs that a server asked for, and how much of it is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.plan.file_uses import LONGEST, MOST_PATHS, Use, Uses
from sandbox.plan.spec import Bind, Device, Directory, File, Proc, Symlink, Tmpfs

HOME = "/home/mcp"
VIEW = (
    Bind("/usr", "/usr", why="system"),
    Symlink("/bin", "usr/bin"),
    Directory("/etc"),
    File("/etc/passwd", b""),
    Tmpfs(HOME, 1 << 20),
    Tmpfs("/tmp", 1 << 20),
    Proc((), ()),
    Device("null"),
    Bind("/data/store/abc", "/opt/mcp", why="command"),
    Bind("/home/ann/src", "/home/ann/src", why="files.read"),
    Bind("/home/ann/notes", "/notes", writable=True, why="files.write"),
    Bind("/home/ann/notes/.git", "/notes/.git", writable=True, why="guard"),
    Bind("/home/ann/notes/.git/hooks", "/notes/.git/hooks", why="guard"),
    Symlink("/home/ann/link", "/home/ann/src"),
    Symlink("/loop", "/loop"),
)


@pytest.mark.parametrize(
    ("path", "intent", "found"),
    [
        pytest.param("/usr/lib/x.so", "read", None, id="the system's"),
        pytest.param("/bin/sh", "read", None, id="the system's, through a link"),
        pytest.param("/opt/mcp/a.js", "read", None, id="its own code"),
        pytest.param("/proc/self/maps", "read", None, id="proc"),
        pytest.param("/dev/null", "write", None, id="a device"),
        pytest.param("/home", "look", None, id="what leads to something"),
        pytest.param("/", "look", None, id="the root"),
        pytest.param("/home/ann/src/a", "read", ("granted", "/home/ann/src"), id="granted"),
        pytest.param(
            "/home/ann/src/../src/a", "read", ("granted", "/home/ann/src"), id="granted, roundabout"
        ),
        pytest.param("/home/ann/link/a", "read", ("granted", "/home/ann/src"), id="granted, through a link"),
        pytest.param("/notes/new", "write", ("granted", "/notes"), id="granted at another place"),
        pytest.param(
            "/home/ann/secret", "read", ("outside", "/home/ann/secret"), id="beside what is granted"
        ),
        pytest.param("/home/ann/src2", "read", ("outside", "/home/ann/src2"), id="a name that begins alike"),
        pytest.param("//nowhere", "read", ("outside", "/nowhere"), id="two slashes"),
        pytest.param("/loop/x", "read", ("outside", "/loop/x"), id="links that never end"),
        pytest.param(f"{HOME}/.cache/x", "write", ("home", f"{HOME}/.cache/x"), id="its home"),
        pytest.param(HOME, "look", None, id="its home itself"),
        pytest.param("/tmp/a", "write", None, id="its own /tmp"),
        pytest.param("/tmp/a", "read", ("outside", "/tmp/a"), id="the host's /tmp, perhaps"),
        pytest.param("/usr/bin/git", "start", ("inside", "/usr/bin/git"), id="a program of the system's"),
        pytest.param("/bin/git", "start", ("inside", "/usr/bin/git"), id="the same, through a link"),
        pytest.param("/opt/tool", "start", ("outside", "/opt/tool"), id="a program that is not there"),
    ],
)
def test_place(path: str, intent: str, found: tuple[str, str] | None) -> None:
    uses = Uses(VIEW, HOME)
    uses.saw(path, intent)
    assert [(one.place, one.path) for one, _ in uses.rows()] == ([] if found is None else [found])


def test_a_place_counts_once_an_intent() -> None:
    uses = Uses(VIEW, HOME)
    for name in range(5):
        uses.saw(f"/home/ann/src/{name}", "read")
    uses.saw("/home/ann/src/x", "write")
    assert [*uses.rows()] == [
        (Use("granted", "/home/ann/src", "read"), 5),
        (Use("granted", "/home/ann/src", "write"), 1),
    ]


def test_a_server_that_asks_for_ever_fills_no_memory() -> None:
    uses = Uses(VIEW, HOME)
    for number in range(MOST_PATHS + 500):
        uses.saw(f"/nowhere/{number}/{'x' * 5000}", "read")
    rows = [*uses.rows()]
    assert len(rows) <= MOST_PATHS
    assert max(len(one.path) for one, _ in rows) <= LONGEST
    assert uses.more == 500


@given(
    st.lists(st.tuples(st.text(max_size=40).map(lambda text: f"/{text}"), st.sampled_from(["look", "write"])))
)
def test_no_path_is_too_strange(calls: list[tuple[str, str]]) -> None:
    uses = Uses(VIEW, HOME)
    for path, intent in calls:
        uses.saw(path, intent)
    assert all(one.path.startswith("/") for one, _ in uses.rows())
