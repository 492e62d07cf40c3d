"""What the wrapper hands the gateway, and nothing else of the wrapper's is the gateway's business."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.policy.model import Network
from sandbox.records import dataclass, field


@dataclass(frozen=True, slots=True)
class Charge:
    """The policy, the planted canaries (name and value), the host's proxy settings."""

    network: Network
    canaries: tuple[tuple[str, str], ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict)
