"""Values of credentials' form for tests, made at run time."""

from __future__ import annotations

from typing import Any

from sandbox.inspect.credentials import shipped
from sandbox.inspect.known import Known
from sandbox.inspect.marks import Marks
from sandbox.inspect.redaction import Redaction
from sandbox.inspect.secrets import Secrets
from sandbox.policy.model import SecretMode
from sandbox.wire.jsonrpc import Frame, FrameReader
from sandbox.wire.structs import msgspec
from tests.corpus.secrets.making import Making

MAKING = Making(7)
OWN = "q7Kf+2LxZ0w/Pb9Rt4-HsVuYc81NdJm3GeAo5Ti"
"""The session's secret of most tests."""
GITHUB = MAKING.example("ghp_{w36}")
STRIPE = MAKING.example("sk_live_{w24}")
KEY = MAKING.value("key")
TAG = "9f3c"


def redaction(known: dict[str, str] | None = None) -> Redaction:
    """With the rules of the package, and a session's own secrets."""
    return Redaction(shipped, Known({"TOKEN": OWN} if known is None else known), Marks(TAG))


def inspector(mode: SecretMode = "redact", known: dict[str, str] | None = None) -> Secrets:
    """The inspector with a redaction of its own."""
    return Secrets(mode, redaction(known))


def frame(message: dict[str, Any]) -> Frame:
    """The message as the relay has it."""
    made = FrameReader(1 << 26).feed(msgspec.json.encode({"jsonrpc": "2.0", **message}) + b"\n")[0]
    assert isinstance(made, Frame)
    return made
