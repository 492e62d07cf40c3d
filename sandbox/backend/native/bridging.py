"""The bridge in place of a server that runs elsewhere: what of it is this host's, and how it is started."""

from __future__ import annotations

from sandbox.records import dataclass, replace

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.bridge.run import Target
    from sandbox.plan.spec import Spec


@dataclass(frozen=True, slots=True)
class Carried:
    """What of an endpoint is secret or of this host, as the wrapper resolved it: in no spec and no log."""

    path: str
    headers: tuple[tuple[str, str], ...] = ()
    authorities: str = ""
    """The certificates (PEM) that a TLS server's has to lead to."""
    login: str = ""
    """What a person runs where the server wants a login."""


def load() -> None:
    """Imports what `target` needs, while our own library can be read."""
    import sandbox.bridge.trust  # noqa: F401


def target(spec: Spec, carried: Carried) -> Target:
    """The endpoint with everything resolved; the certificates are read here, which takes 20 ms."""
    from sandbox.bridge.run import Target

    endpoint = spec.endpoint
    assert endpoint is not None  # noqa: S101 - asked for where there is one
    resolved = replace(endpoint, path=carried.path)
    tls = None
    if endpoint.tls:
        from sandbox.bridge.trust import context

        tls = context(carried.authorities, endpoint.pins)
    return Target(resolved, carried.headers, tls, message=spec.message, login=carried.login)
