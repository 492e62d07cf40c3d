"""What a start is held to by its lock, check by check, before anything of it runs."""

from __future__ import annotations

from sandbox.choice import DESCRIBED, Choice
from sandbox.errors import SandboxNotBuilt
from sandbox.host.closure import language_of
from sandbox.lock_keys import interpreted, keys, kind
from sandbox.locks import RULE, find
from sandbox.patterns import regex
from sandbox.policy.load import load
from sandbox.policy.model import Policy
from sandbox.prepared import NO_FLAGS, Found, Wish
from sandbox.records import replace
from sandbox.supply import spec
from sandbox.supply.request import Request, parse
from sandbox.supply.shell import behind_env, unwrapped

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.plan.facts import Closure
    from sandbox.plan.image import Image
    from sandbox.supply.frozen import Frozen

_LOGIN = regex(r"(://)[^/\s]*@")

NONE_NEEDED = "a server that runs elsewhere has no files here that a lock could hold"


def lock_of(chosen: Choice, wish: Wish) -> Found | None:
    """The lock of this start, checked as far as it can be before the host is looked at."""
    if wish.locks in ("never", "make"):
        return None
    found = find(chosen, wish)
    if found is None:
        if wish.locks == "require" or chosen.policy.supply.lock == "require":
            raise _not_locked(chosen, wish)
        return None
    check(found, chosen, wish)
    return found


def _not_locked(chosen: Choice, wish: Wish) -> SandboxNotBuilt:
    rule = "run --locked" if wish.locks == "require" else str(chosen.policy.origin("supply.lock"))
    if not keys(chosen, wish):
        return SandboxNotBuilt("not-locked", NONE_NEEDED, rule=rule)
    words = _without_arguments(_named(wish), chosen.request)
    what = " ".join(words) if _plain(words) else "COMMAND"
    asked = f"-- {what}" if wish.command else str(wish.profile)
    return SandboxNotBuilt(
        "not-locked", f"`{chosen.name}` has no lock", rule=rule, hint=f"mcp-sandbox lock {asked}"
    )


def _named(wish: Wish) -> tuple[str, ...]:
    """The command without the variables that `env` puts before it: a lock keeps none of them either."""
    behind = behind_env(wish.command)
    return wish.command if behind is None else behind[1]


def _without_arguments(command: tuple[str, ...], request: Request | None) -> tuple[str, ...]:
    """A lock keeps none of the server's own arguments, and a hint shows none: a key may be among them."""
    return command[: len(command) - len(request.args)] if request and request.args else command


def _plain(command: tuple[str, ...]) -> bool:
    from sandbox.matching import unsafe

    return not any(unsafe(word) or "://" in word for word in command)


def check(found: Found, chosen: Choice, wish: Wish) -> None:
    """What is asked for is what was locked: packages, versions, options, the bundle, the profile."""
    if found.lock.kind != kind(chosen):
        raise _mismatch(found, f"{kind(chosen)} is asked for, and {found.lock.kind} is locked")
    if chosen.request is not None:
        _check_request(found, chosen.request)
    elif found.lock.kind == "program":
        _check_options(found, chosen, wish)
    bundle = chosen.bundle
    if bundle is not None and found.lock.bundle != f"sha256:{bundle.sha256}":
        what = f"`{bundle.path}` is not the bundle that `{found.path}` locks"
        raise SandboxNotBuilt("bundle-changed", what, rule=RULE, hint=_update(found))
    _check_profile(found, chosen, wish)


def _update(found: Found) -> str:
    return f"mcp-sandbox update {found.name}"


def _mismatch(found: Found, what: str) -> SandboxNotBuilt:
    return SandboxNotBuilt("lock-mismatch", f"{what}, by `{found.path}`", rule=RULE, hint=_update(found))


def _check_request(found: Found, request: Request) -> None:
    lock = found.lock
    if lock.bundle:
        return  # its packages are the bundle's own, which is held by its hash
    versions = {_bare(lock.kind, one): one for one in found.resolved}
    for asked in request.specs:
        locked = versions.get(_bare(lock.kind, asked))
        pinned = spec.npm_pinned(asked) if lock.kind == "npm" else spec.pypi_pinned(asked)
        if locked is None:
            raise _mismatch(found, f"`{asked}` is asked for, and no version of it is locked")
        if pinned and asked != (locked if lock.kind == "npm" else _with_extras(asked, locked)):
            raise _mismatch(found, f"`{asked}` is asked for, and `{locked}` is locked")
        if not pinned and not _allows(lock.kind, asked, locked):
            raise _mismatch(found, f"`{asked}` is asked for, which `{locked}` is not, and that is locked")
        if lock.kind == "pypi" and _extras(asked) not in [_extras(one) for one in lock.asked]:
            raise _mismatch(found, f"`{asked}` is asked for, and {_listed(lock.asked)} is locked")
    _check_program(found, request)
    options = without_logins(request.options)
    if options != lock.options:
        raise _mismatch(
            found, f"options {_listed(options)} are asked for, and {_listed(lock.options)} are locked"
        )
    if (request.python or "") != lock.python:
        raise _mismatch(
            found,
            f"python {_listed([request.python or ''])} is asked for, and {_listed([lock.python])} is locked",
        )


def _allows(kind: str, asked: str, locked: str) -> bool:
    from sandbox.supply import ranges  # where a range is asked for

    if kind == "npm":
        name = spec.npm_name(asked)
        return ranges.npm_allows(asked[len(name) + 1 :], locked[len(name) + 1 :])
    clauses = asked[len(spec.pypi_base(asked)) + len(_extras(asked)) :]
    return ranges.pypi_allows(clauses, locked.partition("==")[2])


def _check_program(found: Found, request: Request) -> None:
    """Of a tree's programs, which may be an interpreter too, the one that was locked."""
    locked = parse(found.lock.command)
    usual = next((tree.default for tree in found.lock.trees), "")
    ours, theirs = request.bin or usual, (locked.bin if locked else None) or usual
    if ours != theirs:
        raise _mismatch(found, f"`{ours}` is to start, and `{theirs}` was locked")


def _check_options(found: Found, chosen: Choice, wish: Wish) -> None:
    """An interpreter's own options may be a program, or name one."""
    words = unwrapped(chosen.command)
    if not language_of(words[0]):
        return
    asked = interpreted(words, wish.cwd).options
    locked = interpreted(found.lock.command, wish.cwd).options
    if asked != locked:
        raise _mismatch(
            found, f"options {_listed(asked)} of `{words[0]}` are asked for, and {_listed(locked)} are locked"
        )


def without_logins(options: tuple[str, ...]) -> tuple[str, ...]:
    """The installer's options as a lock keeps them: an index without its user and password."""
    return tuple(_LOGIN.sub(r"\1", word) for word in options)


def _listed(words: object) -> str:
    found = [f"`{word}`" for word in words if word] if isinstance(words, (tuple, list)) else []
    return ", ".join(found) or "none"


def _bare(kind: str, one: str) -> str:
    return spec.npm_name(one) if kind == "npm" else spec.pypi_base(one)


def _extras(asked: str) -> str:
    return asked[asked.index("[") : asked.index("]") + 1] if "]" in asked else ""


def _with_extras(asked: str, locked: str) -> str:
    name, _, version = locked.partition("==")
    return f"{name}{_extras(asked)}=={version}"


def _check_profile(found: Found, chosen: Choice, wish: Wish) -> None:
    lock, policy = found.lock, held_policy(chosen, wish)
    if policy.name != lock.profile:
        raise _profile(found, f"profile `{policy.name}` is to be used, and `{lock.profile}` was locked")
    from sandbox.supply.granted import profile_digest

    if profile_digest(policy) != lock.profile_digest:
        if chosen.described:
            raise _profile(found, f"`{chosen.described}` or profile `{policy.name}` says something else")
        raise _profile(found, f"profile `{policy.name}` grants something else than when it was locked")


def _profile(found: Found, what: str) -> SandboxNotBuilt:
    return SandboxNotBuilt("profile-changed", f"{what}, by `{found.path}`", rule=RULE, hint=_update(found))


def plain_policy(chosen: Choice, wish: Wish) -> Policy:
    """The profile as its files have it: without this run's options and what the command's words add.

    Where it was read already it is not read again: what is held to a lock is what the server gets.
    """
    if chosen.profile is not None:
        return chosen.profile
    name = chosen.matched.profile if chosen.matched is not None and wish.profile is None else wish.profile
    return load(name, environ=wish.environ, cwd=wish.cwd, flags=NO_FLAGS)


def held_policy(chosen: Choice, wish: Wish) -> Policy:
    """The profile, and what a `server.json` adds to it: variables and arguments decide what runs, too."""
    policy = plain_policy(chosen, wish)
    if not chosen.described:
        return policy
    origins = dict(chosen.policy.origins)
    given = tuple(
        (name, value)
        for name, value in chosen.policy.env.fixed
        if (at := origins.get(f"env.set.{name}")) is not None and at.file == DESCRIBED
    )
    env = replace(policy.env, fixed=(*policy.env.fixed, *given))
    return replace(policy, env=env, server=replace(policy.server, command=(DESCRIBED, *chosen.command)))


def hold(found: Found, wish: Wish, needs: Closure, frozen: Frozen | None, image: Image | None) -> None:
    """What is about to start is what the lock names: its tree, its image, its places on this machine."""
    try:
        _hold(found, wish, needs, frozen, image)
    except SandboxNotBuilt as error:
        if error.hint == "mcp-sandbox update":
            error.hint = _update(found)  # of all locks it is this one
        raise


def _hold(found: Found, wish: Wish, needs: Closure, frozen: Frozen | None, image: Image | None) -> None:
    lock = found.lock
    if frozen is not None and frozen.digest not in {tree.digest for tree in lock.trees}:
        what = f"the tree `{frozen.digest[:16]}` is not one that `{found.path}` names"
        raise SandboxNotBuilt("tree-changed", what, rule=RULE, hint=_update(found))
    if frozen is not None and lock.kind == "mcpb":
        from sandbox.supply.store import environment_store
        from sandbox.supply.verify import verify

        verify(environment_store(wish.environ), frozen.digest)
    if lock.image is not None and image is not None:
        from sandbox import image_locks

        image_locks.check(lock.image, image, wish.environ, found.name)
    if lock.places:
        from sandbox import program_locks

        program_locks.check(lock.places, needs, wish.environ, name=found.name)
