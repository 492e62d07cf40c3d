"""The bridge in front of a server in a container: a child of the keeper without a right of the keeper's."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from socket import socket
from typing import NoReturn

from sandbox import linux
from sandbox.backend.bridge_process import Streams, carry, forget, tell
from sandbox.backend.docker.dialler import Dialler
from sandbox.backend.docker.orders import Orders
from sandbox.backend.native import identity
from sandbox.plan.spec import Endpoint


class Bridge:
    """Forked before the keeper has threads; readable (`fileno`) once it is over."""

    def __init__(self, told: Orders, holder: socket, streams: Streams, caller: Mapping[str, str]) -> None:
        self.code: int | None = None
        """Its status, or the signal below 0, once it was collected."""
        self._process = os.fork()
        if self._process == 0:
            _become(told, holder, streams, caller)
        self._pidfd = os.pidfd_open(self._process)
        os.close(streams.stdin)
        os.close(streams.stdout)

    def fileno(self) -> int:
        """Its pidfd."""
        return self._pidfd

    def collect(self) -> int:
        """How it ended; waits for that."""
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
            os.close(self._pidfd)
        return self.code

    def send(self, number: signal.Signals) -> None:
        """A signal, unless it is over."""
        if self.code is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def close(self) -> None:
        """Ends it, whatever it does."""
        self.send(signal.SIGKILL)
        self.collect()


def _become(told: Orders, holder: socket, streams: Streams, caller: Mapping[str, str]) -> NoReturn:
    from sandbox.bridge.run import Target, load

    try:
        assert told.endpoint is not None  # noqa: S101 - a bridge leads somewhere
        host, port, path, ready = told.endpoint
        endpoint = Endpoint(host, port, path, ready=ready)
        dial = Dialler(holder, endpoint.port).dial
        target = Target(endpoint, dial=dial, message=told.message)
        load()  # as long as our files can be read
        _give_up_rights()
        forget(caller)
        carry(target, streams, told.bridge.encode("latin-1"), (holder.fileno(),))
    except BaseException as error:
        tell(streams.notes, error)
    finally:
        os._exit(1)


def _give_up_rights() -> None:
    """A uid of its own for a root caller; of others no capability is left."""
    if os.geteuid() == 0:
        own = identity.FIRST_UID + os.getpid()
        identity.drop_root(own, own)
    linux.clear_capabilities()
