"""One server that wants a login and its issuer, for each test anew; the certificates' authority for all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from sandbox.login import flow, keeping, ring
from tests.login.sites import Browser, Issuer, Server

Login = Callable[..., keeping.Login]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the certificates of these tests."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its certificate, for those who are to trust it."""
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def issuer(authority: trustme.CA) -> Iterator[Issuer]:
    """An authorization server."""
    with Issuer(authority) as made:
        yield made


@pytest.fixture
def server(authority: trustme.CA, issuer: Issuer) -> Iterator[Server]:
    """A server that wants its tokens."""
    with Server(authority, issuer) as made:
        yield made


@pytest.fixture
def browser(ca_file: str) -> Browser:
    """A person's."""
    return Browser(ca_file)


@pytest.fixture(autouse=True)
def _no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the keyring of whoever runs it; those about keyrings bring their own."""

    def silent() -> None:
        raise ring.Silent("there is no keyring")

    monkeypatch.setattr(ring, "_keyring", silent)


@pytest.fixture
def login(server: Server, browser: Browser, ca_file: str) -> Login:
    """Logs in at the server, with what a test wishes besides."""

    def carry(**wish: object) -> keeping.Login:
        usual: dict[str, object] = {"url": server.url, "ca": ca_file, "browser": False, "patience": 10.0}
        try:
            return flow.login(flow.Wish(**(usual | wish)), dict(os.environ), browser)  # type: ignore[arg-type]
        finally:
            browser.done()

    return carry
