"""A server at a URL: what its URL grants, what is planned of it, and what the bridge is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sandbox import pins, remote
from sandbox.backend.bridge_process import forget
from sandbox.choice import choose
from sandbox.errors import CannotEnforce, SandboxError, SandboxNotBuilt, UsageError
from sandbox.plan.describe import rows
from sandbox.plan.facts import Closure
from sandbox.plan.plan import plan
from sandbox.plan.remote import LOGIN
from sandbox.plan.spec import Endpoint, Spec
from sandbox.policy.flags import Flags
from sandbox.policy.model import Policy
from sandbox.policy.remote import parse
from sandbox.prepared import Wish
from sandbox.records import replace
from tests.plan.world import facts, policy, survey

FAR = "https://a.example/mcp"


def reached(url: str, *, allow: tuple[str, ...] = (), **server: Any) -> Policy:
    """The policy of a run with this URL."""
    wish = Wish((url,), {}, "/", flags=Flags(allow_net=allow, **server))
    return choose(wish).policy


def test_a_public_host_is_granted_by_being_named() -> None:
    made = reached("https://a.example:8443/mcp?x=1")
    assert [(rule.host, rule.port, rule.private) for rule in made.network.allow] == [
        ("a.example", 8443, False)
    ]
    assert made.server.url == "https://a.example:8443/mcp?x=1"
    assert (made.network.behaviour.idle, made.network.behaviour.beacon) == ("off", "off")
    assert made.network.behaviour.denied == "log"


@pytest.mark.parametrize(
    ("url", "grant"),
    [
        ("http://localhost:3000/mcp", "localhost:3000"),
        ("http://127.0.0.1:3000/mcp", "localhost:3000"),
        ("https://[::1]/mcp", "localhost:443"),
        ("https://10.1.2.3/mcp", "10.1.2.3:443"),
        ("https://192.168.1.1:8443/", "192.168.1.1:8443"),
        ("https://[fd00::1]/", "[fd00::1]:443"),
        ("https://198.18.0.1/", "198.18.0.1:443"),
        ("https://169.254.169.254/latest", ""),
    ],
)
def test_what_is_near_has_to_be_listed(url: str, grant: str) -> None:
    with pytest.raises(CannotEnforce, match="no URL grants") as caught:
        reached(url)
    assert caught.value.hint == (f"--allow-net {grant}" if grant else "")
    if grant:
        assert reached(url, allow=(grant,)).server.url == url


def test_nothing_of_this_machine_is_shown() -> None:
    wish = Wish((FAR,), {}, "/", flags=Flags(allow_read=("/srv",), allow_write=("/tmp/x",)))
    made = choose(wish).policy
    assert (made.files.read, made.files.write) == ((), ())


def test_a_profile_is_for_its_own_origin() -> None:
    mine = replace(policy({}), server=replace(policy({}).server, url=FAR))
    assert remote.reached(mine, parse("https://a.example/other"), mine.origin("x")).server.url.endswith(
        "other"
    )
    for other in ("https://b.example/mcp", "https://a.example:8443/mcp"):
        with pytest.raises(UsageError, match="is for"):
            remote.reached(mine, parse(other), mine.origin("x"))


def test_a_server_inside_is_no_server_elsewhere() -> None:
    with pytest.raises(UsageError, match="--http"):
        choose(Wish((FAR,), {}, "/", flags=Flags(http="3000/mcp")))


def test_a_command_takes_the_place_of_a_profiles_url(tmp_path: Path) -> None:
    far = tmp_path / "far.toml"
    far.write_text(f"schema = 1\n[server]\nurl = '{FAR}'\n[server.headers]\nX-A = 'b'\n")
    chosen = choose(Wish(("cat",), {}, "/", profile=str(far)))
    assert (chosen.command, chosen.policy.server.url, chosen.policy.server.headers) == (("cat",), None, ())
    assert choose(Wish((), {}, "/", profile=str(far))).policy.server.url == FAR


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((FAR, "more"), "unknown-option"),
        (("http://a.example/",), "invalid-url"),
        (("ftp://a.example/",), "invalid-url"),
    ],
)
def test_a_command_line_that_is_refused(words: tuple[str, ...], code: str) -> None:
    with pytest.raises(SandboxError) as caught:
        choose(Wish(words, {}, "/"))
    assert caught.value.code == code


def test_its_name_and_its_pins() -> None:
    class Prepared:
        def __init__(self, wish: Wish) -> None:
            chosen = choose(wish)
            self.wish, self.policy, self.request = wish, chosen.policy, None
            self.spec = type("Named", (), {"server": chosen.name})

    def name(url: str, **more: Any) -> str:
        return pins.name_of(Prepared(Wish((url,), {}, "/", **more)), {})  # type: ignore[arg-type]

    assert name(FAR).startswith("a.example-")
    assert name(FAR) == name("HTTPS://A.example:443/mcp")
    assert name(FAR) != name("https://a.example/mcp2")
    assert name(FAR, name="mine").removeprefix("mine-") == name(FAR).removeprefix("a.example-")


# --- the plan ----------------------------------------------------------------------------------------


def planned(table: dict[str, Any] | None = None, environ: dict[str, str] | None = None) -> Spec:
    server = {"url": FAR, **(table or {}).get("server", {})}
    made = policy({**(table or {}), "server": server})
    seen = survey({}, environ=environ or {}, closure=Closure((parse(server["url"]).shown,), cwd="/"))
    return plan(remote.reached(made, parse(server["url"]), made.origin("server.url")), facts(), seen)


SECRET = {"secrets": {"T": {"from": "env"}}}


def test_the_endpoint() -> None:
    spec = planned({"server": {"ca": "~/ca.pem", "pin": ("sha256:00",), "ready": 1.0}})
    assert spec.endpoint == Endpoint(
        "a.example", 443, "/mcp", tls=True, ready=1.0, remote=True, ca="/home/u/ca.pem", pins=("sha256:00",)
    )  # fmt: skip
    assert spec.argv == (FAR,)


def test_no_value_is_in_the_plan() -> None:
    table = {"server": {"url": f"{FAR}?k={{T}}", "headers": (("authorization", "Bearer ${T}"),)}, **SECRET}
    spec = planned(table, {"T": "s3cret-value"})
    told = repr(spec) + repr(rows(spec, facts(), policy(table)))
    assert "s3cret-value" not in told
    assert spec.argv == (f"{FAR}?…",)


@pytest.mark.parametrize(
    ("table", "what"),
    [
        pytest.param({"server": {"headers": (("x-a", "${NONE}"),)}}, "NONE", id="a header's unknown name"),
        pytest.param({"server": {"url": f"{FAR}?k={{NONE}}"}}, "NONE", id="a URL's unknown name"),
        pytest.param({"syscalls": "strict"}, "leaves no socket", id="no sockets"),
        pytest.param({"isolation": {"runtime": "gvisor"}}, "gvisor", id="another kernel"),
    ],
)
def test_what_cannot_hold(table: dict[str, Any], what: str) -> None:
    with pytest.raises(CannotEnforce, match=what):
        planned(table)


@pytest.mark.parametrize(
    "server",
    [{"headers": (("x-a", "b"),)}, {"ca": "/ca.pem"}, {"pin": ("sha256:00",)}],
    ids=lambda one: next(iter(one)),
)
def test_what_is_for_a_url_alone(server: dict[str, Any]) -> None:
    with pytest.raises(CannotEnforce, match=r"no `server\.url`"):
        plan(policy({"server": {"command": ("x",), **server}}), facts(), survey({}))


# --- the start ---------------------------------------------------------------------------------------


def spec_of(path: str = "/mcp", **headers: str) -> Spec:
    spec = planned()
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    endpoint = Endpoint("a.example", 80, path, headers=named, remote=True)
    return replace(spec, endpoint=endpoint, env=(("TEAM", "blue"),))


def test_values_are_resolved_at_the_start() -> None:
    spec = spec_of(
        "/{KEY}/x?team=${TEAM}", authorization="Bearer ${T}", x_maybe="${UNSET}", x_team="${TEAM}!"
    )
    made = remote.carried(spec, (("T", "tok"), ("KEY", "a/b c")), {})
    assert made.path == "/a%2Fb%20c/x?team=blue"
    assert dict(made.headers) == {"authorization": "Bearer tok", "x-team": "blue!"}
    assert made.login == ""


@pytest.mark.parametrize(
    "value", ["a\r\nHost: evil", "a\nb", "ü", "\0", "", "  "], ids=repr
)  # fmt: skip
def test_a_value_that_no_header_can_hold(value: str) -> None:
    with pytest.raises(SandboxNotBuilt, match="x-key") as caught:
        remote.carried(spec_of(x_key="${T}"), (("T", value),), {})
    assert "evil" not in str(caught.value)


def test_what_is_sent_outlives_the_callers_environment() -> None:
    environ = {"T": "-".join(["a", "token", "of", "ours"]), "P": "-".join(["a", "path", "of", "ours"])}
    made = remote.carried(spec_of("/{P}", x_key="${T}"), (("T", environ["T"]), ("P", environ["P"])), environ)
    forget(environ)
    assert environ["T"] == "x" * 15
    assert (made.path, dict(made.headers)) == ("/a-path-of-ours", {"x-key": "a-token-of-ours"})


def test_a_line_end_of_a_files_secret_is_no_part_of_it() -> None:
    assert dict(remote.carried(spec_of(x_key="${T}"), (("T", "abc\r\n"),), {}).headers) == {"x-key": "abc"}


def test_a_value_that_is_no_text_is_sent_byte_for_byte() -> None:
    assert remote.carried(spec_of("/{KEY}"), (("KEY", "a\udcff\0"),), {}).path == "/a%FF%00"


def test_a_url_whose_secret_is_not_set() -> None:
    with pytest.raises(SandboxNotBuilt, match="`KEY`"):
        remote.carried(spec_of("/{KEY}"), (), {})


def test_a_login_is_sent_where_the_profile_says_nothing_else() -> None:
    spec, secrets = remote.logged_in(spec_of(), (), lambda: "tok")
    made = remote.carried(spec, secrets, {})
    assert dict(made.headers) == {"authorization": "Bearer tok"}
    assert dict(secrets) == {LOGIN: "tok"}
    assert made.login == f"mcp-sandbox login {FAR}"
    own = spec_of(authorization="Basic ${TEAM}")
    assert remote.logged_in(own, (), lambda: "tok") == (own, ())
    assert remote.logged_in(spec_of(), (), lambda: None) == (spec_of(), ())


def test_a_login_that_has_ended_stops_the_start() -> None:
    def ended() -> str:
        raise SandboxNotBuilt("login-ended", "it has ended", rule="r", hint="mcp-sandbox login")

    with pytest.raises(SandboxNotBuilt, match="it has ended") as caught:
        remote.logged_in(spec_of(), (), ended)
    assert (caught.value.code, caught.value.rule, caught.value.hint) == (
        "login-ended",
        "r",
        "mcp-sandbox login",
    )


def test_what_only_the_login_has_seen_stays_with_it() -> None:
    seen: list[str] = []

    def token() -> str:
        seen.append("the refresh token")
        return "tok"

    assert dict(remote.logged_in(spec_of(), (), token)[1]) == {LOGIN: "tok"}
    assert seen == []


def test_a_fault_of_the_logins_is_no_start_without_it() -> None:
    with pytest.raises(SandboxNotBuilt, match="ZeroDivisionError"):
        remote.logged_in(spec_of(), (), lambda: str(1 // 0))
