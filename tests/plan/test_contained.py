"""What a plan has otherwise at a container engine: who, how bounded, which command, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.errors import CannotEnforce
from sandbox.plan.container import body
from sandbox.plan.describe import rows
from sandbox.plan.egress import waiver_key
from sandbox.plan.facts import Closure, Container
from sandbox.plan.mounts import target_of
from sandbox.plan.plan import plan
from sandbox.plan.spec import Bind, Device, Endpoint, File, Spec, Symlink, Tmpfs
from sandbox.policy.paths import below
from tests.plan.world import HOME, container, engine, facts, failing, image, place, policy, survey

OWN = "registry.example/x@sha256:" + "a" * 64


def spec(
    table: dict[str, Any] | None = None, *, at: Container | None = None, uid: int = 1000, **seen: Any
) -> Spec:
    tree = seen.pop("tree", {})
    return plan(policy(table), facts(uid), survey(tree, uid=uid, **seen), container=at or container())


def refused(table: dict[str, Any], at: Container, **seen: Any) -> CannotEnforce:
    with pytest.raises(CannotEnforce) as caught:
        spec(table, at=at, **seen)
    assert caught.value.exit_status == 125
    assert caught.value.hint
    return caught.value


def step_at(found: Spec, target: str) -> Any:
    return next((step for step in found.view if target_of(step) == target), None)


def test_a_container_has_the_programs_of_its_image() -> None:
    table = {"files": {"programs": ["/opt/chrome"], "read": ["/srv/p"]}}
    tree = {"/opt/chrome": "dir", "/srv/p": "dir"}
    found = spec(table, tree=tree)
    assert step_at(found, "/opt/chrome") is None
    assert step_at(found, "/srv/p")


# --- who -----------------------------------------------------------------------------------------

WRITES = {"files": {"write": ["/srv/p"]}}
KEEPS = {"files": {"persist": "k"}}
THEIRS = image(own=True, user="33:44")
WHO = [
    pytest.param(0, 7000, engine(), image(), {}, (7000, 7000, True), id="a root caller: one of its own"),
    pytest.param(1000, 1000, engine(), image(), {}, (1000, 1000, False), id="a user is the caller"),
    pytest.param(
        1000, 1000, engine(), image(user="5:5"), {}, (1000, 1000, False), id="our image names nobody"
    ),
    pytest.param(
        1000, 1000, engine(rootless=True), image(), {}, (0, 0, False), id="rootless: its root is the caller"
    ),
    pytest.param(1000, 1000, engine(rootless=True), THEIRS, {}, (0, 0, False), id="rootless, whatever image"),
    pytest.param(1000, 1000, engine(), THEIRS, {}, (33, 44, False), id="an own image's user"),
    pytest.param(1000, 1000, engine(), image(own=True, user="33"), {}, (33, 33, False), id="without a group"),
    pytest.param(
        1000, 1000, engine(), image(own=True, user="33:x"), {}, (33, 33, False), id="a group by name"
    ),
    pytest.param(
        1000, 1000, engine(), image(own=True, user="node"), {}, (1000, 1000, False), id="a user by name"
    ),
    pytest.param(
        1000, 1000, engine(), image(own=True, user="²"), {}, (1000, 1000, False), id="no ASCII digit"
    ),
    pytest.param(1000, 1000, engine(), image(own=True, user="0:0"), {}, (1000, 1000, False), id="never root"),
    pytest.param(
        1000, 1000, engine(), image(own=True), {}, (1000, 1000, False), id="an image that says nothing"
    ),
    pytest.param(
        1000, 1000, engine(), THEIRS, WRITES, (1000, 1000, False), id="what is written stays the caller's"
    ),
    pytest.param(
        1000, 1000, engine(), THEIRS, KEEPS, (1000, 1000, False), id="and so does a home that is kept"
    ),
    pytest.param(0, 7000, engine(), THEIRS, WRITES, (7000, 7000, True), id="under a root caller too"),
]


@pytest.mark.parametrize(("caller", "own", "at", "root", "table", "who"), WHO)
def test_who_the_server_is(
    caller: int, own: int, at: Any, root: Any, table: dict[str, Any], who: tuple[int, int, bool]
) -> None:
    found = spec(table, at=Container(at, root, own, own), uid=caller, tree={"/srv/p": "dir"}).identity
    assert (found.uid, found.gid, found.drop) == who
    assert found.home == "/home/mcp"


def test_a_root_callers_own_trees_are_mapped_and_no_file_of_ours_is() -> None:
    tree = {"/srv/p": "dir 0:0", "/srv/q": "dir 33:44"}
    table = {"files": {"write": ["/srv/p"], "read": ["/srv/q"]}}
    found = spec(table, at=container(uid=7000, gid=7000), uid=0, tree=tree)
    mapped = {step.target: (step.idmap, step.owner) for step in found.view if isinstance(step, Bind)}
    assert mapped == {"/srv/p": (True, (0, 0)), "/srv/q": (True, (33, 44))}


def test_a_user_needs_no_mapping() -> None:
    found = spec(WRITES, tree={"/srv/p": "dir"})
    assert [step.idmap for step in found.view if isinstance(step, Bind)] == [False]


@pytest.mark.parametrize("where", ["vm", "remote"])
def test_a_root_caller_writes_nothing_at_an_engine_that_maps_none(where: Any) -> None:
    at = container(engine(place=where), uid=7000, gid=7000)
    error = refused(WRITES, at, uid=0, tree={"/srv/p": "dir"})
    assert "`/srv/p`" in error.what
    assert "web.toml:5" in error.rule


# --- limits --------------------------------------------------------------------------------------


def test_every_quota_is_the_engines() -> None:
    table = {
        "quota": {"memory": 64 << 20, "cpus": 0.5, "pids": 9, "open_files": 33, "wall": 5.0, "idle": 2.0}
    }
    found = spec(table).limits
    assert (found.memory, found.cpus, found.pids, found.open_files) == (64 << 20, 0.5, 9, 33)
    assert (found.wall, found.idle, found.mechanism, found.cgroups) == (5.0, 2.0, "engine", ())


@pytest.mark.parametrize("name", ["memory", "pids"])
@pytest.mark.parametrize("written", [True, False], ids=["written", "by default"])
def test_what_the_engine_cannot_hold_stops_the_start(name: str, written: bool) -> None:
    holds = tuple(one for one in engine().limits if one != name)
    error = refused({"quota": {name: 64 << 20}} if written else {}, container(engine(limits=holds)))
    assert f"cannot limit {name}" in error.what
    assert error.rule == f"{'web.toml:30' if written else 'default'} quota.{name}"


@pytest.mark.parametrize("name", ["memory", "pids"])
def test_what_a_profile_does_not_limit_needs_no_engine_that_can(name: str) -> None:
    holds = tuple(one for one in engine().limits if one != name)
    found = spec({"quota": {name: None}}, at=container(engine(limits=holds)))
    assert getattr(found.limits, name) is None


def test_a_share_of_cpu_is_given_up_only_where_nobody_wrote_it() -> None:
    without = container(engine(limits=("memory", "swap", "pids")))
    assert spec(at=without).limits.cpus is None
    assert "cannot limit cpus" in refused({"quota": {"cpus": 1.0}}, without).what


def test_a_share_of_cpu_that_was_given_up_is_told() -> None:
    given, at = policy(), container(engine(limits=("memory", "swap", "pids")))
    (row,) = (
        one
        for one in rows(plan(given, facts(), survey({}), container=at), facts(), given)
        if one.what.startswith("cpus")
    )
    assert not row.enforced


# --- the runtime ---------------------------------------------------------------------------------

GVISOR = {"isolation": {"runtime": "gvisor"}}


def test_gvisor_is_the_engines_own_name_for_it() -> None:
    assert spec(GVISOR, at=container(engine(gvisor="runsc-kvm"))).runtime == "runsc-kvm"


def test_gvisor_that_is_there_is_not_used_unasked() -> None:
    assert spec(at=container(engine(gvisor="runsc"))).runtime == ""


def test_gvisor_that_is_not_there_is_refused() -> None:
    # A runtime of that name that was not seen to work is none.
    error = refused(GVISOR, container(engine(runtimes=("runc", "runsc"))))
    assert "gVisor" in error.what
    assert error.rule == "web.toml:30 isolation.runtime"


def test_an_engine_that_filters_no_calls_is_refused() -> None:
    error = refused({}, container(engine(seccomp=False)))
    assert "filters no system calls" in error.what
    assert error.rule == "never weaker than asked"


# --- engines elsewhere ---------------------------------------------------------------------------

REMOTE = engine(place="remote", endpoint="tcp://far:2376")
VM = engine(place="vm", endpoint="unix:///desktop.sock")


@pytest.mark.parametrize(
    "table", [{"files": {"read": ["/srv/p"]}}, WRITES, KEEPS], ids=["read", "write", "persist"]
)
def test_no_file_of_this_machine_is_at_an_engine_on_another(table: dict[str, Any]) -> None:
    error = refused(table, container(REMOTE), tree={"/srv/p": "dir"})
    assert "tcp://far:2376 is on another" in error.what
    assert error.rule.startswith("web.toml:")


def test_nor_is_the_commands() -> None:
    error = refused(
        {}, container(REMOTE), tree={"/x": "dir"}, closure=Closure(("/x/server",), binds=(("/x", "/x"),))
    )
    assert "`/x` is on this machine" in error.what


def test_a_virtual_machine_on_this_one_shares_its_files() -> None:
    assert step_at(spec(WRITES, at=container(VM), tree={"/srv/p": "dir"}), "/srv/p").writable


def test_an_engine_elsewhere_is_given_no_file_of_ours() -> None:
    found = spec(at=container(REMOTE))
    assert not [step for step in found.view if isinstance(step, File | Bind)]
    assert body(found, place(), "{}")["HostConfig"]["Mounts"] == []


def test_decoys_are_refused_at_an_engine_elsewhere_alone() -> None:
    table = {"isolation": {"decoys": True}}
    error = refused(table, container(REMOTE))
    assert error.what.startswith("decoys are files of this machine")
    assert error.rule == "web.toml:30 isolation.decoys"
    assert spec(table, at=container(VM)).backend == "docker"


@pytest.mark.parametrize("at", [REMOTE, VM], ids=["remote", "vm"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_this_machines_loopback_is_not_the_engines(host: str, at: Any) -> None:
    table = {"network": {"allow": ["api.example", f"{host}:5432"]}}
    error = refused(table, container(at))
    assert f"`{host.strip('[]')}:5432` is this machine's" in error.what
    assert error.rule == "web.toml:10 network.allow"
    assert spec(table).egress.allow  # where the engine is here


@pytest.mark.parametrize("at", [REMOTE, VM], ids=["remote", "vm"])
def test_a_name_that_only_looks_like_loopback_is_not_refused(at: Any) -> None:
    assert spec({"network": {"allow": ["127.0.0.example"]}}, at=container(at)).egress.allow


# --- the image -----------------------------------------------------------------------------------


def test_our_image_runs_the_command_as_it_is() -> None:
    found = spec(closure=Closure(("node", "x.js")), at=container(image=image("node")))
    assert (found.argv, found.image, found.backend) == (("node", "x.js"), image("node"), "docker")


COMMANDS = [
    pytest.param(
        ("/tini", "--"), ("serve",), ("mine",), ("/tini", "--", "mine"), id="the entrypoint comes first"
    ),
    pytest.param(
        ("/tini", "--"), ("serve",), (), ("/tini", "--", "serve"), id="its command where there is no other"
    ),
    pytest.param((), ("serve", "-v"), (), ("serve", "-v"), id="its command alone"),
    pytest.param((), ("serve",), ("mine", "-x"), ("mine", "-x"), id="no entrypoint"),
]


@pytest.mark.parametrize(("entrypoint", "command", "asked", "argv"), COMMANDS)
def test_an_own_images_command_line(
    entrypoint: tuple[str, ...], command: tuple[str, ...], asked: tuple[str, ...], argv: tuple[str, ...]
) -> None:
    root = image(own=True, entrypoint=entrypoint, command=command)
    assert spec(closure=Closure(asked), at=container(image=root)).argv == argv


DIRECTORIES = [
    pytest.param(image(own=True, cwd="/app"), HOME, "/app", id="its own where the caller's is not inside"),
    pytest.param(image(own=True, cwd="/app"), "/srv/p", "/srv/p", id="the caller's where it is"),
    pytest.param(image(own=True), HOME, "/home/mcp", id="the home where it has none"),
    pytest.param(image(cwd="/app"), HOME, "/home/mcp", id="never one of our images'"),
]


@pytest.mark.parametrize(("root", "cwd", "inside"), DIRECTORIES)
def test_where_the_server_starts(root: Any, cwd: str, inside: str) -> None:
    found = spec({"files": {"read": ["/srv/p"]}}, at=container(image=root), cwd=cwd, tree={"/srv/p": "dir"})
    assert found.cwd == inside


OURS = "/usr/local/bin:/usr/bin:/bin"
THEIR_PATH = (("PATH", "/venv/bin:/bin"), ("LD_PRELOAD", "/x.so"))
PATHS = [
    pytest.param(image(own=True, env=THEIR_PATH), {}, (), "/venv/bin:/bin", id="its own"),
    pytest.param(
        image(own=True, env=THEIR_PATH), {}, ("/opt/n",), "/opt/n:/venv/bin:/bin", id="behind the command's"
    ),
    pytest.param(image(own=True, env=(("PATH", ""),)), {}, (), OURS, id="an empty one is none"),
    pytest.param(image(own=True), {}, (), OURS, id="ours where it says nothing"),
    pytest.param(image(env=THEIR_PATH), {}, (), OURS, id="never one of our images'"),
    pytest.param(
        image(own=True, env=THEIR_PATH), {"env": {"set": {"PATH": "/s"}}}, (), "/s", id="the profile's"
    ),
    pytest.param(
        image(own=True, env=THEIR_PATH), {"env": {"pass": ["PATH"]}}, (), "/caller", id="the caller's"
    ),
]


@pytest.mark.parametrize(("root", "table", "needs", "path"), PATHS)
def test_which_path_the_server_searches(
    root: Any, table: dict[str, Any], needs: tuple[str, ...], path: str
) -> None:
    closure = Closure(("serve",), path=needs)
    found = spec(table, at=container(image=root), closure=closure, environ={"PATH": "/caller"})
    assert dict(found.env)["PATH"] == path
    assert "LD_PRELOAD" not in dict(found.env)


def test_a_volume_of_the_images_is_in_memory_and_as_small_as_tmp() -> None:
    root = image(own=True, volumes=("/data", "/tmp", "/home/mcp"))
    found = spec({"files": {"tmp": 3 << 20}}, at=container(image=root))
    assert step_at(found, "/data") == Tmpfs("/data", 3 << 20, mode=0o1777)
    targets = [target_of(step) for step in found.view]
    assert len(targets) == len(set(targets))


@pytest.mark.parametrize("volume", ["/srv/p", "/srv/p/"])
def test_a_volume_does_not_hide_what_the_profile_mounts_there(volume: str) -> None:
    found = spec(WRITES, at=container(image=image(own=True, volumes=(volume,))), tree={"/srv/p": "dir"})
    assert [type(step) for step in found.view if below(target_of(step), "/srv/p")] == [Bind]


def test_an_images_closed_root_is_covered_where_the_command_lies_below_it() -> None:
    needs = Closure(("/root/n/bin/node",), binds=(("/root/n", "/root/n"),))
    at = container(uid=7000, gid=7000)
    found = spec(at=at, uid=0, closure=needs, tree={"/root/n": "dir"})
    over = step_at(found, "/root")
    assert isinstance(over, Tmpfs)
    assert over.mode == 0o555
    assert step_at(spec(at=at, uid=0), "/root") is None


# --- /etc and the rest of the view ---------------------------------------------------------------


def test_etc_is_the_images_but_for_who_is_inside_and_the_time() -> None:
    contents = {"/etc/localtime": b"TZ", "/etc/timezone": b"Europe/Paris\n", "/etc/os-release": b"ID=host\n"}
    found = spec(etc=contents)
    steps = {step.target: step for step in found.view if below(target_of(step), "/etc")}  # type: ignore[union-attr]
    assert all(isinstance(step, File) for step in steps.values())
    assert steps["/etc/localtime"] == File("/etc/localtime", b"TZ", copied=True)
    assert steps["/etc/timezone"] == File("/etc/timezone", b"Europe/Paris\n", copied=True)
    assert "/etc/os-release" not in steps
    assert b"mcp:x:1000:1000::/home/mcp:/bin/sh" in steps["/etc/passwd"].content  # type: ignore[union-attr]


def test_the_hosts_programs_stay_outside() -> None:
    found = spec()
    assert not [step for step in found.view if isinstance(step, Bind)]
    assert step_at(found, "/usr") is None
    assert {
        step.name for step in found.view if isinstance(step, Device)
    }  # `plan` names them, the engine has them


def test_a_container_joins_the_trap_and_never_the_engines_network() -> None:
    assert spec().network == "trap"


# --- what is waived ------------------------------------------------------------------------------


def unpinned(reference: str, *, waived: bool) -> tuple[Any, Spec]:
    given = policy({"server": {"image": reference, "unpinned": waived}})
    return given, plan(given, facts(), survey({}), container=container(image=image(reference, own=True)))


def test_an_image_without_a_digest_is_a_waiver_with_its_key_and_line() -> None:
    given, found = unpinned("registry.example/x:latest", waived=True)
    (waiver,) = found.waivers
    assert "`registry.example/x:latest`" in waiver
    assert "web.toml:31" in waiver
    assert waiver_key(waiver, given) == "server.unpinned"
    (row,) = (one for one in rows(found, facts(), given) if one.group == "waivers")
    assert (row.key, row.origin, row.enforced) == ("server.unpinned", "web.toml:31", False)


@pytest.mark.parametrize(("reference", "waived"), [(OWN, True), (OWN, False)])
def test_a_digest_waives_nothing(reference: str, waived: bool) -> None:
    assert unpinned(reference, waived=waived)[1].waivers == ()


# --- natively ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "key"),
    [(GVISOR, "isolation.runtime"), ({"server": {"image": OWN}}, "server.image")],
    ids=["a runtime", "an image"],
)
def test_what_an_engine_alone_can_do_is_refused_natively(table: dict[str, Any], key: str) -> None:
    with pytest.raises(CannotEnforce) as caught:
        plan(policy(table), facts(), survey({}))
    assert f"`{key}` (web.toml:30)" in caught.value.what
    assert spec(table, at=container(engine(gvisor="runsc"))).backend == "docker"


def test_what_native_needs_of_the_host_is_not_asked_for_an_engine() -> None:
    host = facts(namespaces=failing("denied", "allow them"), trap=failing("denied", "allow it"))
    with pytest.raises(CannotEnforce):
        plan(policy(), host, survey({}))
    assert plan(policy(), host, survey({}), container=container()).backend == "docker"


def test_what_no_host_could_enforce_is_refused_at_an_engine_too() -> None:
    error = refused({"server": {"transport": "http"}}, container())
    assert "`server.transport`" in error.what


def test_a_server_that_speaks_http_is_reached_at_an_engine_of_this_machine() -> None:
    table = {"server": {"transport": "http", "port": 80, "path": "/x"}}
    assert spec(table).endpoint == Endpoint("127.0.0.1", 80, "/x"), "an image's server may listen below 1024"
    for other in ("vm", "remote"):
        error = refused(table, container(engine(place=other)))
        assert "another machine" in error.what
        assert "server.transport" in error.rule


def test_a_link_of_the_callers_is_still_a_link() -> None:
    found = spec({"files": {"read": ["/p"]}}, tree={"/p": "-> /srv/p", "/srv/p": "dir"})
    assert step_at(found, "/p") == Symlink("/p", "/srv/p")
