"""`serve` as a whole: socket, tokens, sessions and log, opened in that order and ended in the other."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from sandbox.audit.sink import Sink
from sandbox.errors import AuditError, UsageError
from sandbox.event import Event, Value
from sandbox.records import dataclass, field
from sandbox.serve import address as addresses
from sandbox.serve import http, tokens
from sandbox.serve.address import Address
from sandbox.serve.budget import Budget
from sandbox.serve.connection import Desk
from sandbox.serve.crowd import Crowd
from sandbox.serve.guard import Rules
from sandbox.serve.journal import Journal
from sandbox.serve.limits import Limits
from sandbox.serve.words import Answerer, Authenticator, Routes

LAST_S = 1.0
"""For answers that are being written when the front ends; the sessions have ended by then."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Issued(Authenticator, Protocol):
    """An `Authenticator` that has to be started, such as one that fetches keys."""

    async def start(self) -> None:
        """Gets ready, or raises what is missing."""
        ...

    async def close(self) -> None:
        """Lets go of everything."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """What `serve` was asked for."""

    routes: Routes
    address: Address
    token_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    allow_hosts: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    insecure_http: bool = False
    oauth: Callable[[], Issued] | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def tls(self) -> bool:
        return bool(self.tls_cert or self.tls_key)


@dataclass(frozen=True, slots=True)
class Ready:
    """What a person or a program is told once connections are taken in."""

    urls: Mapping[str, str]
    session: str
    token_file: str
    """Empty where another's tokens count, or none are needed."""
    new_token: str
    """One that was made now; it is shown this once."""


Opened = Callable[[Callable[[Event], None]], Answerer]
"""Opens the sessions, once there is a loop and a log to report to."""


def serve(
    options: Options, session: str, environ: Mapping[str, str], opened: Opened, tell: Callable[[Ready], None]
) -> int:
    """Serves until a signal ends it, and returns 0; raises where it cannot begin or its log fails."""
    context = check(options)
    http.raise_descriptors()
    with http.bound(options.address) as sock, Sink(session, "serve", environ=environ) as sink:
        front = Front(options, sock, context, sink, environ)
        return asyncio.run(front.run(opened, tell))


def check(options: Options) -> ssl.SSLContext | None:
    """What TLS is served with; raises what can be known to be wrong before anything is opened."""
    addresses.require_cover(options.address, tls=options.tls, waived=options.insecure_http)
    addresses.hosts(options.address, options.address.port or 1, options.allow_hosts, tls=options.tls)
    addresses.origins(options.allow_origins)
    return tls_context(options)


class Front:
    """One run of `serve`."""

    def __init__(
        self,
        options: Options,
        sock: socket.socket,
        context: ssl.SSLContext | None,
        sink: Sink,
        environ: Mapping[str, str],
    ) -> None:
        self._options, self._socket, self._context, self._sink = options, sock, context, sink
        self._environ = environ
        self._stop: asyncio.Future[str] | None = None

    async def run(self, opened: Opened, tell: Callable[[Ready], None], *, handle_signals: bool = True) -> int:
        """Everything, once there is a loop; until `stop`, or a signal where they are ours to handle."""
        self._stop = asyncio.get_running_loop().create_future()
        journal = Journal(self._sink, self._options.limits, self._broken)
        asyncio.get_running_loop().set_exception_handler(lambda loop, what: journal.fault(_fault_in(what)))
        async with AsyncExitStack() as stack:
            if handle_signals:
                await stack.enter_async_context(self._signals())
            authenticator, ready = await self._authenticator(stack)
            self._log_start(journal, ready)
            answerer = opened(journal.write)
            listener = http.Listener(
                self._socket, self._desk(journal, authenticator, answerer), self._context
            )
            listener.start()
            tell(ready)
            try:
                reason = await self._stop
            finally:  # a log that cannot be written ends it too
                listener.close()
                await answerer.close()
                await listener.stop(LAST_S)
            journal.settle(is_last=True)
            journal.write(Event("session.end", {"status": 0, "reason": reason}))
        return 0

    def _broken(self, error: AuditError) -> None:
        if self._stop is not None and not self._stop.done():
            self._stop.set_exception(error)

    @asynccontextmanager
    async def _signals(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stop, signal.Signals(number).name)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def stop(self, reason: str) -> None:
        """Ends it, in order."""
        if self._stop is not None and not self._stop.done():
            self._stop.set_result(reason)

    # --- what it is made of -------------------------------------------------------------------------

    def _desk(self, journal: Journal, authenticator: Authenticator, answerer: Answerer) -> Desk:
        options = self._options
        named = addresses.hosts(options.address, self._port, options.allow_hosts, tls=options.tls)
        rules = Rules(
            routes=frozenset(options.routes),
            scheme="https" if options.tls else "http",
            hosts=named,
            origins=addresses.origins(options.allow_origins),
            body_max=options.limits.body_max,
        )
        return Desk(
            rules,
            options.limits,
            authenticator,
            answerer,
            journal,
            Crowd(options.limits),
            Budget(options.limits),
        )

    @property
    def _port(self) -> int:
        return 0 if self._options.address.path else int(self._socket.getsockname()[1])

    async def _authenticator(self, stack: AsyncExitStack) -> tuple[Authenticator, Ready]:
        options = self._options
        if options.oauth is not None:
            issued = options.oauth()
            await issued.start()
            stack.push_async_callback(issued.close)
            return issued, self._ready("", "")
        if options.address.path and not options.token_file:
            return tokens.Nobody(os.geteuid()), self._ready("", "")
        path = options.token_file or tokens.usual_path(self._environ)
        named, made = tokens.obtain(path)
        self._sink.conceal(named)
        return tokens.Tokens(named), self._ready(path, made)

    def _ready(self, token_file: str, made: str) -> Ready:
        options = self._options
        urls = {
            route: addresses.url(options.address, self._port, route, tls=options.tls)
            for route in options.routes
        }
        return Ready(urls, self._sink.session, token_file, made)

    def _log_start(self, journal: Journal, ready: Ready) -> None:
        options = self._options
        detail: dict[str, Value] = {
            "urls": list(ready.urls.values()), "tls": options.tls, "pid": os.getpid(),
            "hosts": list(options.allow_hosts), "origins": list(options.allow_origins),
        }  # fmt: skip
        journal.write(Event("session.start", detail))
        if options.insecure_http and not options.tls and not options.address.is_local:
            journal.write(
                Event("waiver", {"what": "HTTP without TLS over a network"}, rule="--insecure-http")
            )


def _fault_in(context: dict[str, Any]) -> BaseException:
    """What went wrong where nobody was there to catch it; on the terminal it would say what clients sent."""
    error = context.get("exception")
    return error if isinstance(error, BaseException) else RuntimeError()


def tls_context(options: Options) -> ssl.SSLContext | None:
    """TLS 1.2 and later with the certificate that was given; None where none was."""
    if not options.tls:
        return None
    if not (options.tls_cert and options.tls_key):
        what = "a certificate needs its key, and a key its certificate"
        raise UsageError("tls", what, hint="--tls-cert PATH --tls-key PATH")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or str(error)
        raise UsageError("tls", f"cannot load `{options.tls_cert}` and `{options.tls_key}`: {why}") from error
    return context


def _no_password() -> str:
    # Without this OpenSSL asks at the terminal, which a service has not.
    raise UsageError("tls", "the key has a password", hint="openssl pkey -in KEY -out KEY.plain")
