"""The cache: the same policy without pydantic, and never a stale or a foreign one."""

import json
import os
import subprocess
import sys
import time
import typing
from pathlib import Path

import pytest

from sandbox.errors import ProfileError
from sandbox.policy import codec, model
from sandbox.policy.codec import decode, encode
from sandbox.policy.model import Policy
from sandbox.records import is_record
from sandbox.supply import lock

WARM = """
import json, sys, time
from sandbox.policy.load import load
from sandbox.policy.flags import Flags
environ, cwd = json.loads(sys.argv[1]), sys.argv[2]
began = time.perf_counter()
policy = load("git", environ=environ, cwd=cwd)
spent = time.perf_counter() - began
heavy = [name for name in ("pydantic", "tomllib", "typing_extensions", "asyncio") if name in sys.modules]
print(json.dumps([policy.name, spent, heavy]))
"""


def _start(world) -> list:
    arguments = [sys.executable, "-c", WARM, json.dumps(world.environ), str(world.cwd)]
    return json.loads(
        subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60).stdout
    )


def test_a_warm_start_imports_no_validator_and_no_parser(world) -> None:
    cold = _start(world)
    assert "pydantic" in cold[2]
    assert _start(world)[2] == []


def test_a_warm_start_is_quick(world) -> None:
    world.load("git")
    # The best of several: what the machine can do, not what its other tenants left over.
    assert min(_start(world)[1] for _ in range(5)) < 0.015


def test_what_comes_back_is_what_was_kept(world) -> None:
    cold = world.load("git")
    assert world.entries()
    assert world.load("git") == cold


def test_every_policy_survives_the_codec(world) -> None:
    world.file("github.toml", Path(__file__).with_name("design.toml").read_text())
    policy = world.load("./github.toml", memory="1G", allow_read=("/x:/y",))
    assert decode(json.loads(json.dumps(encode(policy)))) == policy


CHANGES = [
    pytest.param(lambda w: w.file("a.toml", "extends = 'b'\n[quota]\npids = 9"), id="the profile itself"),
    pytest.param(lambda w: w.file("b.toml", "[quota]\npids = 9"), id="its parent"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_read_afresh(world, change) -> None:
    world.file("a.toml", "extends = 'b'")
    world.file("b.toml", "[quota]\npids = 8")
    assert world.load("./a.toml").quota.pids == 8
    change(world)
    assert world.load("./a.toml").quota.pids == 9


def test_a_file_changed_within_one_clock_tick_and_of_the_same_length_is_noticed(world) -> None:
    path = world.file("a.toml", "[quota]\npids = 8")
    world.load("./a.toml")
    held = path.stat()
    path.write_text(path.read_text().replace("8", "9"))
    os.utime(path, ns=(held.st_atime_ns, held.st_mtime_ns))
    assert world.load("./a.toml").quota.pids == 9


def test_a_parent_that_now_is_found_elsewhere_is_noticed(world) -> None:
    world.user("web", "extends = 'node'")
    assert world.load("web").quota.pids == 128
    world.user("node", "[quota]\npids = 9")
    assert world.load("web").quota.pids == 9


def test_a_parent_that_is_gone_is_an_error_not_a_memory(world) -> None:
    world.file("a.toml", "extends = 'b'")
    gone = world.file("b.toml", "")
    world.load("./a.toml")
    gone.unlink()
    with pytest.raises(ProfileError, match="no profile is called `b`"):
        world.load("./a.toml")


def _plant(world, text: str) -> None:
    (entry,) = world.entries()
    entry.write_text(text)


BROKEN = [
    pytest.param(lambda text: "", id="empty"),
    pytest.param(lambda text: text[:-20], id="cut"),
    pytest.param(lambda text: "[]", id="another document"),
    pytest.param(lambda text: "\0" * 100, id="binary"),
    pytest.param(lambda text: "[" * 100000, id="deep"),
    pytest.param(lambda text: text.replace('"code"', '"kode"'), id="a key missing"),
    pytest.param(lambda text: json.dumps({**json.loads(text), "code": "0"}), id="another version's"),
    pytest.param(lambda text: json.dumps({**json.loads(text), "policy": ["x"]}), id="not a policy"),
    pytest.param(lambda text: text.replace("536870912", '"536870912"'), id="text for a number"),
    pytest.param(lambda text: text.replace("536870912", "true"), id="true for a number"),
    pytest.param(lambda text: text.replace('"stdio"', '"tcp"'), id="a choice that does not exist"),
]


@pytest.mark.parametrize("spoil", BROKEN)
def test_a_broken_entry_is_ignored_and_rewritten(world, spoil) -> None:
    policy = world.load()
    good = world.entries()[0].read_text()
    assert spoil(good) != good
    _plant(world, spoil(good))
    assert world.load() == policy
    assert world.entries()[0].read_text() == good


def _poison(world) -> str:
    """An entry that would grant what no profile says, planted over the good one."""
    (entry,) = world.entries()
    good = entry.read_text()
    bad = good.replace("536870912", "536870913")
    assert bad != good
    entry.write_text(bad)
    return bad


def test_the_poison_of_the_next_tests_would_work(world) -> None:
    world.load()
    _poison(world)
    assert world.load().quota.memory == 536870913


def test_an_entry_that_others_can_write_is_ignored(world) -> None:
    world.load()
    _poison(world)
    world.entries()[0].chmod(0o620)
    assert world.load().quota.memory == 536870912


def test_an_entry_in_a_directory_that_others_can_write_is_ignored(world) -> None:
    world.load()
    _poison(world)
    world.entries()[0].parent.chmod(0o777)
    assert world.load().quota.memory == 536870912


@pytest.mark.root
def test_an_entry_of_another_user_is_ignored(world) -> None:
    world.load()
    _poison(world)
    os.chown(world.entries()[0], 12345, 12345)
    assert world.load().quota.memory == 536870912


def test_an_entry_that_is_a_link_is_ignored(world, tmp_path) -> None:
    world.load()
    (tmp_path / "x").write_text(_poison(world))
    entry = world.entries()[0]
    entry.unlink()
    entry.symlink_to(tmp_path / "x")
    assert world.load().quota.memory == 536870912


def test_an_entry_that_is_a_pipe_does_not_hang(world) -> None:
    world.load()
    entry = world.entries()[0]
    entry.unlink()
    os.mkfifo(entry)
    assert world.load().name == "base"


def test_the_cache_is_private(world) -> None:
    world.load()
    (entry,) = world.entries()
    assert oct(entry.stat().st_mode & 0o777) == "0o600"
    assert oct(entry.parent.stat().st_mode & 0o777) == "0o700"
    assert oct(entry.parent.parent.stat().st_mode & 0o777) == "0o700"


def test_a_cache_that_cannot_be_written_costs_only_time(world) -> None:
    (world.home / ".cache").write_text("a file where the directory would be")
    assert world.load().name == "base"
    assert world.entries() == []


def test_without_a_home_nothing_is_written(world) -> None:
    world.environ = {}
    assert world.load().name == "base"
    assert not os.path.exists("/.cache/mcp-sandbox/policies")


def test_options_are_never_remembered(world) -> None:
    world.load(memory="1G", allow_read=("/x",))
    assert world.load() == world.load()
    assert world.load().files.read == ()


@pytest.mark.parametrize("value", [None, [], {}, 1, "x", [[]], [None] * 18])
def test_the_codec_takes_nothing_but_a_policy(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode(value)


def test_the_codec_is_quick() -> None:
    encoded = encode(Policy(name="x"))
    decode(encoded)
    began = time.perf_counter()
    for _ in range(100):
        decode(encoded)
    assert (time.perf_counter() - began) / 100 < 0.002


def test_fields_mean_what_the_standard_library_says() -> None:
    every = [one for one in (*vars(model).values(), *vars(lock).values()) if isinstance(one, type)]
    records = [one for one in every if is_record(one)]
    assert len(records) > 20
    for record in records:
        assert codec._hints(record) == tuple(typing.get_type_hints(record).values())
