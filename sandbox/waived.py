"""The rules of inspection that a profile waives: that there are such rules, and what is left of each set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sandbox.errors import ProfileError

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.inspect.credentials import Credentials
    from sandbox.inspect.poison_rules import Rule
    from sandbox.policy.model import Policy


def sentences(policy: Policy) -> tuple[str, ...]:
    """A sentence a waived rule; ProfileError for one that is no rule."""
    return tuple(_sentences(policy)) if policy.inspect.waive else ()


def _sentences(policy: Policy) -> Iterator[str]:
    # Only here: to read both files of rules takes longer than the rest of a plan.
    from sandbox.inspect.credentials import shipped
    from sandbox.inspect.poison_rules import shipped_rules

    what = {f"poison.{rule.id}": rule.why for rule in shipped_rules()}
    what |= {f"secrets.{rule.id}": rule.name for rule in shipped().rules}
    for name in policy.inspect.waive:
        origin = policy.origin(f"inspect.waive.{name}")
        if name not in what:
            raise _no_rule(name, str(origin), what)
        yield f"the rule `{name}` ({what[name].rstrip('.')}) is not applied ({origin})"


def _no_rule(name: str, origin: str, known: Iterable[str]) -> ProfileError:
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    what = f"{origin}: `inspect.waive` names `{name}`, which is no rule"
    hint = f"did you mean `{near[0]}`?" if near else "a finding has the name of its rule: mcp-sandbox inspect"
    return ProfileError("invalid-profile", what, hint=hint)


def poison(rules: Iterable[Rule], waive: Sequence[str]) -> tuple[Rule, ...]:
    """The rules that are applied."""
    return tuple(rule for rule in rules if f"poison.{rule.id}" not in waive)


def secrets(credentials: Credentials, waive: Sequence[str]) -> Credentials:
    """The same of credentials; the session's own secrets are looked for whatever is waived."""
    kept = [rule for rule in credentials.rules if f"secrets.{rule.id}" not in waive]
    return credentials if len(kept) == len(credentials.rules) else type(credentials)(kept)
