"""Where a path leads in a sandbox: mounts and links as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.host.inside import LONGEST_PATH, Inside
from sandbox.plan.spec import Bind, Symlink, Tmpfs
from sandbox.policy.arguments import lies_within


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A mounted tree with links in it, and a directory beside it."""
    src = tmp_path / "src"
    (src / "a" / "b").mkdir(parents=True)
    (tmp_path / "src_evil").mkdir()
    links = {
        "in": "a/b",
        "absolute": "/work/a", "out": "/etc", "up": "../..", "round": "round", "deep": "a/b/back",
        "a/b/back": "../..", "host": str(tmp_path), "a/one": "../in",
    }  # fmt: skip
    for name, to in links.items():
        (src / name).symlink_to(to)
    return src


def inside(tree: Path) -> Inside:
    return Inside([
        Symlink("/bin", "usr/bin"), Symlink("/alias", "/work/a"), Tmpfs("/tmp", 1),
        Bind("/usr", "/usr"), Bind(str(tree), "/work"),
    ])  # fmt: skip


LEADS = [
    ("/work/a/b", "/work/a/b"),
    ("/work/a/new/file", "/work/a/new/file"),
    ("/work/in", "/work/a/b"),
    ("/work/in/x", "/work/a/b/x"),
    ("/work/absolute/b", "/work/a/b"),
    ("/work/a/one/x", "/work/a/b/x"),
    ("/work/out/passwd", "/etc/passwd"),
    ("/work/up", "/"),
    ("/work/up/etc/passwd", "/etc/passwd"),
    ("/work/deep/in", "/work/a/b"),
    ("/work/round", None),
    ("/bin/sh", "/usr/bin/sh"),
    ("/alias/b", "/work/a/b"),
    ("/tmp/x", "/tmp/x"),
    ("/nothing/here", "/nothing/here"),
    ("/", "/"),
    ("//work//./a", "/work/a"),
    ("/" + "x" * LONGEST_PATH, None),
    ("/work/a\0b", "/work/a\0b"),
]


@pytest.mark.parametrize(("path", "leads"), LEADS, ids=[path[:30] for path, _ in LEADS])
def test_where_a_path_leads(tree: Path, path: str, leads: str | None) -> None:
    if path == "/bin/sh":  # wherever a shell is a link to, it is below
        assert (inside(tree).real(path) or "").startswith("/usr/bin/")
        return
    assert inside(tree).real(path) == leads


@pytest.mark.threat("T1", proves="a link out of the directories that an argument may name leads nowhere")
@pytest.mark.parametrize("path", ["out/passwd", "up/etc/passwd", "host/x", "round", "/work/out"])
def test_a_link_out_is_outside(tree: Path, path: str) -> None:
    assert lies_within(path, ("/work",), "/work", lambda path: path), "as it is written it lies within"
    assert not lies_within(path, ("/work",), "/work", inside(tree).real)


def test_a_link_that_is_made_later_is_seen(tree: Path) -> None:
    view = inside(tree)
    assert lies_within("late", ("/work",), "/work", view.real)
    (tree / "late").symlink_to("/etc")
    assert not lies_within("late", ("/work",), "/work", view.real)


@given(
    st.lists(st.sampled_from(["a", "b", "in", "out", "up", "round", "deep", "back", "one", "x"]), max_size=12)
)
def test_every_path_leads_somewhere_or_nowhere(tree_once: Path, parts: list[str]) -> None:
    led = inside(tree_once).real("/work/" + "/".join(parts))
    assert led is None or (led.startswith("/") and ".." not in led.split("/"))


@pytest.fixture(scope="module")
def tree_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.__wrapped__(tmp_path_factory.mktemp("tree"))  # type: ignore[attr-defined, no-any-return]


def test_what_of_the_host_is_mounted(tree: Path, tmp_path: Path) -> None:
    view = inside(tree)
    (tmp_path / "other").symlink_to(tree)
    assert view.mounted(str(tree)) == "/work"
    assert view.mounted(str(tree / "a")) == "/work/a"
    assert view.mounted(str(tmp_path / "other" / "a")) == "/work/a"
    assert view.mounted("/alias") == "/alias"
    assert view.mounted(str(tmp_path)) is None
    assert view.mounted(str(tmp_path / "src_evil")) is None
    assert view.mounted("/") is None
