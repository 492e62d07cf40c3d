"""A lock's text: what is written is read back, and what is not ours is refused with its key."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import SandboxNotBuilt
from sandbox.records import replace
from sandbox.supply.lock import INTERPRETER, Allowed, ImageLock, Lock, Package, PinLock, Place, Tree
from sandbox.supply.lock_text import parse, spell

HEX = "ab" * 32
FULL = Lock(
    name="everything",
    kind="npm",
    asked=("@scope/pkg@latest",),
    command=("npx", "-y", "@scope/pkg"),
    made="2026-11-26T12:00:00Z",
    by="ana",
    python="3.12",
    options=("--registry", "https://registry.example/"),
    packages=(
        Package("@scope/pkg", "1.2.3", ("sha512-AAAA",), place="node_modules/@scope/pkg", scripts=True),
        Package("dep", "2.0.0", ("sha512-BBBB",), rest=(("bin", {"a b": "x.js"}), ("cpu", ["x64", "arm64"]))),
    ),
    trees=(Tree("linux-x86_64 node-115", HEX, 3, 99, (("pkg", ("{interpreter}", "/opt/mcp/x.js")),), "pkg"),),
    image=ImageLock("node", f"sha256:{HEX}", "", (f"sha256:{HEX}",)),
    places=(Place("/srv/tool", HEX, 1),),
    bundle=f"sha256:{HEX}",
    scripts=(Allowed("scripts dep", "ana"),),
    waived=(Allowed("age dep", "ana"),),
    unchecked=("the signatures were not checked",),
    profile="base",
    profile_digest=HEX,
    server="everything 1.0",
    protocol="2025-11-25",
    pins=(PinLock("tool", 'odd "name"\x1b\n', "sha256:x"),),
    wants=("api.example:443",),
)


def test_what_is_written_is_read_back() -> None:
    text = spell(FULL)
    assert parse(text, "x.lock") == FULL
    assert spell(parse(text, "x.lock")) == text
    assert "\x1b" not in text


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_plain: Any = st.recursive(
    _texts | st.booleans() | st.integers(0, 1 << 40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_packages = st.builds(
    Package,
    _texts,
    _texts,
    st.lists(_texts, min_size=1, max_size=3).map(tuple),
    source=_texts,
    scripts=st.booleans(),
    rest=st.dictionaries(_texts, _plain, max_size=3).map(lambda found: tuple(found.items())),
)
_trees = st.builds(
    Tree,
    _texts,
    st.just(HEX),
    st.integers(0, 1 << 50),
    st.integers(0, 1 << 50),
    st.dictionaries(
        _texts, st.lists(_texts, max_size=3).map(lambda words: (INTERPRETER, *words)), max_size=3
    ).map(lambda found: tuple(found.items())),
)


@given(
    packages=st.lists(_packages, max_size=4),
    trees=st.lists(_trees, min_size=1, max_size=3),
    words=st.lists(_texts, min_size=1, max_size=3),
    pins=st.lists(st.builds(PinLock, _texts, _texts, _texts), max_size=3),
)
def test_any_lock_is_read_back(
    packages: list[Package], trees: list[Tree], words: list[str], pins: list[PinLock]
) -> None:
    lock = replace(FULL, packages=tuple(packages), trees=tuple(trees), command=tuple(words), pins=tuple(pins))
    text = spell(lock)
    assert parse(text, "x.lock") == lock
    assert all(c.isprintable() or c == "\n" for c in text)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_other_text_is_refused_as_ours(text: str) -> None:
    with pytest.raises(SandboxNotBuilt, match=r"x\.lock"):
        parse(text, "x.lock")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        pytest.param("schema = 1", "schema = 2", "schema", id="another schema"),
        pytest.param("schema = 1", "schema = true", "schema", id="true is not one"),
        pytest.param('kind = "npm"', 'kind = "nix"', "kind", id="an unknown kind"),
        pytest.param('by = "ana"', 'by = "ana"\nbye = "bo"', "bye", id="an unknown key"),
        pytest.param('by = "ana"\n', "", "by", id="a missing key"),
        pytest.param("@scope/pkg@latest", "@scope/pkg", "asked", id="a package without a selector"),
        pytest.param("@scope/pkg@latest", "git+ssh://x/y@1", "asked", id="what no registry has"),
        pytest.param('by = "ana"', "by = 1", "by", id="a number for a string"),
        pytest.param("files = 3", 'files = "3"', r"trees\[0\].files", id="a string for a number"),
        pytest.param("files = 3", "files = -3", r"trees\[0\].files", id="fewer than none"),
        pytest.param("files = 3", "files = 3\nmore = 1", r"trees\[0\].more", id="an unknown key of a tree"),
        pytest.param(f'\ndigest = "{HEX}"', '\ndigest = "../../x"', "trees.digest", id="a path for a digest"),
        pytest.param('"{interpreter}", "/opt', '"/bin/sh", "/opt', "trees.starts", id="another program"),
        pytest.param("node_modules/@scope/pkg", "node_modules/../../x", "packages.place", id="a way out"),
        pytest.param("/srv/tool", "srv/tool", "places.path", id="a relative path"),
        pytest.param('name = "everything"', 'name = "../x"', "name", id="a path for a name"),
        pytest.param('["sha512-BBBB"]', "[]", "packages.integrity", id="a package without integrity"),
        pytest.param('"sha512-BBBB"', f'"{"x" * 40000}"', "integrity", id="a string without end"),
        pytest.param('["x64", "arm64"]', "[[[[[[[[[[1]]]]]]]]]]", "rest", id="lists in lists"),
        pytest.param('["x64", "arm64"]', "2020-01-01", "rest", id="a date"),
        pytest.param(f'profile_digest = "{HEX}"', 'profile_digest = "x"', "profile_digest", id="no hash"),
    ],
)
def test_what_no_lock_says_is_refused_with_its_key(old: str, new: str, key: str) -> None:
    text = spell(FULL)
    assert old in text
    with pytest.raises(SandboxNotBuilt, match=key):
        parse(text.replace(old, new, 1), "x.lock")


@pytest.mark.parametrize(
    "lock",
    [
        pytest.param(replace(FULL, trees=()), id="a package without a tree"),
        pytest.param(replace(FULL, kind="program", places=()), id="a program without a place"),
        pytest.param(replace(FULL, kind="oci", image=None), id="an image that is none"),
        pytest.param(replace(FULL, kind="mcpb", trees=()), id="a bundle that was not unpacked"),
    ],
)
def test_a_lock_that_would_hold_nothing_is_none(lock: Lock) -> None:
    with pytest.raises(SandboxNotBuilt, match="nothing of that kind is locked"):
        parse(spell(lock), "x.lock")


def test_a_deep_document_is_refused() -> None:
    with pytest.raises(SandboxNotBuilt, match="nested too deeply"):
        parse("x = " + "[" * 100_000, "x.lock")


def test_the_text_is_toml_for_every_other_reader() -> None:
    document = tomllib.loads(spell(FULL))
    assert document["packages"][1]["rest"]["cpu"] == ["x64", "arm64"]
    assert document["trees"][0]["starts"] == {"pkg": ["{interpreter}", "/opt/mcp/x.js"]}
