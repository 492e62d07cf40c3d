"""What the policy and the command want inside, before the host was asked about any of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from posixpath import join, normpath

from sandbox.errors import ProfileError
from sandbox.places import state_dir
from sandbox.plan.facts import Closure, PathFact
from sandbox.policy.model import Origin, PathRule, Policy
from sandbox.policy.paths import below, expand
from sandbox.policy.secret_places import GUARDED
from sandbox.records import dataclass

PROGRAMS = "files.programs"
HOME = "/home/mcp"
"""The server's home inside."""


@dataclass(frozen=True, slots=True)
class Want:
    """One path: absolute as written, where it goes (`None`: where it is), and who asked."""

    source: str
    target: str | None
    writable: bool
    key: str
    origin: Origin
    text: str

    @property
    def rule(self) -> str:
        """The line that asked for it, for an error."""
        return f"{self.origin} {self.key}"


def wants(policy: Policy, *, home: str, cwd: str, environ: Mapping[str, str]) -> tuple[Want, ...]:
    """The policy's own paths, expanded; a path that means nothing raises `ProfileError`."""

    def want(rule: PathRule, key: str, writable: bool) -> Want:
        source = expanded(rule.source, f"{rule.origin} {key}", home=home, cwd=cwd, environ=environ)
        target = None if rule.target == source else rule.target
        return Want(source, target, writable, key, rule.origin, rule.source)

    reads = [want(rule, "files.read", False) for rule in policy.files.read]
    writes = [want(rule, "files.write", True) for rule in policy.files.write]
    return (*reads, *writes, *(want(rule, PROGRAMS, False) for rule in policy.files.programs))


def there(wanted: Sequence[Want], paths: Mapping[str, PathFact]) -> tuple[Want, ...]:
    """What is wanted, of the programs those that this machine has; the first that is there has its place."""
    places: list[str] = []
    kept: list[Want] = []
    for one in wanted:
        if one.key == PROGRAMS:
            place = one.target or one.source
            if not paths[one.source].kind or any(below(place, taken) for taken in places):
                continue
            places.append(place)
        kept.append(one)
    return tuple(kept)


def command_wants(closure: Closure) -> tuple[Want, ...]:
    """The trees that the command reads to start."""
    origin = Origin(closure.why or "the command")
    return tuple(
        Want(source, None if target == source else target, False, "command", origin, source)
        for source, target in closure.binds
    )


def exposed(policy: Policy, *, home: str, cwd: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The secret places that the profile waives, expanded."""
    rule = f"{policy.origin('files.expose')} files.expose"
    return tuple(expanded(text, rule, home=home, cwd=cwd, environ=environ) for text in policy.files.expose)


def kept_home(policy: Policy, *, home: str, environ: Mapping[str, str]) -> str:
    """The private directory that `files.persist` names, on the host; the session creates it (0700)."""
    name = policy.files.persist or ""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise ProfileError(
            "persist-name",
            f"`files.persist` is `{name}`, which cannot be the name of a directory",
            rule=f"{policy.origin('files.persist')} files.persist",
            hint=f'use a plain name: `persist = "{policy.name or "memory"}"`',
        )
    return f"{state_dir({**environ, 'HOME': home})}/homes/{name}"


def log_place(policy: Policy, cwd: str) -> str | None:
    """Where the audit log that the policy names will be, links unresolved; None for our own directory."""
    path = policy.audit.path
    return None if path is None else normpath(join(cwd, path))


def mountpoints(placed: list[tuple[str, str]]) -> Iterator[str]:
    """Host paths that must exist because one (source, target) is mounted inside another."""
    for source, target in placed:
        for outer_source, outer in placed:
            path = f"{outer_source}{target.removeprefix(outer)}"
            if target != outer and below(target, outer) and path != source:
                yield path


def guarded(source: str) -> tuple[str, ...]:
    """Files of a writable `source` that make a client, git or a shell run something outside."""
    root, last = source.rstrip("/"), source.rpartition("/")[2]
    # `.git/hooks` also where `.git` itself is what may be written.
    inner = [name.partition("/")[2] for name in GUARDED if name.startswith(f"{last}/")]
    return tuple(f"{root}/{name}" for name in (*GUARDED, *inner))


def expanded(text: str, rule: str, *, home: str, cwd: str, environ: Mapping[str, str]) -> str:
    """The path that `text` of the profile means; `rule`: the line that says it."""
    try:
        return expand(text, home=home, cwd=cwd, environ=environ)
    except ValueError as error:
        raise ProfileError(
            "path-malformed", str(error), rule=rule, hint="mcp-sandbox profile schema"
        ) from None
