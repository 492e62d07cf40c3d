"""Real npm against a registry of our own with its own keys: what is signed, forged, young, known as bad."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox import judging
from sandbox.build import builder
from sandbox.errors import SandboxError
from sandbox.host.probe import probe
from sandbox.policy.model import Supply
from sandbox.records import replace
from sandbox.supply.findings import Judged
from sandbox.supply.freeze import freeze
from sandbox.supply.job import BuildJob, BuildOutcome, Order
from sandbox.supply.lock import Allowed, Lock, Package
from sandbox.supply.resolved import resolution
from tests.supply import registry
from tests.supply.test_advisories import record
from tests.supply.test_signatures import KEY, OWN, signed
from tests.supply.toolchain import asked

COMMAND = "npx -y tool@1.0.0"
POLICY = Supply(age=0, advisories="off")


@pytest.fixture
def npm(require: Callable[[str], None]) -> Iterator[registry.Npm]:
    """`tool`, which needs `helper`: both signed by the registry's key."""
    require("native")
    require("npm")
    with registry.npm() as served:
        served.publish("helper", "1.1.0", {"index.js": ""}, main="index.js")
        needs = {"helper": "^1.0.0"}
        served.publish("tool", "1.0.0", {"t.js": ""}, bin={"tool": "t.js"}, dependencies=needs)
        served.pages["/-/npm/v1/keys"] = json.dumps(
            {"keys": [{"keyid": KEY.keyid, "key": KEY.spki}]}
        ).encode()
        for name, version in (("helper", "1.1.0"), ("tool", "1.0.0")):
            sign(served, name, version)
            served.dates[name, version] = "2026-01-01T00:00:00.000Z"
        yield served


def sign(served: registry.Npm, name: str, version: str, of: str = "") -> None:
    """With the registry's key, over the version itself or over another."""
    message = f"{name}@{of or version}:{served.integrity(name, version)}"
    signatures = [{"keyid": KEY.keyid, "sig": signed(OWN, message)}]
    served.more_dist[name, version] = {"signatures": signatures}


@pytest.fixture
def environ(tmp_path: Path, npm: registry.Npm) -> dict[str, str]:
    node = os.path.dirname(os.path.realpath(shutil.which("node") or "/usr/bin/node"))
    python = os.path.dirname(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    return {
        "HOME": os.environ["HOME"],
        "PATH": f"{python}:{node}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "npm_config_registry": npm.url,
        "no_proxy": "127.0.0.1",
    }


class Build:
    """The build sandbox, and the jobs that it was given."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._run = builder(probe(), environ)
        self.jobs: list[BuildJob] = []

    def __call__(self, job: BuildJob) -> BuildOutcome:
        self.jobs.append(job)
        return self._run(job)


def judge(
    environ: dict[str, str], policy: Supply = POLICY, waive: tuple[str, ...] = ()
) -> tuple[Judged, Build]:
    run, request, said = Build(environ), asked(COMMAND), list[str]()
    made = freeze(request, environ=environ, cwd="/", run_build=run, progress=said.append, age=0)
    found = resolution(made.tree)
    assert found is not None
    order = Order(request, environ, "/", (), run, said.append)
    return judging.judged(order, found, policy, waive), run


def rules(found: Judged) -> list[tuple[str, str, str]]:
    return [(one.rule, one.package, one.strength) for one in found.findings]


def test_what_the_registry_signed_is_vouched_for_and_its_key_is_fetched_by_a_build(
    npm: registry.Npm, environ: dict[str, str]
) -> None:
    environ["npm_config_//" + npm.url.removeprefix("http://") + ":_authToken"] = "npm_secret"
    found, run = judge(environ, replace(POLICY, provenance="require"))
    assert (found.findings, found.unchecked) == ((), ())
    assert found.origin("tool", "1.0.0") == found.origin("helper", "1.1.0") == ("signed by 127.0.0.1",)
    assert len(run.jobs) == 2
    assert ("/-/npm/v1/keys", None) in npm.asked  # no login goes along


@pytest.mark.long
def test_a_forged_signature_is_refused_by_name(npm: registry.Npm, environ: dict[str, str]) -> None:
    sign(npm, "helper", "1.1.0", of="1.0.0")
    found, _ = judge(environ)
    assert rules(found) == [("signature", "helper", "refuse")]
    assert judge(environ, waive=("signature:helper",))[0].waived == ("signature helper",)


@pytest.mark.long
def test_keys_that_nobody_serves_are_said(npm: registry.Npm, environ: dict[str, str]) -> None:
    del npm.pages["/-/npm/v1/keys"]
    found, _ = judge(environ)
    assert found.findings == ()
    assert "a key that its registry does not serve" in found.unchecked[0]


@pytest.mark.long
def test_nothing_is_fetched_where_nothing_is_asked(npm: registry.Npm, environ: dict[str, str]) -> None:
    found, run = judge(environ, replace(POLICY, provenance="off"))
    assert (found, len(run.jobs)) == (Judged(), 1)


def test_attestations_are_fetched_from_the_registry_alone(npm: registry.Npm, environ: dict[str, str]) -> None:
    """Both packages name a place: only the registry's own is asked, and what it serves there is none."""
    for name, version, place in (("tool", "1.0.0", npm.url), ("helper", "1.1.0", "http://127.0.0.1:9/")):
        npm.more_dist[name, version]["attestations"] = {"url": f"{place}-/npm/v1/attestations/{name}"}
    bundle = {"predicateType": "https://slsa.dev/provenance/v1", "bundle": {"mediaType": "none"}}
    npm.pages["/-/npm/v1/attestations/tool"] = json.dumps({"attestations": [bundle]}).encode()
    found, run = judge(environ)
    assert rules(found) == [("attestation", "tool", "refuse")]
    assert [one for one in found.unchecked if "helper@1.1.0" in one and "could not be fetched" in one]
    fetched = json.loads(dict(run.jobs[1].files)["/opt/mcp-config/addresses.json"])
    assert fetched == [f"{npm.url}-/npm/v1/keys", f"{npm.url}-/npm/v1/attestations/tool"]


@pytest.mark.long
def test_a_young_dependency_is_refused(npm: registry.Npm, environ: dict[str, str]) -> None:
    npm.dates["helper", "1.1.0"] = datetime.fromtimestamp(time.time() - 3600, UTC).isoformat()
    found, _ = judge(environ, Supply(advisories="off", provenance="off"))
    assert rules(found) == [("age", "helper", "refuse")]
    assert "1.0 hours ago, and an age of 3d is asked for" in found.findings[0].what


@pytest.mark.long
@pytest.mark.parametrize("by", ["profile", "variable"])
def test_a_users_database_names_what_is_malicious(
    by: str, npm: registry.Npm, environ: dict[str, str], tmp_path: Path
) -> None:
    place = tmp_path / "osv.json"
    place.write_text(json.dumps([record("MAL-2026-7", "helper", summary="steals tokens")]))
    named: dict[str, Any] = {"advisories_at": str(place)} if by == "profile" else {}
    environ |= {} if named else {"MCP_SANDBOX_OSV": str(place)}
    found, _ = judge(environ, Supply(age=0, provenance="off", **named))
    assert rules(found) == [("malicious", "helper", "refuse")]
    assert str(found.refused[0]) == "helper@1.1.0: it is known as malicious: MAL-2026-7: steals tokens"


@pytest.mark.long
def test_a_database_that_is_named_and_gone_stops_the_lock(npm: registry.Npm, environ: dict[str, str]) -> None:
    environ["MCP_SANDBOX_OSV"] = "/nowhere/osv.zip"
    with pytest.raises(SandboxError, match="/nowhere/osv"):
        judge(environ, Supply(age=0))


def test_what_is_learned_after_a_lock_is_told_and_what_was_waived_is_not(tmp_path: Path) -> None:
    place = tmp_path / "osv.json"
    place.write_text(json.dumps([record("MAL-1", "a"), record("GHSA-2", "b"), record("GHSA-3", "c")]))
    packages = tuple(Package(name, "1.0.0", ()) for name in ("a", "b", "d"))
    waived = (Allowed("vulnerable b", "root"),)
    lock = Lock("x", "npm", ("a",), ("npx", "a"), "", "", packages=packages, waived=waived)
    environ = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    policy = Supply(advisories_at="~/osv.json")
    found = judging.learned(lock, policy, environ, "/")
    assert rules(found) == [("malicious", "a", "refuse")]
    assert found.waived == ("vulnerable b",)
    assert judging.learned(replace(lock, kind="program"), policy, environ, "/") == Judged()
    assert judging.learned(lock, replace(policy, advisories="off"), environ, "/").findings == ()
