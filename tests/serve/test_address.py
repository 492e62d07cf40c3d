"""Where the front listens, and by which names it is asked."""

from __future__ import annotations

import pytest

from sandbox.errors import UsageError
from sandbox.serve import address
from sandbox.serve.address import Address, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8808", Address(host="127.0.0.1", port=8808)),
        (":8808", Address(host="127.0.0.1", port=8808)),
        ("localhost:0", Address(host="localhost")),
        ("[::1]:80", Address(host="::1", port=80)),
        ("0.0.0.0:80", Address(host="0.0.0.0", port=80)),  # noqa: S104
        ("unix:/run/x", Address(path="/run/x")),
        ("unix:x:y", Address(path="x:y")),
    ],
)
def test_an_address(text: str, expected: Address) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "8808", "localhost", "localhost:", "localhost:99999", "example.org:80", "::1:80", "[::1]",
        "127.0.0.1:80/mcp", "http://127.0.0.1:80", "unix:", "unix:" + "x" * 108, "unix:a\0b", "1.2.3:80",
        "[fe80::1%eth0]:80", "127.0.0.1:-1", "127.1:80",
    ],
)  # fmt: skip
def test_no_address(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.hint or len(text) > 100


@pytest.mark.parametrize(
    ("listen", "named", "tls", "expected"),
    [
        ("127.0.0.1:1", (), False, {"localhost:1", "127.0.0.1:1", "[::1]:1"}),
        ("localhost:80", (), False, {
            "localhost", "localhost:80", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80",
        }),
        ("localhost:443", (), False, {"localhost:443", "127.0.0.1:443", "[::1]:443"}),
        ("127.0.0.2:443", (), True, {
            "127.0.0.2", "127.0.0.2:443", "localhost", "localhost:443", "127.0.0.1", "127.0.0.1:443",
            "[::1]", "[::1]:443",
        }),
        ("192.0.2.1:1", (), False, {"192.0.2.1:1"}),
        ("192.0.2.1:1", ("MCP.example",), False, {"192.0.2.1:1", "mcp.example", "mcp.example:1"}),
        ("0.0.0.0:1", ("mcp.example:443",), False, {"mcp.example:443"}),
    ],
)  # fmt: skip
def test_the_names_we_are_asked_by(
    listen: str, named: tuple[str, ...], tls: bool, expected: set[str]
) -> None:
    where = parse(listen)
    assert address.hosts(where, where.port, named, tls=tls) == expected


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1"])
def test_who_listens_everywhere_is_given_a_name(listen: str) -> None:
    with pytest.raises(UsageError, match="no name of its own") as caught:
        address.hosts(parse(listen), 1, (), tls=True)
    assert "--allow-host" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["*", "*.example", "http://a", "a/b", "a b", "", "a:0", "a:b", "-a", "a\r\nb"]
)
def test_no_name(name: str) -> None:
    with pytest.raises(UsageError):
        address.hosts(parse("127.0.0.1:1"), 1, (name,), tls=False)


def test_over_a_unix_socket_there_are_no_names() -> None:
    assert address.hosts(parse("unix:/x"), 0, (), tls=False) is None


@pytest.mark.parametrize(
    "origin", ["*", "null", "a.example", "https://a/b", "file:///", "https://*.example", ""]
)
def test_no_origin(origin: str) -> None:
    with pytest.raises(UsageError):
        address.origins((origin,))


def test_origins_are_compared_in_small_letters() -> None:
    assert address.origins(("HTTPS://A.example:8/",)) == {"https://a.example:8"}


@pytest.mark.parametrize(
    ("listen", "tls", "waived", "borne"),
    [
        ("127.0.0.1:1", False, False, True), ("[::1]:1", False, False, True),
        ("127.9.9.9:1", False, False, True), ("unix:/x", False, False, True),
        ("192.0.2.1:1", False, False, False), ("0.0.0.0:1", False, False, False),
        ("[::]:1", False, False, False), ("192.0.2.1:1", True, False, True),
        ("192.0.2.1:1", False, True, True),
    ],
)  # fmt: skip
def test_no_network_without_tls_but_by_a_word(listen: str, tls: bool, waived: bool, borne: bool) -> None:
    if borne:
        address.require_cover(parse(listen), tls=tls, waived=waived)
        return
    with pytest.raises(UsageError, match="network") as caught:
        address.require_cover(parse(listen), tls=tls, waived=waived)
    assert "--insecure-http" in caught.value.hint


@pytest.mark.parametrize(
    ("listen", "port", "route", "tls", "expected"),
    [
        ("localhost:0", 7, "", False, "http://localhost:7/mcp"),
        ("[::1]:7", 7, "github", True, "https://[::1]:7/github/mcp"),
        ("unix:/x", 0, "a", False, "unix:/x /a/mcp"),
    ],
)
def test_a_url(listen: str, port: int, route: str, tls: bool, expected: str) -> None:
    assert address.url(parse(listen), port, route, tls=tls) == expected
