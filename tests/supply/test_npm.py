"""How the programs of an npm tree start, without npm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sandbox.errors import SandboxNotBuilt
from sandbox.supply import npm
from sandbox.supply.job import BuildOutcome, Order
from sandbox.supply.programs import Interpreter
from tests.supply.npm_cached import cached
from tests.supply.toolchain import asked, world

NODE = Interpreter("/n/node", "v20.0.0", "node-115")


def _package(tree: Path, name: str, **manifest: object) -> Path:
    folder = tree / "node_modules" / name
    folder.mkdir(parents=True)
    (tree / "node_modules/.bin").mkdir(exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": "1.0.0", **manifest}))
    return folder


@pytest.mark.parametrize(
    ("file", "content", "start"),
    [
        pytest.param("a.js", "#!/usr/bin/env node\n", ("/n/node", "{}"), id="env node"),
        pytest.param(
            "a", "#!/usr/bin/env -S node --a --b\n", ("/n/node", "--a", "--b", "{}"), id="node's options"
        ),
        pytest.param("a", "#!/usr/local/bin/node\n", ("/n/node", "{}"), id="a node by its path"),
        pytest.param("a.mjs", "import 'x'\n", ("/n/node", "{}"), id="a script without a first line"),
        pytest.param("a.sh", "#!/bin/sh\n", ("{}",), id="a shell script"),
        pytest.param("a", "\x7fELF", ("{}",), id="a native program"),
        pytest.param("a", "#!/usr/bin/env\n", ("{}",), id="env without a program"),
        pytest.param("a", "", ("{}",), id="an empty file"),
    ],
)
def test_a_program_starts_as_its_first_line_says(
    tmp_path: Path, file: str, content: str, start: tuple[str, ...]
) -> None:
    folder = _package(tmp_path, "@s/pkg")
    (folder / file).write_text(content)
    (tmp_path / "node_modules/.bin/x").symlink_to(f"../@s/pkg/{file}")
    inside = f"/opt/mcp/node_modules/@s/pkg/{file}"
    assert npm.starts(str(tmp_path), NODE) == {"x": tuple(word.format(inside) for word in start)}


def test_a_program_that_leads_out_of_the_tree_is_none(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    _package(tree, "pkg")
    (tmp_path / "outside.js").write_text("#!/usr/bin/env node\n")
    (tree / "node_modules/.bin/x").symlink_to("../../../outside.js")
    (tree / "node_modules/.bin/gone").symlink_to("../nothing.js")
    assert npm.starts(str(tree), NODE) == {}


@pytest.mark.parametrize(
    ("listed", "chosen"),
    [
        pytest.param("index.js", "pkg", id="one program, named as the package without its scope"),
        pytest.param({"else": "e.js"}, "else", id="the sole program"),
        pytest.param({"a": "x.js", "b": "x.js"}, "a", id="two names of one file"),
        pytest.param({"a": "a.js", "pkg": "p.js"}, "pkg", id="the one named as the package"),
        pytest.param({"a": "a.js", "b": "b.js"}, None, id="no obvious one"),
        pytest.param(None, None, id="no program at all"),
    ],
)
def test_the_default_program_is_npxs(tmp_path: Path, listed: object, chosen: str | None) -> None:
    _package(tmp_path, "@s/pkg", bin=listed)
    assert npm.default(str(tmp_path), ["@s/pkg@latest"]) == chosen


def test_what_is_bundled_is_as_old_as_the_archive_that_holds_it(tmp_path: Path) -> None:
    bundled = {"version": "1.0.0", "inBundle": True}
    listed = {
        "node_modules/a": {"version": "2.0.0", "integrity": "sha512-" + "A" * 86 + "=="},
        "node_modules/a/node_modules/b": bundled,
        "node_modules/b": bundled,
    }
    (tmp_path / "package-lock.json").write_text(json.dumps({"packages": listed}))
    document = {"name": "a", "versions": {"2.0.0": {"_npmUser": {"name": "alice"}}}}
    body = json.dumps({**document, "time": {"2.0.0": "2026-01-02T03:04:05Z"}}).encode()
    cached(tmp_path / ".build/npm", "https://r.test/a", body)
    order = Order(asked("npx a"), {}, "/", (), lambda job: BuildOutcome(0), lambda line: None, age=0.0)
    holder, held, loose = npm.found(str(tmp_path), order, "").packages
    assert (holder.published, holder.publisher) == ("2026-01-02T03:04:05Z", "alice")
    assert (held.published, held.publisher) == ("2026-01-02T03:04:05Z", "alice")
    assert (loose.published, loose.publisher) == ("", "")


@pytest.mark.parametrize("content", ["", "[]", "{", None])
def test_a_broken_package_is_an_error(tmp_path: Path, content: str | None) -> None:
    file = _package(tmp_path, "pkg") / "package.json"
    if content is None:
        file.unlink()
        file.symlink_to("/etc/passwd")
    else:
        file.write_text(content)
    with pytest.raises(SandboxNotBuilt, match="`pkg`"):
        npm.resolved(str(tmp_path), ["pkg@1.0.0"])


def test_install_scripts_that_did_not_run_are_known_by_name(tmp_path: Path) -> None:
    for name in ("native", "@s/allowed", "plain", "plain/node_modules/deep"):
        _package(tmp_path, name)
    names = ("native", "@s/allowed", "plain/node_modules/deep", "for-another-system")
    packages: dict[str, object] = {f"node_modules/{name}": {"hasInstallScript": True} for name in names}
    packages |= {"": {}, "node_modules/plain": {"version": "1.0.0"}}
    (tmp_path / "package-lock.json").write_text(json.dumps({"packages": packages}))
    assert npm.unrun(str(tmp_path), ["@s/allowed"]) == ("deep", "native")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"packages": []}', '{"packages": {"a": 1}}'])
def test_a_list_that_cannot_be_read_names_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "package-lock.json").write_text(content)
    assert npm.unrun(str(tmp_path), []) == ()


@pytest.mark.parametrize(
    ("age", "more", "words"),
    [
        pytest.param(None, {}, [], id="nobody asks"),
        pytest.param(0.0, {}, ["--before", "--min-release-age-exclude"], id="for the dates alone"),
        pytest.param(86400.0, {}, ["--before", "--min-release-age-exclude"], id="for an age"),
        pytest.param(86400.0, {"npm_config_before": "2026-01-01"}, [], id="the user has a limit"),
    ],
)
def test_an_age_is_asked_of_npm(
    tmp_path: Path, age: float | None, more: dict[str, str], words: list[str]
) -> None:
    environ = world(tmp_path, **more)
    request = asked("npx a@1.0.0")
    order = Order(request, environ, "/", (), lambda job: BuildOutcome(0), lambda line: None, age=age)
    (job,) = npm.jobs(order, request.specs, npm.interpreter(request, environ), "/staging")
    named = [word.partition("=")[0] for word in job.steps[0]]
    assert [word for word in named if word in ("--before", "--min-release-age-exclude")] == words
