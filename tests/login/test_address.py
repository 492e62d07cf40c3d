"""Which addresses of a login are asked, and which never get further than a message."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.login.address import Reach, checked, typed
from sandbox.login.refused import LoginRefused

AWAY, HERE = Reach(), Reach(loopback=True)


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        pytest.param("https://mcp.example.com/mcp", "https://mcp.example.com/mcp", id="as it is"),
        pytest.param("HTTPS://MCP.Example.COM:443", "https://mcp.example.com", id="one spelling"),
        pytest.param("https://h:8443/a/b?x=1&y=%2F", "https://h:8443/a/b?x=1&y=%2F", id="port and query"),
        pytest.param("https://[2606:2800::1]/", "https://[2606:2800::1]/", id="IPv6"),
        pytest.param(
            "https://h/.well-known/a", "https://h/.well-known/a", id="a name that begins with a dot"
        ),
    ],
)
def test_plain_addresses(text: str, spelt: str) -> None:
    assert str(checked(text, "it", AWAY)) == spelt


# The class of CVE-2025-6514: an endpoint that becomes a command line where a program is to open it.
MALICIOUS = [
    pytest.param("file:///etc/passwd", id="a file"),
    pytest.param("javascript:alert(1)", id="javascript"),
    pytest.param("data:text/html,<script>", id="data"),
    pytest.param("vscode://x/y", id="another program's scheme"),
    pytest.param("a:$(touch /tmp/pwned)?response_type=code", id="the CVE's own form"),
    pytest.param("https://h/$(id)", id="a command in the path"),
    pytest.param("https://h/`id`", id="in backticks"),
    pytest.param("https://$(id)/", id="in the host"),
    pytest.param("https://h/a;id", id="a second command"),
    pytest.param("https://h/a|id", id="a pipe"),
    pytest.param("https://h/a&calc.exe", id="an ampersand in the path"),
    pytest.param("https://h/a?b=1'x", id="a quote in the query"),
    pytest.param('https://h/a"b', id="a double quote"),
    pytest.param("https://h/a\\b", id="a backslash"),
    pytest.param("https://h/a b", id="a space"),
    pytest.param("https://h/a\nid", id="a line end"),
    pytest.param("https://h/a\x00b", id="a NUL"),
    pytest.param("https://h/\x1b[2J", id="a control sequence"),
    pytest.param("https://h/\u202eevil", id="text that runs backwards"),
    pytest.param("https://h\u0430.com/", id="a look-alike letter"),
    pytest.param("https://user:pw@h/", id="a user"),
    pytest.param("https://good.com@evil.com/", id="a host in front of the host"),
    pytest.param("https://h/#fragment", id="a fragment"),
    pytest.param("https://h/%zz", id="a wrong escape"),
    pytest.param("https://h/a/../b", id="a step up"),
    pytest.param("https://h/a/%2e%2E/b", id="a step up in disguise"),
    pytest.param("https://h:0/", id="port 0"),
    pytest.param("https://h:65536/", id="a port too high"),
    pytest.param("https://-h/", id="a host like an option"),
    pytest.param("--help", id="an option"),
    pytest.param("https://[::1/", id="half a bracket"),
    pytest.param("https://[1.2.3.4]/", id="IPv4 in brackets"),
    pytest.param("https://a..b/", id="an empty label"),
    pytest.param("https:///x", id="no host"),
    pytest.param("//h/x", id="no scheme"),
    pytest.param("https://h/" + "a" * 3000, id="too long"),
    pytest.param("", id="nothing"),
    pytest.param(None, id="null"),
    pytest.param(["https://h/"], id="a list"),
]


@pytest.mark.parametrize("text", MALICIOUS)
@pytest.mark.parametrize("reach", [AWAY, HERE], ids=["away", "here"])
def test_malicious_addresses(text: object, reach: Reach) -> None:
    with pytest.raises(LoginRefused) as refused:
        checked(text, "the `authorization_endpoint`", reach)
    assert refused.value.code == "login-address"
    assert str(refused.value).isascii()
    assert "\x1b" not in str(refused.value)
    assert len(refused.value.what.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "reach", "passes"),
    [
        pytest.param("http://h/", HERE, False, id="a stranger's"),
        pytest.param("http://127.0.0.1:1/", AWAY, False, id="this machine's, of a server elsewhere"),
        pytest.param("http://127.0.0.1:1/", HERE, True, id="this machine's, of a server here"),
        pytest.param("http://[::1]:1/", HERE, True, id="by IPv6"),
        pytest.param("http://localhost/", HERE, True, id="by its name"),
        pytest.param("http://localhost.evil.com/", HERE, False, id="a name that only begins like it"),
        pytest.param(
            "http://127.0.0.1.evil.com/", HERE, False, id="a name that only begins like its address"
        ),
    ],
)
def test_without_encryption_nothing_leaves_this_machine(text: str, reach: Reach, *, passes: bool) -> None:
    if passes:
        checked(text, "it", reach)
        return
    with pytest.raises(LoginRefused, match="not encrypted"):
        checked(text, "it", reach)


def test_what_a_person_types_may_be_on_this_machine() -> None:
    assert typed("http://localhost:3000/mcp").loopback
    with pytest.raises(LoginRefused, match="the server's URL is not encrypted"):
        typed("http://mcp.example.com/mcp")


@given(st.text(alphabet=string.printable + "\u202e\u0430é", max_size=60))
def test_whatever_passes_holds_nothing_for_a_shell(text: str) -> None:
    try:
        found = checked(f"https://h.example/{text}", "it", AWAY)
    except LoginRefused:
        return
    assert not set(str(found)) & set("$`\"'\\;|<>(){}[]!*^ \t\r\n\x0b\x0c#\u202e\u0430é")
    assert "&" not in str(found).partition("?")[0]
    assert checked(str(found), "it", AWAY) == found


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(LoginRefused) as caught:
        typed("https://ann:correct-horse@example.org/mcp")
    assert "correct-horse" not in str(caught.value.what)
    assert "example.org" in str(caught.value.what)
