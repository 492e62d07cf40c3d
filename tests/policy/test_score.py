"""The exposure of a policy: what counts, the same every time, and a grant never lowers it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.policy import score
from sandbox.policy.model import (
    BreachPolicy,
    ClientFeatures,
    Env,
    Files,
    HostRule,
    Inspect,
    Isolation,
    Network,
    PathRule,
    Policy,
    Quota,
    Secret,
    Server,
    Supply,
    Tools,
)
from sandbox.policy.score import UNSANDBOXED, Start, assessors, exposure
from sandbox.records import replace

BASE = Policy("p")
NEWEST = Start("newest", "x@latest")
NOTHING = Policy(
    "nothing",
    tools=Tools(allow=(), pin="locked"),
    inspect=Inspect(protocol="strict"),
    client=ClientFeatures(elicitation="deny"),
    syscalls="strict",
    isolation=Isolation(runtime="gvisor"),
)
OPEN_HOSTS = tuple(HostRule(f"*.h{n}.example", 443, opaque=True, private=True) for n in range(3))
EVERYTHING = Policy(
    "everything",
    files=Files(read=(PathRule("/"),), write=(PathRule("/"),), expose=("/", "~"), persist="x"),
    network=Network(OPEN_HOSTS),
    env=Env(passed=("A", "B", "C", "D")),
    secrets=(Secret("S", "env"), Secret("T", "env")),
    quota=Quota(None, None, None, None, None),
    inspect=Inspect("off", "off", "off"),
    tools=Tools(pin="off"),
    client=ClientFeatures("all", "allow", "allow"),
    syscalls="compat",
    isolation=Isolation(),
    supply=Supply(scripts=("a", "b")),
    server=Server(image="x", unpinned=True),
    breach=BreachPolicy(pids="warn", disk="warn", syscall="warn", calls="warn"),
)


# --- the ends of the scale -------------------------------------------------------------------------


def test_nothing_is_zero() -> None:
    assert exposure(NOTHING).total == 0
    assert [row.id for row in exposure(NOTHING).rows if row.points] == []


def test_everything_is_as_no_sandbox_but_for_the_kernel_that_the_filter_still_guards() -> None:
    found = exposure(EVERYTHING, NEWEST)
    assert found.word == "exposed"
    assert found.total >= UNSANDBOXED - 0.2
    assert [row.id for row in found.rows if row.open < 1] == ["kernel"]


def test_what_is_called_a_program_counts_as_one_only_where_programs_are() -> None:
    def total(**granted: tuple[PathRule, ...]) -> float:
        (row,) = (row for row in exposure(files(**granted)(BASE)).rows if row.id == "files-read")
        return row.points

    assert (
        0 < total(programs=(PathRule("/opt/google/chrome"),)) < total(read=(PathRule("/opt/google/chrome"),))
    )
    for path in ("~/x", "/", "/opt/../home/u"):
        assert total(programs=(PathRule(path),)) == total(read=(PathRule(path),))


def test_the_weights_add_up_to_ten_and_ids_are_unique() -> None:
    assert sum(one.weight for one in assessors()) == pytest.approx(UNSANDBOXED)
    assert len({one.id for one in assessors()}) == len(assessors())


def test_what_every_profile_begins_with_is_next_to_nothing() -> None:
    assert exposure(BASE).total < 0.5
    assert exposure(BASE).word == "sealed"


@pytest.mark.parametrize(
    ("total", "word"),
    [(0.0, "sealed"), (1.0, "narrow"), (2.4, "narrow"), (2.5, "open"), (5.0, "wide"), (7.5, "exposed")],
)
def test_the_words(total: float, word: str) -> None:
    assert score.word(total) == word


# --- what counts -----------------------------------------------------------------------------------


def grant(id: str, make: Callable[[Policy], Policy]) -> object:
    return pytest.param(id, make, id=id)


def files(**more: object) -> Callable[[Policy], Policy]:
    return lambda policy: replace(policy, files=replace(policy.files, **more))


def hosts(*rules: HostRule) -> Callable[[Policy], Policy]:
    return lambda policy: replace(policy, network=replace(policy.network, allow=rules))


@pytest.mark.parametrize(
    ("id", "make"),
    [
        grant("files-read", files(read=(PathRule("."),))),
        grant("files-read", files(programs=(PathRule("/opt/browser"),))),
        grant("files-write", files(write=(PathRule("."),))),
        grant("files-read", files(programs=(PathRule("/opt/x"),))),
        grant("files-secret", files(expose=("~/.ssh",))),
        grant("files-kept", files(persist="memory")),
        grant("net-reach", hosts(HostRule("a.example", 443))),
        grant("net-inner", hosts(HostRule("localhost", 5432))),
        grant("net-inner", hosts(HostRule("10.0.0.1", 443))),
        grant("net-inner", hosts(HostRule("a.example", 443, private=True))),
        grant("net-unchecked", hosts(HostRule("a.example", 443, opaque=True))),
        grant("net-volume", hosts(HostRule("a.example", 443))),
        grant("secrets", lambda policy: replace(policy, secrets=(Secret("T", "env"),))),
        grant("variables", lambda policy: replace(policy, env=Env(passed=("USER",)))),
        grant("syscalls", lambda policy: replace(policy, syscalls="browser")),
        grant("resources", lambda policy: replace(policy, quota=replace(policy.quota, memory=4 << 30))),
        grant("resources", lambda policy: replace(policy, quota=replace(policy.quota, pids=None))),
        grant("breaches", lambda policy: replace(policy, breach=BreachPolicy(syscall="warn"))),
        grant("poison", lambda policy: replace(policy, inspect=Inspect(poison="warn"))),
        grant("poison", lambda policy: replace(policy, inspect=Inspect(waive=("poison.ansi",)))),
        grant("redaction", lambda policy: replace(policy, inspect=Inspect(secrets="off"))),
        grant("redaction", lambda policy: replace(policy, inspect=Inspect(waive=("secrets.x",)))),
        grant("protocol", lambda policy: replace(policy, inspect=Inspect(protocol="off"))),
        grant("pins", lambda policy: replace(policy, tools=Tools(pin="off"))),
        grant("client", lambda policy: replace(policy, client=ClientFeatures(sampling="allow"))),
        grant("scripts", lambda policy: replace(policy, supply=Supply(scripts=("esbuild",)))),
        grant("image", lambda policy: replace(policy, server=Server(image="x:1", unpinned=True))),
    ],
)
def test_a_grant_shows_in_its_own_row(id: str, make: Callable[[Policy], Policy]) -> None:
    before = {row.id: row.open for row in exposure(BASE).rows}
    after = {row.id: row.open for row in exposure(make(BASE)).rows}
    assert after[id] > before[id]


def test_what_starts_counts_by_who_decides_what_it_is() -> None:
    """A lock that is asked for, or is there, leaves that to nobody."""
    ways = ("unknown", "locked", "version", "range", "newest")
    rows = [exposure(BASE, Start(how, "x")).rows[-1] for how in ways]  # type: ignore[arg-type]
    assert {row.id for row in rows} == {"supply"}
    assert [row.open for row in rows] == [0, 0, 0.3, 0.6, 1]
    assert [row.detail for row in rows] == ["", "", "x", "x", "x"]
    required = replace(BASE, supply=Supply(lock="require"))
    assert exposure(required, NEWEST).rows[-1].points == 0


def test_what_is_read_counts_twice_where_it_can_leave() -> None:
    reading = files(read=(PathRule("."),))(BASE)
    reaching = hosts(HostRule("a.example", 443))(BASE)
    both = hosts(HostRule("a.example", 443))(reading)
    alone = exposure(reading).total + exposure(reaching).total - exposure(BASE).total
    assert exposure(both).total > alone


def test_a_home_is_more_than_a_project_and_a_wildcard_more_than_a_host() -> None:
    totals = [exposure(files(write=(PathRule(path),))(BASE)).total for path in ("./src", "/srv", "~")]
    assert totals == sorted(set(totals))
    wild, one = (exposure(hosts(HostRule(name, 443))(BASE)).total for name in ("*.a.example", "a.example"))
    assert wild > one


def test_an_injected_secret_is_less_than_a_given_one() -> None:
    given_, injected = (
        exposure(replace(BASE, secrets=(Secret("T", "env", inject),))).total
        for inject in ((), ("a.example",))
    )
    assert injected < given_


# --- granting more never lowers it -----------------------------------------------------------------

PATHS = st.sampled_from([".", "~", "/", "/srv", "/home/ann", "/home/ann/src/app", "$HOME", "./data", "~/x"])
RULES = st.builds(PathRule, PATHS)
HOSTS = st.builds(
    HostRule,
    st.sampled_from(["a.example", "*.a.example", "localhost", "10.0.0.1", "b.example"]),
    st.integers(1, 65535),
    opaque=st.booleans(),
    private=st.booleans(),
)
LIMITS = st.none() | st.integers(1, 1 << 40)
POLICIES = st.builds(
    Policy,
    st.just("p"),
    files=st.builds(
        Files,
        st.tuples() | st.tuples(RULES) | st.tuples(RULES, RULES),
        st.tuples() | st.tuples(RULES) | st.tuples(RULES, RULES),
        expose=st.tuples() | st.tuples(PATHS),
        persist=st.none() | st.just("x"),
    ),
    network=st.builds(
        Network, st.tuples() | st.tuples(HOSTS) | st.tuples(HOSTS, HOSTS), st.none() | st.just(1 << 20)
    ),
    env=st.builds(Env, st.tuples() | st.just(("A",)) | st.just(("LANG", "B"))),
    secrets=st.tuples() | st.tuples(st.builds(Secret, st.just("T"), st.just("env"), st.just(()))),
    quota=st.builds(Quota, LIMITS, st.none() | st.floats(0.1, 64), LIMITS, LIMITS, LIMITS),
    tools=st.builds(
        Tools,
        st.sampled_from([(), ("*",), ("read_*",)]),
        st.sampled_from([(), ("delete_*",)]),
        st.sampled_from([(), ("push_*",)]),
        st.sampled_from(["locked", "first-use", "off"]),
    ),
    inspect=st.builds(
        Inspect,
        st.sampled_from(["block", "strip", "warn", "off"]),
        st.sampled_from(["redact", "block", "log", "off"]),
        st.sampled_from(["strict", "on", "off"]),
    ),
    client=st.builds(
        ClientFeatures,
        st.sampled_from(["mounted", "all", "deny"]),
        st.sampled_from(["allow", "ask", "deny"]),
        st.sampled_from(["allow", "ask", "deny"]),
    ),
    syscalls=st.sampled_from(["strict", "net", "browser", "compat"]),
    isolation=st.builds(Isolation, st.sampled_from(["default", "gvisor"])),
    supply=st.builds(Supply, st.tuples() | st.just(("a",))),
)


def _twice(limit: float | None) -> float | None:
    return None if limit is None else limit * 2


GRANTS: dict[str, Callable[[Policy], Policy]] = {
    "read": lambda p: replace(p, files=replace(p.files, read=(*p.files.read, PathRule("~/more")))),
    "write": lambda p: replace(p, files=replace(p.files, write=(*p.files.write, PathRule("~/more")))),
    "programs": lambda p: replace(
        p, files=replace(p.files, programs=(*p.files.programs, PathRule("/opt/x")))
    ),
    "write what was read": lambda p: replace(
        p, files=replace(p.files, write=(*p.files.write, *p.files.read))
    ),
    "expose": lambda p: replace(p, files=replace(p.files, expose=(*p.files.expose, "~/.aws"))),
    "persist": lambda p: replace(p, files=replace(p.files, persist="kept")),
    "host": lambda p: replace(
        p, network=replace(p.network, allow=(*p.network.allow, HostRule("more.example", 443)))
    ),
    "opaque": lambda p: replace(
        p, network=replace(p.network, allow=tuple(replace(one, opaque=True) for one in p.network.allow))
    ),
    "private": lambda p: replace(
        p, network=replace(p.network, allow=tuple(replace(one, private=True) for one in p.network.allow))
    ),
    "no budget": lambda p: replace(p, network=replace(p.network, upload=None)),
    "variable": lambda p: replace(p, env=replace(p.env, passed=(*p.env.passed, "MORE"))),
    "secret": lambda p: replace(p, secrets=(*p.secrets, Secret("MORE", "keyring"))),
    "memory": lambda p: replace(p, quota=replace(p.quota, memory=_twice(p.quota.memory))),
    "no limits": lambda p: replace(p, quota=Quota(None, None, None, None, None)),
    "every tool": lambda p: replace(p, tools=replace(p.tools, allow=(*p.tools.allow, "*"), deny=(), ask=())),
    "no pins": lambda p: replace(p, tools=replace(p.tools, pin="off")),
    "no inspection": lambda p: replace(p, inspect=Inspect("off", "off", "off")),
    "a waived rule": lambda p: replace(
        p, inspect=replace(p.inspect, waive=(*p.inspect.waive, "poison.x", "secrets.x"))
    ),
    "the client's model": lambda p: replace(p, client=ClientFeatures("all", "allow", "allow")),
    "calls": lambda p: replace(p, syscalls="compat"),
    "the host's kernel": lambda p: replace(p, isolation=Isolation()),
    "scripts": lambda p: replace(p, supply=Supply((*p.supply.scripts, "more"))),
    "a warning instead of the end": lambda p: replace(p, breach=replace(p.breach, traffic="warn")),
    "a moving image": lambda p: replace(p, server=replace(p.server, image="x", unpinned=True)),
}


@given(POLICIES, st.lists(st.sampled_from(sorted(GRANTS)), max_size=6))
def test_granting_more_never_lowers_the_score(policy: Policy, steps: list[str]) -> None:
    for step in steps:
        more = GRANTS[step](policy)
        before, after = exposure(policy), exposure(more)
        assert after.total >= before.total, step
        assert all(a.open >= b.open for a, b in zip(after.rows, before.rows, strict=True)), step
        policy = more


@given(POLICIES)
def test_a_score_is_between_its_ends_and_the_same_every_time(policy: Policy) -> None:
    found = exposure(policy)
    assert 0 <= found.total <= UNSANDBOXED
    assert found == exposure(policy)
    assert all(0 <= row.points <= row.weight and 0 <= row.open <= 1 for row in found.rows)
    assert found.total == pytest.approx(sum(row.points for row in found.rows), abs=0.06)
