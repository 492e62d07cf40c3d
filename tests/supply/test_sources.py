"""Source distributions in the real build sandbox: built away from the index, and looked at after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sandbox.build import builder
from sandbox.errors import SandboxNotBuilt
from sandbox.host.probe import probe
from sandbox.supply import source, sources
from sandbox.supply.alone import alone
from sandbox.supply.job import BuildJob, BuildOutcome, Frozen
from sandbox.supply.resolved import Resolution, resolution
from tests.supply import reaching, registry, sdists
from tests.supply.toolchain import frozen, offline, store_of

UV = Path(sys.executable).with_name("uv")
LEGACY = "from setuptools import setup\nsetup(name='tool', version='1.0', install_requires=['helper'])\n"
# What a build finds of its caller's, and whether it reaches the index: left in the wheel.
SPY = """
import json, urllib.request
saw = {"env": dict(os.environ), "files": {}, "index": ""}
for top in ("/opt/mcp-config", "/etc/uv", "/root", os.path.expanduser("~")):
    for at, _, files in os.walk(top):
        for file in files[:50] if len(saw["files"]) < 200 else ():
            try: saw["files"][at + "/" + file] = open(at + "/" + file, "rb").read(99999).decode("latin1")
            except OSError: pass
try: saw["index"] = urllib.request.urlopen("INDEX", timeout=5).status
except OSError as error: saw["index"] = str(error)
"""
LEFT = "name, version, more={'saw.json': json.dumps(saw)}"
# Everything that is the installer's, and what another package has, is written over where it can be.
FORGE = """
import glob
for path in ["TREE/.build/pylock.toml", *glob.glob("TREE/lib/python*/site-packages/helper.py"),
             *glob.glob("/opt/mcp-config/*"), "/opt/mcp-config/wheels/helper-1.0-py3-none-any.whl"]:
    try:
        with open(path, "w") as file:
            file.write("forged = 1\\n")
    except OSError:
        pass
for place in glob.glob("TREE/lib/python*/site-packages"):
    with open(place + "/helper.py", "w") as file:
        file.write("forged = 1\\n")
"""


@pytest.fixture
def environ(tmp_path: Path, require: Callable[[str], None]) -> dict[str, str]:
    """The caller's environment, with a store of this test's own."""
    require("native")
    python = os.path.dirname(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    return {
        "HOME": os.environ["HOME"],
        "PATH": f"{python}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "no_proxy": "127.0.0.1",
    }


@pytest.fixture
def index(environ: dict[str, str], tmp_path: Path) -> Path:
    """A directory that is the only index, by the user's own uv.toml: with a helper and a `setuptools`."""
    folder = tmp_path / "index"
    folder.mkdir()
    settings = Path(environ["HOME"]) / ".config/uv/uv.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'no-index = true\nfind-links = ["{folder}"]\n')
    registry.wheel(folder, "helper", "1.0", {"helper.py": "honest = 1\n"}, {})
    sdists.setuptools(folder)
    return folder


def _build(environ: Mapping[str, str], command: str = "uvx tool", *scripts: str) -> Frozen:
    return frozen(command, environ, builder(probe(), environ), scripts=scripts or ("tool",))


def _known(made: Frozen) -> Resolution:
    found = resolution(made.tree)
    assert found is not None
    return found


def _runs(made: Frozen) -> str:
    done = subprocess.run(offline(made.tree, *made.argv), capture_output=True, text=True, timeout=60)
    return done.stdout


def _file(made: Frozen, name: str) -> str:
    (found,) = Path(made.tree).glob(f"lib/*/site-packages/{name}")
    return found.read_text()


def _unsandboxed(tmp_path: Path, package: str, **env: str) -> Path:
    """As uv does it by itself, the source's code beside it: the environment that it was installed into."""
    venv, more = tmp_path / "venv", {**os.environ, "UV_CACHE_DIR": str(tmp_path / "uv"), **env}
    subprocess.run([UV, "venv", "--no-project", "-q", venv], check=True, env=more, timeout=60)
    words = ["pip", "install", "-q", "--python", str(venv / "bin/python"), "helper", package]
    subprocess.run([UV, *words], check=True, env=more, timeout=120)
    return venv


# --- honest ones ------------------------------------------------------------------------------------


def test_a_setup_py_tells_what_it_requires_and_is_built_once(index: Path, environ: dict[str, str]) -> None:
    sdists.legacy(index, "tool", LEGACY)
    titles: list[str] = []
    run = builder(probe(), environ)

    def kept(job: BuildJob) -> BuildOutcome:
        titles.append(job.title)
        return run(job)

    made = frozen("uvx tool", environ, kept, scripts=("tool",))
    assert _runs(made) == "built\n"
    found = {each.name: each for each in _known(made).packages}
    assert [*found] == ["helper", "tool"]
    assert dict(found["tool"].rest)["built-with"].keys() == {"setuptools==99.0"}
    assert found["tool"].scripts
    assert _known(made).ran == ("tool",)
    assert _known(made).unchecked == ()
    assert titles.count("tool==1.0 (PyPI)") == 1


def test_what_a_builder_asks_for_is_fetched_for_it(index: Path, environ: dict[str, str]) -> None:
    sdists.own(index, "tool", code="import helper", wants="['helper>=1.0']")
    made = _build(environ)
    assert _runs(made) == "built\n"
    assert [each.name for each in _known(made).packages] == ["tool"], "it is no part of the tree"
    assert dict(_known(made).packages[0].rest)["built-with"].keys() == {"helper==1.0"}


def test_a_builder_that_is_missing_is_named(index: Path, environ: dict[str, str]) -> None:
    sdists.own(index, "tool", wants="['absent-builder']")
    with pytest.raises(SandboxNotBuilt, match="absent-builder"):
        _build(environ)


@pytest.mark.parametrize("wants", ["['x @ http://127.0.0.1/x.whl']", "['--find-links=x']", "[7]", "7"])
def test_what_is_no_requirement_of_an_index_is_not_fetched(
    index: Path, environ: dict[str, str], wants: str
) -> None:
    sdists.own(index, "tool", wants=wants)
    with pytest.raises(SandboxNotBuilt):
        _build(environ)


def test_a_source_is_built_though_the_index_has_a_wheel(index: Path, environ: dict[str, str]) -> None:
    registry.wheel(index, "tool", "1.0", {"tool.py": "def main(): print('wheel')\n"}, {"tool": "tool:main"})
    sdists.own(index, "tool")
    assert _runs(_build(environ)) == "built\n"
    environ["XDG_CACHE_HOME"] += "-bare"
    assert _runs(_build(environ, "uvx tool", "other")) == "wheel\n", "the control"


def test_settings_that_uv_is_not_to_read_are_not_read(index: Path, environ: dict[str, str]) -> None:
    sdists.legacy(index, "tool", LEGACY)
    made = _build(environ, f"uvx --no-config --no-index --find-links {index} tool")
    assert _runs(made) == "built\n"


def test_without_uv_no_source_is_built(
    index: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if subprocess.run(["/usr/bin/python3", "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("the system's python has no pip")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    sdists.own(index, "tool")
    environ.update(PATH="/usr/bin:/bin", PIP_FIND_LINKS=str(index), PIP_NO_INDEX="1")
    with pytest.raises(SandboxNotBuilt, match="package-not-found") as refused:
        _build(environ, "pipx run tool")
    assert "uv alone builds" in refused.value.hint


# --- what it may reach ------------------------------------------------------------------------------


@pytest.mark.threat("K4", proves="a source's code reaches no index while it is built")
@pytest.mark.threat("K5", proves="no login of an index reaches a source's code")
@pytest.mark.parametrize("kind", ["static", "setup.py"])
def test_a_source_reaches_no_index_and_sees_no_login(
    kind: str, index: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    (Path(environ["HOME"]) / ".config/uv/uv.toml").unlink()
    with registry.folder(_simple(index, tmp_path)) as url:
        spy = SPY.replace("INDEX", f"{url}simple/helper/")
        if kind == "static":
            sdists.own(index, "tool", code=spy, wheel=LEFT)
        else:
            setup = f"import os\n{spy}\nprint('SAW', json.dumps(saw))\n"
            sdists.legacy(index, "tool", setup + LEGACY.replace("setup(", "setup(setup_requires=[], "))
        _simple(index, tmp_path)
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
        saw = json.loads(_file(made, "saw.json") if kind == "static" else line[4:])
        assert "p4ss" not in json.dumps(saw)
        assert saw["index"] != 200
        (where,) = {each for each in _known(made).reached if "localhost" in each or "127.0.0.1" in each}
        assert where.endswith(url.rpartition(":")[2].strip("/"))
        if kind == "static":  # the control: beside uv it reads the login, and reaches the index
            venv = _unsandboxed(tmp_path, "tool", UV_INDEX_URL=login, no_proxy="127.0.0.1")
            (left,) = venv.glob("lib/*/site-packages/saw.json")
            free = json.loads(left.read_text())
            assert (free["index"], "p4ss" in json.dumps(free["env"])) == (200, True)


def _simple(index: Path, tmp_path: Path) -> Path:
    """The same files as an index with hashes: what the directory of one package holds, and a page of it."""
    import hashlib

    for path in [*index.iterdir()]:
        folder = tmp_path / "http/simple" / path.name.split("-")[0]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
        lines = [
            f'<a href="{one.name}#sha256={hashlib.sha256(one.read_bytes()).hexdigest()}">{one.name}</a>'
            for one in sorted(folder.iterdir())
            if one.name != "index.html"
        ]
        (folder / "index.html").write_text("\n".join(lines))
    return tmp_path / "http"


def test_what_a_source_tries_to_reach_is_kept_and_hosts_are_allowed_by_name(
    index: Path, environ: dict[str, str]
) -> None:
    code = f"import socket\ntry: socket.getaddrinfo({reaching.NAME!r}, 443)\nexcept OSError: pass"
    sdists.own(index, "tool", code=code)
    assert reaching.NAME in " ".join(_known(_build(environ)).reached)
    environ["XDG_CACHE_HOME"] += "-allowed"
    run = builder(probe(), environ, (reaching.NAME,))
    made = frozen("uvx tool", environ, run, scripts=("tool",))
    assert _known(made).reached == (), "the control"


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


# --- what it may forge ------------------------------------------------------------------------------


@pytest.mark.threat("K4", proves="a source's code can forge neither what was resolved nor another package")
def test_a_source_forges_neither_the_resolution_nor_another_package(
    index: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    code = FORGE.replace("TREE", "/opt/mcp")
    sdists.own(index, "tool", code=code, wheel="name, version, requires=['helper']", dynamic=True)
    made = _build(environ)
    assert _file(made, "helper.py") == "honest = 1\n"
    assert [(each.name, each.version) for each in _known(made).packages] == [
        ("helper", "1.0"),
        ("tool", "1.0"),
    ]
    # The control: beside uv, in the environment that is installed into, it does both.
    (index / "tool-1.0.tar.gz").unlink()
    sdists.own(index, "tool", code=FORGE.replace("TREE", str(tmp_path / "venv")))
    more = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(index)}
    venv = _unsandboxed(tmp_path, "helper", **more)
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
        _build(environ)
    assert refused.value.code == "wheel-refused"
    if "helper" not in more:
        return
    monkeypatch.setattr(sources, "refuse_overwriting", lambda tree, wheels: None)
    assert _file(_build(environ), "helper.py") == "forged = 1", "the control"


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
        assert _runs(_build(environ)) == "built\n"
        return
    with pytest.raises(SandboxNotBuilt, match=why) as refused:
        _build(environ)
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
            _build(environ)
        assert refused.value.code == "wheel-refused"


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
