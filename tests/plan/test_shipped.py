"""Every shipped profile can be enforced on the poorest host we support: no cgroup, an ordinary user."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.host.survey import survey
from sandbox.plan.facts import Closure
from sandbox.plan.plan import plan
from sandbox.policy.load import load
from tests.plan.world import facts

PROFILES = Path(__file__).resolve().parents[2] / "profiles"


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES.glob("*.toml")))
@pytest.mark.parametrize("uid", [0, 1000], ids=["root", "user"])
def test_a_shipped_profile_can_be_enforced(name: str, uid: int, tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    environ = {"HOME": str(home)}
    policy = load(name, environ=environ, cwd=str(project))
    for rule in policy.files.write:
        Path(project, rule.source).mkdir(exist_ok=True)
    environ |= {secret.name: "a-token-that-is-nobody-s" for secret in policy.secrets}
    seen = survey(policy, Closure(("/usr/bin/env",)), environ=environ, cwd=str(project))
    spec = plan(policy, facts(uid), seen)
    assert (spec.network, spec.egress) == ("trap", policy.network)
    assert spec.waivers == ()
    assert spec.identity.uid != 0
