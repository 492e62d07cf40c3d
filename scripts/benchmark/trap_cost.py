"""What the trap adds to a start, part by part: `trap_cost.py COUNT`, by the interpreter of the program.

Says JSON, milliseconds: what a start loads for it (one sample a process), the trap set in a fresh namespace,
its sockets taken, and the gateway forked. In a start the last three run beside the rest of it.
"""

from __future__ import annotations

import json
import os
import select
import sys
from time import perf_counter

# Loaded by every start, trap or none.
import sandbox.audit.sink
import sandbox.backend.native.identity
import sandbox.backend.native.seccomp
import sandbox.linux
import sandbox.plan.spec

LOADED = perf_counter()

from sandbox.egress.charge import Charge  # noqa: E402 - measured
from sandbox.gateway import Gateway  # noqa: E402 - measured
from sandbox.policy.model import HostRule, Network, Origin  # noqa: E402 - loaded already
from sandbox.trap import receive, set_trap  # noqa: E402 - measured

LOADED = perf_counter() - LOADED


def trap() -> tuple[float, float]:
    """Milliseconds to set it, and to take its sockets."""
    gateway = Gateway()
    inside, outside = gateway.trap
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        sandbox.linux.unshare(sandbox.linux.CLONE_NEWUSER | sandbox.linux.CLONE_NEWNET)
        began = perf_counter()
        set_trap([443], inside)
        os.write(tell, repr(perf_counter() - began).encode())
        os._exit(0)
    os.close(inside)
    os.close(tell)
    said = os.read(told, 64)
    os.close(told)
    os.waitpid(child, 0)
    select.select([outside], [], [], 5)
    began = perf_counter()
    sockets = receive(outside)
    taken = perf_counter() - began
    for one in sockets:
        os.close(one.fd)
    os.close(outside)
    return float(said) * 1000, taken * 1000


def forked() -> float:
    """Milliseconds until the wrapper goes on after it has started a gateway."""
    gateway = Gateway()
    allowed = HostRule("example.org", 443, Origin("default"))
    began = perf_counter()
    gateway.start(Charge(Network(allow=(allowed,))))
    took = perf_counter() - began
    gateway.close()
    os.close(gateway.trap[0])
    return took * 1000


found: dict[str, list[float]] = {"load": [LOADED * 1000], "set": [], "take": [], "fork": []}
for _ in range(int(sys.argv[1])):
    was_set, taken = trap()
    found["set"].append(was_set)
    found["take"].append(taken)
    found["fork"].append(forked())
sys.stdout.write(json.dumps(found) + "\n")
