"""Lists that the relay reads itself begin beside any request, whatever its `_meta` is."""

from __future__ import annotations

import json

import pytest

from sandbox.relay.listing import Listings
from sandbox.wire.jsonrpc import Frame, FrameReader

MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


def beside(**params: object) -> Frame:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    (frame,) = FrameReader().feed(json.dumps(message).encode() + b"\n")
    assert isinstance(frame, Frame)
    return frame


@pytest.mark.parametrize(
    ("frame", "params"),
    [
        pytest.param(beside(), {}, id="no meta"),
        pytest.param(
            beside(_meta={**MODERN, "progressToken": 1}), {"_meta": MODERN}, id="its revision, not its token"
        ),
        pytest.param(beside(_meta=["ab", "x"]), {}, id="a list"),
        pytest.param(beside(_meta="ab"), {}, id="a text"),
        pytest.param(beside(_meta=None), {}, id="null"),
    ],
)
def test_the_first_page_is_asked_for_as_the_request_beside_it_asks(
    frame: Frame, params: dict[str, object]
) -> None:
    request = Listings("own-", bytes).begin("tools/list", frame)
    assert request is not None
    assert json.loads(request) == {
        "jsonrpc": "2.0",
        "id": f"own-{'00' * 12}",
        "method": "tools/list",
        "params": params,
    }
