"""A plan as a whole: who runs, with which environment, in which view, and what always holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.errors import CannotEnforce, ProfileError, SandboxError
from sandbox.plan.facts import Closure
from sandbox.plan.mounts import target_of
from sandbox.plan.plan import plan
from sandbox.plan.spec import Bind, Device, Directory, File, Proc, Spec, Symlink, Tmpfs
from sandbox.policy.paths import below
from sandbox.records import replace
from tests.plan.world import HOME, cgroups, facts, failing, policy, survey


def spec(table: dict[str, Any] | None = None, *, uid: int = 1000, **seen: Any) -> Spec:
    return plan(policy(table), facts(uid), survey({}, **seen))


def at(found: Spec, place: str) -> Any:
    return next((step for step in found.view if target_of(step) == place), None)


# --- the view ------------------------------------------------------------------------------------


def test_etc_is_never_the_hosts() -> None:
    found = spec()
    below_etc = [step for step in found.view if below(target_of(step), "/etc")]
    assert all(isinstance(step, File | Symlink | Bind) for step in below_etc)
    assert {step.source for step in below_etc if isinstance(step, Bind)} == {
        "/etc/ssl/certs",
        "/etc/alternatives",
    }
    assert at(found, "/etc/shadow") is None
    assert at(found, "/etc/machine-id") is None


def test_what_java_reads_at_its_start_is_there_and_what_watches_a_running_one_is_not() -> None:
    home = "/etc/java-17-openjdk"
    found = spec(system={"/usr": "", f"{home}/security": ""}, etc={f"{home}/net.properties": b"x"})
    assert at(found, f"{home}/security") == Bind(f"{home}/security", f"{home}/security", why="system")
    assert at(found, f"{home}/net.properties") == File(f"{home}/net.properties", b"x", copied=True)
    below_home = {target_of(step) for step in found.view if below(target_of(step), home)}
    assert below_home == {f"{home}/security", f"{home}/net.properties"}


def test_passwd_names_root_nobody_and_the_server_alone() -> None:
    passwd = at(spec(uid=1234), "/etc/passwd").content.decode()
    assert [line.split(":")[0] for line in passwd.splitlines()] == ["root", "mcp", "nobody"]
    assert "mcp:x:1234:1234::/home/mcp:/bin/sh" in passwd


def test_resolver_settings_of_the_host_stay_outside_unless_its_network_is_shared() -> None:
    asks = b"nameserver 127.0.0.53\noptions timeout:2 attempts:2 edns0\n"
    assert at(spec(), "/etc/resolv.conf").content == asks
    shared = plan(policy(), facts(), survey({}), network="host")
    assert at(shared, "/etc/resolv.conf").content == b"nameserver 9.9.9.9\n"
    assert sum(target_of(step) == "/etc/resolv.conf" for step in shared.view) == 1


def test_a_host_without_merged_usr_has_its_directories_bound() -> None:
    found = spec(system={"/usr": "", "/bin": "", "/lib": ""})
    assert at(found, "/bin") == Bind("/bin", "/bin", why="system")
    assert at(found, "/lib64") is None


def test_the_time_zone_stays_a_link_so_that_its_name_can_be_read() -> None:
    found = spec(
        system={"/usr": "", "/etc/localtime": "/usr/share/zoneinfo/Europe/Paris"},
        etc={"/etc/localtime": b"TZ"},
    )
    assert at(found, "/etc/localtime") == Symlink("/etc/localtime", "/usr/share/zoneinfo/Europe/Paris")
    assert at(spec(etc={"/etc/localtime": b"TZ"}), "/etc/localtime") == File(
        "/etc/localtime", b"TZ", copied=True
    )


def test_the_kernels_own_trees() -> None:
    found = spec()
    assert {step.name for step in found.view if isinstance(step, Device)} == {
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
    }
    assert at(found, "/sys") is None
    assert isinstance(at(found, "/run"), Directory)
    proc = next(step for step in found.view if isinstance(step, Proc))
    assert {"/proc/kcore", "/proc/keys", "/proc/kmsg"} <= set(proc.masked)
    assert {"/proc/sys", "/proc/sysrq-trigger"} <= set(proc.readonly)


# --- who -----------------------------------------------------------------------------------------


def test_an_unprivileged_caller_keeps_its_uid_and_needs_no_idmap() -> None:
    seen = survey({"/srv/p": "dir 0:0"})
    found = plan(policy({"files": {"write": ["/srv/p"]}}), facts(1000), seen)
    assert (found.identity.uid, found.identity.gid, found.identity.drop) == (1000, 1000, False)
    assert at(found, "/srv/p").idmap is False


def test_a_root_caller_drops_and_every_mount_of_its_own_is_idmapped() -> None:
    closure = Closure(("/x/bin/node",), binds=(("/x", "/x"),))
    tree = {"/srv/p": "dir 0:0", "/srv/q": "dir 33:33", "/x": "dir"}
    found = plan(
        policy({"files": {"write": ["/srv/p"], "read": ["/srv/q"], "persist": "k"}}),
        facts(0),
        survey(tree, closure=closure, uid=0),
    )
    assert found.identity.drop
    assert found.identity.uid != 0
    own = {step.target: step for step in found.view if isinstance(step, Bind) and step.why != "system"}
    assert {place: (one.idmap, one.owner) for place, one in own.items()} == {
        "/home/mcp": (True, (0, 0)),
        "/srv/p": (True, (0, 0)),
        "/srv/q": (True, (33, 33)),
        "/x": (True, (0, 0)),
    }
    assert not any(step.idmap for step in found.view if isinstance(step, Bind) and step.why == "system")


def test_a_root_caller_without_idmapped_mounts_may_read_but_not_write() -> None:
    host = facts(0, idmap=failing("EINVAL", "use another file system"))
    tree = {"/srv/p": "dir"}
    assert at(plan(policy({"files": {"read": ["/srv/p"]}}), host, survey(tree)), "/srv/p").idmap is False
    with pytest.raises(CannotEnforce, match="idmapped") as caught:
        plan(policy({"files": {"write": ["/srv/p"]}}), host, survey(tree))
    assert "use another file system" in str(caught.value)
    assert caught.value.exit_status == 125


# --- environment ---------------------------------------------------------------------------------


def test_the_environment_is_built_from_nothing() -> None:
    closure = Closure(("/usr/bin/x",), path=("/home/u/.nvm/bin",), env=(("VIRTUAL_ENV", "/v"),))
    found = dict(
        spec(
            {"env": {"pass": ["TZ", "ABSENT"], "set": {"LOG": "warn"}}},
            closure=closure,
            environ={"TZ": "UTC", "AWS_SECRET_ACCESS_KEY": "x", "HTTPS_PROXY": "http://p", "PATH": "/evil"},
        ).env
    )
    assert found == {
        "PATH": "/home/u/.nvm/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/home/mcp",
        "USER": "mcp",
        "LOGNAME": "mcp",
        "SHELL": "/bin/sh",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "VIRTUAL_ENV": "/v",
        "TZ": "UTC",
        "LOG": "warn",
    }


@pytest.mark.parametrize(
    "name",
    [
        "HTTPS_PROXY",
        "no_proxy",
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "NODE_OPTIONS",
        "PYTHONSTARTUP",
        "PYTHONUSERBASE",
        "OPENSSL_CONF",
        "SHELLOPTS",
        "BASH_FUNC_exec%%",
        "DOTNET_STARTUP_HOOKS",
    ],
)
def test_a_variable_that_decides_what_runs_is_not_taken_from_the_caller(name: str) -> None:
    with pytest.raises(ProfileError, match=name) as caught:
        spec({"env": {"pass": [name]}}, environ={name: "x"})
    assert "web.toml:30" in caught.value.rule


def test_a_profile_may_write_such_a_variable_down() -> None:
    assert ("NODE_OPTIONS", "--max-old-space-size=99") in spec(
        {"env": {"set": {"NODE_OPTIONS": "--max-old-space-size=99"}}}
    ).env


@pytest.mark.parametrize(("name", "value"), [("A=B", "x"), ("", "x"), ("A\0", "x"), ("A", "x\0y")])
def test_a_malformed_variable_is_refused(name: str, value: str) -> None:
    with pytest.raises(ProfileError):
        spec({"env": {"set": {name: value}}})


def test_a_secret_is_carried_by_name_and_its_value_is_nowhere() -> None:
    found = spec({"secrets": {"TOKEN": {}}}, environ={"TOKEN": "hunter2"})
    assert found.secrets == (("TOKEN", "env"),)
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize("environ", [{}, {"TOKEN": ""}], ids=["absent", "empty"])
def test_an_absent_secret_stops_the_start(environ: dict[str, str]) -> None:
    with pytest.raises(CannotEnforce, match="TOKEN") as caught:
        spec({"secrets": {"TOKEN": {}}}, environ=environ)
    assert "web.toml:20" in caught.value.rule


@pytest.mark.parametrize(
    ("environ", "carried"),
    [
        pytest.param({"TOKEN": "hunter2"}, (("TOKEN", "env"),), id="set"),
        pytest.param({"TOKEN": ""}, (), id="empty"),
        pytest.param({}, (), id="not set"),
    ],
)
def test_a_secret_that_need_not_be_there_stops_nothing(
    environ: dict[str, str], carried: tuple[tuple[str, str], ...]
) -> None:
    assert spec({"secrets": {"TOKEN": {"from": "env?"}}}, environ=environ).secrets == carried


# --- what always holds ---------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["a", "b", ".ssh", ".aws", ".config", ".cache", "mcp-sandbox", "u", "home", "etc", "run", ".git", "hooks"]
)
PLACES = st.one_of(
    st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts)),
    st.lists(NAMES, max_size=3).map(lambda parts: "/".join([HOME, *parts])),
    st.sampled_from(["/tmp", "/usr/share", "/proc/1", "/dev/shm", "/var/tmp/x", "/", "/opt", "/home"]),
)
TREES = st.dictionaries(
    PLACES, st.one_of(st.sampled_from(["dir", "file", "other"]), PLACES.map("-> {}".format)), max_size=8
)
RULES = st.lists(st.tuples(PLACES, st.none() | PLACES), max_size=3).map(
    lambda pairs: [source if target is None else f"{source}:{target}" for source, target in pairs]
)


@settings(max_examples=400, deadline=None)
@given(
    tree=TREES,
    read=RULES,
    write=RULES,
    uid=st.sampled_from([0, 1000]),
    closure=st.lists(PLACES, max_size=2),
    links=st.lists(st.tuples(PLACES, PLACES), max_size=2),
)
@pytest.mark.threat("D1", proves="no plan mounts a secret place without a waiver, by any alias")
def test_no_plan_mounts_a_secret_place_or_breaks_the_view(
    tree: dict[str, str],
    read: list[str],
    write: list[str],
    uid: int,
    closure: list[str],
    links: list[tuple[str, str]],
) -> None:
    # Every named path exists, so that most draws get as far as the rules that matter.
    named = [text.partition(":")[0] for text in (*read, *write)] + closure
    tree = {**dict.fromkeys(named, "dir"), **tree}
    needs = Closure(("/usr/bin/x",), binds=tuple((path, path) for path in closure), links=tuple(links))
    seen = survey(tree, uid=uid, closure=needs)
    wanted = policy({"files": {"read": read, "write": write}})
    try:
        found = plan(wanted, facts(uid), seen)
    except SandboxError:
        return
    assert found == plan(wanted, facts(uid), seen)
    _shows_no_secret(found, seen)
    _is_coherent(found)


def _shows_no_secret(found: Spec, seen: Any) -> None:
    store = f"{HOME}/.cache/mcp-sandbox"
    for step in found.view:
        if not isinstance(step, Bind) or step.why == "system" or step.source.startswith("/usr/"):
            continue
        if step.why == "command" and below(step.source, store):
            continue
        for place in (*seen.protected, HOME):
            inner = below(step.source, place) and place != HOME
            assert not inner, f"{step.source} lies in {place}"
            assert not below(place, step.source), f"{step.source} contains {place}"


def _is_coherent(found: Spec) -> None:
    places = [target_of(step) for step in found.view]
    assert len(places) == len(set(places))
    links = [step.target for step in found.view if isinstance(step, Symlink)]
    for index, place in enumerate(places):
        # A step below a later one would be hidden by it; a step below a link would land elsewhere.
        assert not any(below(place, later) for later in places[index + 1 :])
        assert not any(below(place, link) and place != link for link in links)


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "mechanism", "cpus"),
    [
        pytest.param(
            cgroups(0), "rlimit", None, id="no cgroup: rlimits, and the default share of cpu is given up"
        ),
        pytest.param(cgroups(2, "unified"), "cgroup-v2", 1.0, id="a delegated v2 cgroup holds everything"),
        pytest.param(cgroups(2, "scope"), "cgroup-v2", 1.0, id="so does a scope of the service manager's"),
        pytest.param(
            replace(cgroups(2, "scope"), lacks=("cpu",)),
            "cgroup-v2",
            None,
            id="v2 without cpu holds the rest",
        ),
        pytest.param(cgroups(1, "memory", "pids", "cpu"), "cgroup-v1", 1.0, id="v1 with all controllers"),
        pytest.param(cgroups(1, "memory", "pids"), "cgroup-v1", None, id="v1 without cpu"),
        pytest.param(cgroups(1, "memory", "cpu"), "rlimit", None, id="v1 without pids holds too little"),
    ],
)
def test_limits_name_their_mechanism(found: Any, mechanism: str, cpus: float | None) -> None:
    limits = plan(policy(), facts(cgroups=found), survey({})).limits
    assert (limits.mechanism, limits.cpus) == (mechanism, cpus)
    assert bool(limits.cgroups) == (mechanism != "rlimit")


def test_a_share_of_cpu_that_was_asked_for_is_never_given_up() -> None:
    with pytest.raises(CannotEnforce, match=r"quota\.cpus"):
        spec({"quota": {"cpus": 1.0}})


@pytest.mark.parametrize(
    ("table", "sizes"),
    [
        pytest.param({}, (64, 64, 64), id="defaults fit the default disk"),
        pytest.param({"quota": {"disk": 96 << 20}}, (32, 32, 32), id="a smaller disk shrinks the defaults"),
        pytest.param(
            {"quota": {"disk": 96 << 20}, "files": {"home": 80 << 20}}, (80, 8, 8), id="what is written stays"
        ),
        pytest.param({"quota": {"disk": None}}, (64, 64, 64), id="no disk quota, the defaults"),
        pytest.param(
            {"quota": {"disk": 96 << 20}, "files": {"persist": "k"}},
            (None, 48, 48),
            id="a kept home takes none",
        ),
    ],
)
def test_what_lives_in_memory_fits_the_disk_quota(
    table: dict[str, Any], sizes: tuple[int | None, ...]
) -> None:
    found = spec(table)
    tmpfs = {step.target: step.size >> 20 for step in found.view if isinstance(step, Tmpfs)}
    assert tuple(tmpfs.get(place) for place in ("/home/mcp", "/tmp", "/dev/shm")) == sizes


@given(disk=st.integers(3 << 20, 400 << 20), home=st.none() | st.integers(1 << 20, 128 << 20))
def test_no_disk_quota_is_ever_exceeded(disk: int, home: int | None) -> None:
    table: dict[str, Any] = {"quota": {"disk": disk}, "files": {} if home is None else {"home": home}}
    try:
        found = spec(table)
    except ProfileError:
        assert disk - (home or 0) < 3 << 20
        return
    steps = [step for step in found.view if isinstance(step, Tmpfs)]
    assert sum(step.size for step in steps) <= disk
    assert min(step.size for step in steps) >= 1 << 20


def test_more_than_the_disk_is_refused_with_both_lines() -> None:
    with pytest.raises(ProfileError) as caught:
        spec({"quota": {"disk": 64 << 20}, "files": {"home": 64 << 20}})
    assert "`files.home` (web.toml:30) 64 MiB" in str(caught.value)
    assert "quota.disk" in caught.value.rule
