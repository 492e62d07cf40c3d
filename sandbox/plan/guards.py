"""Read-only mounts over the files of a writable project that make programs outside run something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sandbox.plan.facts import PathFact
from sandbox.plan.mounts import ABSENT
from sandbox.plan.spec import Bind, ViewStep
from sandbox.plan.wants import guarded
from sandbox.policy.paths import below


def guards(binds: Sequence[Bind], facts: Mapping[str, PathFact], expose: Sequence[str]) -> tuple[Bind, ...]:
    """One read-only mount per guarded file that exists, unless the profile exposes or mounts it itself."""
    named = {one.source for one in binds}
    made: dict[str, Bind] = {}
    for tree in _writable(binds):
        for path in (*guarded(tree.source), *_git_file(tree, facts)):
            if path not in named and _there(path, facts) and not waives(expose, path):
                made |= {one.target: one for one in _guard(tree, path, facts) if one.target not in made}
    return tuple(one for one in made.values() if one.source not in named)


def unguarded(binds: Sequence[Bind], facts: Mapping[str, PathFact]) -> Iterator[str]:
    """A sentence per writable tree about guarded names that nothing can be mounted on."""
    for tree in _writable(binds):
        missing = [path for path in guarded(tree.source) if not _there(path, facts)]
        names = ", ".join(path.removeprefix(tree.source).lstrip("/") for path in missing)
        if names:
            yield f"not guarded in {tree.source}, absent or a link: {names}"


def may_appear(view: Sequence[ViewStep], waivers: Sequence[str]) -> tuple[str, ...]:
    """Guarded paths that nothing is mounted on, waived ones left out: whoever makes one chose what runs."""
    binds = [step for step in view if isinstance(step, Bind)]
    covered = {one.source for one in binds if not one.writable}
    paths = (path for tree in _writable(binds) for path in guarded(tree.source) if path not in covered)
    return tuple(path for path in paths if not any(text.startswith(f"{path} ") for text in waivers))


def waives(expose: Sequence[str], path: str) -> bool:
    """True where the profile exposes the guarded path, or all of a directory that holds it, by name."""
    return any(below(path, entry) for entry in expose)


def _writable(binds: Sequence[Bind]) -> list[Bind]:
    return [one for one in binds if one.writable and one.is_dir and one.why == "files.write"]


def _git_file(tree: Bind, facts: Mapping[str, PathFact]) -> list[str]:
    """A worktree's or submodule's `.git`: the file that says where git finds its configuration."""
    path = f"{tree.source.rstrip('/')}/.git"
    return [path] if facts.get(path, ABSENT).kind == "file" else []


def _there(path: str, facts: Mapping[str, PathFact]) -> bool:
    fact = facts.get(path, ABSENT)
    return fact.kind in ("file", "dir") and fact.real == path


def _guard(tree: Bind, path: str, facts: Mapping[str, PathFact]) -> Iterator[Bind]:
    parent = path.rpartition("/")[0]
    if parent != tree.source:
        # A directory can be renamed under a mount in it, and made anew without; a mount point itself cannot.
        yield _over(tree, parent, facts.get(parent, ABSENT), writable=True)
    yield _over(tree, path, facts[path], writable=False)


def _over(tree: Bind, path: str, fact: PathFact, *, writable: bool) -> Bind:
    return Bind(
        path,
        f"{tree.target}{path.removeprefix(tree.source)}",
        writable=writable,
        why="guard",
        owner=(fact.uid, fact.gid) if fact.kind else tree.owner,
        idmap=tree.idmap,
        is_dir=writable or fact.kind == "dir",
        origin=tree.origin,
    )
