"""What a server of strangers' words (a bundle, a `server.json`) wants to be told, and what it is given.

It gets no variable of the caller's but those that the profile or an option of this run names: it says
itself what it wants, and could ask for any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox.errors import CannotEnforce, SandboxError
from sandbox.policy.model import Policy
from sandbox.records import dataclass


class Hidden:
    """A value that is there, and that nobody reads before the start."""


HIDDEN = Hidden()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One value that has to be given."""

    variable: str
    title: str
    kind: str
    """What it is, as a person is told: `a secret`, `paths`, `number`."""
    secret: bool = False


def given(policy: Policy, environ: Mapping[str, str]) -> dict[str, str | Hidden]:
    """Every variable that the policy gives the server, and that has a value."""
    found: dict[str, str | Hidden] = {name: environ[name] for name in policy.env.passed if environ.get(name)}
    found |= {name: value for name, value in policy.env.fixed if value}
    # One that has to be there and is not stops the start later, with its own words.
    there = [one.name for one in policy.secrets if one.source != "env?" or environ.get(one.name)]
    return found | dict.fromkeys(there, HIDDEN)


def missing(name: str, wanted: Sequence[Wanted], path: str, rule: str) -> SandboxError:
    """What has to be said, each by the variable that says it, and how."""
    lines = [f"`{name}` needs {'settings' if len(wanted) > 1 else 'a setting'} that nothing gives"]
    lines += [f"`{one.variable}`: {_plain(one)} ({one.kind})" for one in wanted]
    options = [f"--secret {one.variable}" if one.secret else f"--set-env {one.variable}=…" for one in wanted]
    hint = f"{' '.join(options)}; `mcp-sandbox profile new -- {path}` writes a profile with all of them"
    return CannotEnforce("setting-missing", "\n".join(lines), rule=rule, hint=hint)


def _plain(one: Wanted) -> str:
    return "".join(char if char.isprintable() else " " for char in one.title[:100]) or one.variable
