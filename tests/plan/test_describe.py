"""Rows name the mechanism and the line, and show no value that may be a token."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.plan.describe import Row, duration, rows, size, summary
from sandbox.plan.plan import plan
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


def test_what_is_not_enforced_says_so() -> None:
    cpus = row(described({}), "cpus: 1")
    assert not cpus.enforced
    assert cpus.mechanism.startswith("not enforced: ")


def test_values_of_the_callers_and_the_profiles_variables_are_not_shown() -> None:
    found = described({"env": {"pass": ["T"], "set": {"U": "s3cret"}}, "secrets": {"T": {}}})
    assert "s3cret" not in repr(found)
    assert row(found, "U").mechanism == "set by the profile"


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
