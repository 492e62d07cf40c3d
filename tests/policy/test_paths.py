"""Paths: what they mean, and which of them would expose a secret place."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.policy.paths import below, expand, judge, protected, secret_places, split

HOME = "/home/u"
WORLD = {
    "home": HOME,
    "cwd": "/home/u/work",
    "environ": {"DATA": "/srv/data", "SUB": "a/b", "NONE": "", "COLON": "/a:/b"},
}

EXPANDED = [
    pytest.param("~", HOME, id="home"),
    pytest.param("~/x", "/home/u/x", id="below home"),
    pytest.param(".", "/home/u/work", id="the current directory"),
    pytest.param("./a//b/./c/", "/home/u/work/a/b/c", id="needless parts"),
    pytest.param("..", "/home/u", id="the parent"),
    pytest.param("../../v", "/home/v", id="leading dots of a relative path"),
    pytest.param("$DATA", "/srv/data", id="variable"),
    pytest.param("${DATA}/x", "/srv/data/x", id="variable in braces"),
    pytest.param("~/$SUB", "/home/u/a/b", id="variable in the middle"),
    pytest.param("//etc", "/etc", id="two leading slashes"),
    pytest.param("a~b", "/home/u/work/a~b", id="tilde elsewhere"),
]


@pytest.mark.parametrize(("text", "expected"), EXPANDED)
def test_expands(text: str, expected: str) -> None:
    assert expand(text, **WORLD) == expected


UNREADABLE = [
    pytest.param("", "empty", id="empty"),
    pytest.param("$MISSING/x", "`\\$MISSING` is not set", id="undefined variable"),
    pytest.param("$NONE/x", "`\\$NONE` is not set", id="empty variable"),
    pytest.param("$", "variable's name", id="a dollar alone"),
    pytest.param("${DATA", "variable's name", id="an open brace"),
    pytest.param("$(id)", "variable's name", id="a command"),
    pytest.param("~root/x", "another user's home", id="another user"),
    pytest.param("a/../b", "`..`", id="dots after a name that may be a link"),
    pytest.param("/a/..", "`..`", id="dots in an absolute path"),
    pytest.param("~/../v", "`..`", id="dots after home"),
    pytest.param("a\0b", "control", id="NUL"),
    pytest.param("a\nb", "control", id="newline"),
    pytest.param("\udcff", "UTF-8", id="lone surrogate"),
]


@pytest.mark.parametrize(("text", "message"), UNREADABLE)
def test_refuses_what_has_no_one_meaning(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand(text, **WORLD)


SPLIT = [
    pytest.param("/a", ("/a", None), id="no target"),
    pytest.param("~/a:/b//c/", ("~/a", "/b/c"), id="target is normalised"),
    pytest.param("$COLON", ("$COLON", None), id="a variable's value adds no target"),
]


@pytest.mark.parametrize(("text", "expected"), SPLIT)
def test_splits(text: str, expected: tuple[str, str | None]) -> None:
    assert split(text) == expected


@pytest.mark.parametrize(
    "text", ["", ":", "/a:", ":/b", "/a:b", "/a:/b:/c", "/a:/b/../c", "/a:/", "/a:/.", "/a:/b\n"]
)
def test_refuses_a_target_that_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        split(text)


ENVIRON = {
    "HOME": HOME,
    "XDG_RUNTIME_DIR": "/run/user/1000",
    "KUBECONFIG": "/srv/k8s/admin.conf:/srv/k8s/other.conf",
    "SSH_AUTH_SOCK": "/tmp/ssh-x/agent.1",
    "DOCKER_HOST": "unix:///srv/engine/docker.sock",
    "XDG_CONFIG_HOME": "/srv/config",
}
PLACES = secret_places(HOME, ENVIRON)

SECRET = [
    pytest.param("/", id="everything"),
    pytest.param("/home", id="every home"),
    pytest.param(HOME, id="home itself"),
    pytest.param("/home/u/.ssh", id="keys"),
    pytest.param("/home/u/.ssh/config", id="one file of the keys"),
    pytest.param("/home/u/.config", id="a directory that contains secrets"),
    pytest.param("/home/u/.config/gcloud", id="cloud credentials"),
    pytest.param("/home/u/.config/google-chrome/Default", id="a browser's profile"),
    pytest.param("/home/u/.local/share/keyrings", id="a keyring"),
    pytest.param("/home/u/.claude.json", id="config of an MCP client"),
    pytest.param("/home/u/.config/Claude/claude_desktop_config.json", id="config of another client"),
    pytest.param("/home/u/.config/Code/User", id="an editor's settings"),
    pytest.param("/srv/config/gcloud", id="a moved config directory"),
    pytest.param("/srv/config/mcp-sandbox", id="our own config"),
    pytest.param("/home/u/.cache/mcp-sandbox/policies", id="our own cache"),
    pytest.param("/home/u/.local/state", id="what contains our own state"),
    pytest.param("/srv/k8s/other.conf", id="the second of two moved files"),
    pytest.param("/srv/k8s", id="what contains a moved file"),
    pytest.param("/tmp", id="what contains the agent's socket"),
    pytest.param("/srv/engine", id="what contains the engine's socket"),
    pytest.param("/var/run/docker.sock", id="the engine's socket"),
    pytest.param("/run/user/1000/bus", id="a session socket"),
    pytest.param("/var", id="what contains /var/run"),
    pytest.param("/proc/1/root", id="another process's files"),
    pytest.param("/sys/fs/cgroup", id="the kernel"),
    pytest.param("/dev/sda", id="a device"),
    pytest.param("/etc", id="the host's configuration"),
    pytest.param("/etc/shadow", id="the host's passwords"),
    pytest.param("/root/x", id="root's home"),
    pytest.param("/home/v", id="another user's home"),
    pytest.param("/home/v/.ssh/id_ed25519", id="another user's key"),
    pytest.param("/home/v/.config", id="another user's configuration"),
]
HARMLESS = [
    pytest.param("/home/u/work", id="a project"),
    pytest.param("/home/u/work/.ssh", id="a name like a secret's, elsewhere"),
    pytest.param("/home/u/.sshx", id="a longer name"),
    pytest.param("/home/u/.config/fish", id="other configuration"),
    pytest.param("/home/v/work", id="another user's project"),
    pytest.param("/etcetera", id="a longer system name"),
    pytest.param("/srv/data", id="data"),
    pytest.param("/opt", id="programs"),
    pytest.param("/homeless", id="a longer name than /home"),
    pytest.param("/usr/share", id="the system's programs"),
]


@pytest.mark.parametrize("path", SECRET)
def test_a_mount_that_would_expose_a_secret_is_protected(path: str) -> None:
    assert protected(path, home=HOME, places=PLACES)


@pytest.mark.parametrize("path", HARMLESS)
def test_any_other_mount_is_not(path: str) -> None:
    assert protected(path, home=HOME, places=PLACES) is None


def test_root_may_mount_below_its_own_home() -> None:
    places = secret_places("/root", {"HOME": "/root"})
    assert protected("/root/work", home="/root", places=places) is None
    assert protected("/root", home="/root", places=places) == "the home directory"
    assert protected("/root/.ssh", home="/root", places=places) == "private keys and credentials"


def _judge(mounts: list[str], expose: list[str]):
    return judge(mounts, expose, home=HOME, places=PLACES)


def test_a_waiver_by_name_exposes_that_place() -> None:
    judged = _judge(["/home/u/.ssh", "/home/u/work"], ["/home/u/.ssh"])
    assert (judged.refused, judged.idle) == ((), ())
    assert [one.place for one in judged.waived] == ["/home/u/.ssh"]


def test_a_waiver_exposes_no_other_place() -> None:
    judged = _judge(["/home/u/.ssh", "/home/u/.aws"], ["/home/u/.ssh"])
    assert [one.mount for one in judged.refused] == ["/home/u/.aws"]


def test_a_waiver_of_what_is_around_the_place_waives_nothing() -> None:
    judged = _judge(["/home/u/.ssh"], [HOME])
    assert [one.mount for one in judged.refused] == ["/home/u/.ssh"]
    assert judged.idle == (HOME,)


def test_a_waiver_may_name_less_than_the_place() -> None:
    assert _judge(["/home/u/.ssh/config"], ["/home/u/.ssh/config"]).refused == ()


def test_one_secret_waived_leaves_the_others_of_the_same_mount() -> None:
    refused = {one.place for one in _judge(["/home/u/.config"], ["/home/u/.config/gcloud"]).refused}
    assert "/home/u/.config/Claude" in refused
    assert "/home/u/.config/gcloud" not in refused


def test_a_waiver_without_a_mount_is_idle() -> None:
    assert _judge(["/srv/data"], ["/home/u/.ssh"]).idle == ("/home/u/.ssh",)


@pytest.mark.threat("D1", proves="a prefix of a name is not its directory")
def test_a_prefix_of_a_name_is_not_its_directory() -> None:
    assert below("/allow/x", "/allow")
    assert below("/allow", "/allow")
    assert below("/x", "/")
    assert not below("/allow_evil", "/allow")
    assert not below("/allow", "/allow/x")


_PART = st.text(
    st.characters(codec="utf-8", exclude_characters="/$~:", exclude_categories=["Cc", "Cs"]), min_size=1
)


@given(st.lists(_PART, max_size=5), st.booleans())
def test_an_expanded_path_is_absolute_normal_and_stable(parts: list[str], absolute: bool) -> None:
    text = ("/" if absolute else "./") + "/".join(parts)
    try:
        path = expand(text, **WORLD)
    except ValueError:
        assert ".." in parts
        return
    assert path == posixpath.normpath(path)
    assert path.startswith("/" if absolute else "/home/u/work") or parts[:1] == [".."]
    assert expand(path, **WORLD) == path


@given(
    st.sampled_from(sorted(PLACES)), st.lists(_PART.filter(lambda part: part not in (".", "..")), max_size=3)
)
def test_every_place_is_protected_from_above_and_below(place: str, inner: list[str]) -> None:
    assert protected("/".join([place, *inner]), home=HOME, places=PLACES)
    while place != "/":
        place = posixpath.dirname(place)
        assert protected(place, home=HOME, places=PLACES)
