"""Loading: where a profile is found, how a chain merges, what options add, what is refused."""

import os
from pathlib import Path

import pytest

from sandbox.errors import ProfileError, UsageError
from sandbox.policy import trust
from sandbox.policy.load import digest
from sandbox.policy.model import Behaviour, HostBudget, HostRule, Origin, PathRule, Policy, Secret
from sandbox.policy.search import shipped

WHOLE = Path(__file__).with_name("design.toml")


def _accept(world, *paths: Path) -> None:
    trust.remember({str(path): digest(path.read_bytes()) for path in paths}, world.environ)


# --- the search ----------------------------------------------------------------------------------


def test_without_a_name_it_is_base_and_base_grants_nothing(world) -> None:
    policy = world.load()
    assert policy.name == "base"
    assert (policy.files.read, policy.files.write, policy.network.allow, policy.env.passed) == (
        (),
        (),
        (),
        (),
    )
    assert policy.quota.memory == 512 << 20


def test_the_users_profile_comes_before_the_shipped_one(world) -> None:
    world.user("node", "description = 'mine'")
    assert world.load("node").description == "mine"


def test_the_projects_profile_comes_before_the_users(world) -> None:
    world.user("web", "description = 'mine'")
    _accept(world, world.project("web", "description = 'ours'"))
    assert world.load("web").description == "ours"


def test_a_project_is_searched_up_to_its_git_directory(world) -> None:
    _accept(world, world.project("web", "description = 'ours'"))
    world.cwd = world.cwd / "a" / "b"
    world.cwd.mkdir(parents=True)
    assert world.load("web").description == "ours"


def test_nothing_above_the_git_directory_is_searched(world) -> None:
    path = world.home / ".mcp-sandbox/ours.toml"
    path.parent.mkdir()
    path.write_text("schema = 1")
    with pytest.raises(ProfileError, match="no profile is called `ours`"):
        world.load("ours")


def test_a_shared_parent_directory_is_not_a_project(world, tmp_path: Path) -> None:
    world.cwd = tmp_path / "shared" / "mine"
    world.cwd.mkdir(parents=True)
    world.project("base", "", below="..")
    assert world.load().sources[0][0].endswith("/profiles/base.toml")


@pytest.mark.parametrize("name", ["./web.toml", "web.toml", "sub/../web.toml", "~/project/web.toml"])
def test_a_path_is_a_path(world, name: str) -> None:
    (world.cwd / "sub").mkdir()
    world.file("web.toml", "description = 'by path'")
    assert world.load(name).description == "by path"


def test_a_path_extends_its_neighbour_and_then_the_shipped_ones(world) -> None:
    world.file("web.toml", "extends = 'near'")
    world.file("near.toml", "extends = 'node'")
    names = [os.path.basename(path) for path, _ in world.load("./web.toml").sources]
    assert names == ["web.toml", "near.toml", "node.toml", "base.toml"]


def test_a_profile_that_extends_its_own_name_builds_on_the_next_place(world) -> None:
    world.user("node", "extends = 'node'\n[quota]\npids = 64")
    policy = world.load("node")
    assert policy.quota.pids == 64
    assert "LANG" in policy.env.passed


def test_a_shipped_profile_never_builds_on_a_users(world) -> None:
    world.user("base", "[quota]\npids = 4")
    assert world.load("node").quota.pids == 128


def test_a_users_profile_never_builds_on_a_projects(world) -> None:
    _accept(world, world.project("shared", "[files]\nread = ['/']"))
    world.user("web", "extends = 'shared'")
    with pytest.raises(ProfileError, match="no profile is called `shared`"):
        world.load("web")


NAMES = [
    pytest.param("nod", "profile-not-found", "did you mean `node`?", id="nearly a name"),
    pytest.param("zzzz", "profile-not-found", "mcp-sandbox profile list", id="not nearly a name"),
    pytest.param("./gone.toml", "profile-not-found", "", id="a path that is not there"),
    pytest.param("..", "invalid-profile-name", "", id="dots"),
    pytest.param("", "invalid-profile-name", "", id="no name"),
    pytest.param("a\0b", "invalid-profile-name", "", id="NUL"),
    pytest.param("\x1b[2J", "invalid-profile-name", "", id="an escape sequence"),
    pytest.param("./a\0.toml", "profile-not-found", "", id="NUL in a path"),
    pytest.param("/etc/hostname", "invalid-profile-name", "", id="a file of another kind"),
]


@pytest.mark.parametrize(("name", "code", "hint"), NAMES)
def test_a_name_that_means_nothing_is_a_usage_error(world, name: str, code: str, hint: str) -> None:
    with pytest.raises(ProfileError) as caught:
        world.load(name)
    assert (caught.value.code, caught.value.exit_status) == (code, 2)
    assert hint in caught.value.hint
    assert str(caught.value).isprintable() or "\x1b" not in str(caught.value)


# --- reading -------------------------------------------------------------------------------------


def test_a_profile_that_is_no_file_is_refused_without_waiting(world) -> None:
    os.mkfifo(world.cwd / "pipe.toml")
    (world.cwd / "dir.toml").mkdir()
    for name in ("./pipe.toml", "./dir.toml"):
        with pytest.raises(ProfileError, match=r"not a regular file|cannot be read"):
            world.load(name)


def test_a_profile_that_is_not_utf8_names_the_line(world) -> None:
    (world.cwd / "web.toml").write_bytes(b"schema = 1\n# \xff\n")
    with pytest.raises(ProfileError, match=r"web.toml:2: not UTF-8"):
        world.load("./web.toml")


def test_a_huge_profile_is_refused(world) -> None:
    world.file("web.toml", "schema = 1\n#" + "x" * (1 << 20))
    with pytest.raises(ProfileError, match="larger than 1 MiB"):
        world.load("./web.toml")


def test_a_link_to_nothing_is_unreadable_not_skipped(world) -> None:
    world.user("node", "")
    path = world.home / ".config/mcp-sandbox/profiles/node.toml"
    path.unlink()
    path.symlink_to("/nonexistent")
    with pytest.raises(ProfileError, match="cannot be read"):
        world.load("node")


# --- the chain -----------------------------------------------------------------------------------


def test_lists_of_grants_are_added_and_scalars_replace(world) -> None:
    world.file(
        "a.toml",
        "[files]\nread=['/a']\n[env]\npass=['A']\n[quota]\nmemory='64M'\ncpus=2\n[tools]\nallow=['x']",
    )
    world.file(
        "b.toml",
        "extends='a'\n[files]\nread=['/b', '/a']\n[env]\npass=['B']\n"
        "[quota]\nmemory='32M'\n[tools]\nallow=['y']",
    )
    policy = world.load("./b.toml")
    assert [rule.source for rule in policy.files.read] == ["/a", "/b"]
    assert policy.env.passed == ("A", "B")
    assert (policy.quota.memory, policy.quota.cpus) == (32 << 20, 2.0)
    assert policy.tools.allow == ("y",)


def test_every_key_knows_its_file_and_line(world) -> None:
    parent = str(world.file("a.toml", "[files]\nread = [\n  '/a',\n]\n[env.set]\nX = '1'"))
    child = str(world.file("b.toml", "extends = 'a'\n[files]\nread = ['/b:/c']\n[quota]\nwall = '1h'"))
    policy = world.load("./b.toml", memory="1G")
    read = (PathRule("/a", None, Origin(parent, 4)), PathRule("/b", "/c", Origin(child, 4)))
    assert policy.files.read == read
    assert policy.origin("env.set.X") == Origin(parent, 7)
    assert policy.origin("quota.wall") == Origin(child, 6)
    assert policy.origin("quota.memory") == Origin("--memory")
    assert policy.origin("quota.cpus") == Origin("default")
    assert policy.origin("env.set") == Origin(parent, 7)
    assert [path for path, _ in policy.sources] == [child, parent]


def test_a_description_is_not_inherited(world) -> None:
    world.file("a.toml", "extends = 'node'")
    assert world.load("./a.toml").description == ""


TAKEN = [
    pytest.param("[env.set]\nV = '2'", ((), (("V", "2"),), ()), id="set"),
    pytest.param("[env]\npass = ['V']", (("V",), (), ()), id="pass"),
    pytest.param("[secrets.V]\nfrom = 'env'", ((), (), ("V",)), id="secret"),
]


@pytest.mark.parametrize(("child", "expected"), TAKEN)
@pytest.mark.parametrize("parent", [one.values[0] for one in TAKEN])
def test_a_child_takes_a_variable_over_from_its_parent(
    world, parent: str, child: str, expected: tuple
) -> None:
    world.file("a.toml", parent)
    world.file("b.toml", f"extends = 'a'\n{child}")
    policy = world.load("./b.toml")
    assert (policy.env.passed, policy.env.fixed, tuple(one.name for one in policy.secrets)) == expected


def test_extending_in_a_circle_is_named(world) -> None:
    world.file("a.toml", "extends = 'b'")
    world.file("b.toml", "extends = 'a'")
    with pytest.raises(ProfileError, match="circle: a -> b -> a"):
        world.load("./a.toml")


def test_extending_without_end_is_refused(world) -> None:
    for number in range(12):
        world.file(f"p{number}.toml", f"extends = 'p{number + 1}'")
    with pytest.raises(ProfileError, match="more than 8 profiles"):
        world.load("./p0.toml")


def test_extending_what_is_not_there_names_the_child(world) -> None:
    path = world.file("a.toml", "extends = 'bsae'")
    with pytest.raises(ProfileError) as caught:
        world.load("./a.toml")
    assert f"`{path}` extends" in caught.value.what
    assert caught.value.hint == "did you mean `base`?"


def test_the_whole_example_of_the_design_loads(world) -> None:
    world.file("github.toml", WHOLE.read_text())
    policy = world.load("./github.toml")
    assert policy.network.allow[1] == HostRule("*.githubusercontent.com", 443, policy.network.allow[1].origin)
    assert (policy.network.allow[2].opaque, policy.network.allow[3].private) == (True, True)
    assert policy.network.behaviour == Behaviour("breach", "off", 5, "breach", 12, 0.2)
    assert policy.network.budgets == (
        HostBudget("api.github.com", 443, 1 << 20, 100 << 20, 200, policy.network.budgets[0].origin),
    )
    secret = policy.secrets[0]
    assert secret == Secret("GITHUB_PERSONAL_ACCESS_TOKEN", "env", ("api.github.com",), secret.origin)
    assert policy.tools.arguments[0].pattern == "acme/.*"
    assert (policy.traffic.rate, policy.traffic.timeout, policy.quota.wall) == (100.0, 300.0, 43200.0)
    assert (policy.inspect.poison, policy.syscalls, policy.isolation.decoys) == ("block", "net", True)


# --- the network ---------------------------------------------------------------------------------


def test_the_three_lists_of_hosts_make_one_rule_a_host_and_port(world) -> None:
    file = str(
        world.file(
            "a.toml",
            "[network]\nallow = ['*.example.com', 'DB.example.com']\n"
            "opaque = ['db.example.com:443', 'x.example.com:5432']\nprivate = ['db.example.com']",
        )
    )
    policy = world.load("./a.toml")
    assert policy.network.allow == (
        HostRule("*.example.com", 443, Origin(file, 3)),
        HostRule("db.example.com", 443, Origin(file, 3), opaque=True, private=True),
        HostRule("x.example.com", 5432, Origin(file, 4), opaque=True),
    )
    assert policy.origin("network.allow.db.example.com:443") == Origin(file, 3)
    assert policy.origin("network.opaque.db.example.com:443") == Origin(file, 4)
    assert policy.origin("network.private.db.example.com:443") == Origin(file, 5)


def test_a_child_adds_hosts_and_marks_to_its_parents(world) -> None:
    parent = str(world.file("a.toml", "[network]\nallow = ['a.example']\nprivate = ['*.corp.example']"))
    child = str(world.file("b.toml", "extends = 'a'\n[network]\nopaque = ['a.example', 'git.corp.example']"))
    assert world.load("./b.toml").network.allow == (
        HostRule("a.example", 443, Origin(parent, 3), opaque=True),
        HostRule("git.corp.example", 443, Origin(child, 4), opaque=True, private=True),
        HostRule("*.corp.example", 443, Origin(parent, 4), private=True),
    )


def test_a_budget_merges_with_its_parents_key_by_key_however_it_is_spelt(world) -> None:
    budget = "[network.budget.'{}']\n{}"
    world.file(
        "a.toml",
        "[network]\nallow = ['a.example']\n" + budget.format("a.example", "upload = 1\ndownload = 2"),
    )
    child = str(world.file("b.toml", "extends = 'a'\n" + budget.format("A.Example:443", "upload = 3")))
    policy = world.load("./b.toml")
    assert policy.network.budgets == (HostBudget("a.example", 443, 3, 2, None, Origin(child, 4)),)
    assert policy.origin('network.budget."a.example:443".upload') == Origin(child, 4)


def test_a_child_may_bound_what_its_parent_allows(world) -> None:
    world.file("a.toml", "[network]\nprivate = ['*.a.example:80']")
    world.file("b.toml", "extends = 'a'\n[network.budget.'*.a.example:80']\nconnections = 5")
    assert [one.connections for one in world.load("./b.toml").network.budgets] == [5]


def test_behaviour_merges_key_by_key(world) -> None:
    world.file("a.toml", "[network.behaviour]\nidle = 'breach'\ndenied_streak = 3")
    world.file("b.toml", "extends = 'a'\n[network.behaviour]\nidle = 'off'")
    assert world.load("./b.toml").network.behaviour == Behaviour(idle="off", denied_streak=3)


IDLE_BUDGETS = [
    pytest.param("api.githb.com", "api.github.com:443", id="a misspelt host"),
    pytest.param("api.github.com:80", "api.github.com:443", id="another port"),
    pytest.param("raw.example.com", "*.example.com:443", id="a host below a wildcard"),
    pytest.param("db.example.org:5432", "db.example.org:5433", id="a port of an opaque host"),
    pytest.param("zzz.invalid", "", id="nothing like it"),
]


@pytest.mark.parametrize(("host", "near"), IDLE_BUDGETS)
@pytest.mark.parametrize("inherited", [False, True], ids=["own rules", "a parent's rules"])
def test_a_budget_of_no_rule_is_named_with_the_nearest_rule(
    world, host: str, near: str, inherited: bool
) -> None:
    rules = "[network]\nallow = ['api.github.com', '*.example.com']\nopaque = ['db.example.org:5433']\n"
    budget = f"[network.budget.'{host}']\nupload = 1"
    world.file("a.toml", rules)
    file = world.file("b.toml", f"extends = 'a'\n{budget}" if inherited else f"{rules}{budget}")
    with pytest.raises(ProfileError) as caught:
        world.load("./b.toml")
    line = 4 if inherited else 6
    assert caught.value.what.startswith(f'{file}:{line}: `network.budget."{host}')
    assert caught.value.hint == (
        f'did you mean `[network.budget."{near}"]`?' if near else "remove the budget, or allow the host"
    )


# --- options -------------------------------------------------------------------------------------


def test_options_come_on_top_and_say_so(world) -> None:
    policy = world.load(
        "python",
        allow_net=("A.example.com",),
        allow_read=("/x", "~/y:/z"),
        allow_write=("/w",),
        allow_env=("PYTHONDONTWRITEBYTECODE",),
        secrets=("TOKEN", "TOKEN"),
        memory="1G",
        cpus="0.5",
        pids="64",
        wall="90",
        audit="~/a.jsonl",
    )
    assert policy.network.allow == (HostRule("a.example.com", 443, Origin("--allow-net")),)
    assert policy.files.read[-1] == PathRule("~/y", "/z", Origin("--allow-read"))
    assert policy.files.write == (PathRule("/w", None, Origin("--allow-write")),)
    assert policy.env.fixed == ()
    assert policy.env.passed[-1] == "PYTHONDONTWRITEBYTECODE"
    assert policy.secrets == (Secret("TOKEN", "env", (), Origin("--secret")),)
    quota = policy.quota
    assert (quota.memory, quota.cpus, quota.pids, quota.wall) == (1 << 30, 0.5, 64, 90.0)
    assert policy.audit.path == "~/a.jsonl"
    assert policy.origin("env.pass.PYTHONDONTWRITEBYTECODE") == Origin("--allow-env")


def test_a_variable_with_its_value_is_the_options(world) -> None:
    policy = world.load("python", set_env=("PYTHONDONTWRITEBYTECODE=0", "A=b=c"))
    assert dict(policy.env.fixed) == {"PYTHONDONTWRITEBYTECODE": "0", "A": "b=c"}
    assert policy.origin("env.set.A") == Origin("--set-env")


@pytest.mark.parametrize(("option", "source"), [("TOKEN", "env"), ("TOKEN?", "env?")])
def test_a_secret_of_an_option_may_be_one_that_is_not_set(world, option: str, source: str) -> None:
    assert world.load("base", secrets=(option,)).secrets == (Secret("TOKEN", source, (), Origin("--secret")),)


def test_a_host_that_an_option_names_again_keeps_its_marks(world) -> None:
    world.file("a.toml", "[network]\nopaque = ['db.example']\nprivate = ['*.corp.example']")
    policy = world.load("./a.toml", allow_net=("DB.example:443", "git.corp.example", "[2001:db8::1]:80"))
    file, flag = str(world.cwd / "a.toml"), Origin("--allow-net")
    assert policy.network.allow == (
        HostRule("db.example", 443, Origin(file, 3), opaque=True),
        HostRule("*.corp.example", 443, Origin(file, 4), private=True),
        HostRule("git.corp.example", 443, flag, private=True),
        HostRule("2001:db8::1", 80, flag),
    )
    assert policy.origin("network.allow.[2001:db8::1]:80") == flag


BAD_OPTIONS = [
    pytest.param({"memory": "0"}, "`--memory 0`", id="no memory"),
    pytest.param({"memory": "lots"}, "`--memory lots`", id="memory in words"),
    pytest.param({"cpus": "nan"}, "`--cpus nan`", id="NaN processors"),
    pytest.param({"pids": "0"}, "`--pids 0`", id="no processes"),
    pytest.param({"wall": "-1"}, "`--wall -1`", id="negative time"),
    pytest.param({"wall": ""}, "`--wall `", id="empty time"),
    pytest.param({"allow_net": ("*",)}, "`--allow-net", id="every host"),
    pytest.param({"allow_net": ("db.localhost:80",)}, "write `localhost`", id="a name below localhost"),
    pytest.param({"allow_read": ("",)}, "`--allow-read `", id="empty path"),
    pytest.param({"allow_env": ("A=1",)}, "`--allow-env A=1`", id="a variable with its value"),
    pytest.param({"secrets": ("-x",)}, "`--secret -x`", id="no variable"),
    pytest.param({"allow_env": ("A",), "secrets": ("A",)}, "`A` is asked for", id="the same name twice"),
    pytest.param({"set_env": ("A=1",), "secrets": ("A?",)}, "`A` is asked for", id="a value and a secret"),
    pytest.param({"set_env": ("A",)}, "`--set-env A`", id="a variable without its value"),
    pytest.param({"set_env": ("A B=1",)}, "`--set-env A B`", id="the value of what is no variable"),
    pytest.param({"only_tools": ("",)}, "`--only-tools `", id="no tool's name is empty"),
    pytest.param({"audit": "/a:/b"}, "`--audit /a:/b`", id="an audit file elsewhere inside"),
]


@pytest.mark.parametrize(("flags", "message"), BAD_OPTIONS)
def test_a_bad_option_is_named(world, flags: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        world.load(**flags)
    assert message in caught.value.what
    assert caught.value.exit_status == 2


def test_an_option_does_not_move_a_secret_the_profile_describes(world) -> None:
    world.file("a.toml", "[secrets.T]\nfrom = 'keyring'")
    assert world.load("./a.toml", secrets=("T",)).secrets[0].source == "keyring"


# --- the shipped profiles ------------------------------------------------------------------------

PROFILES = Path(shipped())
SHIPPED = sorted(path.stem for path in PROFILES.glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_waives_nothing(world, name: str) -> None:
    policy = world.load(name)
    assert policy.description
    network = policy.network
    assert not any(rule.opaque or rule.private for rule in network.allow)
    assert (policy.server.transport, policy.server.unpinned, policy.files.expose) == ("stdio", False, ())
    for strict in ("inspect", "isolation"):
        assert getattr(policy, strict) == getattr(Policy(name="none"), strict), strict


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_says_why_it_reaches_each_host(world, name: str) -> None:
    lines = (PROFILES / f"{name}.toml").read_text().splitlines()
    for rule in world.load(name).network.allow:
        named = [at for at, line in enumerate(lines) if f'"{rule.host}' in line]
        assert named, rule.host
        assert all("#" in lines[at] or lines[at - 1].startswith("#") for at in named), rule.host


@pytest.mark.parametrize("name", SHIPPED)
def test_a_profile_for_a_server_says_which_versions_were_proven(world, name: str) -> None:
    match = world.load(name).match
    assert bool(match.packages) == bool(match.versions)
    assert not match.versions or "<" in match.versions, "a later version is another program"


def test_no_package_has_two_shipped_profiles(world) -> None:
    every = [package for name in SHIPPED for package in world.load(name).match.packages]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_profile_says_why(name: str) -> None:
    assert (PROFILES / f"{name}.toml").read_text().startswith("# ")
