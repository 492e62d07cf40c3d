"""A build says what it resolved, and from that alone the same tree comes again, or none."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.build import builder
from sandbox.errors import SandboxNotBuilt
from sandbox.host.probe import probe
from sandbox.records import replace
from sandbox.supply.freeze import freeze
from sandbox.supply.job import Frozen, Order
from sandbox.supply.lock import Lock, Package, Tree
from sandbox.supply.rebuild import rebuild
from sandbox.supply.resolved import Resolution, resolution
from sandbox.supply.store import Store
from tests.supply import registry, sdists
from tests.supply.toolchain import asked, store_of

DAY = 86400.0
MAIN = {"t.js": "#!/usr/bin/env node\nconsole.log('t')"}


@pytest.fixture
def environ(tmp_path: Path, require: Callable[[str], None]) -> dict[str, str]:
    """The caller's programs, and a store of this test's own."""
    require("native")
    python = os.path.dirname(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    node = os.path.dirname(os.path.realpath(shutil.which("node") or "/usr/bin/node"))
    return {
        "HOME": str(tmp_path),
        "PATH": f"{python}:{node}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "no_proxy": "127.0.0.1",
    }


@pytest.fixture
def npm(environ: dict[str, str], require: Callable[[str], None]) -> Iterator[registry.Npm]:
    """A registry with a tool that needs a helper, both a month old."""
    require("npm")
    with registry.npm() as served:
        environ["npm_config_registry"] = served.url
        served.publish("tool", "1.0.0", MAIN, bin={"tool": "t.js"}, dependencies={"helper": "^1.0.0"})
        served.publish("helper", "1.0.0", {"i.js": "", "old": ""}, deprecated="use another")
        served.dates = {(name, "1.0.0"): _ago(30) for name in ("tool", "helper")}
        yield served


def _ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _frozen(command: str, environ: Mapping[str, str], *scripts: str, age: float | None = None) -> Frozen:
    return freeze(
        asked(command),
        environ=environ,
        cwd="/",
        scripts=scripts,
        run_build=builder(probe(), environ),
        progress=lambda line: None,
        age=age,
    )


def _known(made: Frozen) -> Resolution:
    found = resolution(made.tree)
    assert found is not None
    return found


def _again(
    command: str, made: Frozen, environ: dict[str, str], packages: tuple[Package, ...], *scripts: str
) -> str:
    """Installs the tree again into an empty store: where it stands."""
    request = asked(command)
    lock = Lock("x", request.ecosystem, request.specs, ("x",), "", "", packages=packages)
    environ["XDG_CACHE_HOME"] += "-again"
    order = Order(request, environ, "/", scripts, builder(probe(), environ), lambda line: None)
    store = Store(str(store_of(environ)))
    try:
        rebuild(order, lock, Tree("", made.digest, 0, 0, ()), store)
    finally:
        assert not os.path.isdir(store_of(environ) / "staging") or not os.listdir(
            store_of(environ) / "staging"
        )
    return store.tree(made.digest)


def test_the_same_npm_tree_comes_from_its_packages_alone(npm: registry.Npm, environ: dict[str, str]) -> None:
    made = _frozen("npx -y tool", environ, age=3 * DAY)
    found = _known(made)
    assert [(each.name, each.version, each.published[:4]) for each in found.packages] == [
        ("helper", "1.0.0", _ago(30)[:4]),
        ("tool", "1.0.0", _ago(30)[:4]),
    ]
    assert found.of("helper", "1.0.0").deprecated == "use another"
    assert all(each.integrity and each.source.startswith(npm.url) for each in found.packages)
    # Newer ones, of which the lock knows nothing, are not taken.
    npm.publish("helper", "1.1.0", {"i.js": "newer"})
    tree = _again("npx -y tool", made, environ, found.packages)
    assert os.path.exists(f"{tree}/node_modules/helper/old")


@pytest.mark.long
def test_what_an_old_registry_serves_by_sha1_is_locked_by_sha512(
    npm: registry.Npm, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def old(name: str, version: str) -> dict[str, object]:
        digest = hashlib.sha1(npm.packages[name][version]).hexdigest()  # noqa: S324 - what such a one has
        return {"tarball": f"{npm.url}{name}/-/{name}-{version}.tgz", "shasum": digest}

    monkeypatch.setattr(npm, "_dist", old)
    made = _frozen("npx -y tool", environ)
    packages = _known(made).packages
    assert [each.integrity for each in packages] == [
        (npm.integrity(each.name, each.version),) for each in packages
    ]
    assert os.path.isdir(_again("npx -y tool", made, environ, packages))


def test_what_was_published_again_with_other_content_is_refused(
    npm: registry.Npm, environ: dict[str, str]
) -> None:
    made = _frozen("npx -y tool", environ)
    npm.publish("helper", "1.0.0", {"i.js": "poisoned"})
    with pytest.raises(SandboxNotBuilt) as refused:
        _again("npx -y tool", made, environ, _known(made).packages)
    assert refused.value.code == "package-changed"
    # The control: without a lock it is what would be installed.
    environ["XDG_CACHE_HOME"] += "-bare"
    assert Path(_frozen("npx -y tool", environ).tree, "node_modules/helper/i.js").read_text() == "poisoned"


@pytest.mark.long
def test_another_tree_than_the_locked_one_is_refused(npm: registry.Npm, environ: dict[str, str]) -> None:
    made = _frozen("npx -y tool", environ)
    alone = tuple(
        replace(each, rest=tuple(pair for pair in each.rest if pair[0] != "bin"))
        for each in _known(made).packages
    )
    with pytest.raises(SandboxNotBuilt) as refused:
        _again("npx -y tool", made, environ, alone)
    assert refused.value.code == "lock-not-rebuilt"
    assert made.digest in refused.value.what


def test_a_young_version_is_not_chosen_where_an_age_is_asked(
    npm: registry.Npm, environ: dict[str, str]
) -> None:
    npm.publish("helper", "1.9.0", {"i.js": "young"})
    npm.dates["helper", "1.9.0"] = _ago(1)
    young = _frozen("npx -y tool", environ)
    assert os.path.exists(f"{young.tree}/node_modules/helper/package.json")
    assert not _known(young).aged(time.time() - 3 * DAY, ())
    assert [each.version for each in _known(young).packages] == ["1.9.0", "1.0.0"], "the control"
    old = _frozen("npx -y tool", environ, age=3 * DAY)
    assert [each.version for each in _known(old).packages] == ["1.0.0", "1.0.0"]
    assert _frozen("npx -y tool", environ, age=3 * DAY).reused


@pytest.mark.long
def test_what_is_asked_for_by_its_version_may_be_young(npm: registry.Npm, environ: dict[str, str]) -> None:
    npm.dates["tool", "1.0.0"] = _ago(1)
    assert _known(_frozen("npx -y tool@1.0.0", environ, age=3 * DAY)).packages[1].published
    with pytest.raises(SandboxNotBuilt) as refused:
        _frozen("npx -y tool@^1", environ, age=3 * DAY)
    assert refused.value.code == "package-too-young"


@pytest.mark.long
def test_an_index_without_dates_is_asked_without_an_age(tmp_path: Path, environ: dict[str, str]) -> None:
    for name, needs, said in (("tool", "helper", 'data-yanked="broken badly"'), ("helper", "", "")):
        folder = tmp_path / "simple" / name
        folder.mkdir(parents=True)
        registry.wheel(folder, name, "1.0", {f"{name}.py": "main = print\n"}, {name: f"{name}:main"}, needs)
        (wheel,) = (path.name for path in folder.iterdir())
        (folder / "index.html").write_text(f'<a href="{wheel}" {said}>{wheel}</a>')
    with registry.folder(tmp_path) as url:
        found = _known(_frozen(f"uvx --index-url {url}simple tool==1.0", environ, age=3 * DAY))
    assert [(each.name, each.published) for each in found.packages] == [("helper", ""), ("tool", "")]
    assert found.unchecked
    assert found.of("tool", "1.0").yanked == "broken badly"


def test_the_same_venv_comes_from_its_packages_alone(tmp_path: Path, environ: dict[str, str]) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    registry.wheel(wheels, "tool", "1.0", {"tool.py": "main = print\n"}, {"tool": "tool:main"}, "helper")
    registry.wheel(wheels, "helper", "1.0", {"helper.py": "old = 1\n"}, {})
    command = f"uvx --no-index --find-links {wheels} tool"
    made = _frozen(command, environ)
    found = _known(made)
    assert [each.name for each in found.packages] == ["helper", "tool"]
    registry.wheel(wheels, "helper", "1.1", {"helper.py": "new = 1\n"}, {})
    tree = _again(command, made, environ, found.packages)
    assert [*Path(tree).glob("lib/*/site-packages/helper-1.0.dist-info")]
    registry.wheel(wheels, "helper", "1.0", {"helper.py": "poisoned = 1\n"}, {})
    with pytest.raises(SandboxNotBuilt) as refused:
        _again(command, made, environ, found.packages)
    assert refused.value.code == "package-changed"


@pytest.mark.long
def test_whose_install_scripts_ran_is_known_and_they_run_again(
    npm: registry.Npm, environ: dict[str, str]
) -> None:
    npm.publish("helper", "1.1.0", {"i.js": ""}, scripts={"postinstall": "echo made > made"})
    npm.dates["helper", "1.1.0"] = _ago(30)
    bare = _known(_frozen("npx -y tool", environ))
    assert (bare.ran, bare.unrun) == ((), ("helper",))
    made = _frozen("npx -y tool", environ, "helper", age=0.0)
    found = _known(made)
    assert (found.ran, found.unrun) == (("helper",), ())
    assert os.path.exists(f"{made.tree}/node_modules/helper/made")
    with pytest.raises(SandboxNotBuilt, match="another tree"):
        _again("npx -y tool", made, environ, found.packages)
    assert os.path.exists(
        f"{_again('npx -y tool', made, environ, found.packages, 'helper')}/node_modules/helper/made"
    )


@pytest.mark.long
def test_a_source_that_was_named_is_locked_by_its_hash(tmp_path: Path, environ: dict[str, str]) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    registry.source(sources, "sourced", "2.0")
    command = f"uvx --no-index --find-links {sources} sourced"
    made = _frozen(command, environ, "sourced")
    found = _known(made)
    (package,) = found.packages
    digest = hashlib.sha256((sources / "sourced-2.0.tar.gz").read_bytes()).hexdigest()
    assert (package.scripts, package.integrity, found.ran) == (True, (f"sha256:{digest}",), ("sourced",))
    assert _again(command, made, environ, found.packages, "sourced")
    with pytest.raises(SandboxNotBuilt):
        _again(command, made, environ, found.packages)


SETUP = "from setuptools import setup\nsetup(name='tool', version='1.0')\n"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """An index with a source that `setuptools` builds."""
    folder = tmp_path / "sources"
    folder.mkdir()
    sdists.setuptools(folder)
    sdists.legacy(folder, "tool", SETUP)
    return folder


@pytest.mark.threat("K4", proves="a locked source is built again with what built it, or not at all")
def test_a_source_is_built_again_with_what_built_it(sources: Path, environ: dict[str, str]) -> None:
    command = f"uvx --no-index --find-links {sources} tool"
    made = _frozen(command, environ, "tool")
    packages = _known(made).packages
    sdists.setuptools(sources, "100.0", more="# another builder")
    assert _again(command, made, environ, packages, "tool")
    # The control: nobody but the lock says which builds it.
    bare = tuple(replace(each, rest=()) for each in packages)
    with pytest.raises(SandboxNotBuilt) as refused:
        _again(command, made, environ, bare, "tool")
    assert refused.value.code == "lock-not-rebuilt"
    sdists.setuptools(sources, more="# under the same version")
    with pytest.raises(SandboxNotBuilt) as refused:
        _again(command, made, environ, packages, "tool")
    assert refused.value.code == "package-changed"


def test_a_source_that_is_built_into_another_each_time_is_named(
    sources: Path, environ: dict[str, str]
) -> None:
    sdists.own(sources, "odd", wheel="name, version, more={'odd.txt': os.urandom(8).hex()}")
    command = f"uvx --no-index --find-links {sources} odd"
    made = _frozen(command, environ, "odd")
    with pytest.raises(SandboxNotBuilt, match="the source of `odd` is built into other files") as refused:
        _again(command, made, environ, _known(made).packages, "odd")
    assert refused.value.code == "lock-not-rebuilt"


def test_a_locked_source_that_is_not_allowed_any_more_is_not_built(
    sources: Path, environ: dict[str, str]
) -> None:
    command = f"uvx --no-index --find-links {sources} tool"
    made = _frozen(command, environ, "tool")
    with pytest.raises(SandboxNotBuilt) as refused:
        _again(command, made, environ, _known(made).packages)
    assert refused.value.code == "package-needs-scripts"
