"""The directories of `within` as they are inside: what the sandbox does not have bounds nothing (P)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox.errors import CannotEnforce
from sandbox.plan.facts import PathFact
from sandbox.plan.mounts import ABSENT, place_of, target_of
from sandbox.plan.spec import Bind, Symlink, Tmpfs, ViewStep
from sandbox.plan.wants import expanded
from sandbox.policy.breach import key_origin
from sandbox.policy.model import ArgumentRule, Policy
from sandbox.policy.paths import below
from sandbox.records import replace


def named(policy: Policy, *, home: str, cwd: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The host path that each directory of `within` means, by how it is written."""
    return {
        text: expanded(text, str(key_origin(policy, _key(rule))), home=home, cwd=cwd, environ=environ)
        for rule in policy.tools.arguments
        for text in rule.within
    }


def rules_inside(
    policy: Policy, meant: Mapping[str, str], paths: Mapping[str, PathFact], view: Sequence[ViewStep]
) -> tuple[ArgumentRule, ...]:
    """The argument rules with the places inside of their directories; one that is not there is refused."""
    return tuple(_inside(policy, rule, meant, paths, view) for rule in policy.tools.arguments)


def _inside(
    policy: Policy,
    rule: ArgumentRule,
    meant: Mapping[str, str],
    paths: Mapping[str, PathFact],
    view: Sequence[ViewStep],
) -> ArgumentRule:
    places: dict[str, None] = {}
    for text in rule.within:
        found = _places(meant[text], paths.get(meant[text], ABSENT), view)
        if not found:
            raise _not_there(policy, rule, text)
        places |= dict.fromkeys(found)
    return replace(rule, within=tuple(places))


def _places(path: str, fact: PathFact, view: Sequence[ViewStep]) -> list[str]:
    """Where a host path is seen inside, by its written and its real name; a path that is only inside, too."""
    found = [place_of(one, view) for one in dict.fromkeys((path, fact.real)) if one]
    places = [place for place in found if place is not None]
    if places or _is_inside(path, view):
        places.append(path)  # `real` follows the link that has this name
    return places


def _is_inside(path: str, view: Sequence[ViewStep]) -> bool:
    """Whether a place is in a tree that every sandbox has of its own, or named by a link of the view."""
    return any(
        below(path, target_of(step))
        for step in view
        if isinstance(step, Tmpfs | Symlink) or (isinstance(step, Bind) and step.why == "files.persist")
    )


def _not_there(policy: Policy, rule: ArgumentRule, text: str) -> CannotEnforce:
    key = f"{_key(rule)}.within"
    return CannotEnforce(
        "not-mounted",
        f"`{key}` ({key_origin(policy, key)}) names `{text}`, which the sandbox does not have",
        rule="a path that an argument may name lies in what is mounted",
        hint=f"mount it: `--allow-read {text}`",
    )


def _key(rule: ArgumentRule) -> str:
    return f"tools.arguments.{rule.tool}.{rule.argument}"
