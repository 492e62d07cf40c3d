"""Source distributions that forge: the resolution, other packages, themselves; each with its control."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.errors import SandboxNotBuilt
from sandbox.supply import sources
from sandbox.supply.alone import alone
from tests.supply import registry, sdists
from tests.supply.sourced import (
    FORGE,
    LEGACY,
    UV,
    build,
    file,
    known,
    runs,
    unsandboxed,
)
from tests.supply.toolchain import store_of

pytestmark = pytest.mark.slow  # as root alone: `test_sources` is for both callers


# --- what it may forge ------------------------------------------------------------------------------


@pytest.mark.threat("K4", proves="a source's code can forge neither what was resolved nor another package")
def test_a_source_forges_neither_the_resolution_nor_another_package(
    index: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    code = FORGE.replace("TREE", "/opt/mcp")
    sdists.own(index, "tool", code=code, wheel="name, version, requires=['helper']", dynamic=True)
    made = build(environ)
    assert file(made, "helper.py") == "honest = 1\n"
    assert [(each.name, each.version) for each in known(made).packages] == [
        ("helper", "1.0"),
        ("tool", "1.0"),
    ]
    # The control: beside uv, in the environment that is installed into, it does both.
    (index / "tool-1.0.tar.gz").unlink()
    sdists.own(index, "tool", code=FORGE.replace("TREE", str(tmp_path / "venv")))
    more = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(index)}
    venv = unsandboxed(tmp_path, "helper", **more)
    (venv / ".build").mkdir()
    words = ["pip", "install", "-q", "--python", str(venv / "bin/python"), "tool"]
    subprocess.run([UV, *words], check=True, env={**os.environ, **more}, timeout=120)
    (helper,) = venv.glob("lib/*/site-packages/helper.py")
    assert helper.read_text() == "forged = 1\n"
    assert (venv / ".build/pylock.toml").read_text() == "forged = 1\n"


@pytest.mark.threat("K4", proves="a wheel that was built takes no other package's place")
@pytest.mark.parametrize(
    "more",
    [
        pytest.param("'helper.py': 'forged = 1'", id="a module"),
        pytest.param("'tool-1.0.data/purelib/helper.py': 'forged = 1'", id="by its scheme"),
        pytest.param("'tool-1.0.data/data/pyvenv.cfg': 'home = /tmp'", id="the environment"),
        pytest.param("'tool-1.0.data/scripts/python': 'x'", id="its python"),
    ],
)
def test_a_wheel_that_was_built_overwrites_nothing(
    more: str, index: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sdists.own(index, "tool", wheel=f"name, version, requires=['helper'], more={{{more}}}", dynamic=True)
    with pytest.raises(SandboxNotBuilt, match="overwrite") as refused:
        build(environ)
    assert refused.value.code == "wheel-refused"
    if "helper" not in more:
        return
    monkeypatch.setattr(sources, "refuse_overwriting", lambda tree, wheels: None)
    assert file(build(environ), "helper.py") == "forged = 1", "the control"


@pytest.mark.threat("K4", proves="a source is built into a wheel of itself or into none")
@pytest.mark.parametrize(
    ("wheel", "why"),
    [
        pytest.param("name, version", "", id="the control"),
        pytest.param("'helper', '1.0'", "it holds", id="another package"),
        pytest.param("name, '2.0'", "it holds", id="another version"),
        pytest.param("name, version, says=('helper', '1.0')", "says that", id="another name inside"),
        pytest.param("name, version, says=(name, '2.0')", "says that", id="another version inside"),
        pytest.param("name, version, more={'../../bin/python': 'x'}", "leads out", id="a path that escapes"),
        pytest.param("name, version, more={'/etc/x': 'x'}", "leads out", id="an absolute path"),
        pytest.param("name, version, more={'helper-1.0.dist-info/RECORD': ''}", "holds", id="other metadata"),
        pytest.param("name, version, requires=['x @ http://127.0.0.1/x']", "no index", id="from a place"),
    ],
)
def test_a_source_is_built_into_itself_or_refused(
    wheel: str, why: str, index: Path, environ: dict[str, str]
) -> None:
    sdists.own(index, "tool", wheel=wheel)
    if wheel == "name, version":
        assert runs(build(environ)) == "built\n"
        return
    with pytest.raises(SandboxNotBuilt, match=why) as refused:
        build(environ)
    assert refused.value.code == "wheel-refused"
    assert not list((store_of(environ) / "trees").iterdir())


def test_nothing_that_is_no_wheel_is_taken(index: Path, environ: dict[str, str]) -> None:
    for code in (
        "os.symlink('/etc/passwd', directory + '/tool-1.0-py3-none-any.whl'); return ''",
        "os.mkfifo(directory + '/tool-1.0-py3-none-any.whl'); return ''",
        "write(directory, name, '3.0')",
        "return ''",
    ):
        sdists.own(index, "tool", code=code)
        with pytest.raises(SandboxNotBuilt) as refused:
            build(environ)
        assert refused.value.code == "wheel-refused"


@pytest.mark.threat("K4", proves="a wheel that was built runs nothing while it is installed")
def test_what_was_built_runs_no_start_up_code_while_it_is_installed(
    index: Path, environ: dict[str, str]
) -> None:
    hook = "import os, sys; open(os.path.join(sys.prefix, 'ran'), 'w').close()"
    sdists.own(index, "tool", wheel=f"name, version, more={{'hooked.pth': {hook!r}}}")
    registry.wheel(index, "wired", "1.0", {"wired.pth": hook + "\n"}, {})
    tree = Path(build(environ, "uvx --with wired tool").tree)
    assert len(list(tree.glob("lib/*/site-packages/*ed.pth"))) == 2
    assert not (tree / "ran").exists()
    subprocess.run([tree / "bin/python", "-c", ""], check=True)
    assert (tree / "ran").exists(), "the control"


# --- the guard of uv --------------------------------------------------------------------------------


@pytest.mark.threat("K4", proves="an uv that resolves starts no source's code")
def test_what_runs_alone_has_threads_and_no_process() -> None:
    python = os.path.realpath(sys.executable)
    threads = "import threading; t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()"
    starts = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(7)'])"
    forks = "import os; os.fork() or os._exit(0)"

    def run(code: str, *, guarded: bool = True) -> tuple[int, str]:
        step = (python, "-I", "-S", "-c", code)
        words = alone(python, step) if guarded else step
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    assert run(threads) == (0, "thread\n")
    for code in (starts, forks):
        status, said = run(code)
        assert status != 0
        assert "PermissionError" in said
        assert run(code, guarded=False)[0] == 0, "the control"


def test_an_uv_that_may_build_runs_a_sources_code_while_it_resolves(
    index: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """The control of `alone`: without it the code of a source that says nothing of itself runs beside uv."""
    mark = tmp_path / "ran"
    sdists.legacy(index, "tool", f"open({str(mark)!r}, 'w')\n{LEGACY}")
    (tmp_path / "asked").write_text("tool\n")
    venv = tmp_path / "venv"
    env = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "uv")}
    subprocess.run([UV, "venv", "-q", "--no-project", venv], check=True, env=env, timeout=60)
    python = str(venv / "bin/python")
    subprocess.run([UV, "pip", "list", "-q", "--python", python], check=True, env=env, timeout=60)
    words = (str(UV), "pip", "compile", "--python", python, "--no-index", "--find-links", str(index))
    step = (*words, "-q", str(tmp_path / "asked"))
    done = subprocess.run(alone("/usr/bin/python3", step), env=env, capture_output=True, timeout=60)
    assert done.returncode != 0
    assert not mark.exists()
    assert subprocess.run(step, env=env, capture_output=True, timeout=120).returncode == 0
    assert mark.exists()
