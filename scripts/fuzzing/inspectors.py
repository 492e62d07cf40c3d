"""The inspectors as a session has them, by the same wiring, under the defaults and at their strictest."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import Literal

from fuzzing.conversations import SECRET
from sandbox import inspection, secrecy
from sandbox.inspect.judged import Inspector
from sandbox.inspect.poison_texts import Looker
from sandbox.policy.load import load
from sandbox.prepare import prepare
from sandbox.prepared import Prepared, Wish
from sandbox.records import replace
from sandbox.secrecy import Secrecy

Profile = Literal["default", "usual", "strict"]
PROFILES: dict[Profile, str] = {
    "default": """
schema = 1
extends = "base"
""",
    "usual": """
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
    "strict": """
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
path = { within = ["/tmp"] }
[client]
roots = "mounted"
sampling = "deny"
elicitation = "deny"
""",
}
"""`default`: what nobody wrote; `usual`: the same in words, with a denied tool, so that calls are judged."""
_scratch = tempfile.TemporaryDirectory(prefix="mcp-sandbox-fuzz-")
_known: dict[Profile, Prepared] = {}


def made(profile: Profile = "usual") -> list[Inspector]:
    """All that a session has, the first time it is here; nothing of the user's is read or written."""
    return made_with(kept(profile), profile)


def kept(profile: Profile) -> Secrecy | None:
    """What keeps the secrets of such a session."""
    granted = () if profile == "default" else (("FUZZED", SECRET),)
    return secrecy.of(_prepared(profile), "fuzz", granted, (), _unheard)


def made_with(keeping: Secrecy | None, profile: Profile) -> list[Inspector]:
    """The inspectors of a session with these secrets."""
    shutil.rmtree(os.path.join(_scratch.name, "mcp-sandbox"), ignore_errors=True)
    clean = str if keeping is None else keeping.text
    around = replace(inspection.ALONE, secrecy=keeping, clean=clean)
    return [*inspection._inspectors(_prepared(profile), "fuzz", around)]


def _unheard(_said: object) -> None:
    """Nobody is told."""


def _kept(make: Callable[[], Looker], environ: Mapping[str, str]) -> Callable[[], Looker]:
    """The rules of poison take 70 ms to be made: once a process, and without what a session left in them."""
    if not _lookers:
        _lookers.append(make())
    _lookers[0].forget()
    return lambda: _lookers[0]


_lookers: list[Looker] = []
inspection._ahead = _kept


def _prepared(profile: Profile) -> Prepared:
    """As `run` prepares it, with the profile that is meant; `inspection` sees nothing else."""
    if profile not in _known:
        path = os.path.join(_scratch.name, f"{profile}.toml")
        with open(path, "w") as file:
            file.write(PROFILES[profile])
        wish = Wish(("/bin/cat",), _environ(), _scratch.name, name="fuzz")
        prepared = prepare(wish, lambda line: None, build=False)
        # Only then: what the plan would refuse of the profile is no matter here.
        _known[profile] = replace(prepared, policy=load(path, environ=_environ(), cwd=_scratch.name))
    return _known[profile]


def _environ() -> dict[str, str]:
    places = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    return {**dict.fromkeys(places, _scratch.name), "PATH": os.environ.get("PATH", ""), "FUZZED": SECRET}


def names() -> list[str]:
    """The inspectors that the wiring makes, in its order."""
    return [one.name for one in made()]
