"""A spec as the body of a create call: each promise of a container in one row, and what no body ever says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.plan.container import body, seccomp_file, staged
from sandbox.plan.facts import Closure, Container
from sandbox.plan.image import Image
from sandbox.plan.mounts import target_of
from sandbox.plan.plan import plan
from sandbox.plan.spec import (
    Bind,
    Device,
    Directory,
    File,
    Identity,
    Limits,
    Proc,
    Socket,
    Spec,
    Symlink,
    Tmpfs,
    ViewStep,
)
from sandbox.plan.system import MASKED, READONLY
from sandbox.policy.paths import below
from tests.plan.world import container, engine, facts, image, place, policy, survey

FILTER = '{"defaultAction":"SCMP_ACT_ERRNO"}'
FOLDER = "/state/s1"
PROC = Proc(("/proc/keys",), ("/proc/sys",))


def made(*steps: ViewStep, **changes: Any) -> Spec:
    """A spec of these steps and a /proc."""
    usual: dict[str, Any] = {
        "server": "web",
        "argv": ("node", "x.js", "-v"),
        "cwd": "/home/mcp",
        "env": (("PATH", "/usr/bin"), ("A", "1")),
        "identity": Identity(1000, 1001),
        "limits": Limits(mechanism="engine"),
        "backend": "docker",
        "image": image("node"),
    }
    return Spec(view=(*steps, PROC), **(usual | changes))


def told(spec: Spec, **changes: Any) -> dict[str, Any]:
    return body(spec, place(**changes), FILTER)


def host(*steps: ViewStep, podman: bool = False, processes: int = 0, **changes: Any) -> dict[str, Any]:
    found = told(made(*steps, **changes), podman=podman, processes=processes)["HostConfig"]
    assert isinstance(found, dict)
    return found


def mounts(*steps: ViewStep, **changes: Any) -> list[tuple[str, str, bool]]:
    """Source, target and whether it is writable, of every mount."""
    found = host(*steps, **changes)["Mounts"]
    return [(one["Source"], one["Target"], not one["ReadOnly"]) for one in found]


def of_plan(table: dict[str, Any] | None = None, at: Container | None = None, **seen: Any) -> Spec:
    tree = seen.pop("tree", {})
    return plan(policy(table), facts(), survey(tree, **seen), container=at or container())


# --- what always holds ---------------------------------------------------------------------------

ALWAYS = [
    pytest.param("ReadonlyRootfs", True, id="the root is read-only"),
    pytest.param("CapDrop", ["ALL"], id="no capability"),
    pytest.param(
        "SecurityOpt", ["no-new-privileges:true", f"seccomp={FILTER}"], id="none to gain, and our filter"
    ),
    pytest.param("Privileged", False, id="not privileged"),
    pytest.param("NetworkMode", "container:h0", id="the network is the holder's"),
    pytest.param("IpcMode", "private", id="no shared memory with others"),
    pytest.param("PidMode", "", id="its own processes"),
    pytest.param("CgroupnsMode", "private", id="its own cgroup names"),
    pytest.param("Init", True, id="an init reaps"),
    pytest.param("AutoRemove", True, id="the engine removes it"),
    pytest.param("RestartPolicy", {"Name": "no"}, id="the engine does not start it again"),
    pytest.param("LogConfig", {"Type": "none", "Config": {}}, id="no log at the engine"),
]


@pytest.mark.parametrize(("key", "value"), ALWAYS)
@pytest.mark.parametrize("runtime", ["", "runsc"], ids=["usual", "gvisor"])
def test_every_container(key: str, value: object, runtime: str) -> None:
    assert host(runtime=runtime)[key] == value


COMMAND = [
    pytest.param("Image", image().id, id="the image by its id"),
    pytest.param("Entrypoint", ["node"], id="no entrypoint of the image's"),
    pytest.param("Cmd", ["x.js", "-v"], id="no command of the image's"),
    pytest.param("Env", ["A=1", "PATH=/usr/bin", "TOKEN=s3cret"], id="the environment, with secrets"),
    pytest.param("User", "1000:1001", id="the user by number"),
    pytest.param("WorkingDir", "/home/mcp", id="where it starts"),
    pytest.param("Tty", False, id="no terminal: bytes stay bytes"),
    pytest.param("OpenStdin", True, id="stdin is open"),
    pytest.param("StdinOnce", True, id="and ends with the client"),
    pytest.param("AttachStdin", True, id="stdin is carried"),
    pytest.param("AttachStdout", True, id="stdout is carried"),
    pytest.param("AttachStderr", True, id="stderr is carried"),
    pytest.param("Healthcheck", {"Test": ["NONE"]}, id="nothing of the image's runs beside it"),
    pytest.param("Labels", {"io.mcp-sandbox.session": "s1"}, id="labels say whose it is"),
]


@pytest.mark.parametrize(("key", "value"), COMMAND)
def test_the_command(key: str, value: object) -> None:
    where = place(labels=(("io.mcp-sandbox.session", "s1"),))
    assert body(made(), where, FILTER, (("TOKEN", "s3cret"),))[key] == value


def test_a_spec_without_an_image_makes_no_container() -> None:
    with pytest.raises(ValueError, match="image"):
        told(made(image=None))


def test_a_secret_is_in_no_body_that_was_not_given_its_value() -> None:
    found = of_plan({"secrets": {"TOKEN": {}}}, environ={"TOKEN": "hunter2"})
    assert "hunter2" not in json.dumps(told(found))
    assert "TOKEN=hunter2" in body(found, place(), FILTER, (("TOKEN", "hunter2"),))["Env"]


def test_the_build_containers_network_is_the_engines() -> None:
    assert host(network="host")["NetworkMode"] == "host"


# --- quotas --------------------------------------------------------------------------------------

CORE = {"Name": "core", "Soft": 1, "Hard": 1}
QUOTAS = [
    pytest.param({"memory": 64 << 20}, "Memory", 64 << 20, id="memory"),
    pytest.param({"memory": 64 << 20}, "MemorySwap", 64 << 20, id="as much with swap: no swap"),
    pytest.param({"pids": 9}, "PidsLimit", 10, id="processes, and the init"),
    pytest.param({"cpus": 0.5}, "NanoCpus", 500_000_000, id="half a processor"),
    pytest.param({"cpus": 0.1}, "NanoCpus", 100_000_000, id="a tenth of one, which is no binary fraction"),
    pytest.param(
        {"open_files": 33}, "Ulimits", [CORE, {"Name": "nofile", "Soft": 33, "Hard": 33}], id="open files"
    ),
    pytest.param({}, "Ulimits", [CORE], id="never a core dump"),
]


@pytest.mark.parametrize(("limits", "key", "value"), QUOTAS)
def test_a_quota_is_the_engines(limits: dict[str, Any], key: str, value: object) -> None:
    assert host(limits=Limits(mechanism="engine", **limits))[key] == value


@pytest.mark.parametrize("key", ["Memory", "MemorySwap", "PidsLimit", "NanoCpus", "Runtime"])
def test_what_is_not_limited_is_not_said(key: str) -> None:
    assert key not in host()


def test_gvisors_own_tasks_are_not_the_servers() -> None:
    found = host(runtime="runsc", limits=Limits(pids=9, mechanism="engine"))
    assert found["Runtime"] == "runsc"
    assert {"Name": "nproc", "Soft": 9, "Hard": 9} in found["Ulimits"]  # what holds inside
    assert found["PidsLimit"] > 5 * 9  # on the host each process is some five tasks


# --- the view ------------------------------------------------------------------------------------


def test_masked_and_protected_paths_are_the_specs_and_sys() -> None:
    found = host()
    assert found["MaskedPaths"] == ["/proc/keys", "/sys"]
    assert found["ReadonlyPaths"] == ["/proc/sys"]


def test_a_plans_container_masks_all_that_native_does() -> None:
    found = told(of_plan())["HostConfig"]
    assert set(found["MaskedPaths"]) == {*MASKED, "/sys"}
    assert set(found["ReadonlyPaths"]) == set(READONLY)


def test_a_tree_in_memory_has_a_size_an_owner_and_a_number_of_files() -> None:
    (options,) = host(Tmpfs("/home/mcp", 1 << 20, inodes=7, mode=0o700))["Tmpfs"].values()
    wanted = "rw,exec,nosuid,nodev,size=1048576,nr_inodes=7,mode=700,uid=1000,gid=1001"
    assert options.split(",") == wanted.split(",")


def test_shared_memory_is_as_large_as_the_spec_says() -> None:
    found = host(Tmpfs("/dev/shm", 3 << 20, mode=0o1777))
    assert (found["ShmSize"], found["Tmpfs"]) == (3 << 20, {})
    assert host()["ShmSize"] == 1 << 20  # not the engine's 64 MiB


def test_mounts_stand_in_the_views_order() -> None:
    steps = (
        Bind("/srv/a", "/a"),
        File("/etc/x", b"x"),
        Bind("/srv/b", "/a/b", writable=True),
        Socket("/a/b/s"),
    )
    assert mounts(*steps) == [
        ("/srv/a", "/a", False),
        (f"{FOLDER}/1", "/etc/x", False),
        ("/srv/b", "/a/b", True),
        ("/dev/null", "/a/b/s", False),
    ]


@pytest.mark.parametrize("writable", [True, False], ids=["writable", "read-only"])
def test_what_is_mounted_below_a_read_only_tree_is_left_out(writable: bool) -> None:
    # Engines before 25 leave it writable there.
    (mount,) = host(Bind("/srv/a", "/a", writable=writable))["Mounts"]
    assert mount == {
        "Type": "bind",
        "Source": "/srv/a",
        "Target": "/a",
        "ReadOnly": not writable,
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": not writable},
    }


def test_a_tree_whose_owner_is_mapped_is_the_staged_one_by_its_number() -> None:
    steps = Bind("/srv/a", "/a", writable=True, idmap=True), File("/etc/x", b"x"), Bind("/srv/b", "/b")
    assert mounts(*steps)[:2] == [(f"{FOLDER}/0", "/a", True), (f"{FOLDER}/1", "/etc/x", False)]
    assert [number for number, _ in staged(made(*steps))] == [0, 1]


def test_what_the_engine_or_the_image_has_is_not_asked_for() -> None:
    own = (
        Device("null"),
        Directory("/run"),
        Symlink("/dev/fd", "/proc/self/fd"),
        Symlink("/var/tmp", "../tmp"),
    )
    assert mounts(*own) == []


# --- links ---------------------------------------------------------------------------------------

TREE = Bind("/real/p", "/real/p", writable=True)
LINKS = [
    pytest.param((TREE,), "/real/p", [("/real/p", "/l", True)], id="a tree"),
    pytest.param((TREE,), "/real/p/sub", [("/real/p/sub", "/l", True)], id="a part of one"),
    pytest.param(
        (Bind("/real/p", "/other"),), "/other/x", [("/real/p/x", "/l", False)], id="where it stands inside"
    ),
    pytest.param(
        (Bind("/r", "/r", idmap=True),),
        "/r/x",
        [(f"{FOLDER}/0/x", "/l", False)],
        id="one whose owner is mapped",
    ),
    pytest.param((TREE,), "real/p", [("/real/p", "/l", True)], id="a relative text"),
    pytest.param(
        (TREE, Symlink("/m", "/real")), "/m/p", [("/real/p", "/l", True)], id="through another link"
    ),
    pytest.param(
        (TREE, Bind("/real/p/.git/hooks", "/real/p/.git/hooks")),
        "/real/p",
        [("/real/p", "/l", True), ("/real/p/.git/hooks", "/l/.git/hooks", False)],
        id="with its guards",
    ),
    pytest.param(
        (TREE, Bind("/real/p/.git/hooks", "/real/p/.git/hooks")),
        "/real/p/.git",
        [("/real/p/.git", "/l", True), ("/real/p/.git/hooks", "/l/hooks", False)],
        id="a part, with the guards in it",
    ),
    pytest.param(
        (TREE, Socket("/real/p/s")),
        "/real/p",
        [("/real/p", "/l", True), ("/dev/null", "/l/s", False)],
        id="covers too",
    ),
    pytest.param(
        (TREE, Socket("/real/p/s")), "/real/p/s", [("/dev/null", "/l", False)], id="a covered socket"
    ),
    pytest.param((File("/etc/x", b""),), "/etc/x", [(f"{FOLDER}/0", "/l", False)], id="a file of ours"),
    pytest.param((TREE,), "/real", [("/real/p", "/l/p", True)], id="above a tree"),
    pytest.param((TREE,), "/real/pp", [], id="beside it"),
    pytest.param((TREE, Tmpfs("/real/p/t", 1 << 20)), "/real/p/t/x", [], id="into memory"),
    pytest.param((Symlink("/m", "/l"),), "/m", [], id="in a circle"),
]


@pytest.mark.parametrize(("steps", "to", "also"), LINKS)
def test_a_link_is_a_second_mount(
    steps: tuple[ViewStep, ...], to: str, also: list[tuple[str, str, bool]]
) -> None:
    found = mounts(*steps, Symlink("/l", to))
    assert [one for one in found if below(one[1], "/l")] == also


def test_no_spelling_of_a_project_leaves_its_guards_out() -> None:
    tree = {
        "/p": "-> /srv/p",
        "/srv/p": "dir",
        "/srv/p/.git": "dir",
        "/srv/p/.git/hooks": "dir",
        "/srv/p/.git/config": "file",
    }
    found = told(of_plan({"files": {"write": ["/p"]}}, tree=tree, sockets=("/srv/p/s",)))["HostConfig"][
        "Mounts"
    ]
    by_target = {one["Target"]: one for one in found}
    for name in (".git/hooks", ".git/config", "s"):
        there, again = by_target[f"/srv/p/{name}"], by_target[f"/p/{name}"]
        assert there["ReadOnly"]
        assert again == there | {"Target": f"/p/{name}"}


def test_a_link_in_etc_that_the_profile_asks_for_is_there() -> None:
    tree = {"/etc/app.conf": "-> /srv/app.conf", "/srv/app.conf": "file"}
    table = {"files": {"read": ["/etc/app.conf"], "expose": ["/etc/app.conf"]}}
    found = told(of_plan(table, tree=tree))["HostConfig"]["Mounts"]
    assert ("/srv/app.conf", "/etc/app.conf") in [(one["Source"], one["Target"]) for one in found]


# --- Podman --------------------------------------------------------------------------------------


def test_podman_reads_the_filter_from_the_sessions_folder() -> None:
    assert host(podman=True)["SecurityOpt"][1] == f"seccomp={seccomp_file(FOLDER)}"


def test_podman_is_told_how_many_processes_a_caller_may_have() -> None:
    assert {"Name": "nproc", "Soft": 99, "Hard": 99} in host(podman=True, processes=99)["Ulimits"]


@pytest.mark.parametrize(
    ("uid", "mode"), [(1000, "1777"), (0, "700")], ids=["a user's is everybody's", "root's stays"]
)
def test_podman_knows_no_owner_of_a_tree_in_memory(uid: int, mode: str) -> None:
    step = Tmpfs("/home/mcp", 1 << 20, mode=0o700)
    (options,) = host(step, podman=True, identity=Identity(uid, uid))["Tmpfs"].values()
    assert options == f"rw,exec,nosuid,nodev,size=1048576,mode={mode}"


@pytest.mark.parametrize(("key", "value"), [one for one in ALWAYS if one.values[0] != "SecurityOpt"])
def test_podman_is_asked_for_the_same(key: str, value: object) -> None:
    assert host(podman=True)[key] == value


# --- for any spec --------------------------------------------------------------------------------

PARTS = st.lists(st.sampled_from(["a", "b", "p", ".git", "..x"]), min_size=1, max_size=3)
PLACES = PARTS.map(lambda parts: "/" + "/".join(parts))
TEXTS = PLACES | PARTS.map("/".join) | PARTS.map(lambda parts: "../" + "/".join(parts))
STEPS = st.one_of(
    st.builds(Bind, PLACES, PLACES, writable=st.booleans(), idmap=st.booleans()),
    st.builds(File, PLACES, st.binary(max_size=3)),
    st.builds(Socket, PLACES),
    st.builds(Symlink, PLACES, TEXTS),
    st.builds(Tmpfs, PLACES, st.integers(1, 1 << 30)),
    st.builds(Directory, PLACES),
)
SPECS = st.builds(
    made,
    identity=st.builds(Identity, st.integers(0, 70000), st.integers(0, 70000)),
    limits=st.builds(
        Limits,
        memory=st.none() | st.integers(1, 1 << 40),
        cpus=st.none() | st.floats(0.01, 64),
        pids=st.none() | st.integers(1, 4096),
        open_files=st.none() | st.integers(1, 1 << 20),
        mechanism=st.just("engine"),
    ),
    runtime=st.sampled_from(["", "runsc"]),
)
VIEWS = st.lists(STEPS, max_size=7, unique_by=target_of)
# The only keys that a body may have: another one is a decision that nobody took here.
KEYS = set(told(made())) | {"HostConfig"}
HOST_KEYS = set(host()) | {"Memory", "MemorySwap", "PidsLimit", "NanoCpus", "Runtime"}


@settings(max_examples=500, deadline=None)
@given(spec=SPECS, view=VIEWS, podman=st.booleans(), piped=st.booleans())
@pytest.mark.threat("D1", proves="no container's body mounts what its plan does not")
def test_no_body_says_more_than_its_spec(spec: Spec, view: list[ViewStep], podman: bool, piped: bool) -> None:
    given_ = made(*view, identity=spec.identity, limits=spec.limits, runtime=spec.runtime)
    found = told(given_, podman=podman, processes=9, piped=piped)
    config = found["HostConfig"]
    assert set(found) <= KEYS
    assert set(config) <= HOST_KEYS
    for key, value in ((one.values[0], one.values[1]) for one in ALWAYS):
        assert config[key] == value or (podman and key == "SecurityOpt")
    assert set(config["Tmpfs"]) == {step.target for step in view if isinstance(step, Tmpfs)}
    for mount in config["Mounts"]:
        _comes_from_the_spec(mount, view)
    for mount in config["Mounts"]:
        _hides_what_the_spec_hides(mount, config["Mounts"], view)
    json.dumps(found)


def _comes_from_the_spec(mount: dict[str, Any], view: list[ViewStep]) -> None:
    """A source that a step shows, writable only where that step is."""
    source, writable = mount["Source"], not mount["ReadOnly"]
    assert mount["Type"] == "bind"
    if source in ("/dev/null", f"{FOLDER}/stdin", f"{FOLDER}/stdout"):
        assert not writable
        return
    number, _, rest = source.removeprefix(f"{FOLDER}/").partition("/")
    if below(source, FOLDER):
        step = view[int(number)]
        assert isinstance(step, File | Bind)
        assert not rest or isinstance(step, Bind)
        assert (isinstance(step, Bind) and step.idmap) or isinstance(step, File)
        assert not writable or (isinstance(step, Bind) and step.writable)
        return
    shows = [
        step for step in view if isinstance(step, Bind) and not step.idmap and below(source, step.source)
    ]
    assert shows
    assert not writable or any(step.writable for step in shows)


def _hides_what_the_spec_hides(
    mount: dict[str, Any], all_of_them: list[dict[str, Any]], view: list[ViewStep]
) -> None:
    """A tree that is mounted again carries every cover and guard that lies in it."""
    links = [step.target for step in view if isinstance(step, Symlink)]
    if mount["Target"] not in links or below(mount["Source"], FOLDER) or mount["Source"] == "/dev/null":
        return
    targets = {one["Target"] for one in all_of_them}
    origins = [step for step in view if isinstance(step, Bind) and below(mount["Source"], step.source)]

    def carried(origin: Bind) -> bool:
        end = f"{origin.target}{mount['Source'].removeprefix(origin.source)}"
        inner = [s.target for s in view if isinstance(s, Bind | File | Socket) and below(s.target, end)]
        return all(f"{mount['Target']}{at.removeprefix(end)}" in targets for at in inner)

    assert any(carried(origin) for origin in origins)


@settings(max_examples=200, deadline=None)
@given(
    root=st.builds(
        Image,
        st.just("x"),
        st.just("sha256:x"),
        user=st.text(max_size=4),
        cwd=st.sampled_from(["", "/app"]),
        volumes=st.lists(PLACES, max_size=3).map(tuple),
        own=st.booleans(),
    ),
    read=st.lists(PLACES, max_size=2),
    write=st.lists(PLACES, max_size=2),
    at=st.sampled_from([engine(), engine(rootless=True), engine(place="vm"), engine(gvisor="runsc")]),
)
def test_no_plan_for_a_container_has_two_things_at_one_place(
    root: Image, read: list[str], write: list[str], at: Any
) -> None:
    tree = dict.fromkeys((*read, *write), "dir")
    found = of_plan(
        {"files": {"read": read, "write": write}},
        container(at, image=root),
        tree=tree,
        closure=Closure(("serve",)),
    )
    config = told(found)["HostConfig"]
    targets = [*(one["Target"] for one in config["Mounts"]), *config["Tmpfs"]]
    assert len(targets) == len(set(targets))
    assert found.identity.uid != 0 or at.rootless
