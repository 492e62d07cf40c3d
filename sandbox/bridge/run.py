"""The bridge: to the relay a server that speaks stdio, to the server a client that speaks streamable HTTP.

It is run by process 1 of the sandbox in a forked child, in the server's own namespaces: the answers it parses
are hostile, and who takes it over has gained what a hostile server has. Importing this file costs nothing;
`load` imports the rest, and has to be called while the library's files can still be read.
"""

from __future__ import annotations

from sandbox.records import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable

    from sandbox.plan.spec import Endpoint


@dataclass(frozen=True, slots=True)
class Target:
    """The server, with everything resolved that is secret or of this host."""

    endpoint: Endpoint
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every request to the endpoint's origin, and to no other; never printed."""
    tls: ssl.SSLContext | None = None
    """Where the endpoint says `tls`; it verifies name, chain and pins, or nothing is sent."""
    dial: Callable[[], socket.socket] | None = None
    """Gives a connected socket, or raises OSError; called in a thread. None: by host and port."""
    login: str = ""
    """What a person runs where the server wants a login; said with the 401."""
    message: int = 10 << 20
    """Bytes of one message, in both directions."""


def load() -> None:
    """Imports all that `run` needs later, when the view may not have the library's files any more."""
    import encodings.idna  # the library's own late one, for the name of a TLS server
    import encodings.latin_1  # noqa: F401

    import sandbox.bridge.bridge  # noqa: F401


def run(target: Target, stdin: int, stdout: int, notes: int) -> int:
    """Carries messages until `stdin` ends (0) or the server cannot be spoken to any more (1); blocks.

    One JSON object a line each way, as a server on stdio has it; `notes` gets lines for a person to read.
    Every request that waits is answered, if with an error, before it ends.
    """
    from sandbox.bridge.bridge import carry

    return carry(target, stdin, stdout, notes)
