"""The survey of a real tree says what is there, and what it says is enough for the plan."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.host.survey import home_of, survey
from sandbox.plan.facts import Closure, HostFacts, Probe, Survey
from sandbox.plan.mounts import target_of
from sandbox.plan.plan import plan
from sandbox.plan.spec import Bind, File, Spec, Symlink
from sandbox.policy.model import Files, Origin, PathRule, Policy

WORKS = Probe(True)
FACTS = HostFacts("6.18", "x86_64", 1000, 1000, WORKS, WORKS, WORKS, WORKS, WORKS, WORKS)
COMMAND = Closure(("/usr/bin/env",))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a project, below a place that no rule calls secret."""
    made = tmp_path / "users" / "u"
    (made / "project" / "docs").mkdir(parents=True)
    return made


def rules(*texts: object) -> tuple[PathRule, ...]:
    pairs = (str(text).partition(":") for text in texts)
    return tuple(PathRule(source, target or None, Origin("web.toml", 5)) for source, _, target in pairs)


def look(
    home: Path, *, read: tuple[object, ...] = (), write: tuple[object, ...] = (), **changes: object
) -> Survey:
    policy = Policy("web", files=Files(read=rules(*read), write=rules(*write)))
    return survey(policy, COMMAND, environ={"HOME": str(home)}, cwd=str(home / "project"))


def planned(
    home: Path,
    *,
    read: tuple[object, ...] = (),
    write: tuple[object, ...] = (),
    expose: tuple[str, ...] = (),
    closure: Closure = COMMAND,
    environ: Mapping[str, str] | None = None,
) -> Spec:
    policy = Policy("web", files=Files(read=rules(*read), write=rules(*write), expose=expose))
    environ = {"HOME": str(home), **(environ or {})}
    return plan(policy, FACTS, survey(policy, closure, environ=environ, cwd=str(home / "project")))


def own_binds(spec: Spec) -> dict[str, tuple[str, bool]]:
    own = (step for step in spec.view if isinstance(step, Bind) and step.why != "system")
    return {step.target: (step.source, step.writable) for step in own}


def test_kinds_owners_and_real_paths(home: Path) -> None:
    (home / "file").write_text("x")
    (home / "link").symlink_to("project")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(home / "sock"))
        names = ("project", "file", "link", "sock", "nope")
        found = look(home, read=tuple(home / name for name in names)).paths
    assert [found[str(home / name)].kind for name in names] == ["dir", "file", "dir", "other", ""]
    assert found[str(home / "link")].real == str(home / "project")
    owner = os.stat(home / "file")
    assert (found[str(home / "file")].uid, found[str(home / "file")].gid) == (owner.st_uid, owner.st_gid)


def test_a_circle_of_links_is_nothing(home: Path) -> None:
    (home / "a").symlink_to("b")
    (home / "b").symlink_to("a")
    assert look(home, read=(home / "a",)).paths[str(home / "a")].kind == ""


def test_public_files_are_copied_and_private_ones_are_not(home: Path) -> None:
    found = look(home)
    assert found.etc["/etc/os-release"] == Path("/etc/os-release").read_bytes()
    assert not [path for path in found.etc if "shadow" in path or "passwd" in path or "machine-id" in path]
    for path in found.etc:
        # What is copied is what anybody on this host may read anyway.
        assert os.stat(path).st_mode & 0o004, path


def test_the_layout_is_the_hosts(home: Path) -> None:
    found = look(home).system
    assert found["/usr"] == ""
    for path in ("/bin", "/lib"):
        assert found[path] == (os.readlink(path) if os.path.islink(path) else "")
    assert "/libx32" not in found or os.path.lexists("/libx32")


@pytest.mark.threat("D1", proves="an alias of a secret place is refused on a real tree")
@pytest.mark.parametrize("alias", ["symlink to it", "symlink to its parent", "it is a symlink itself"])
def test_a_secret_place_is_found_behind_links(home: Path, tmp_path: Path, alias: str) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    wanted: Path
    if alias == "symlink to it":
        (home / ".ssh").mkdir()
        wanted = tmp_path / "alias"
        wanted.symlink_to(home / ".ssh")
    elif alias == "symlink to its parent":
        (home / ".ssh").mkdir()
        (tmp_path / "alias").symlink_to(home)
        wanted = tmp_path / "alias" / ".ssh"
    else:
        (home / ".ssh").symlink_to(keys)
        wanted = keys
    # The control: the same shape without the secret is mounted.
    assert own_binds(planned(home, read=(home / "project",)))
    with pytest.raises(SandboxError) as caught:
        planned(home, read=(wanted,))
    assert caught.value.code == "secret-place"


def test_a_home_behind_a_link_is_the_home_by_both_names(home: Path, tmp_path: Path) -> None:
    spelled = tmp_path / "h"
    spelled.symlink_to(home)
    for name in (spelled, home):
        with pytest.raises(SandboxError, match="home directory"):
            planned(spelled, read=(name,))
        with pytest.raises(SandboxError, match="the home directory"):
            planned(spelled, read=(home.parent,))
    assert own_binds(planned(spelled, read=(spelled / "project",))) == {
        str(home / "project"): (str(home / "project"), False)
    }


def test_the_survey_holds_every_fact_the_plan_asks_for(home: Path, tmp_path: Path) -> None:
    project = home / "project"
    (project / ".git" / "hooks").mkdir(parents=True)
    (project / ".mcp.json").write_text("{}")
    data = tmp_path / "data"
    data.mkdir()
    (home / "link").symlink_to(data)
    (tmp_path / "tool").mkdir()
    (project / "tool").mkdir()
    closure = Closure(("/usr/bin/env",), binds=((str(tmp_path / "tool"), "/work/tool"),))
    spec = planned(home, write=(f"{project}:/work", home / "link"), closure=closure)
    assert own_binds(spec) == {
        str(data): (str(data), True),
        "/work": (str(project), True),
        "/work/.git": (str(project / ".git"), True),
        "/work/.git/hooks": (str(project / ".git/hooks"), False),
        "/work/.mcp.json": (str(project / ".mcp.json"), False),
        "/work/tool": (str(tmp_path / "tool"), False),
    }
    assert Symlink(str(home / "link"), str(data)) in spec.view
    assert spec.cwd == "/work"


def test_a_mount_in_a_kept_home_needs_a_place_there(home: Path) -> None:
    kept = home / ".local/state/mcp-sandbox/homes/keep"
    policy = Policy("web", files=Files(read=rules(f"{home}/project:/home/mcp/in"), persist="keep"))

    def spec() -> Spec:
        return plan(policy, FACTS, survey(policy, COMMAND, environ={"HOME": str(home)}, cwd="/"))

    with pytest.raises(SandboxError, match="homes/keep/in"):
        spec()
    (kept / "in").mkdir(parents=True)
    assert own_binds(spec()) == {
        "/home/mcp": (str(kept), True),
        "/home/mcp/in": (str(home / "project"), False),
    }


def test_a_waiver_works_on_a_real_tree(home: Path) -> None:
    (home / ".aws").mkdir()
    spec = planned(home, read=("~/.aws",), expose=("~/.aws",))
    assert str(home / ".aws") in own_binds(spec)
    assert spec.waivers


def test_a_client_that_passes_no_home(home: Path) -> None:
    assert home_of({}) == os.path.normpath(os.path.expanduser(f"~{_user()}"))
    assert home_of({"HOME": "relative"}) == home_of({})
    assert home_of({"HOME": f"{home}/"}) == str(home)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


def test_looking_changes_nothing_and_a_plan_of_it_is_always_the_same(home: Path) -> None:
    before = _state(home)
    specs = [planned(home, read=(home / "project",)) for _ in range(3)]
    assert specs[0] == specs[1] == specs[2]
    assert _state(home) == before


def _state(root: Path) -> str:
    entries = [
        f"{path} {os.lstat(path).st_mtime_ns} {os.lstat(path).st_mode}" for path in sorted(root.rglob("*"))
    ]
    return hashlib.sha256("\n".join(entries).encode()).hexdigest()


def test_files_that_nobody_may_read_are_left_out(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sandbox.host.survey.COPIED", (str(tmp_path / "absent"), str(tmp_path)))
    monkeypatch.setattr("sandbox.host.survey.COPIED_DIRECTORIES", (str(tmp_path / "absent"),))
    spec = planned(home)
    assert not [
        step for step in spec.view if isinstance(step, File) and target_of(step).startswith(str(tmp_path))
    ]


def test_it_is_cheap(home: Path) -> None:
    def once() -> float:
        start = time.perf_counter()
        look(home, read=(home / "project",), write=(home / "project",))
        return time.perf_counter() - start

    once()
    # The best of many: what it costs, not what else this machine was doing.
    assert min(once() for _ in range(20)) < 0.010
