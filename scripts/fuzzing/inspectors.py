"""The inspectors as a session has them, by the same wiring, under the defaults and at their strictest."""

from __future__ import annotations

import os
import tempfile
from typing import Any, cast

from fuzzing.conversations import SECRET
from sandbox import inspection
from sandbox.inspect.judged import Inspector
from sandbox.policy.load import load
from sandbox.policy.model import Policy
from sandbox.prepare import Prepared, Wish

PROFILES = {
    False: """
schema = 1
extends = "base"
[inspect]
protocol = "on"
poison = "block"
secrets = "redact"
[tools]
pin = "first-use"
deny = ["delete_*"]
[client]
roots = "mounted"
sampling = "deny"
elicitation = "allow"
""",
    True: """
schema = 1
extends = "base"
[inspect]
protocol = "strict"
poison = "strip"
secrets = "block"
[tools]
allow = ["read_*", "write_*"]
ask = ["write_*"]
pin = "locked"
[tools.arguments.read_file]
path = { within = "read" }
[client]
roots = "mounted"
sampling = "deny"
elicitation = "deny"
""",
}
"""By whether it is strict."""
_scratch = tempfile.TemporaryDirectory(prefix="mcp-sandbox-fuzz-")
_policies: dict[bool, Policy] = {}


def made(*, strict: bool = False) -> list[Inspector]:
    """All that a session has; nothing of the user's is read or written."""
    return [*inspection._inspectors(_prepared(strict), "fuzz")]


def _prepared(strict: bool) -> Prepared:
    wish = Wish(("server",), _environ(), _scratch.name, name="fuzz")
    return cast(Prepared, _Stub(wish=wish, policy=_policy(strict)))


class _Stub:
    """What the wiring reads of what was prepared; anything else is an error that says so."""

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)


def _policy(strict: bool) -> Policy:
    if strict not in _policies:
        path = os.path.join(_scratch.name, f"{'strict' if strict else 'usual'}.toml")
        with open(path, "w") as file:
            file.write(PROFILES[strict])
        _policies[strict] = load(path, environ=_environ(), cwd=_scratch.name)
    return _policies[strict]


def _environ() -> dict[str, str]:
    places = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    return {**dict.fromkeys(places, _scratch.name), "PATH": os.environ.get("PATH", ""), "FUZZED": SECRET}


def names() -> list[str]:
    """The inspectors that the wiring makes, in its order."""
    return [one.name for one in made()]
