"""What is installed into a venv, and how its programs start, without uv."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.errors import CommandNotFound, SandboxError, SandboxNotBuilt
from sandbox.supply import pypi
from sandbox.supply.job import BuildJob, BuildOutcome, Order
from sandbox.supply.programs import Interpreter
from tests.supply.toolchain import asked, frozen

PYTHON = Interpreter("/p/python3.11", "3.11.2", "cpython-311")


def _jobs(command: str, environ: Mapping[str, str], *scripts: str) -> list[BuildJob]:
    order = Order(asked(command), environ, "/", scripts, lambda job: BuildOutcome(0), lambda line: None)
    return pypi.jobs(order, order.request.specs, PYTHON, "/staging")


def _steps(job: BuildJob) -> list[list[str]]:
    """Each step, those that are taken together one by one."""
    first, *rest = job.steps
    together = [*json.loads(dict(job.files)[first[-1]])] if "spawnv" in first[-2] else [[*first]]
    return [*together, *(list(step) for step in rest)]


@pytest.fixture
def uv_world(tmp_path: Path) -> dict[str, str]:
    """An environment whose `uv` is native, as uv is, and knows no python: it cannot even start."""
    (tmp_path / "uv").write_bytes(b"\x7fELF")
    (tmp_path / "uv").chmod(0o755)
    return {"HOME": str(tmp_path), "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_only_wheels_are_installed_and_no_code_of_theirs_runs(uv_world: dict[str, str]) -> None:
    (job,) = _jobs("uvx --with mcp<2 a==1", uv_world)
    venv, resolve, install, compiling = _steps(job)
    assert venv[1] == "venv"
    for step in (resolve, install):
        assert step[step.index("--only-binary") + 1] == ":all:"
        assert "--no-binary" not in step
    assert dict(job.files)[resolve[-1]] == b"a==1\nmcp<2\n"
    # Nothing but what was resolved, and every file by its hash.
    assert resolve[resolve.index("-o") + 1] == install[-1]
    assert {"--no-deps", "--require-hashes"} < {*install}
    # The host's python, and without `site`: it would run what `.pth` files of the packages say.
    assert compiling[:3] == [PYTHON.path, "-I", "-S"]
    assert (job.staging, job.mount) == ("/staging/tree", "/opt/mcp")


def test_index_options_reach_the_installer_word_for_word(uv_world: dict[str, str]) -> None:
    (job,) = _jobs("uvx --index-url https://u:p4ss@r.test/s --prerelease allow a", uv_world)
    for step in _steps(job)[1:3]:
        assert " --index-url https://u:p4ss@r.test/s --prerelease allow " in " ".join(step)
    assert "p4ss" not in repr(job.steps), "the words of a step are in the log"


def test_a_version_switchers_shim_is_not_uv(uv_world: dict[str, str], tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "uv").write_text("#!/bin/sh\n")
    (shims / "uv").chmod(0o755)
    (job,) = _jobs("uvx a", {**uv_world, "PATH": f"{shims}:{tmp_path}"})
    assert (str(tmp_path / "uv"), _steps(job)[0][0]) in job.mounts


def test_without_uv_pip_does_the_same(uv_world: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    (job,) = _jobs("pipx run a", {**uv_world, "PATH": "/nowhere"})
    venv, install, _ = _steps(job)
    assert venv[:4] == [PYTHON.path, "-I", "-m", "venv"]
    assert install[:3] == [PYTHON.path, "-I", "-c"]
    assert "sys.addaudithook" in install[5], "pip is guarded: it starts no process"
    assert install[install.index("--only-binary") + 1] == ":all:"
    with pytest.raises(CommandNotFound, match="needs uv"):
        _jobs("uvx --prerelease allow a", {**uv_world, "PATH": "/nowhere"})


def test_what_lies_beside_the_hosts_pip_is_not_in_the_venv(tmp_path: Path) -> None:
    """Debian's pip lies among Debian's packages, and what counts as installed already would be left out."""
    system = Path("/usr/lib/python3/dist-packages")
    if not (system / "pip").is_dir():
        pytest.skip("the system's python has no pip")
    (tmp_path / "host").mkdir()
    (tmp_path / "host/pip").symlink_to(system / "pip")
    (tmp_path / "host/cryptic-1.0.dist-info").mkdir()
    (tmp_path / "host/cryptic-1.0.dist-info/METADATA").write_text("Name: cryptic\nVersion: 1.0\n")
    subprocess.run(
        ["/usr/bin/python3", "-I", "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=60
    )

    def listed(code: str) -> str:
        argv: list[str | Path] = [tmp_path / "venv/bin/python", "-I", "-c", code, tmp_path / "host"]
        done = subprocess.run([*argv, "list", "--format=json"], capture_output=True, text=True, timeout=60)
        return done.stdout

    assert "cryptic" in listed(pypi._NO_PROCESS.replace("del sys.path[0]", "")), "the control finds it"
    assert listed(pypi._NO_PROCESS).strip() == "[]"


@pytest.mark.parametrize(
    ("content", "start"),
    [
        pytest.param(
            "#!/bin/sh\n'''exec' \"$(dirname -- \"$0\")\"/'python' \"$0\" \"$@\"\n' '''\n",
            ("/opt/mcp/bin/python", "/opt/mcp/bin/x"),
            id="uv's relocatable script",
        ),
        pytest.param(
            "#!/opt/mcp/bin/python3\n", ("/opt/mcp/bin/python", "/opt/mcp/bin/x"), id="a python script"
        ),
        pytest.param("#!/bin/sh\necho\n", ("/opt/mcp/bin/x",), id="a shell script"),
        pytest.param("\x7fELF", ("/opt/mcp/bin/x",), id="a native program"),
    ],
)
def test_a_program_starts_as_its_first_line_says(
    tmp_path: Path, content: str, start: tuple[str, ...]
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/x").write_text(content)
    (tmp_path / "bin/python").symlink_to("/p/python3.11")
    (tmp_path / "bin/activate").write_text("")
    pypi.finish(str(tmp_path))
    assert pypi.starts(str(tmp_path), PYTHON) == {"x": start, "python": ("/opt/mcp/bin/python",)}


def test_a_bin_that_leads_out_of_the_tree_is_neither_read_nor_cleaned(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "activate").write_text("mine")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/bin").symlink_to(outside)
    pypi.finish(str(tmp_path / "tree"))
    assert (outside / "activate").exists()
    assert pypi.starts(str(tmp_path / "tree"), PYTHON) == {}


def test_versions_are_read_from_the_tree(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    (packages / "Some_Thing-1.2.dist-info").mkdir(parents=True)
    assert pypi.resolved(str(tmp_path), ["some-thing[x]>=1"]) == ("some-thing==1.2",)
    with pytest.raises(SandboxNotBuilt, match="`other`"):
        pypi.resolved(str(tmp_path), ["other"])


def test_a_python_that_is_not_there_is_named(uv_world: dict[str, str]) -> None:
    with pytest.raises(CommandNotFound, match=r"python 3\.99") as refused:
        frozen("uvx -p 3.99 a", uv_world, lambda job: BuildOutcome(0))
    assert refused.value.exit_status == 127


def test_uv_run_in_a_project_is_refused_unless_it_leaves_the_project_out(
    tmp_path: Path, uv_world: dict[str, str]
) -> None:
    (tmp_path / "project/below").mkdir(parents=True)
    (tmp_path / "project/pyproject.toml").write_text("")
    below = str(tmp_path / "project/below")
    with pytest.raises(SandboxError, match="project") as refused:
        frozen("uv run --with a b", uv_world, lambda job: BuildOutcome(0), cwd=below)
    assert refused.value.code == "project-environment"
    with pytest.raises(CommandNotFound):  # further: this world has no python
        frozen("uv run --no-project --with a b", uv_world, lambda job: BuildOutcome(0), cwd=below)


def test_an_age_is_asked_of_uv_but_for_what_is_exempt(uv_world: dict[str, str]) -> None:
    def resolve(environ: Mapping[str, str], age: float | None) -> list[str]:
        order = Order(
            asked("uvx --with b a==1"), environ, "/", (), lambda job: BuildOutcome(0), lambda line: None,
            age=age, age_waive=("C_d", "@npm/one"),
        )  # fmt: skip
        (job,) = pypi.jobs(order, order.request.specs, PYTHON, "/staging")
        return _steps(job)[1]

    step = resolve(uv_world, 86400.0)
    assert step[step.index("--exclude-newer") + 1].endswith("Z")
    exempt = [
        word.partition("=")[0] for at, word in enumerate(step) if step[at - 1] == "--exclude-newer-package"
    ]
    assert exempt == ["a", "c-d"]
    for environ, age in (
        (uv_world, None),
        (uv_world, 0.0),
        ({**uv_world, "UV_EXCLUDE_NEWER": "2026-01-01"}, 86400.0),
    ):
        assert "--exclude-newer" not in resolve(environ, age)
