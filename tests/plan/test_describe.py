"""Rows name the mechanism and the line, and show no value that may be a token."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.plan.describe import rows, summary
from sandbox.plan.plan import plan
from sandbox.plan.rows import Row, duration, size
from tests.plan.world import cgroups, facts, policy, survey


def described(table: dict[str, Any], **host: Any) -> tuple[Row, ...]:
    given, found = policy(table), facts(**host)
    seen = survey(
        {"/srv/p": "dir", "/srv/p/.git": "dir", "/srv/p/.git/config": "file"}, environ={"T": "s3cret"}
    )
    return rows(plan(given, found, seen), found, given)


def row(found: tuple[Row, ...], what: str) -> Row:
    return next(one for one in found if one.what.startswith(what))


def test_every_step_of_the_view_is_a_row() -> None:
    given, found = policy(), facts()
    spec = plan(given, found, survey({}))
    assert sum(one.group == "files" for one in rows(spec, found, given)) == len(spec.view)


def test_a_mount_names_its_line_and_its_mechanism() -> None:
    found = row(described({"files": {"read": ["/srv/p"]}}), "read-only /srv/p")
    assert (found.key, found.origin) == ("files.read", "web.toml:5")
    assert found.mechanism == "bind mount, read-only, nosuid, nodev"


def test_guards_say_why() -> None:
    found = described({"files": {"write": ["/srv/p"]}})
    assert row(found, "read-only /srv/p/.git/config").what.endswith("(programs outside run it)")
    assert row(found, "read-write /srv/p/.git ").what.endswith("(cannot be renamed)")


def test_quotas_name_the_cgroup_that_holds_them() -> None:
    found = described({"quota": {"memory": 64 << 20}}, cgroups=cgroups(1, "memory", "pids", "cpu"))
    memory = row(found, "memory: 64 MiB")
    assert memory.mechanism == "cgroup-v1 memory.limit_in_bytes below /sys/fs/cgroup/memory"
    assert memory.origin == "web.toml:30"
    assert row(found, "cpus: 1 of").mechanism == "cgroup-v1 cpu.cfs_quota_us below /sys/fs/cgroup/cpu"


def test_a_default_beside_written_quotas_has_no_line() -> None:
    assert row(described({"quota": {"memory": 64 << 20}}), "pids").origin == "default"
    assert row(described({"env": {"set": {"U": "x"}}}), "U").origin == "web.toml:30"


def test_sums_say_what_watches_them() -> None:
    table = {"quota": {"written": 64 << 20, "cpu_time": 90.0, "busy": 30.0}}
    found = described(table, cgroups=cgroups(1, "memory", "pids", "cpu"))
    assert row(found, "cpu_time: 1.5 min").mechanism == "watched: cpuacct.usage of the cgroup"
    assert row(found, "busy: 30 s").key == "quota.busy"
    assert row(found, "written: 64 MiB").mechanism.endswith("and what is in memory")
    assert row(described(table), "cpu_time").mechanism == "watched: /proc/PID/stat, added up"


def test_bytes_on_a_disk_are_measured_and_not_held() -> None:
    found = described({"quota": {"written": 64 << 20}, "files": {"write": ["/srv/p"]}})
    assert row(found, "written").mechanism.endswith("; no project quota holds it on disk")


def test_what_is_not_simply_ended_is_a_row() -> None:
    found = described({"breach": {"pids": "warn", "disk": "freeze", "answer": 60.0, "grace": 2.0}})
    assert row(found, "pids exceeded: a warning").key == "breach.pids"
    assert row(found, "disk exceeded: asks").mechanism == "frozen for 1 min at most, then killed"
    assert row(found, "grace: 2 s").origin
    assert not [one for one in described({}) if "exceeded" in one.what or "grace" in one.what]


def test_what_is_not_enforced_says_so() -> None:
    cpus = row(described({}), "cpus: 1")
    assert not cpus.enforced
    assert cpus.mechanism.startswith("not enforced: ")


def test_values_of_the_callers_and_the_profiles_variables_are_not_shown() -> None:
    found = described({"env": {"pass": ["T"], "set": {"U": "s3cret"}}, "secrets": {"T": {}}})
    assert "s3cret" not in repr(found)
    assert row(found, "U").mechanism == "set by the profile"


def test_a_restart_is_a_row_where_one_is_asked_for() -> None:
    found = row(described({"server": {"restart": "on-crash", "restarts": 3}}), "starts again")
    assert (found.what, found.key) == ("starts again after a crash, 3 times in a row", "server.restart")
    assert "starts again" not in repr(described({}))


# --- the network ---------------------------------------------------------------------------------


def network(table: dict[str, Any]) -> tuple[Row, ...]:
    return tuple(one for one in described({"network": table}) if one.group == "network")


def test_without_hosts_nothing_resolves_and_only_denied_attempts_are_watched() -> None:
    nothing, denied = network({})
    assert nothing.what == "nothing: no name resolves, no address connects"
    assert nothing.mechanism == "network namespace with lo alone, attempts seen by the trap"
    assert (denied.what, denied.key) == ("20 denied attempts in a row", "network.behaviour.denied")


CHECKED = "trap and gateway: name by our DNS, SNI and Host checked, address pinned"
HOSTS = [
    pytest.param({"allow": ["api.example"]}, "api.example:443", CHECKED, "allow", 10, id="a name"),
    pytest.param({"allow": ["*.example.org:80"]}, "*.example.org:80", CHECKED, "allow", 10, id="a wildcard"),
    pytest.param(
        {"opaque": ["db.example:5432"]},
        "db.example:5432",
        "trap and gateway: name by our DNS, address pinned; what is said is not checked: opaque",
        "opaque",
        11,
        id="opaque",
    ),
    pytest.param(
        {"private": ["git.example"]},
        "git.example:443",
        f"{CHECKED}, private ones too",
        "private",
        12,
        id="private",
    ),
    pytest.param(
        {"allow": ["x.example"], "private": ["x.example"]},
        "x.example:443",
        f"{CHECKED}, private ones too",
        "allow",
        10,
        id="in two lists",
    ),
    pytest.param(
        {"allow": ["10.0.0.5:80"]},
        "10.0.0.5:80",
        "trap and gateway: this address alone",
        "allow",
        10,
        id="IPv4",
    ),
    pytest.param(
        {"allow": ["2001:db8::1"]},
        "[2001:db8::1]:443",
        "trap and gateway: this address alone",
        "allow",
        10,
        id="IPv6",
    ),
    *(
        pytest.param(
            {"allow": [f"{host}:5432"]},
            f"{host}:5432",
            "trap and gateway: the host's own port, by the gateway",
            "allow",
            10,
            id=host,
        )
        for host in ("localhost", "127.0.0.1", "[::1]")
    ),
]


@pytest.mark.parametrize(("table", "host", "mechanism", "key", "line"), HOSTS)
def test_a_host_is_a_row(table: dict[str, Any], host: str, mechanism: str, key: str, line: int) -> None:
    found = network(table)[0]
    assert found == Row("network", f"connect to {host}", mechanism, f"network.{key}", f"web.toml:{line}")


def test_budgets_and_behaviours_are_rows_with_key_and_line() -> None:
    table = {
        "allow": ["a.example"],
        "upload": 1 << 20,
        "connections": 9,
        "budget": {"A.example": {"upload": 1 << 10, "download": 1 << 30, "connections": 3}},
        "behaviour": {"idle": "breach", "beacon": "off", "beacon_count": 4},
    }
    found = [(one.what, one.key, one.origin, one.enforced) for one in network(table)[1:]]
    of_host = 'network.budget."a.example:443"'
    assert found == [
        ("upload: 1 MiB in all", "network.upload", "web.toml:31", True),
        ("connections: 9 in all", "network.connections", "web.toml:32", True),
        ("upload to a.example:443: 1 KiB", f"{of_host}.upload", "web.toml:20", True),
        ("download from a.example:443: 1 GiB", f"{of_host}.download", "web.toml:21", True),
        ("connections to a.example:443: 3", f"{of_host}.connections", "web.toml:22", True),
        ("traffic while no request is open", "network.behaviour.idle", "web.toml:25", True),
        ("20 denied attempts in a row", "network.behaviour.denied", "default", True),
        ("4 intervals to one host, jitter at most 0.1", "network.behaviour.beacon", "web.toml:26", False),
    ]
    assert row(network(table), "traffic").mechanism == "events of the gateway, then breach"


def test_an_opaque_host_is_a_waiver_of_its_own_key() -> None:
    (waived,) = (one for one in described({"network": {"opaque": ["db.example"]}}) if one.group == "waivers")
    assert (waived.key, waived.origin, waived.enforced) == ("network.opaque", "web.toml:30", False)
    assert waived.what.startswith("what is said to `db.example:443` is not checked")


def test_the_build_sandbox_says_whose_network_it_has() -> None:
    given, found = policy(), facts()
    spec = plan(given, found, survey({}), network="host")
    (only,) = (one for one in rows(spec, found, given) if one.group == "network")
    assert (only.what, only.enforced) == ("the host's own network", False)


def test_summary_loses_no_file() -> None:
    found = described({})
    short = summary(found)
    assert len(short) < len(found)
    text = "\n".join(one.what for one in short)
    assert all(one.what.rpartition("/")[2] in text for one in found)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (size(512 << 20), "512 MiB"),
        (size(1536 << 20), "1.5 GiB"),
        (size(7), "7 B"),
        (duration(43200), "12 h"),
        (duration(90), "1.5 min"),
    ],
)
def test_quantities_are_short(found: str, text: str) -> None:
    assert found == text


def test_decoys_are_a_row_with_their_line() -> None:
    asked = policy({"isolation": {"decoys": True}})
    (row,) = [one for one in rows(plan(asked, facts(), survey({})), facts(), asked) if one.group == "decoys"]
    assert (row.key, row.origin, row.enforced) == ("isolation.decoys", "web.toml:30", True)
