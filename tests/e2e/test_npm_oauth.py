"""The npm SDK's own OAuth client against `serve --oauth`'s front: in by our 401 alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.serve.oauth.issuer import jwks, private, public_jwk, serving
from tests.serve.oauth.test_sdk import TINY, authorizing
from tests.serve.oauth.test_served import fronted

CLIENT = Path(__file__).with_name("oauth_client.mjs")


@pytest.mark.long
def test_the_npm_sdks_client_finds_its_way_in(tmp_path: Path, inspector: str) -> None:
    sdk = Path(inspector).parent.parent / "@modelcontextprotocol" / "sdk"
    (tmp_path / "root").mkdir()
    authority, ca = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    program = (sys.executable, "-I", str(TINY), str(tmp_path / "root"))
    with serving(authority.issue_cert("127.0.0.1")) as site:
        site.found["/keys"] = jwks(public_jwk("ES256", private("P-256"), kid="ES256"))
        asked = authorizing(site)
        asked["scope"] = "mcp:read"
        with fronted(tmp_path, site, str(ca), program, "http://127.0.0.1:{port}") as front:
            url = f"http://127.0.0.1:{front.port}/github/mcp"
            done = subprocess.run(
                ["node", str(CLIENT), str(sdk), url],
                env={**os.environ, "NODE_EXTRA_CA_CERTS": str(ca)},
                capture_output=True, text=True, timeout=60,
            )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["refused"], found["resource"]) == ("UnauthorizedError", url)
    assert found["scope"] == "mcp:all mcp:read mcp:write"
    assert found["tools"] == ["read_text_file", "list_directory"]
