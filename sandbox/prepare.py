"""From a command line to a spec: policy, host facts, a frozen package, the closure, the plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from sandbox.errors import UsageError
from sandbox.host.closure import closure, closure_of_program
from sandbox.host.remembered import facts as remembered_facts
from sandbox.host.survey import survey
from sandbox.plan.facts import Closure, HostFacts
from sandbox.plan.plan import plan
from sandbox.plan.spec import Spec
from sandbox.policy.flags import Flags
from sandbox.policy.load import load
from sandbox.policy.model import Policy
from sandbox.records import dataclass, replace
from sandbox.supply.freeze import freeze, peek
from sandbox.supply.frozen import Frozen
from sandbox.supply.request import Request, parse

NO_FLAGS = Flags()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asked for, as typed."""

    command: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: str
    profile: str | None = None
    flags: Flags = NO_FLAGS
    name: str | None = None
    refresh: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything a session needs, and what `plan` shows."""

    wish: Wish
    policy: Policy
    facts: HostFacts
    spec: Spec
    closure: Closure
    request: Request | None = None
    frozen: Frozen | None = None


def prepare(wish: Wish, progress: Callable[[str], None], *, build: bool = True) -> Prepared:
    """Decides everything and starts nothing but, where `build`, the build of a package never seen before."""
    policy = load(wish.profile, environ=wish.environ, cwd=wish.cwd, flags=wish.flags)
    command = wish.command or policy.server.command
    if not command:
        what = f"profile `{policy.name}` names no server, and no command was given"
        hint = "write the server's command after `--`, or as `command` under `[server]`"
        raise UsageError("no-command", what, hint=hint)
    facts = remembered_facts(wish.environ)
    request = parse(command)
    frozen = _frozen(request, wish, policy, facts, progress, build) if request else None
    needs = _closure(command, frozen, wish)
    seen = survey(policy, needs, environ=wish.environ, cwd=wish.cwd)
    spec = plan(policy, facts, seen)
    spec = replace(spec, server=wish.name or server_name(policy, request, command))
    return Prepared(wish, policy, facts, spec, needs, request, frozen)


def _frozen(
    request: Request,
    wish: Wish,
    policy: Policy,
    facts: HostFacts,
    progress: Callable[[str], None],
    build: bool,
) -> Frozen | None:
    scripts = policy.supply.scripts
    if not build:
        return peek(request, environ=wish.environ, scripts=scripts)
    from sandbox.build import builder

    return freeze(
        request,
        environ=wish.environ,
        cwd=wish.cwd,
        scripts=scripts,
        refresh=wish.refresh,
        run_build=builder(facts, wish.environ),
        progress=progress,
    )


def _closure(command: tuple[str, ...], frozen: Frozen | None, wish: Wish) -> Closure:
    if frozen is None:
        return closure(command, environ=wish.environ, cwd=wish.cwd)
    tree = (frozen.tree, frozen.mount)
    if not frozen.interpreter:
        return Closure(frozen.argv, (tree,), why="a frozen package")
    found = closure_of_program(frozen.interpreter, environ=wish.environ)
    return replace(
        found, argv=frozen.argv, binds=(*found.binds, tree), why="a frozen package and its interpreter"
    )


def server_name(policy: Policy, request: Request | None, command: tuple[str, ...]) -> str:
    """What the audit and messages call the server: its profile, its package, or its program."""
    if policy.server.command:
        return policy.name
    if request is not None:
        return package_name(request.specs[0])
    return os.path.basename(command[0])


def package_name(spec: str) -> str:
    """A package's name without scope, version or extras: `@scope/server-x@1.2` is `server-x`."""
    name = spec.rpartition("/")[2]
    end = next((i for i, c in enumerate(name) if not (c.isalnum() or c in "-_.")), len(name))
    return name[:end]
