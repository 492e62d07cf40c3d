"""A resolution judged: advisories are opened, keys and attestations fetched, and the rules decide."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from sandbox import matching
from sandbox.errors import ProfileError
from sandbox.places import cache_dir
from sandbox.policy.model import Supply
from sandbox.policy.paths import expand
from sandbox.supply import inside, npm, provenance, pypi, spec
from sandbox.supply import judged as judge_of
from sandbox.supply.advisories import Advisories, opened
from sandbox.supply.build import Maker
from sandbox.supply.findings import Judged
from sandbox.supply.job import Order
from sandbox.supply.lock import Lock
from sandbox.supply.provenance import Evidence
from sandbox.supply.request import Request
from sandbox.supply.resolved import Resolution
from sandbox.supply.store import Store

VARIABLE = "MCP_SANDBOX_OSV"
_KEY = "provenance"
"""Of the store's staging: no key of a request is a word."""


def judged(order: Order, resolution: Resolution, policy: Supply, waive: Sequence[str] = ()) -> Judged:
    """Everything that is to be known of a tree before it is locked; `waive` are `RULE:NAME`."""
    ecosystem = order.request.ecosystem
    known = judge_of.Known(
        now=time.time(),
        advisories=database(policy, order.environ, order.cwd),
        servers=tuple(matching.index()),
        asked=_asked(order.request),
        evidence=None if policy.provenance == "off" else _fetched(order, resolution),
    )
    return judge_of.judge(resolution, ecosystem, policy, known, waive)


def database(policy: Supply, environ: Mapping[str, str], cwd: str) -> Advisories | None:
    """The database that the profile names, else the one of the environment; None where neither does."""
    named = policy.advisories_at or environ.get(VARIABLE, "")
    if policy.advisories == "off" or not named:
        return None
    rule = "supply.advisories_at" if policy.advisories_at else VARIABLE
    try:
        path = expand(named, home=environ.get("HOME", ""), cwd=cwd, environ=environ)
    except ValueError as error:
        raise ProfileError("path-malformed", str(error), rule=f"`{rule}`") from None
    return opened(path, environ)


def learned(lock: Lock, policy: Supply, environ: Mapping[str, str], cwd: str) -> Judged:
    """What the database knows by now of a lock's packages; what was waived when it was made stays so."""
    if lock.kind not in ("npm", "pypi"):
        return Judged()
    alone = Supply(age=0, provenance="off", lookalikes="off", advisories=policy.advisories)
    known = judge_of.Known(now=time.time(), advisories=database(policy, environ, cwd))
    waived = tuple(one.what.replace(" ", ":", 1) for one in lock.waived)
    return judge_of.judge(Resolution(lock.packages), lock.kind, alone, known, waived)


def _asked(request: Request) -> tuple[str, ...]:
    name = spec.npm_name if request.ecosystem == "npm" else spec.pypi_base
    return tuple(name(each) for each in request.specs)


def _fetched(order: Order, resolution: Resolution) -> Evidence:
    """What the registries serve of where the packages come from, fetched by a build sandbox."""
    maker: Maker = npm if order.request.ecosystem == "npm" else pypi
    interpreter = (
        inside.interpreter(order.image, order.request)
        if order.image
        else maker.interpreter(order.request, order.environ)
    )
    store = Store(os.path.join(cache_dir(order.environ), "store"))
    store.prepare()
    waiting = "waiting for another lock to ask where its packages come from…"
    with (
        store.lock(_KEY, waiting=lambda: order.progress(waiting)),
        store.stage(_KEY) as staging,
    ):
        base = maker.jobs(order, order.request.specs, interpreter, staging)[0]
        urls = provenance.addresses(resolution, order.request.ecosystem, base.hosts)
        if not urls:
            return Evidence()
        order.progress(f"asking where {order.request.title} comes from…")
        order.run_build(provenance.job(base, order.request.ecosystem, interpreter.path, urls, order.environ))
        return provenance.collected(base.staging, urls)
