"""What uv and pip say that they resolved: a pylock, hashed requirements, a report."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.records import replace
from sandbox.supply import pypi_lock
from sandbox.supply.lock import Package
from sandbox.supply.shape import Unfit

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
NONE: frozenset[str] = frozenset()
PYLOCK = f"""
lock-version = "1.0"
created-by = "uv"

[[packages]]
name = "Some.Thing"
version = "1.2"
wheels = [
    {{ url = "https://u:p4ss@f.test/x/some_thing-1.2-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", upload-time = 2026-01-02T03:04:05Z, hashes = {{ sha256 = "{A}" }} }},
    {{ url = "https://f.test/x/some_thing-1.2-py3-none-any.whl?t=t0ken", upload-time = 2026-02-02T03:04:05Z, hashes = {{ sha256 = "{B}" }} }},
]

[[packages]]
name = "source"
version = "2"
sdist = {{ path = "../local/source-2.tar.gz", hashes = {{ sha256 = "{C}" }} }}
"""  # noqa: E501


def test_a_pylock_is_read_file_by_file() -> None:
    thing, source = pypi_lock.releases(PYLOCK.encode())
    tags = frozenset(("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64"))
    package = thing.package(tags)
    assert (package.name, package.version, package.scripts) == ("some-thing", "1.2", False)
    assert package.integrity == (f"sha256:{A}", f"sha256:{B}"), "what was installed comes first"
    assert package.source.startswith("https://f.test/x/some_thing-1.2-cp311")
    assert package.published == "2026-01-02T03:04:05Z"
    other = thing.package(frozenset(("py3-none-any",)))
    assert other.integrity == (f"sha256:{B}", f"sha256:{A}")
    assert other.source == "https://f.test/x/some_thing-1.2-py3-none-any.whl"
    built = source.package(NONE)
    assert (built.integrity, built.scripts, built.source) == ((f"sha256:{C}",), True, "")


def test_where_no_wheel_is_told_the_youngest_counts() -> None:
    thing, _ = pypi_lock.releases(PYLOCK.encode())
    package = thing.package(frozenset(("cp312-none-any",)))
    assert (package.source, package.published) == ("", "2026-02-02T03:04:05Z")


def test_only_what_is_installed_is_a_package() -> None:
    found = pypi_lock.releases(PYLOCK.encode())
    assert [each.name for each in pypi_lock.kept(found, {"source": NONE, "pip": NONE})] == ["source"]


REQUIREMENTS = f"""# a comment
--index-url https://u:p4ss@i.test/simple
a==1.0 ; python_version < "4" \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via b
b[x]==2.0+cpu --hash=sha256:{C}
"""


def test_hashed_requirements_of_an_older_uv_are_read_too() -> None:
    text = REQUIREMENTS.replace("--index-url https://u:p4ss@i.test/simple\n", "")
    a, b = (each.package(NONE) for each in pypi_lock.releases(text.encode()))
    assert (a.name, a.version, a.integrity) == ("a", "1.0", (f"sha256:{A}", f"sha256:{B}"))
    assert (b.name, b.version, b.integrity) == ("b", "2.0+cpu", (f"sha256:{C}",))
    with pytest.raises(Unfit):
        pypi_lock.releases(REQUIREMENTS.encode())


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('vcs = { type = "git", url = "https://h.test/a" }', id="a repository"),
        pytest.param('directory = { path = "../a" }', id="a directory"),
        pytest.param('archive = { url = "https://h.test/a.zip" }', id="an archive"),
        pytest.param('version = "1 --index-url https://evil.test"', id="a version with an option"),
        pytest.param('name = "../a"', id="a name that climbs"),
    ],
)
def test_what_no_index_gives_is_refused(line: str) -> None:
    key = line.partition(" ")[0]
    plain = {"name": 'name = "a"', "version": 'version = "1"'}
    rest = "\n".join(text for each, text in plain.items() if each != key)
    with pytest.raises(Unfit) as refused:
        pypi_lock.releases(f'lock-version = "1.0"\n[[packages]]\n{rest}\n{line}\n'.encode())
    assert refused.value.what.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        b'lock-version = "1.0"\npackages = 1',
        b'lock-version = "1.0"\n[[packages]',
        b"a>=1",
        b"git+https://h.test/a",
        b'lock-version = "1.0"\npackages = [1]',
    ],
)
def test_a_list_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(Unfit):
        pypi_lock.releases(text)


def _report(**more: Any) -> bytes:
    download = {"url": "https://f.test/a_b-1.0-py3-none-any.whl", "archive_info": {"hashes": {"sha256": A}}}
    one = {"metadata": {"name": "A_b", "version": "1.0"}, "download_info": download, **more}
    return json.dumps({"version": "1", "install": [one]}).encode()


def test_pips_report_is_read() -> None:
    (release,), yanked = pypi_lock.report(_report(is_yanked=True))
    package = release.package(frozenset(("py3-none-any",)))
    assert (package.name, package.integrity) == ("a-b", (f"sha256:{A}",))
    assert package.source == "https://f.test/a_b-1.0-py3-none-any.whl"
    assert yanked == (("a-b", "1.0"),)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"install": 1}', id="no list"),
        pytest.param(b'{"install": [1]}', id="no package"),
        pytest.param(_report(is_direct=True), id="from an address"),
        pytest.param(_report(download_info={"url": "h", "vcs_info": {}}), id="from a repository"),
        pytest.param(_report(metadata={"name": "a", "version": "1 2"}), id="no version"),
    ],
)
def test_a_report_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(Unfit):
        pypi_lock.report(text)


def test_an_address_that_is_none_names_no_file() -> None:
    hashes = {"archive_info": {"hashes": {"sha256": A}}}
    (release,), _ = pypi_lock.report(_report(download_info={"url": "https://[f.test/a.whl", **hashes}))
    assert release.files == (pypi_lock.File("", A),)


def test_a_package_without_a_hash_is_known() -> None:
    (release,), _ = pypi_lock.report(_report(download_info={"url": "https://f.test/a.whl"}))
    package = release.package(NONE)
    assert [*pypi_lock.without_integrity([package])] == [package]


def test_what_uv_warns_of_is_known_by_version() -> None:
    log = 'warning: `A.b==1.0` is yanked (reason: "broken \x1b[2J")\nwarning: `c==2` is yanked\n'
    assert pypi_lock.yanked(log) == {("a-b", "1.0"): "broken [2J", ("c", "2"): "yes"}


def test_requirements_allow_the_very_same_files_alone() -> None:
    package = Package("a", "1.0", (f"sha256:{A}", f"sha256:{B}"))
    assert pypi_lock.requirements([package]) == f"a==1.0 --hash=sha256:{A} --hash=sha256:{B}\n".encode()


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"integrity": ()}, id="without a hash"),
        pytest.param({"integrity": (f"sha256:{A}", "sha256:short")}, id="with no hash"),
        pytest.param({"integrity": (f"md5:{A}",)}, id="another hash"),
        pytest.param({"version": "1.0 --index-url https://evil.test"}, id="a version with an option"),
        pytest.param({"name": "a\n-e ."}, id="a name with a line"),
        pytest.param({"name": "-r"}, id="a name that is an option"),
    ],
)
def test_a_lock_that_says_more_is_not_built(changed: dict[str, Any]) -> None:
    with pytest.raises(Unfit):
        pypi_lock.requirements([replace(Package("a", "1.0", (f"sha256:{A}",)), **changed)])


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: ('lock-version = "1.0"\n' + text).encode())
)
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    for read in (pypi_lock.releases, pypi_lock.report):
        try:
            read(text)
        except Unfit:
            continue


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["metadata", "download_info", "is_yanked", "is_direct"]), VALUES))
def test_whatever_is_reported_is_read_or_refused(more: dict[str, object]) -> None:
    try:
        pypi_lock.report(_report(**more))
    except Unfit:
        return


def test_files_of_this_machine_without_a_hash_are_named() -> None:
    text = b"""lock-version = "1.0"
[[packages]]
name = "Has_Both"
sdist = { url = "file:///i/has%20both-1.0.tar.gz", hashes = {} }
wheels = [{ url = "file:///i/has_both-1.0-py3-none-any.whl" }, { url = "https://i.test/x.whl" }]
[[packages]]
name = "hashed"
sdist = { url = "file:///i/hashed-1.0.tar.gz", hashes = { sha256 = "00" } }
"""
    assert pypi_lock.local_files(text) == {
        "has-both": ["/i/has_both-1.0-py3-none-any.whl", "/i/has both-1.0.tar.gz"],
        "hashed": [],
    }
    for other in (b"a==1 --hash=sha256:00\n", b"[[packages]]\nname = 7\n", b"packages = 7\n"):
        assert pypi_lock.local_files(other) == {}


def test_what_a_source_was_built_with_is_read_from_its_lock() -> None:
    made = (Package("setuptools", "80.0", (f"sha256:{'0' * 64}",)), Package("wheel", "1.0", ()))
    kept = Package("a", "1", ("x",), rest=((pypi_lock.BUILT_WITH, pypi_lock.built_with(made)),))
    assert pypi_lock.builders(kept) == made
    assert pypi_lock.builders(Package("a", "1", ("x",), rest=((pypi_lock.BUILT_WITH, {}),))) == ()
    assert pypi_lock.builders(Package("a", "1", ("x",))) is None
    with pytest.raises(Unfit):
        pypi_lock.requirements([*made, Package("no hash", "1.0", ("md5:x",))])
