"""Source distributions in the real build sandbox: honest ones, and what their code may reach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.build import builder
from sandbox.errors import SandboxNotBuilt
from sandbox.host.probe import probe
from sandbox.supply import source
from sandbox.supply.job import BuildJob, BuildOutcome
from tests.supply import reaching, registry, sdists
from tests.supply.sourced import (
    LEFT,
    LEGACY,
    SPY,
    build,
    file,
    known,
    runs,
    simple,
    unsandboxed,
)
from tests.supply.toolchain import frozen

# --- honest ones ------------------------------------------------------------------------------------


def test_a_setup_py_tells_what_it_requires_and_is_built_once(index: Path, environ: dict[str, str]) -> None:
    sdists.legacy(index, "tool", LEGACY)
    titles: list[str] = []
    run = builder(probe(), environ)

    def kept(job: BuildJob) -> BuildOutcome:
        titles.append(job.title)
        return run(job)

    made = frozen("uvx tool", environ, kept, scripts=("tool",))
    assert runs(made) == "built\n"
    found = {each.name: each for each in known(made).packages}
    assert [*found] == ["helper", "tool"]
    assert dict(found["tool"].rest)["built-with"].keys() == {"setuptools==99.0"}
    assert found["tool"].scripts
    assert known(made).ran == ("tool",)
    assert known(made).unchecked == ()
    assert titles.count("tool==1.0 (PyPI)") == 1


def test_a_source_that_requires_another_is_built_after_it_was_learned(
    index: Path, environ: dict[str, str]
) -> None:
    sdists.own(index, "other", dynamic=True, wheel="name, version, requires=['helper']")
    sdists.legacy(index, "tool", LEGACY.replace("helper", "other"))
    made = build(environ, "uvx tool", "tool", "other")
    assert runs(made) == "built\n"
    assert [each.name for each in known(made).packages] == ["helper", "other", "tool"]
    assert known(made).ran == ("other", "tool")


def test_a_builder_without_a_wheel_is_not_built(index: Path, environ: dict[str, str]) -> None:
    sdists.own(index, "other")
    sdists.own(index, "tool", wants="['other']")
    with pytest.raises(SandboxNotBuilt) as refused:
        build(environ, "uvx tool", "tool", "other")
    assert "as a wheel" in refused.value.hint


def test_what_a_builder_asks_for_is_fetched_for_it(index: Path, environ: dict[str, str]) -> None:
    sdists.own(index, "tool", code="import helper", wants="['helper>=1.0']")
    made = build(environ)
    assert runs(made) == "built\n"
    assert [each.name for each in known(made).packages] == ["tool"], "it is no part of the tree"
    assert dict(known(made).packages[0].rest)["built-with"].keys() == {"helper==1.0"}


def test_a_builder_that_is_missing_is_named(index: Path, environ: dict[str, str]) -> None:
    sdists.own(index, "tool", wants="['absent-builder']")
    with pytest.raises(SandboxNotBuilt, match="absent-builder"):
        build(environ)


@pytest.mark.parametrize("wants", ["['x @ http://127.0.0.1/x.whl']", "['--find-links=x']", "[7]", "7"])
def test_what_is_no_requirement_of_an_index_is_not_fetched(
    index: Path, environ: dict[str, str], wants: str
) -> None:
    sdists.own(index, "tool", wants=wants)
    with pytest.raises(SandboxNotBuilt):
        build(environ)


def test_a_source_is_built_though_the_index_has_a_wheel(index: Path, environ: dict[str, str]) -> None:
    registry.wheel(index, "tool", "1.0", {"tool.py": "def main(): print('wheel')\n"}, {"tool": "tool:main"})
    sdists.own(index, "tool")
    assert runs(build(environ)) == "built\n"
    environ["XDG_CACHE_HOME"] += "-bare"
    assert runs(build(environ, "uvx tool", "other")) == "wheel\n", "the control"


def test_settings_that_uv_is_not_to_read_are_not_read(index: Path, environ: dict[str, str]) -> None:
    sdists.legacy(index, "tool", LEGACY)
    made = build(environ, f"uvx --no-config --no-index --find-links {index} tool")
    assert runs(made) == "built\n"


def test_without_uv_no_source_is_built(
    index: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if subprocess.run(["/usr/bin/python3", "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("the system's python has no pip")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    sdists.own(index, "tool")
    environ.update(PATH="/usr/bin:/bin", PIP_FIND_LINKS=str(index), PIP_NO_INDEX="1")
    with pytest.raises(SandboxNotBuilt, match="package-not-found") as refused:
        build(environ, "pipx run tool")
    assert "uv alone builds" in refused.value.hint


# --- what it may reach ------------------------------------------------------------------------------


@pytest.mark.threat("K4", proves="a source's code reaches no index while it is built")
@pytest.mark.threat("K5", proves="no login of an index reaches a source's code")
@pytest.mark.parametrize("kind", ["static", "setup.py"])
def test_a_source_reaches_no_index_and_sees_no_login(
    kind: str, index: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (Path(environ["HOME"]) / ".config/uv/uv.toml").unlink()
    with registry.folder(simple(index, tmp_path)) as url:
        spy = SPY.replace("INDEX", f"{url}simple/helper/")
        if kind == "static":
            sdists.own(index, "tool", code=spy, wheel=LEFT)
        else:
            setup = f"import os\n{spy}\nprint('SAW', json.dumps(saw))\n"
            sdists.legacy(index, "tool", setup + LEGACY.replace("setup(", "setup(setup_requires=[], "))
        simple(index, tmp_path)
        login = url.replace("http://", "http://user:p4ss@") + "simple"
        environ.update(UV_INDEX_URL=login, UV_INDEX_OTHER_PASSWORD="p4ss")  # noqa: S106 - a decoy
        logs: list[str] = []
        run = builder(probe(), environ)

        def kept(job: BuildJob) -> BuildOutcome:
            done = run(job)
            logs.append(Path(job.log).read_text())
            return done

        made = frozen("uvx tool", environ, kept, scripts=("tool",))
        line = next((each for log in logs for each in log.splitlines() if each.startswith("SAW ")), "")
        saw = json.loads(file(made, "saw.json") if kind == "static" else line[4:])
        assert "p4ss" not in json.dumps(saw)
        assert saw["index"] != 200
        (where,) = {each for each in known(made).reached if "localhost" in each or "127.0.0.1" in each}
        assert where.endswith(url.rpartition(":")[2].strip("/"))
        if kind == "static":  # the control: beside uv it reads the login, and reaches the index
            venv = unsandboxed(tmp_path, "tool", UV_INDEX_URL=login, no_proxy="127.0.0.1")
            (left,) = venv.glob("lib/*/site-packages/saw.json")
            free = json.loads(left.read_text())
            assert (free["index"], "p4ss" in json.dumps(free["env"])) == (200, True)


def test_what_a_source_tries_to_reach_is_kept_and_hosts_are_allowed_by_name(
    index: Path, environ: dict[str, str]
) -> None:
    code = f"import socket\ntry: socket.getaddrinfo({reaching.NAME!r}, 443)\nexcept OSError: pass"
    sdists.own(index, "tool", code=code)
    assert reaching.NAME in " ".join(known(build(environ)).reached)
    environ["XDG_CACHE_HOME"] += "-allowed"
    run = builder(probe(), environ, (reaching.NAME,))
    made = frozen("uvx tool", environ, run, scripts=("tool",))
    assert known(made).reached == (), "the control"


@pytest.mark.threat("K4", proves="no job that reaches an index comes to where a source's code has been")
def test_no_job_that_reaches_an_index_runs_code_or_comes_after_it(
    index: Path, environ: dict[str, str]
) -> None:
    """A source that asks for more to be built, and whose wheel has to tell what it requires."""
    sdists.own(index, "tool", code="import helper", wants="['helper']", dynamic=True)
    environ["UV_INDEX_OTHER_PASSWORD"] = "p4ss"  # noqa: S105 - a decoy
    jobs: list[BuildJob] = []
    run = builder(probe(), environ)

    def kept(job: BuildJob) -> BuildOutcome:
        jobs.append(job)
        return run(job)

    frozen("uvx tool", environ, kept, scripts=("tool",))
    code = [number for number, job in enumerate(jobs) if source._HOOK in job.steps[0]]
    assert len(code) == 2
    for number in code:
        assert jobs[number].hosts == ()
        assert "p4ss" not in repr(jobs[number])
        assert all(job.staging != jobs[number].staging for job in jobs[number + 1 :])
    assert {repr(job).count("p4ss") > 0 for job in jobs[: code[0]]} == {True}, "the control: others have it"
