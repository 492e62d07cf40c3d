"""From a study to a profile that was tried: the least tier under which the server answers as it did."""

from __future__ import annotations

import os
import tempfile
from typing import Final

from sandbox.learn.compose import Material, profile
from sandbox.learn.exercise import Ended, Run, exercise
from sandbox.learn.named import package, variables
from sandbox.learn.seen import Seen
from sandbox.learn.study import Learnt, Order, at_home
from sandbox.learn.wants import network_untouched
from sandbox.plan.spec import Tier
from sandbox.policy.flags import Flags
from sandbox.policy.model import Policy
from sandbox.prepare import prepare
from sandbox.prepared import Prepared
from sandbox.records import dataclass, replace

STRICT_WORKED: Final = "no internet socket: tried, and every answer was the same"
STRICT_FAILED: Final = "without internet sockets its answers were others"


@dataclass(frozen=True, slots=True)
class Written:
    """A profile, and the run that was made under it."""

    text: str
    policy: Policy
    run: Run
    works: bool
    """Every answer was what it had been while learning."""
    tier: Tier


def compose(order: Order, learnt: Learnt, extends: str) -> Written:
    """The profile, tried: with the tier `strict` where nothing was connected to, else with the base's own."""
    made = material(order, learnt, extends)
    order.progress("a run under the learnt profile")
    if learnt.prepared.policy.syscalls != "net" or not _needs_no_socket(learnt):
        return _tried(order, learnt, replace(made, tier=learnt.prepared.policy.syscalls))
    strict = _tried(order, learnt, replace(made, tier="strict", tried=STRICT_WORKED))
    if strict.works:
        return strict
    return _tried(order, learnt, replace(made, tier="net", tried=STRICT_FAILED))


def _needs_no_socket(learnt: Learnt) -> bool:
    """What failed with sockets fails without them too, and would prove nothing; who listens has one."""
    if learnt.prepared.policy.server.transport == "http":
        return False
    worked = all(one.how == "result" for one in learnt.run.called)
    return worked and network_untouched(learnt.run.seen)


def material(order: Order, learnt: Learnt, extends: str) -> Material:
    """What is known after the study."""
    prepared, run = learnt.prepared, learnt.run
    home = prepared.spec.identity.home
    found = package(prepared)
    words = " ".join(order.wish.command or prepared.policy.server.command)
    which = f", {found[0]} {found[1]}" if found else ""
    return Material(
        title=f"`{words}`{which}, {prepared.spec.backend}",
        package=found,
        command=order.wish.command or prepared.policy.server.command,
        extends=extends,
        policy=prepared.policy,
        spec=prepared.spec,
        seen=run.seen,
        runs=learnt.runs,
        called=tuple((one.tool, one.how) for one in run.called),
        not_granted=(*learnt.declined, *learnt.left),
        variables=variables(prepared),
        at_home=at_home(run.seen, order.wish, home),
        started=tuple(path for path in run.seen.started if os.access(path, os.X_OK)),
        trusted=order.trust_network,
    )


def _tried(order: Order, learnt: Learnt, made: Material) -> Written:
    text = profile(made)
    with tempfile.TemporaryDirectory(prefix="mcp-sandbox-learn-") as directory:
        path = os.path.join(directory, "learnt.toml")
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
        wish = replace(
            order.wish,
            command=(),
            profile=path,
            flags=_only_audit(order.wish.flags),
            name=learnt.prepared.spec.server,
        )
        prepared = prepare(wish, order.progress)
        run = _exercised(order, prepared)
    return Written(text, prepared.policy, run, run.outcome == learnt.run.outcome, made.tier)


def _exercised(order: Order, prepared: Prepared) -> Run:
    try:
        return exercise(prepared, order.calls, order.note, wait=0.0)
    except Ended as ended:
        return Run(Seen(), (), (), ("", ""), f"it ended with status {ended.status}")


def _only_audit(flags: Flags) -> Flags:
    return Flags(audit=flags.audit)
