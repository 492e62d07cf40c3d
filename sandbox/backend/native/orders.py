"""What the wrapper hands over to the keeper of a native sandbox, beside the spec."""

from __future__ import annotations

import _pickle as pickle

from sandbox.records import dataclass, field

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.backend.native.bridging import Carried
    from sandbox.plan.spec import Spec


@dataclass(frozen=True, slots=True)
class Orders:
    """The filter, the environment with secrets, files to remove at the end."""

    filter: bytes
    env: tuple[tuple[str, str], ...]
    session: str
    remove: tuple[str, ...] = ()
    bridge: bytes = b""
    """The filter of the bridge, where the server speaks HTTP."""
    carried: Carried | None = None
    """Where the server runs elsewhere, and the bridge in its place."""
    caller: Mapping[str, str] = field(default_factory=dict)
    """The caller's own variables, of which the bridge's memory is to keep none."""


def spelt(spec: Spec, orders: Orders) -> bytes:
    """Both, for a process that was forked from this one."""
    return pickle.dumps((spec, orders))
