"""npm's conformance suite about logins: its servers and issuers, our `login URL` and `run URL`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Ready

CLIENT = Path(__file__).with_name("conforming_client.py")
SCENARIOS = """
metadata-default metadata-var1 metadata-var2 metadata-var3 basic-cimd pre-registration
resource-mismatch scope-from-www-authenticate scope-from-scopes-supported
scope-omitted-when-undefined scope-step-up token-endpoint-auth-basic token-endpoint-auth-post
token-endpoint-auth-none offline-access-scope offline-access-not-supported
authorization-server-migration iss-supported iss-not-advertised iss-supported-missing
iss-wrong-issuer iss-unexpected iss-normalized metadata-issuer-mismatch
2025-03-26-oauth-metadata-backcompat
""".split()
# A server without any metadata: where its login is would be a guess, and PKCE could not be asked for.
REFUSED = ["2025-03-26-oauth-endpoint-fallback"]


@pytest.fixture(scope="session")
def tools(pytestconfig: pytest.Config) -> Any:
    """Node and the suite, installed once."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from conforming import toolchain
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return toolchain.toolchain(toolchain.cache_place())


def outcome(tools: Any, scenario: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    suite = [tools.node, tools.suites["0.2"], "client", "--scenario", f"auth/{scenario}", "-o", tmp_path]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*map(str, suite), "--command", f"{sys.executable} {CLIENT}"],
        cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100,
    )  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_suites_logins_are_carried_through_or_refused_as_it_wants(
    scenario: str, tools: Any, tmp_path: Path, ready: Ready
) -> None:
    ready("native")
    done = outcome(tools, scenario, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed, 0 warnings" in done.stdout + done.stderr


@pytest.mark.long
@pytest.mark.parametrize("scenario", REFUSED)
def test_what_cannot_be_checked_is_refused(scenario: str, tools: Any, tmp_path: Path) -> None:
    done = outcome(tools, scenario, tmp_path)
    assert done.returncode != 0
    assert "has no login that can be checked" in done.stdout + done.stderr
