"""The sandbox of one session, by the backend that the plan chose."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.backend.native import early as native
from sandbox.backend.native import launch
from sandbox.plan.spec import Spec
from sandbox.records import dataclass

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.backend.early import Early
    from sandbox.backend.running import Running
    from sandbox.gateway import Far

    Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be built, for whom, and what its keeper removes at the end, the lease last."""

    spec: Spec
    session: str
    environ: Mapping[str, str]
    secrets: Pairs
    remove: tuple[str, ...]


def realise(wanted: Wanted, trap: tuple[int, int], early: Early | None) -> Running:
    """Begins to build it, and returns at once; an `early` keeper that cannot build this one is ended."""
    if wanted.spec.backend == "native":
        return _natively(wanted, trap, early)
    from sandbox import containers
    from sandbox.backend.docker.launch import Early

    keeper = early if isinstance(early, Early) else None
    _end_unless(early, used=keeper is not None)
    return containers.start(
        keeper or Early(wanted.environ),
        wanted.spec,
        wanted.session,
        wanted.environ,
        wanted.secrets,
        wanted.remove,
        trap,
    )


def _natively(wanted: Wanted, trap: tuple[int, int], early: Early | None) -> Running:
    spec, env = wanted.spec, (*wanted.spec.env, *wanted.secrets)
    told = launch.orders(spec, wanted.session, env, wanted.remove, listened=True)
    if spec.endpoint is None and isinstance(early, native.Early):
        return early.start(spec, told, trap)
    _end_unless(early, used=False)
    if spec.endpoint is not None:
        # Its memory is to hold nothing of the caller's: what it is told does not go over a socket.
        from sandbox.remote import bridged

        told = bridged(told, spec, wanted.secrets, wanted.environ)
    return launch.start(spec, told, trap)


def _end_unless(early: Early | None, *, used: bool) -> None:
    if early is not None and not used:
        early.close()


def gateway(early: Early | None) -> tuple[int, int] | None:
    """The process and channel of the gateway that came with the keeper that is used (`Gateway.start`)."""
    return early.take_gateway() if isinstance(early, native.Early) else None


def far(spec: Spec, session: str, environ: Mapping[str, str]) -> Far | None:
    """A gateway in a container, where no socket of the engine's machine reaches this one."""
    if spec.backend == "native":
        return None
    from sandbox import containers

    return containers.far(spec, session, environ)
