"""A lock holds: what starts is what it names, and whatever was changed without a person's yes is refused."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox import locks
from sandbox.choice import choose
from sandbox.errors import SandboxNotBuilt
from sandbox.lock_keys import keys
from sandbox.locked import held_policy
from sandbox.policy import load
from sandbox.policy.model import Policy
from sandbox.records import names, replace
from sandbox.supply import accepted, sealed
from sandbox.supply.granted import profile_digest
from sandbox.supply.lock import Allowed, ImageLock, Lock, Package, PinLock, Place
from sandbox.supply.lock_text import spell
from tests.locked_world import COMMAND, World
from tests.supply import toolchain

HEX = "cd" * 32


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.built()
    return made


def refused(world: World, code: str, *command: str, **more: Any) -> str:
    with pytest.raises(SandboxNotBuilt) as error:
        world.start(*command, **more)
    assert error.value.code == code, error.value
    assert error.value.exit_status == 125
    return str(error.value)


# --- what starts ------------------------------------------------------------------------------------


@pytest.mark.threat("K4", proves="what was locked starts, whatever is newest")
def test_what_was_locked_starts_whatever_is_newest_now(world: World) -> None:
    """The control: without the lock the newest is what starts."""
    before = world.start()
    assert before is None
    world.put()
    newest = world.built(version="2.0.0")
    locked = world.start()
    assert locked is not None
    assert locked.digest != newest.digest
    assert locked.resolved == ("pkg@1.2.3",)


def test_other_arguments_and_other_runners_are_the_same_server(world: World) -> None:
    world.put()
    started = world.start("bunx", "pkg", "--verbose", "/x")
    assert started is not None
    assert started.argv[-2:] == ("--verbose", "/x")


def test_a_second_start_asks_no_interpreter(world: World) -> None:
    world.put()
    first = world.start()
    node = world.root / "node/bin/node"
    kept = node.stat()
    node.write_bytes(b"#!/bin/sh\nexit 1".ljust(kept.st_size))
    os.utime(node, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert world.start() == first


def _evil(content: bytes) -> bytes:
    for good, evil in ((b"/opt/mcp/", b"/tmp/evil"), (b"bin/node", b"bin/evil"), (b"ana", b"eve")):
        content = content.replace(good, evil)
    return content


def test_what_the_cache_remembers_is_believed_with_its_seal_alone(world: World) -> None:
    """The control: with the key that lies beside the locks the same change is believed."""
    world.put()
    honest = world.start()
    kept = sorted((world.root / "cache/mcp-sandbox/locks").iterdir())
    assert len(kept) == 2  # the compiled lock, and this machine's interpreter
    for file in kept:
        content = file.read_bytes()
        assert _evil(content) != content
        file.write_bytes(content[:64] + _evil(content[64:]))
        assert world.start() == honest
    for file in kept:
        sealed.keep(file.name, _evil(file.read_bytes()[64:]), world.environ)
    found = world.found()
    assert found is not None
    assert found.lock.by == "eve"


@pytest.mark.threat("K4", proves="one changed byte of a locked tree is no start")
def test_one_changed_byte_of_the_tree_is_refused_by_its_path(world: World) -> None:
    world.put()
    started = world.start()
    assert started is not None
    file = Path(started.tree, "node_modules/pkg/main.js")
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b"node", b"nodf"))
    assert str(file) in refused(world, "tree-changed")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        pytest.param(("npx", "-y", "pkg@1.2.4"), "`pkg@1.2.3` is locked", id="another version"),
        pytest.param(("npx", "-y", "pkg@^2"), "`pkg@1.2.3` is not", id="a range that it is not of"),
        pytest.param(("npx", "-p", "pkg", "other"), "`pkg` was locked", id="another program of the tree"),
        pytest.param(
            ("npx", "-y", "--registry", "https://r.example/", "pkg"), "options", id="another registry"
        ),
    ],
)
def test_what_asks_for_something_else_is_refused(world: World, command: tuple[str, ...], says: str) -> None:
    world.put()
    error = refused(world, "lock-mismatch", *command)
    assert says in error
    assert "mcp-sandbox update pkg" in error


@pytest.mark.parametrize("spec", ["pkg", "pkg@latest", "pkg@next", "pkg@^1", "pkg@>=1.2 <2", "pkg@1.2.3"])
def test_what_leaves_the_version_open_gets_the_locked_one(world: World, spec: str) -> None:
    world.put()
    assert world.start("npx", "-y", spec) is not None


def test_another_kind_of_machine_is_refused(world: World) -> None:
    other = replace(world.lock().trees[0], fits="linux-riscv64 node-1")
    world.put(trees=(other,))
    assert "linux-riscv64" in refused(world, "lock-other-machine")


# --- what changed -----------------------------------------------------------------------------------

_MUTATED: dict[str, Any] = {
    "name": "other",
    "kind": "pypi",
    "asked": ("other@latest",),
    "command": ("npx", "other"),
    "made": "2020-01-01T00:00:00Z",
    "by": "mallory",
    "python": "3.9",
    "options": ("--registry", "https://evil.example/"),
    "packages": (Package("pkg", "9.9.9", ("sha512-EVIL",)),),
    "trees": (),
    "image": ImageLock("x", f"sha256:{HEX}", "", (f"sha256:{HEX}",)),
    "places": (Place("/x", HEX, 1),),
    "bundle": f"sha256:{HEX}",
    "scripts": (Allowed("scripts evil", "ana"),),
    "waived": (Allowed("malicious evil", "ana"),),
    "unchecked": ("nothing",),
    "profile": "cli",
    "profile_digest": HEX,
    "server": "evil 1",
    "protocol": "1",
    "pins": (PinLock("tool", "evil", HEX),),
    "keys": (),
    "wants": ("evil.example:443",),
}


@pytest.mark.parametrize("field", names(Lock))
def test_a_field_that_a_hand_changed_is_refused(world: World, field: str) -> None:
    path = world.put()
    path.write_text(spell(replace(world.lock(), **{field: _MUTATED[field]})))
    assert str(path) in refused(world, "lock-changed")


def test_any_flipped_byte_of_a_lock_is_refused(world: World) -> None:
    path, draw = world.put(), random.Random(9)  # noqa: S311 - a seed, no secret
    raw = path.read_bytes()
    for _ in range(150):
        at, bit = draw.randrange(len(raw)), 1 << draw.randrange(8)
        path.write_bytes(raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :])
        assert str(path) in refused(world, "lock-changed")
    path.write_bytes(raw)
    assert world.start() is not None


def test_a_lock_that_is_gone_is_missed(world: World) -> None:
    path = world.put()
    path.unlink()
    assert str(path) in refused(world, "lock-gone")


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(_fifo, "lock-unreadable", id="a FIFO"),
        pytest.param(_directory, "lock-unreadable", id="a directory"),
        pytest.param(lambda path: os.truncate(path, 9 << 20), "lock-unreadable", id="nine megabytes"),
        pytest.param(lambda path: os.truncate(path, 10), "lock-changed", id="cut off"),
    ],
)
def test_what_is_no_lock_is_refused(world: World, spoil: Callable[[Path], None], code: str) -> None:
    path = world.put()
    spoil(path)
    assert str(path) in refused(world, code)


def test_a_profile_that_grants_something_else_is_refused(world: World) -> None:
    profiles = world.root / "config/mcp-sandbox/profiles"
    profiles.mkdir(parents=True)
    own = profiles / "own.toml"
    own.write_text('schema = 1\nextends = "node"\n[quota]\nmemory = "300M"\n')
    policy = choose(world.wish(profile="own")).policy
    world.put(profile="own", profile_digest=profile_digest(policy))
    assert world.start(profile="own") is not None
    own.write_text('# another word\nschema = 1\nextends = "node"\n[quota]\nmemory = "300M"\n')
    assert world.start(profile="own") is not None
    own.write_text('schema = 1\nextends = "node"\n[network]\nallow = ["evil.example"]\n')
    assert "grants something else" in refused(world, "profile-changed", profile="own")
    assert "`base` is to be used" in refused(world, "profile-changed")


def test_a_lock_that_says_nothing_of_the_profile_holds_for_none(world: World) -> None:
    """The control: with what it grants the same lock starts."""
    world.put(profile_digest="")
    refused(world, "profile-changed")
    world.put()
    assert world.start() is not None


def test_options_of_one_run_are_no_change_of_the_profile(world: World) -> None:
    from sandbox.policy.flags import Flags

    world.put()
    assert world.start(flags=Flags(memory="300M")) is not None


JSON = {
    "name": "io.test/x",
    "description": "a server",
    "version": "1.0.0",
    "packages": [
        {"registryType": "npm", "identifier": "pkg", "version": "1.2.3", "transport": {"type": "stdio"}}
    ],
}


@pytest.mark.parametrize("turn", range(1, 7))
@pytest.mark.parametrize(
    ("command", "named"),
    [
        pytest.param(COMMAND, "", id="a package"),
        pytest.param(("env", "A=b", *COMMAND), "", id="behind env"),
        pytest.param(("./server.json",), "", id="a server.json"),
        pytest.param((), '[server]\ncommand = ["./server.json"]\n', id="a profile's server.json"),
        pytest.param((), '[server]\ncommand = ["npx", "-y", "pkg"]\n', id="a profile's package"),
    ],
)
def test_the_profile_that_is_held_to_a_lock_is_the_one_that_the_server_gets(
    world: World, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], named: str, turn: int
) -> None:
    """One that grants more whenever it is read for the n-th time, and is the locked one at all others."""
    (world.project / "server.json").write_text(json.dumps(JSON))
    path = Path(world.environ["XDG_CONFIG_HOME"], "mcp-sandbox/profiles/own.toml")
    path.parent.mkdir(parents=True)
    locked = 'schema = 1\nextends = "base"\n' + named
    turns, read = iter(range(1, 100)), load.read

    def swapped(*args: Any, **more: Any) -> Policy:
        path.write_text(locked + '[network]\nallow = ["evil.test"]\n' * (next(turns) == turn))
        return read(*args, **more)

    monkeypatch.setattr(load, "read", swapped)
    wish = replace(world.wish(profile="own"), command=command)
    chosen = choose(wish)
    assert held_policy(chosen, wish).network.allow == chosen.policy.network.allow
    assert bool(chosen.policy.network.allow) == (turn == next(turns) - 1), "the control: the last one counts"


def test_two_servers_of_one_package_have_two_locks(world: World) -> None:
    world.put()
    wish = world.wish(profile="node")
    from sandbox.locked import plain_policy

    digest = profile_digest(plain_policy(choose(wish), wish))
    world.put(world.users.with_name("two.lock"), name="two", profile="node", profile_digest=digest)
    by_profile = [world.found(), world.found(profile="node")]
    assert [one.name if one else None for one in by_profile] == ["pkg", "two"]


# --- a project's locks ------------------------------------------------------------------------------


def brought(world: World) -> Path:
    """A lock that came with a repository, which nobody has accepted."""
    world.projects.parent.mkdir(exist_ok=True)
    world.projects.write_text(spell(world.lock(by="mallory")))
    return world.projects


def test_a_lock_that_came_with_a_project_is_refused_until_it_is_trusted(world: World) -> None:
    path = brought(world)
    error = refused(world, "untrusted-lock")
    assert f"mcp-sandbox trust {path}" in error
    accepted.accept(str(path), path.read_bytes(), world.environ)
    found = world.found()
    assert found is not None
    assert found.lock.by == "mallory"
    path.write_text(spell(world.lock(by="eve")))
    assert str(path) in refused(world, "lock-changed")


def test_a_trusted_lock_starts_a_program_only_as_its_package_has_it(world: World) -> None:
    """The control: the same lock with the words of the tree itself."""
    whole = world.lock()
    tree = whole.trees[0]
    (name, words), *others = tree.starts
    evil = (name, (words[0], "--import=data:text/javascript,evil()", *words[1:]))
    world.put(world.projects, trees=(replace(tree, starts=(evil, *others)),))
    assert "evil()" in refused(world, "lock-untrue")
    world.put(world.projects)
    assert world.start() is not None


def test_a_trusted_lock_lists_the_packages_of_the_tree_that_it_names(world: World) -> None:
    """Else the tree is installed from what it lists, and is another one."""
    other = world.built(version="6.6.6")
    world.builder.package = dict(toolchain.PACKAGE)
    tree = replace(world.lock().trees[0], digest=other.digest)
    world.put(world.projects, trees=(tree,))
    refused(world, "lock-not-rebuilt")
    world.put(
        world.projects,
        trees=(tree,),
        packages=(Package("pkg", "6.6.6", ("sha512-AAAA",), place="node_modules/pkg"),),
    )
    assert world.start() is not None


def test_the_project_comes_before_the_user(world: World) -> None:
    world.put()
    world.put(world.projects, by="of the project")
    found = world.found()
    assert found is not None
    assert found.lock.by == "of the project"


def test_another_projects_lock_is_nobodys_here(world: World) -> None:
    other = world.root / "other/.mcp-sandbox"
    other.mkdir(parents=True)
    world.put(other / "pkg.lock")
    assert world.found() is None


def test_a_link_to_another_projects_locks_leads_to_none(world: World) -> None:
    """The control: where the other project's lock itself is, it comes before the user's."""
    other = world.root / "other/.mcp-sandbox"
    other.mkdir(parents=True)
    world.put(other / "pkg.lock", by="of another project")
    world.put()
    world.projects.parent.symlink_to(other)
    found = world.found()
    assert found is not None
    assert found.lock.by == "ana"
    world.project = other.parent
    found = world.found()
    assert found is not None
    assert found.lock.by == "of another project"


def test_a_lock_for_another_server_is_no_obstacle(world: World) -> None:
    world.projects.parent.mkdir()
    world.projects.write_text(spell(world.lock(keys=("npm another",))))
    assert world.found() is None


def test_what_a_project_brings_and_nobody_can_read_is_refused(world: World) -> None:
    world.projects.parent.mkdir()
    world.projects.write_text("\x1b[2J = 1")
    assert "\x1b" not in refused(world, "lock-unreadable")


_DESCRIBED: dict[str, Any] = {
    "name": "org.example/pkg",
    "description": "d",
    "version": "1.2.3",
    "packages": [
        {"registryType": "npm", "identifier": "pkg", "version": "1.2.3", "transport": {"type": "stdio"}}
    ],
}


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(
            {"environmentVariables": [{"name": "NODE_OPTIONS", "value": "--import=data:,x"}]}, id="a variable"
        ),
        pytest.param({"packageArguments": [{"type": "positional", "value": "x"}]}, id="an argument"),
    ],
)
def test_a_server_json_that_says_something_else_is_refused(world: World, more: dict[str, Any]) -> None:
    """The control: as it was locked it starts."""
    file = world.project / "server.json"
    file.write_text(json.dumps(_DESCRIBED))
    wish = world.wish(str(file))
    chosen = choose(wish)
    held = held_policy(chosen, wish)
    world.put(keys=keys(chosen, wish), profile_digest=profile_digest(held), profile=held.name)
    assert world.found(str(file)) is not None
    assert world.found("npx", "-y", "pkg@1.2.3") is None  # which is another server
    package = {**_DESCRIBED["packages"][0], **more}
    file.write_text(json.dumps({**_DESCRIBED, "packages": [package]}))
    assert str(file) in refused(world, "profile-changed", str(file))


# --- the list of what was accepted ------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.chmod(0o666), id="others may write it"),
        pytest.param(lambda path: path.write_text("{"), id="no JSON"),
        pytest.param(lambda path: path.write_text('{"schema": 2, "locks": {}}'), id="another schema"),
        pytest.param(lambda path: path.write_text("[" * 100_000), id="without end"),
        pytest.param(lambda path: path.write_text('{"schema": 1, "locks": {"/x": 1}}'), id="no entry"),
    ],
)
def test_a_list_that_cannot_be_believed_stops_every_start(
    world: World, spoil: Callable[[Path], None]
) -> None:
    world.put()
    spoil(world.root / "config/mcp-sandbox/locks.json")
    refused(world, "locks-unusable")


@pytest.mark.parametrize("after", range(3))
def test_a_switch_that_breaks_off_leaves_a_lock_that_starts(
    world: World, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of its three writes is the last one: the old lock holds or the new one, never none."""
    world.put()
    real = accepted._replace
    written: list[str] = []

    def replace_until(path: str, raw: bytes, mode: int) -> None:
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(path)
        real(path, raw, mode)

    monkeypatch.setattr(accepted, "_replace", replace_until)
    with pytest.raises(KeyboardInterrupt):
        world.put(by="new")
    monkeypatch.undo()
    found = world.found()
    assert found is not None
    assert found.lock.by == ("ana" if after < 2 else "new")
    assert world.start() is not None


def test_what_is_dropped_is_not_missed(world: World) -> None:
    path = world.put()
    accepted.drop(str(path), world.environ)
    assert world.found() is None
    assert not path.exists()


def test_the_previous_lock_keeps_its_trees_and_starts_nothing(world: World) -> None:
    previous = Path(f"{world.users}{accepted.PREVIOUS}")
    world.put(previous)
    assert world.found() is None
    digest = world.lock().trees[0].digest
    assert accepted.kept(world.environ) == {digest: ("pkg (previous)",)}


def test_files_are_the_users_alone_but_a_projects(world: World) -> None:
    world.put()
    world.put(world.projects)
    kept = world.root / "config/mcp-sandbox/locks.json"
    assert [oct(one.stat().st_mode & 0o777) for one in (kept, world.users, world.projects)] == [
        "0o600", "0o600", "0o644",
    ]  # fmt: skip


# --- nothing without a lock -------------------------------------------------------------------------


def test_what_must_be_locked_and_is_not_does_not_start(world: World) -> None:
    error = refused(world, "not-locked", *COMMAND, "--api-key", "SEKRET", locks="require")
    assert "mcp-sandbox lock -- npx -y pkg" in error
    assert "SEKRET" not in error
    world.put()
    assert world.start(locks="require") is not None


def test_a_profile_may_ask_for_a_lock(world: World) -> None:
    profiles = world.root / "config/mcp-sandbox/profiles"
    profiles.mkdir(parents=True)
    (profiles / "own.toml").write_text('schema = 1\nextends = "node"\n[supply]\nlock = "require"\n')
    assert "own.toml:4" in refused(world, "not-locked", profile="own")


# --- what it is found by ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "found"),
    [
        pytest.param(("npx", "-y", "@a/b@1.0.0", "x"), ("npm @a/b",), id="npm"),
        pytest.param(("npx", "-p", "b", "-p", "a@2", "tool"), ("npm a b",), id="two packages"),
        pytest.param(("uvx", "Some_Tool[extra]==1.0"), ("pypi some-tool",), id="PyPI"),
        pytest.param(("docker", "run", "-i", "docker.io/a/b:1.2"), ("oci a/b",), id="an image"),
        pytest.param(("/usr/bin/cat", "-"), ("program /usr/bin/cat",), id="a program"),
        pytest.param(("uv", "run", "-q", "x", "y"), ("program -q CWD run uv x",), id="a project's program"),
        pytest.param(("https://mcp.example/",), (), id="elsewhere"),
    ],
)
def test_a_server_is_known_by_what_it_is(
    world: World, command: tuple[str, ...], found: tuple[str, ...]
) -> None:
    wish = world.wish(*command)
    assert keys(choose(wish), wish) == tuple(one.replace("CWD", str(world.project)) for one in found)


def test_a_script_is_known_by_its_path(world: World) -> None:
    script = world.project / "server.py"
    script.touch()
    for command in (("python3", "server.py"), ("python3", "-u", f"{world.project}/../project/server.py")):
        wish = world.wish(*command)
        assert keys(choose(wish), wish) == (f"program {script} python",)
    for first, second in (
        (("-m", "a"), ("-m", "b")),
        (("-c", "1"), ("-c", "2")),
        (("server.py",), ("x.py",)),
    ):
        one, other = world.wish("python3", *first), world.wish("python3", *second)
        assert keys(choose(one), one) != keys(choose(other), other)


# --- behind another program ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("env", "A=b", "npx", "-y", "pkg"),
        ("/usr/bin/env", "npx", "-y", "pkg@latest", "--x"),
        ("sh", "-c", "env A=b npx -y pkg"),
    ],
)
def test_what_env_starts_is_what_is_locked(world: World, command: tuple[str, ...]) -> None:
    """The control: without a lock the newest is what starts."""
    assert world.found(*command) is None
    world.put()
    world.built(version="2.0.0")
    started = world.start(*command)
    assert started is not None
    assert started.resolved == ("pkg@1.2.3",)
    script = world.project / "server.py"
    script.touch()
    wish, behind = world.wish("python3", "server.py"), world.wish("env", "A=b", "python3", "server.py")
    assert keys(choose(behind), behind) == keys(choose(wish), wish)


def test_a_lock_asked_for_names_the_command_without_what_env_sets(world: World) -> None:
    error = refused(world, "not-locked", "env", "TOKEN=s3cret", "npx", "-y", "pkg", locks="require")
    assert "mcp-sandbox lock -- npx -y pkg" in error
    assert "s3cret" not in error


@pytest.mark.parametrize(
    "wrapper",
    [
        ("nice",),
        ("timeout", "60"),
        ("env", "-u", "X"),
        ("./env", "A=b"),
        ("cross-env", "A=b"),
        ("npx", "-y", "dotenv-cli", "--"),
    ],
    ids=" ".join,
)
def test_a_start_behind_another_program_says_that_it_is_not_locked(
    world: World, wrapper: tuple[str, ...]
) -> None:
    """The control: without a lock, with another one, and for the command itself there is nothing to say."""
    wish = world.wish(*wrapper, *COMMAND)
    assert locks.past(choose(wish), wish) == ""
    at = world.put()
    line = locks.past(choose(wish), wish)
    assert line.startswith("not locked: ")
    assert str(at) in line
    for command in (COMMAND, (*wrapper, "npx", "-y", "other")):
        other = world.wish(*command)
        assert locks.past(choose(other), other) == ""
    with pytest.raises(SandboxNotBuilt, match="has no lock"):
        world.found(*wrapper, *COMMAND, locks="require")


def test_a_lock_of_another_place_is_not_named(world: World) -> None:
    wish = world.wish("nice", *COMMAND)
    world.put(world.root / "other/.mcp-sandbox/pkg.lock")
    assert locks.past(choose(wish), wish) == ""


# --- what a start costs -----------------------------------------------------------------------------

_WARM = """
import json, os, sys
from sandbox.choice import choose
from sandbox.prepared import Wish
import sandbox.prepare
from sandbox.locked import lock_of
wish = Wish({command!r}, dict(os.environ), {cwd!r})
found = lock_of(choose(wish), wish)
print(json.dumps([found.name, *sys.modules]))
"""


def test_a_start_from_a_lock_imports_nothing_heavy(world: World) -> None:
    world.put()
    world.start()
    code = _WARM.format(command=COMMAND, cwd=str(world.project))
    printed = subprocess.check_output(
        [sys.executable, "-c", code], text=True, timeout=30, env={**world.environ, "PYTHONPATH": os.getcwd()}
    )
    name, *loaded = json.loads(printed)
    assert name == "pkg"
    assert not {one.partition(".")[0] for one in loaded}.intersection(
        ("tomllib", "asyncio", "pydantic", "packaging", "msgspec", "dataclasses", "subprocess", "inspect")
    )
