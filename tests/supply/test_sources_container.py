"""Source distributions in build containers: away from the index, as in the native sandbox."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sandbox.container_build import builder
from sandbox.errors import SandboxNotBuilt
from sandbox.host.probe import probe
from sandbox.supply import source
from sandbox.supply.job import BuildJob, BuildOutcome, Frozen
from sandbox.supply.resolved import resolution
from tests.supply import registry, sdists
from tests.supply.sourced import FORGE, LEFT, LEGACY, SPY
from tests.supply.test_build_container import environ, place, wheels  # noqa: F401 - fixtures
from tests.supply.toolchain import frozen

pytestmark = pytest.mark.slow  # as root alone: `test_sources` is for both callers


@pytest.fixture
def index(wheels: Path) -> Path:  # noqa: F811
    """The only index, with a helper and a `setuptools`."""
    registry.wheel(wheels, "helper", "1.0", {"helper.py": "honest = 1\n"}, {})
    sdists.setuptools(wheels)
    return wheels


def _build(environ: dict[str, str], jobs: list[BuildJob] | None = None) -> Frozen:  # noqa: F811
    where = place("uvx tool", environ)
    run = builder(probe(), where, environ)

    def kept(job: BuildJob) -> BuildOutcome:
        (jobs if jobs is not None else []).append(job)
        return run(job)

    return frozen("uvx tool", environ, kept, image=where.image, scripts=("tool",))


def _file(made: Frozen, name: str) -> str:
    (found,) = Path(made.tree).glob(f"lib/*/site-packages/{name}")
    return found.read_text()


def test_a_setup_py_is_built_in_a_container_of_its_own(index: Path, environ: dict[str, str]) -> None:  # noqa: F811
    sdists.legacy(index, "tool", LEGACY)
    jobs: list[BuildJob] = []
    made = _build(environ, jobs)
    assert made.resolved == ("tool==1.0",)
    found = resolution(made.tree)
    assert found is not None
    assert [each.name for each in found.packages] == ["helper", "tool"]
    code = [number for number, job in enumerate(jobs) if source._HOOK in job.steps[0]]
    assert code
    for number in code:
        assert jobs[number].hosts == ()
        assert all(job.staging != jobs[number].staging for job in jobs[number + 1 :])


@pytest.mark.threat("K4", proves="a source's code in a container reaches no index", backend="docker")
@pytest.mark.threat(
    "K5", proves="no login of an index reaches a source's code in a container", backend="docker"
)
def test_a_source_in_a_container_reaches_no_index_and_sees_no_login(
    index: Path,
    environ: dict[str, str],  # noqa: F811
) -> None:
    """The control is `test_sources`'s: the same source beside an uv that builds it."""
    environ["UV_INDEX_OTHER_PASSWORD"] = "p4ss"  # noqa: S105 - a decoy
    with registry.folder(index) as url:
        sdists.own(index, "tool", code=SPY.replace("INDEX", url), wheel=LEFT)
        jobs: list[BuildJob] = []
        made = _build(environ, jobs)
    saw = json.loads(_file(made, "saw.json"))
    assert "p4ss" in repr(jobs[0]), "the control: uv has it"
    assert "p4ss" not in json.dumps(saw)
    assert saw["index"] != 200
    found = resolution(made.tree)
    assert found is not None
    assert any(each.endswith(url.rpartition(":")[2].strip("/")) for each in found.reached)


@pytest.mark.threat("K4", proves="a source's code in a container forges nothing", backend="docker")
def test_a_source_in_a_container_forges_nothing(index: Path, environ: dict[str, str]) -> None:  # noqa: F811
    code = FORGE.replace("TREE", "/opt/mcp")
    sdists.own(index, "tool", code=code, wheel="name, version, requires=['helper']", dynamic=True)
    made = _build(environ)
    found = resolution(made.tree)
    assert found is not None
    assert _file(made, "helper.py") == "honest = 1\n"
    assert [(each.name, each.version) for each in found.packages] == [("helper", "1.0"), ("tool", "1.0")]


def test_a_wheel_of_another_package_is_refused_from_a_container(
    index: Path,
    environ: dict[str, str],  # noqa: F811
) -> None:
    sdists.own(index, "tool", wheel="'helper', '1.0'")
    with pytest.raises(SandboxNotBuilt) as refused:
        _build(environ)
    assert refused.value.code == "wheel-refused"
    assert os.listdir(Path(environ["XDG_CACHE_HOME"]) / "mcp-sandbox/store/trees") == []
