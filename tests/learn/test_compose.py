"""The text of a learnt profile grants what was used, and nothing that a server says can make it more."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.learn.compose import Material, profile
from sandbox.learn.seen import Peaks, Refused, Seen
from sandbox.learn.wants import Host, Want, beyond, unused, wants
from sandbox.plan.spec import Bind, Identity, Limits, Spec, Tmpfs
from sandbox.policy import hosts
from sandbox.policy.flags import Flags
from sandbox.policy.load import load
from sandbox.policy.model import Network, Policy
from sandbox.records import replace

M = 1 << 20


def spec(*view: Bind, backend: Any = "native") -> Spec:
    steps = (Tmpfs("/home/mcp", 1 << 20), *view)
    return Spec("server", ("/bin/true",), "/", (), Identity(1000, 1000), steps, Limits(), backend=backend)


READ = Bind("/data/read", "/data/read", why="files.read")
WRITE = Bind("/data/write", "/data/write", writable=True, why="files.write")
MOVED = Bind("/data/moved", "/mnt/moved", why="files.read")
OWN = Bind("/store/x", "/opt/mcp", why="command")


def material(seen: Seen, *view: Bind, **more: Any) -> Material:
    given: dict[str, Any] = {
        "title": "`server`", "command": ("npx", "-y", "server"), "extends": "base", "policy": Policy("base"),
        "spec": spec(*view), "seen": seen, "runs": 1, "called": (), "not_granted": (), "variables": (),
        "at_home": {},
    }  # fmt: skip
    return Material(**{**given, **more})


def files(made: Material) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(profile(made)).get("files", {})
    return found


def test_what_was_not_used_is_not_granted() -> None:
    assert files(material(Seen(), READ, WRITE, OWN)) == {}


@pytest.mark.parametrize(
    ("used", "found"),
    [
        pytest.param({"/data/read": "read"}, {"read": ["/data/read"]}, id="read"),
        pytest.param({"/data/read": "look"}, {"read": ["/data/read"]}, id="looked at"),
        pytest.param({"/data/read": "write"}, {"read": ["/data/read"]}, id="a change that was refused"),
        pytest.param({"/data/write": "write"}, {"write": ["/data/write"]}, id="changed"),
        pytest.param({"/data/write": "read"}, {"read": ["/data/write"]}, id="writable and only read"),
        pytest.param({"/mnt/moved": "read"}, {"read": ["/data/moved:/mnt/moved"]}, id="at another place"),
    ],
)
def test_files_by_what_was_done(used: dict[str, str], found: dict[str, list[str]]) -> None:
    assert files(material(Seen(granted=used), READ, WRITE, MOVED, OWN)) == found


def test_in_a_container_what_was_granted_stays() -> None:
    made = replace(material(Seen(), READ, WRITE), spec=spec(READ, WRITE, backend="docker"))
    assert files(made) == {"read": ["/data/read"], "write": ["/data/write"]}
    assert "in a container is not observed" in profile(made)


@pytest.mark.parametrize("trusted", [False, True])
def test_a_host_nobody_reached_is_written_only_for_a_person_s_yes(trusted: bool) -> None:
    seen = Seen(reached={"a.example.org:443": 2}, failed={"b.example.org:80": "no address"})
    allowed = tomllib.loads(profile(material(seen, trusted=trusted)))["network"]["allow"]
    assert allowed == ["a.example.org:443", *([] if trusted else ["b.example.org:80"])]


@pytest.mark.parametrize(
    ("peaks", "quota"),
    [
        pytest.param(Peaks(), {"disk": "32M"}, id="nothing measured"),
        pytest.param(
            Peaks(29 * M, 11, 18, 0),
            {"memory": "256M", "pids": 64, "open_files": 256, "disk": "32M"},
            id="never below what work needs",
        ),
        pytest.param(
            Peaks(200 * M, 50, 100, 20 * M),
            {"memory": "448M", "pids": 104, "open_files": 448, "disk": "80M"},
            id="twice the peak",
        ),
        pytest.param(
            Peaks(500 * M, 120, 1000, 200 * M),
            {"memory": "512M", "pids": 128, "open_files": 1024, "disk": "256M"},
            id="never above what was held",
        ),
    ],
)
def test_quotas(peaks: Peaks, quota: dict[str, Any]) -> None:
    assert tomllib.loads(profile(material(Seen(peaks=peaks))))["quota"] == quota


HOSTILE = st.text(alphabet=st.characters(exclude_categories=()), max_size=30) | st.sampled_from(
    [
        '"]\nwrite = ["/"]',
        "\r\n[files]\nwrite = ['/']",
        "#\n[network]\nallow = ['evil.example']",
        "\x1b[2J",
        "\u202e",
        "'''",
    ]
)
PATH = HOSTILE.map(lambda text: f"/{text}")


@settings(deadline=None, max_examples=150)
@given(
    paths=st.lists(PATH, max_size=4), hosts=st.lists(HOSTILE, max_size=4),
    tools=st.lists(HOSTILE, max_size=3), wanted=st.lists(HOSTILE, max_size=4),
    command=st.lists(HOSTILE, min_size=1, max_size=3),
)  # fmt: skip
def test_nothing_that_a_server_says_becomes_a_line_of_the_profile(
    paths: list[str], hosts: list[str], tools: list[str], wanted: list[str], command: list[str]
) -> None:
    seen = Seen(
        reached=dict.fromkeys(hosts, 1), failed=dict.fromkeys(hosts, "why\nwhat = 1"),
        home=dict.fromkeys(paths, "write"), outside=dict.fromkeys(paths, "write"), started=tuple(paths),
    )  # fmt: skip
    more = tuple(
        Want(key, value, value, value)
        for key in ("files.read", "network.allow", "syscalls")
        for value in wanted
    )
    text = profile(
        material(
            seen, command=tuple(command), called=tuple((one, one) for one in tools), not_granted=more,
            variables=tuple(tools), at_home=dict.fromkeys(paths, "look"), started=tuple(paths),
            title=command[0],
        )
    )  # fmt: skip
    made = tomllib.loads(text)
    assert set(made) <= {"schema", "extends", "description", "server", "network", "quota", "syscalls"}
    assert set(made["server"]) == {"command"}
    assert set(made.get("network", {})) <= {"allow", "upload", "download", "connections"}
    assert set(made.get("network", {}).get("allow", [])) <= set(hosts)
    assert all(one.isprintable() or one == "\n" for one in text)


def test_the_text_is_a_profile(tmp_path: Path) -> None:
    place = tmp_path / "learnt.toml"
    seen = Seen(
        reached={"api.example.com:443": 3}, granted={"/data/read": "read", "/data/write": "write"},
        refused=(Refused("setxattr", False, "not needed", 2),), peaks=Peaks(40 * M, 12, 30, M, 5000, 90000),
    )  # fmt: skip
    place.write_text(profile(material(seen, READ, WRITE, tier="net", tried="tried")))
    policy = load(str(place), environ={"HOME": str(tmp_path)}, cwd="/")
    assert [one.source for one in (*policy.files.read, *policy.files.write)] == ["/data/read", "/data/write"]
    assert [(one.host, one.port) for one in policy.network.allow] == [("api.example.com", 443)]
    assert (policy.network.upload, policy.network.download) == (M, 64 * M)


def test_what_options_gave_is_in_the_profile_and_what_the_parent_has_is_not(tmp_path: Path) -> None:
    flags = Flags(
        allow_env=("A",), set_env=('B=x "y"',), secrets=("C", "D?"), cpus="0.5", idle="2h", memory="1G"
    )
    (tmp_path / "parent.toml").write_text(
        'schema = 1\n[env]\npass = ["P"]\n[secrets.S]\nfrom = "env"\n[quota]\nwall = "3h"\n'
    )
    policy = load(str(tmp_path / "parent.toml"), environ={"HOME": str(tmp_path)}, cwd="/", flags=flags)
    made = tomllib.loads(profile(material(Seen(), policy=policy)))
    assert made["env"] == {"pass": ["A"], "set": {"B": 'x "y"'}}
    assert made["secrets"] == {"C": {"from": "env"}, "D": {"from": "env?"}}
    assert made["quota"] == {"memory": "1G", "cpus": 0.5, "idle": "2h", "disk": "32M"}


def test_where_it_listened_is_in_the_profile(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    given = load(None, environ=environ, cwd="/", flags=Flags(http="3000/x"))
    place = tmp_path / "learnt.toml"
    place.write_text(profile(material(Seen(), policy=given)))
    found = load(str(place), environ=environ, cwd="/").server
    assert (found.transport, found.port, found.path) == ("http", 3000, "/x")


@pytest.mark.parametrize(
    ("version", "versions"),
    [
        pytest.param("2026.8.31", ">=2026.8.31,<2027", id="a year"),
        pytest.param("0.6.3", ">=0.6.3,<1", id="before 1"),
        pytest.param("2.0.0-beta.1", None, id="a beta of one"),
        pytest.param('1"\nx = "', None, id="no version"),
    ],
)
def test_the_versions_that_it_is_for(version: str, versions: str | None) -> None:
    made = tomllib.loads(profile(material(Seen(), package=("npm:@scope/server", version))))
    assert made["match"] == {"packages": ["npm:@scope/server"]} | ({"versions": versions} if versions else {})


# --- wants -----------------------------------------------------------------------------------------------


def test_what_is_wanted_and_who_may_grant_it() -> None:
    seen = Seen(
        wanted={"a.example.org": 2}, hopeless={"b.example.org:443": "no SNI"},
        granted={"/data/read": "write"},
        outside=dict.fromkeys(("/home/ann/x", "/home/ann/.ssh", "/etc/hosts.deny", "/nowhere"), "read"),
        refused=(Refused("ptrace", True, "controls another process", 1),), breach="quota.memory",
    )  # fmt: skip
    host = Host(frozenset(("/home/ann/x", "/home/ann/.ssh", "/etc/hosts.deny")), {"/home/ann/.ssh": "keys"})
    found = wants(seen, spec(READ), host)
    assert [(one.key, one.value, bool(one.never), one.counts) for one in found] == [
        ("network.allow", "a.example.org", False, True),
        ("network.allow", "b.example.org:443", True, True),
        ("files.write", "/data/read", False, True),
        ("files.read", "/home/ann/x", False, True),
        ("files.read", "/home/ann/.ssh", True, True),
        ("files.read", "/etc/hosts.deny", True, False),
        ("syscalls", "ptrace", True, True),
        ("quota", "quota.memory", True, True),
    ]
    offered = beyond(found, [Want("files.read", "/home/ann/x", "")])
    assert [one.value for one in offered] == ["a.example.org", "/data/read"]


def test_what_a_profile_grants_and_a_run_went_without() -> None:
    rules = tuple(map(hosts.parse, ("a.example.org", "*.example.com")))
    policy = replace(Policy("p"), network=Network(allow=rules))
    seen = Seen(reached={"b.example.com:443": 1}, granted={"/data/write": "read"})
    assert [(one.key, one.value) for one in unused(seen, policy, spec(READ, WRITE))] == [
        ("network.allow", "a.example.org:443"),
        ("files.read", "/data/read"),
        ("files.write", "/data/write"),
    ]
