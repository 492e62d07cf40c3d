"""One build a request, whoever asks and whoever is killed; nothing half done is ever found."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.errors import CannotEnforce, CommandNotFound, SandboxError, SandboxNotBuilt
from sandbox.plan.facts import Engine
from sandbox.plan.image import Image
from sandbox.supply.freeze import peek
from sandbox.supply.inside import refuse_far, refuse_without_tools
from sandbox.supply.job import BuildJob, BuildOutcome
from sandbox.supply.request import parse
from tests.supply.toolchain import PACKAGE, Builder, asked, frozen, install, node_at, store_of, world

PROGRAM = Path(__file__).with_name("toolchain.py")
ROOT = PROGRAM.parent.parent.parent
TOKEN = {"NPM_TOKEN": "t0ken"}


def test_a_frozen_server_starts_without_npm_from_a_read_only_tree(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    outcome = frozen("npx -y pkg --flag x", environ, builder)
    node = str(tmp_path / "node/bin/node")
    assert outcome.argv == (node, "/opt/mcp/node_modules/pkg/main.js", "--flag", "x")
    assert (outcome.interpreter, outcome.mount, outcome.reused) == (node, "/opt/mcp", False)
    assert outcome.resolved == ("pkg@1.2.3",)
    files = [path for path in Path(outcome.tree).rglob("*") if path.is_file() and not path.is_symlink()]
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o444", "0o555"}
    assert not list(Path(outcome.tree).glob(".build"))
    assert store_of(environ).stat().st_mode & 0o077 == 0


def test_the_second_start_builds_nothing_and_needs_no_npm(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    first = frozen("npx -y pkg", environ, builder)
    (tmp_path / "node/lib/node_modules/npm/bin/npm-cli.js").unlink()
    second = frozen("npx pkg@latest b", environ, builder)
    assert (second.digest, second.reused, second.argv[-1]) == (first.digest, True, "b")
    assert builder.calls == 1


def test_another_program_of_the_same_packages_is_the_same_build(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    frozen("npx -y pkg", environ, builder)
    assert frozen("npx -p pkg other", environ, builder).argv[1].endswith("/other.js")
    assert builder.calls == 1


def test_two_requests_with_one_outcome_share_the_tree(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    trees = {frozen(command, environ, builder).tree for command in ("npx pkg", "npx pkg@1.2.3")}
    assert builder.calls == 2
    assert len(trees) == 1


def test_refresh_resolves_an_unpinned_package_again_and_a_pinned_one_never(tmp_path: Path) -> None:
    environ, builder, said = world(tmp_path), Builder(tmp_path / "count"), list[str]()
    newer = Builder(tmp_path / "newer", package={**PACKAGE, "version": "2.0.0"})
    for command in ("npx pkg", "npx pkg@1.2.3"):
        frozen(command, environ, builder)
    assert frozen("npx pkg", environ, newer, refresh=True).resolved == ("pkg@2.0.0",)
    assert frozen("npx pkg@1.2.3", environ, newer, refresh=True, said=said).resolved == ("pkg@1.2.3",)
    assert newer.calls == 1
    assert "pinned" in said[0]
    assert frozen("npx pkg", environ, builder).resolved == ("pkg@2.0.0",)


def test_a_failed_refresh_keeps_what_was_there(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    before = frozen("npx pkg", environ, builder)
    with pytest.raises(SandboxNotBuilt):
        frozen("npx pkg", environ, lambda job: BuildOutcome(1), refresh=True)
    assert frozen("npx pkg", environ, builder).digest == before.digest


def _failing(words: str) -> object:
    def run(job: BuildJob) -> BuildOutcome:
        install(Path(job.staging))
        Path(job.log).write_text(words)
        return BuildOutcome(1)

    return run


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param("npm error code E404\nnpm error 404 Not Found - GET x", "package-not-found", id="404"),
        pytest.param("error: Because x was not found in the package registry", "package-not-found", id="uv"),
        pytest.param(
            "npm error network request failed ENOTFOUND r.test", "registry-unreachable", id="offline"
        ),
        pytest.param("cause: invalid peer certificate: UnknownIssuer", "registry-untrusted", id="uv, CA"),
        pytest.param("npm error code SELF_SIGNED_CERT_IN_CHAIN", "registry-untrusted", id="npm, CA"),
        pytest.param(
            "cause: Because the current Python version (3.11.2) does not satisfy Python>=3.99",
            "python-does-not-fit",
            id="python too old",
        ),
        pytest.param("npm error code ENOSPC", "no-space", id="a full disk"),
        pytest.param("x has no usable wheels", "package-needs-scripts", id="a source distribution"),
        pytest.param("\x1b[31mboom\x1b[0m", "package-not-built", id="anything else"),
    ],
)
def test_a_failed_build_says_why_and_leaves_nothing(tmp_path: Path, words: str, code: str) -> None:
    environ = world(tmp_path)
    with pytest.raises(SandboxNotBuilt) as failed:
        frozen("npx pkg", environ, _failing(f"first https://me:s3cret@r.test/\n{words}"))  # type: ignore[arg-type]
    assert failed.value.code == code
    assert failed.value.exit_status == 125
    assert words.replace("\x1b[31m", "").replace("\x1b[0m", "").splitlines()[-1] in failed.value.what
    assert "s3cret" not in str(failed.value)
    assert "\x1b" not in str(failed.value)
    _nothing_but_locks(environ)


def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    environ = world(tmp_path)

    def interrupted(job: BuildJob) -> BuildOutcome:
        install(Path(job.staging))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        frozen("npx pkg", environ, interrupted)
    _nothing_but_locks(environ)


def test_a_tree_that_refuses_to_be_removed_is_removed(tmp_path: Path) -> None:
    environ = world(tmp_path)

    def closed(job: BuildJob) -> BuildOutcome:
        below = Path(job.staging) / "a/b"
        below.mkdir(parents=True)
        (below / "c").write_text("")
        below.chmod(0)
        return BuildOutcome(1)

    with pytest.raises(SandboxNotBuilt):
        frozen("npx pkg", environ, closed)
    _nothing_but_locks(environ)


def _nothing_but_locks(environ: dict[str, str]) -> None:
    left = [path for path in store_of(environ).rglob("*") if path.is_file()]
    assert [path.parent.name for path in left] == ["locks"] * len(left)
    assert not list((store_of(environ) / "staging").iterdir())


@pytest.mark.threat("K4", proves="what a package says of itself is no option, escape or nest of our own")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param('{"version": "1.0.0\\u001b[2J"}', id="a version that clears the screen"),
        pytest.param('{"version": "git+file:///evil"}', id="a version that is a place"),
        pytest.param('{"version": ' + "[" * 200_000, id="a manifest nested beyond any stack"),
    ],
)
def test_a_package_that_lies_about_itself_is_not_kept(tmp_path: Path, words: str) -> None:
    environ = world(tmp_path)

    def lying(job: BuildJob) -> BuildOutcome:
        install(Path(job.staging))
        (Path(job.staging) / "node_modules/pkg/package.json").write_text(words)
        return BuildOutcome(0)

    with pytest.raises(SandboxNotBuilt) as refused:
        frozen("npx pkg", environ, lying)
    assert refused.value.what.isprintable()
    _nothing_but_locks(environ)
    assert frozen("npx pkg", environ, Builder(tmp_path / "count")).resolved == ("pkg@1.2.3",)


def test_a_package_with_several_programs_and_no_obvious_one_names_them(tmp_path: Path) -> None:
    environ = world(tmp_path)
    builder = Builder(tmp_path / "count", package={**PACKAGE, "bin": {"a": "a.js", "b": "b.js"}})
    with pytest.raises(SandboxError, match="`a`, `b`") as refused:
        frozen("npx pkg", environ, builder)
    assert (refused.value.code, refused.value.exit_status) == ("no-such-program", 125)
    assert frozen("npx -p pkg b", environ, builder).argv[1].endswith("/b.js")
    assert builder.calls == 1


def test_the_sole_program_is_taken_whatever_its_name(tmp_path: Path) -> None:
    builder = Builder(tmp_path / "count", package={**PACKAGE, "bin": {"else": "e.js"}})
    assert frozen("npx pkg", world(tmp_path), builder).argv[1].endswith("/e.js")


def test_a_projects_own_program_is_not_used_and_said_so(tmp_path: Path) -> None:
    environ, said = world(tmp_path), list[str]()
    (tmp_path / "node_modules/.bin").mkdir(parents=True)
    (tmp_path / "node_modules/.bin/pkg").write_text("#!/bin/sh\n")
    outcome = frozen("npx pkg", environ, Builder(tmp_path / "count"), cwd=str(tmp_path), said=said)
    assert outcome.argv[1] == "/opt/mcp/node_modules/pkg/main.js"
    assert any("node_modules/.bin/pkg" in line for line in said)


def test_install_scripts_run_only_for_named_packages_and_without_a_token(tmp_path: Path) -> None:
    environ = world(tmp_path, **TOKEN, https_proxy="http://p.test:1")
    (tmp_path / "home/.npmrc").write_text("//r.test/:_authToken=${NPM_TOKEN}\n")
    plain, named = Builder(tmp_path / "a"), Builder(tmp_path / "b")
    frozen("npx pkg", environ, plain)
    frozen("npx pkg", environ, named, scripts=("pkg",))
    assert ["--ignore-scripts" in job.steps[0] for job in plain.jobs] == [True]
    install_job, script_job = named.jobs
    assert "--ignore-scripts" in install_job.steps[0]
    assert ("NPM_TOKEN", "t0ken") in install_job.env
    assert "--ignore-scripts=false" in script_job.steps[0]
    assert script_job.steps[0][-2:] == ("--", "pkg")
    assert "t0ken" not in repr((script_job.env, script_job.files))
    assert not any(content for _, content in script_job.files)
    # The proxy is the gateway's; a package's own code reaches no registry.
    assert "http://p.test:1" not in repr((script_job.env, script_job.files))
    assert (script_job.hosts, dict(script_job.proxies)) == ((), {"https_proxy": "http://p.test:1"})


def test_without_node_or_npm_the_message_says_which(tmp_path: Path) -> None:
    environ = world(tmp_path)
    builder = Builder(tmp_path / "count")
    with pytest.raises(CommandNotFound) as refused:
        frozen("npx pkg", {**environ, "PATH": str(tmp_path)}, builder)
    assert (refused.value.code, refused.value.exit_status) == ("node-not-found", 127)
    (tmp_path / "node/lib/node_modules/npm/bin/npm-cli.js").unlink()
    with pytest.raises(CommandNotFound) as refused:
        frozen("npx pkg", {**environ, "PATH": f"{tmp_path}/node/bin"}, builder)
    assert refused.value.code == "npm-not-found"
    assert builder.calls == 0


def test_an_updated_node_of_the_same_interface_keeps_the_tree(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    frozen("npx pkg", environ, builder)
    node = node_at(tmp_path / "node")
    os.utime(node, ns=(1, 1))
    assert frozen("npx pkg", environ, builder).reused
    assert builder.calls == 1


def test_a_node_of_another_interface_builds_the_same_versions_anew(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    frozen("npx pkg", environ, builder)
    os.utime(node_at(tmp_path / "node", abi="node-131"), ns=(1, 1))
    assert not frozen("npx pkg", environ, builder).reused
    assert builder.jobs[-1].steps[0][-1] == "pkg@1.2.3"


def test_peek_builds_nothing_and_finds_what_is_there(tmp_path: Path) -> None:
    environ, request = world(tmp_path), parse(["npx", "pkg", "x"])
    assert request is not None
    assert peek(request, environ=environ) is None
    assert not store_of(environ).exists()
    made = frozen("npx pkg x", environ, Builder(tmp_path / "count"))
    found = peek(request, environ=environ)
    assert found is not None
    assert (found.argv, found.digest, found.reused) == (made.argv, made.digest, True)


IMAGE, REBUILT = Image("node", "sha256:1"), Image("node", "sha256:2")


def test_for_an_image_nothing_of_the_hosts_is_asked(tmp_path: Path) -> None:
    environ, builder = {**world(tmp_path), "PATH": "/nonexistent"}, Builder(tmp_path / "count")
    made = frozen("npx -y pkg x", environ, builder, image=IMAGE)
    assert made.argv == ("/usr/local/bin/node", "/opt/mcp/node_modules/pkg/main.js", "x")
    assert (made.interpreter, builder.calls) == ("", 1)
    (job,) = builder.jobs
    assert job.steps[0][:2] == ("/usr/local/bin/node", "/usr/local/lib/node_modules/npm/bin/npm-cli.js")
    assert frozen("npx -y pkg y", environ, builder, image=IMAGE).reused
    assert peek(asked("npx -y pkg"), environ=environ, image=IMAGE) is not None


def test_an_image_and_the_host_have_each_their_own_answer(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    frozen("npx -y pkg", environ, builder)
    assert peek(asked("npx -y pkg"), environ=environ, image=IMAGE) is None
    assert not frozen("npx -y pkg", environ, builder, image=IMAGE).reused
    assert frozen("npx -y pkg", environ, builder).reused
    assert frozen("npx -y pkg", environ, builder, image=IMAGE).reused


def test_an_image_built_anew_builds_the_same_versions_anew(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    frozen("npx -y pkg", environ, builder, image=IMAGE)
    assert peek(asked("npx -y pkg"), environ=environ, image=REBUILT) is None
    assert not frozen("npx -y pkg", environ, builder, image=REBUILT).reused
    assert builder.jobs[-1].steps[0][-1] == "pkg@1.2.3"


@pytest.mark.parametrize(
    ("image", "command", "kind"),
    [
        pytest.param("node", "npx pkg", "", id="node has npm"),
        pytest.param("browser", "npx pkg", "", id="browser has npm"),
        pytest.param("python", "uvx pkg", "", id="python has uv"),
        pytest.param("base", "npx pkg", "without its package manager", id="base has no npm"),
        pytest.param("browser", "uvx pkg", "without its package manager", id="browser has no uv"),
        pytest.param("acme/node@sha256:1", "npx pkg", "the profile's own", id="an own image"),
    ],
)
def test_which_images_a_package_can_be_built_in(image: str, command: str, kind: str) -> None:
    if not kind:
        return refuse_without_tools(image, asked(command))
    with pytest.raises(CannotEnforce, match=kind) as refused:
        refuse_without_tools(image, asked(command))
    assert "leave `image` out" in refused.value.hint


@pytest.mark.parametrize("place", ["local", "vm", "remote"])
def test_an_engine_on_another_machine_has_no_store(place: str) -> None:
    engine = Engine("tcp://far:2376", place=place)  # type: ignore[arg-type]
    if place != "remote":
        return refuse_far(engine)
    with pytest.raises(CannotEnforce, match="on another"):
        refuse_far(engine)


def test_another_registry_is_another_request(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    frozen("npx pkg", environ, builder)
    frozen("npx pkg", {**environ, "npm_config_registry": "https://r.test/"}, builder)
    assert builder.calls == 2


def test_variables_of_another_builder_make_no_other_request(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    frozen("npx pkg", environ, builder)
    frozen("npx pkg", {**environ, "UV_INDEX_URL": "https://r.test/", "PIP_FIND_LINKS": "/w"}, builder)
    assert builder.calls == 1


def test_a_store_that_others_can_write_is_refused(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    frozen("npx pkg", environ, builder)
    store_of(environ).chmod(0o770)
    with pytest.raises(SandboxNotBuilt, match="only this user") as refused:
        frozen("npx pkg", environ, builder)
    assert refused.value.code == "store-not-ours"


def test_a_damaged_entry_is_built_again(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    frozen("npx pkg", environ, builder)
    (entry,) = (store_of(environ) / "keys").iterdir()
    for damage in ("", "[]", '{"schema": 1}', '{"schema": 0}', "\0"):
        entry.write_text(damage)
        assert not frozen("npx pkg", environ, builder).reused
        assert frozen("npx pkg", environ, builder).reused


def test_a_tree_deleted_by_hand_is_built_again(tmp_path: Path) -> None:
    environ, builder = world(tmp_path), Builder(tmp_path / "count")
    first = frozen("npx pkg", environ, builder)
    subprocess.run(["rm", "-rf", first.tree], check=True)
    second = frozen("npx pkg", environ, builder)
    assert (second.reused, second.tree) == (False, first.tree)
    assert Path(second.tree, "node_modules/pkg/main.js").is_file()


def test_a_store_without_room_is_an_error_and_nothing_ran(tmp_path: Path) -> None:
    environ = world(tmp_path)
    (tmp_path / "cache").write_text("a file where a directory must be")
    with pytest.raises(SandboxNotBuilt) as failed:
        frozen("npx pkg", environ, Builder(tmp_path / "count"))
    assert failed.value.code == "store-failed"
    assert not (tmp_path / "count").exists()


def test_a_warm_start_takes_less_than_two_milliseconds_and_imports_nothing_heavy(tmp_path: Path) -> None:
    environ = world(tmp_path)
    frozen("npx pkg", environ, Builder(tmp_path / "count"))
    script = """
import json, sys, time
from sandbox.supply.freeze import freeze
from sandbox.supply.request import parse
environ, taken = json.loads(sys.argv[1]), []
for _ in range(50):
    started = time.perf_counter()
    found = freeze(parse(["npx", "pkg"]), environ=environ, cwd="/", run_build=None, progress=None)
    taken.append(time.perf_counter() - started)
    assert found.reused
heavy = {"msgspec", "pydantic", "subprocess", "asyncio", "shutil", "tempfile", "netrc", "socket"}
print(json.dumps([taken, sorted(heavy & set(sys.modules))]))
"""
    run = subprocess.run(
        [sys.executable, "-c", script, json.dumps(environ)], check=True, capture_output=True, text=True
    )
    taken, heavy = json.loads(run.stdout)
    assert heavy == []
    assert statistics.median(taken) < 0.002
