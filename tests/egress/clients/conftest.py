"""The clients, the services that they talk to, and a sandbox to start them in."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.attacks.inside import World
from tests.conftest import CI
from tests.egress.clients.inside import Sandbox
from tests.egress.clients.kit import Kit, profile
from tests.egress.extra_services import Extra
from tests.egress.internet import Internet

Start = Callable[..., Sandbox]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What clients need of the way out is the same for every caller: as root they are `long`."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.callspec.params.get("caller") == "root":  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def kit(internet: Internet, shared_cache: Path) -> Iterator[Kit]:
    """Clients where every caller can read them; they last only where a cache was chosen."""
    if os.environ.get("MCP_SANDBOX_TEST_CACHE"):
        yield Kit(shared_cache / "egress-clients", internet.ca_file)
        return
    made = Path(tempfile.mkdtemp(prefix="mcp-clients-")).resolve()
    made.chmod(0o755)
    yield Kit(made, internet.ca_file)
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def services(internet: Internet) -> Iterator[Extra]:
    """HTTP/2, proxies, a web server on the test host's loopback."""
    if not shutil.which("node"):
        if CI:
            pytest.fail("CI must provide `node`", pytrace=False)
        pytest.skip("needs `node`")
    with Extra(internet) as made:
        yield made


@pytest.fixture
def extra(services: Extra, internet: Internet) -> Extra:
    """The same, told of nothing that was before this test."""
    services.begin()
    return services


@pytest.fixture
def start(internet: Internet, world: World, kit: Kit) -> Iterator[Start]:
    """Starts a sandbox with those hosts allowed; it ends with the test."""
    made: list[Sandbox] = []

    def starting(
        *allow: str, opaque: tuple[str, ...] = (), environ: Mapping[str, str] | None = None, **fixed: str
    ) -> Sandbox:
        text = profile(kit.paths, kit.environ() | fixed, allow, opaque)
        made.append(Sandbox(internet, world, text, environ))
        return made[-1]

    yield starting
    for one in made:
        one.close()
