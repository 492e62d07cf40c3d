"""What is found about a package before it is locked, what only warns, and what a name waives."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.policy.model import Supply
from sandbox.records import replace
from sandbox.supply import public, vouched
from sandbox.supply.advisories import Advisories
from sandbox.supply.findings import Finding
from sandbox.supply.judged import Judged, Known, judge
from sandbox.supply.lock import Package
from sandbox.supply.osv import Advisory
from sandbox.supply.provenance import Evidence
from sandbox.supply.resolved import Resolution, Said, Signature
from tests.supply.test_signatures import CURRENT, KEY, NEW, OWN, signed

NOW = datetime(2026, 11, 26, tzinfo=UTC).timestamp()
OLD = "2026-01-01T00:00:00.000Z"
PKG = Package(
    "pkg", "1.0.0", ("sha512-x",), "https://registry.example/npm/pkg/-/pkg-1.0.0.tgz", published=OLD
)
KEYS_AT = "https://registry.example/npm/-/npm/v1/keys"
NOTHING = Supply(age=0, provenance="off", advisories="off", lookalikes="off")


@dataclass(frozen=True)
class Database:
    """In the place of one on disk."""

    answers: Mapping[str, tuple[Advisory, ...]] = field(default_factory=dict)
    path: str = "/db"
    broken: int = 0
    newest: str = "2026-11-20T00:00:00Z"
    packages: Mapping[str, int] = field(default_factory=lambda: {"npm": 5, "PyPI": 5})

    def about(self, ecosystem: str, packages: list[tuple[str, str]]) -> dict[tuple[str, str], Any]:
        return {(name, version): self.answers.get(name, ()) for name, version in packages}


def known(database: Database | None = None, **more: Any) -> Known:
    held: Any = database
    assert held is None or isinstance(held, Database | Advisories)
    return Known(**{"now": NOW, "advisories": held, **more})


def judged(
    *packages: Package,
    policy: Supply = NOTHING,
    said: tuple[Said, ...] = (),
    waive: tuple[str, ...] = (),
    **more: Any,
) -> Judged:
    facts = more.pop("known", known())
    return judge(Resolution(packages, said, **more), "npm", policy, facts, waive)


def rules(found: Judged) -> list[tuple[str, str, str]]:
    return [(one.rule, one.package, one.strength) for one in found.findings]


# --- age -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("published", "asked", "refused"),
    [
        pytest.param("2026-11-25T12:00:00.000Z", 3 * 86400.0, True, id="hours old"),
        pytest.param("2026-11-23T00:00:01Z", 3 * 86400.0, True, id="a second too young"),
        pytest.param("2026-11-23T00:00:00Z", 3 * 86400.0, False, id="just old enough"),
        pytest.param("2026-11-25T23:00:00-05:00", 86400.0, True, id="a time zone that leads ahead"),
        pytest.param("2026-11-26T10:00:00Z", 3600.0, True, id="in the future"),
        pytest.param("2026-11-25T12:00:00Z", 0.0, False, id="nobody asks"),
    ],
)
def test_a_young_version_is_refused(published: str, asked: float, *, refused: bool) -> None:
    found = judged(replace(PKG, published=published), policy=replace(NOTHING, age=asked))
    assert rules(found) == ([("age", "pkg", "refuse")] if refused else [])
    assert found.unchecked == ()


@pytest.mark.parametrize("published", ["", "yesterday", "2026-13-01T00:00:00Z", "9" * 50])
def test_an_age_that_nobody_says_is_said(published: str) -> None:
    found = judged(replace(PKG, published=published), policy=replace(NOTHING, age=86400.0))
    assert found.findings == ()
    assert found.unchecked == ("age of pkg@1.0.0: the registry does not say when it was published",)


def test_many_of_one_kind_are_one_sentence() -> None:
    many = [replace(PKG, name=f"p{n}", published="") for n in range(40)]
    found = judged(*many, policy=replace(NOTHING, age=86400.0))
    assert len(found.unchecked) == 1
    assert found.unchecked[0].startswith("age of p0@1.0.0, p1@1.0.0, ")
    assert "and 35 more: " in found.unchecked[0]


# --- waivers ---------------------------------------------------------------------------------------


def test_a_waiver_is_by_rule_and_name_alone() -> None:
    young = [replace(PKG, name=name, published="2026-11-26T00:00:00Z") for name in ("a", "b", "c")]
    policy = replace(NOTHING, age=86400.0, age_waive=("b", "never-asked"))
    found = judged(*young, policy=policy, waive=("age:a", "yanked:c", "age:z"))
    assert rules(found) == [("age", "c", "refuse")]
    assert found.waived == ("age a", "age b")
    assert found.idle == ("yanked:c", "age:z")


def test_a_waiver_of_pypi_goes_by_the_normal_name() -> None:
    young = replace(PKG, name="my-pkg", published="2026-11-26T00:00:00Z")
    policy = replace(NOTHING, age=86400.0)
    found = judge(Resolution((young,)), "pypi", policy, known(), ("age:My_Pkg",))
    assert (found.findings, found.waived, found.idle) == ((), ("age my-pkg",), ())


def test_a_finding_says_how_it_is_waived() -> None:
    one = Finding("age", "@s/pkg", "1.0.0", "it is young", "refuse")
    assert (str(one), one.waiver) == ("@s/pkg@1.0.0: it is young", "age:@s/pkg")


# --- yanked, deprecated, reached -------------------------------------------------------------------


def test_what_was_yanked_is_refused_and_what_is_deprecated_is_told() -> None:
    said = (
        Said("a", "1.0.0", deprecated="use\x1b[31m b\nand more"),
        Said("b", "1.0.0", yanked="yes"),
        Said("c", "2.0.0", yanked="of another version"),
    )
    found = judged(*(replace(PKG, name=name) for name in "abc"), said=said)
    assert rules(found) == [("deprecated", "a", "warn"), ("yanked", "b", "refuse")]
    assert found.findings[0].what == "it is deprecated: use�[31m b"
    assert found.refused == found.findings[1:]


def test_what_a_build_was_denied_is_refused_and_waived_by_its_place() -> None:
    assert rules(judged(PKG, reached=("evil.example:443",))) == [("reach", "evil.example:443", "refuse")]
    assert judged(PKG, reached=("evil.example:443",), waive=("reach:evil.example:443",)).findings == ()


# --- advisories ------------------------------------------------------------------------------------

BAD = Advisory("MAL-1", (), "steals", True, "")
WEAK = Advisory("GHSA-1", ("CVE-1", "X", "Y"), "leaks", False, "high", "1.0.1")


@pytest.mark.parametrize(
    ("mode", "strengths"),
    [("require", ["refuse", "refuse"]), ("warn", ["refuse", "warn"]), ("off", [])],
)
def test_malware_is_refused_and_weakness_as_the_policy_says(mode: Any, strengths: list[str]) -> None:
    facts = known(Database({"pkg": (BAD, WEAK)}))
    found = judged(PKG, policy=replace(NOTHING, advisories=mode), known=facts)
    assert [one.strength for one in found.findings] == strengths
    if strengths:
        assert [one.what for one in found.findings] == [
            "it is known as malicious: MAL-1: steals",
            "it is known as vulnerable: GHSA-1, CVE-1, X, high: leaks (mended in 1.0.1)",
        ]


@pytest.mark.parametrize("ecosystem", ["pypi", "npm"])
def test_what_built_a_source_is_looked_up_too(ecosystem: Any) -> None:
    facts = known(Database({"setuptoolz": (BAD,)}))
    source = replace(PKG, rest=(("built-with", {"setuptoolz==1.0": ["sha256:x"]}),), scripts=True)
    policy = replace(NOTHING, advisories="warn")
    found = judge(Resolution((source,)), ecosystem, policy, facts)
    assert rules(found) == ([("malicious", "setuptoolz", "refuse")] if ecosystem == "pypi" else [])
    assert rules(judge(Resolution((PKG,)), ecosystem, policy, facts)) == [], "the control"
    waived = judge(Resolution((source,)), "pypi", policy, facts, ("malicious:setuptoolz",))
    assert rules(waived) == []


@pytest.mark.parametrize(
    ("database", "words"),
    [
        pytest.param(None, "no database is named", id="none"),
        pytest.param(Database(packages={"npm": 0}), "names no package of npm", id="of another ecosystem"),
        pytest.param(Database(broken=3), "3 records of `/db` cannot be read", id="broken records"),
        pytest.param(
            Database(newest="2026-10-01T00:00:00Z"), "the newest of `/db` is of 2026-10-01", id="stale"
        ),
        pytest.param(Database(newest=""), "does not say how old", id="of no age"),
    ],
)
def test_what_a_database_cannot_say_is_said(database: Database | None, words: str) -> None:
    found = judged(PKG, policy=replace(NOTHING, advisories="require"), known=known(database))
    assert found.findings == ()
    assert len(found.unchecked) == 1
    assert words in found.unchecked[0]


# --- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "strength"), [("require", "refuse"), ("warn", "warn"), ("off", None)])
def test_a_name_that_passes_for_a_servers_is_found(mode: Any, strength: str | None) -> None:
    posing = replace(PKG, name="@modelcontextprotocol/server-filesystern")
    servers = ("npm:@modelcontextprotocol/server-filesystem",)
    facts = known(servers=servers, asked=(posing.name,))
    found = judged(posing, policy=replace(NOTHING, lookalikes=mode), known=facts)
    assert rules(found) == ([("lookalike", posing.name, strength)] if strength else [])


def test_a_dependency_is_nobodys_slip_of_the_keys() -> None:
    posing = replace(PKG, name="server-filesystern")
    facts = known(servers=("npm:server-filesystem",), asked=("pkg",))
    assert judged(PKG, posing, policy=replace(NOTHING, lookalikes="require"), known=facts).findings == ()


# --- provenance ------------------------------------------------------------------------------------

VOUCHED = replace(NOTHING, provenance="require")
WARNED = replace(NOTHING, provenance="warn")
SIGNED = Said("pkg", "1.0.0", signatures=(Signature(KEY.keyid, signed(OWN, "pkg@1.0.0:sha512-x")),))
FORGED = Said("pkg", "1.0.0", signatures=(Signature(KEY.keyid, signed(OWN, "pkg@6.6.6:sha512-x")),))
KEYS = Evidence({KEYS_AT: json.dumps({"keys": [{"keyid": KEY.keyid, "key": KEY.spki}]}).encode()})


@pytest.mark.parametrize("policy", [VOUCHED, WARNED])
def test_a_valid_signature_vouches(policy: Supply) -> None:
    found = judged(PKG, policy=policy, said=(SIGNED,), known=known(evidence=KEYS))
    assert (found.findings, found.unchecked) == ((), ())
    assert found.origin("pkg", "1.0.0") == ("signed by registry.example",)


def test_what_the_public_registry_signed_needs_no_answer_of_a_mirror() -> None:
    name, version, integrity, sig = CURRENT
    package = Package(name, version, (integrity,), "https://mirror.example/a.tgz")
    said = Said(name, version, signatures=(Signature(NEW.keyid, sig),))
    found = judged(package, policy=VOUCHED, said=(said,))
    assert found.origin(name, version) == (f"signed by {public.NPM}",)


@pytest.mark.parametrize("policy", [VOUCHED, WARNED])
def test_a_forged_signature_is_refused_by_require_and_by_warn(policy: Supply) -> None:
    found = judged(PKG, policy=policy, said=(FORGED,), known=known(evidence=KEYS))
    assert rules(found) == [("signature", "pkg", "refuse")]
    assert found.provenance == ()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        pytest.param((), "serves no signature and no attestation", id="neither"),
        pytest.param((SIGNED,), "a key that its registry does not serve", id="an unknown key"),
        pytest.param(
            (Said("pkg", "1.0.0", attestations="https://registry.example/a"),),
            "could not be fetched",
            id="attestations that nobody serves",
        ),
    ],
)
def test_what_nothing_vouches_for_is_refused_by_require_and_told_by_warn(
    said: tuple[Said, ...], words: str
) -> None:
    strict = judged(PKG, policy=VOUCHED, said=said)
    assert rules(strict) == [("provenance", "pkg", "refuse")]
    assert words in strict.findings[0].what
    soft = judged(PKG, policy=WARNED, said=said)
    assert soft.findings == ()
    assert [words in one for one in soft.unchecked] == [True]
    assert judged(PKG, policy=NOTHING, said=said) == Judged()


def test_an_attestation_that_is_none_is_refused() -> None:
    said = Said("pkg", "1.0.0", attestations="https://registry.example/a")
    evidence = Evidence(
        {
            "https://registry.example/a": b'{"attestations": [{"predicateType": '
            b'"https://slsa.dev/provenance/v1", "bundle": {}}]}'
        }
    )
    found = judged(PKG, policy=WARNED, said=(said,), known=known(evidence=evidence))
    assert rules(found) == [("attestation", "pkg", "refuse")]


def test_without_the_library_nothing_is_vouched_for_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(vouched, "find_spec", lambda name: None if name == "cryptography" else real(name))
    soft = judged(PKG, policy=WARNED, said=(SIGNED,), known=known(evidence=KEYS))
    assert soft.provenance == ()
    assert "mcp-sandbox[provenance]" in soft.unchecked[0]
    assert rules(judged(PKG, policy=VOUCHED, said=(SIGNED,))) == [("provenance", "pkg", "refuse")]
