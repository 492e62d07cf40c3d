"""The mounts and links of a plan, by tables: cases/*.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from sandbox.errors import SandboxError
from sandbox.plan.facts import Closure
from sandbox.plan.mounts import target_of
from sandbox.plan.plan import plan
from sandbox.plan.spec import Bind, Spec, Symlink
from tests.plan.world import facts, policy, survey

CASES = Path(__file__).parent / "cases"
OURS = {"/bin", "/sbin", "/lib", "/lib64", "/etc/mtab", "/var/tmp"}


def cases(name: str) -> list[Any]:
    table = tomllib.loads((CASES / f"{name}.toml").read_text())
    return [pytest.param(case, id=title) for title, case in table.items()]


def planned(case: dict[str, Any]) -> Spec:
    given = case.get("closure", {})
    closure = Closure(
        ("/usr/bin/server",),
        binds=tuple(map(tuple, given.get("binds", ()))),
        links=tuple(map(tuple, given.get("links", ()))),
        cwd=given.get("cwd", ""),
        skipped=tuple(given.get("skipped", ())),
    )
    seen = survey(case["tree"], closure=closure, cwd=case.get("cwd", "/home/u"))
    return plan(policy({"files": case["files"]}), facts(), seen)


def binds(spec: Spec) -> list[str]:
    own = [step for step in spec.view if isinstance(step, Bind) and step.why != "system"]
    short = ((("rw" if one.writable else "ro"), one) for one in own)
    return [
        f"{mode} {one.source}" + (f" at {one.target}" if one.target != one.source else "")
        for mode, one in short
    ]


@pytest.mark.parametrize("case", cases("mounts"))
def test_mounts(case: dict[str, Any]) -> None:
    spec = planned(case)
    links = [f"{step.target} -> {step.to}" for step in spec.view if isinstance(step, Symlink)]
    assert binds(spec) == case["binds"]
    if "links" in case:
        assert [
            link for link in links if link.split()[0] not in OURS and not link.startswith("/dev/")
        ] == case["links"]
    if "starts_in" in case:
        assert spec.cwd == case["starts_in"]
    assert sorted(spec.waivers) == sorted(case.get("waivers", ()))
    for note in case.get("notes", ()):
        assert any(said.startswith(note) for said in spec.notes), spec.notes
    assert not {target_of(step) for step in spec.view} & set(case.get("without", ()))


@pytest.mark.parametrize("case", cases("refusals"))
def test_refusals(case: dict[str, Any]) -> None:
    with pytest.raises(SandboxError) as caught:
        planned(case)
    if "code" in case:
        assert caught.value.code == case["code"]
    message = str(caught.value)
    for words in case["says"]:
        assert words in message
    assert caught.value.hint
    assert caught.value.exit_status in (2, 125)
