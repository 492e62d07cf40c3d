"""The words between the gateway and the wrapper, for the one who has not loaded anything else yet."""

from __future__ import annotations

WRITTEN, SETTLE = b"+", b"?"
"""The wrapper's: the oldest fact is in the log; say all that has happened so far."""
SETTLED = b'{"settled": true}'
"""The gateway's answer to `SETTLE`, after those facts."""
KINDS = frozenset({"egress.allow", "egress.deny", "egress.close", "dns.deny", "canary.seen"})
"""Of the log: what the gateway may tell of."""
DEFAULT_DENY = "default deny, [network] allow"
"""The rule of what no rule allows."""
LARGEST = 1 << 16
"""Bytes of one message."""
