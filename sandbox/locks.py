"""Which lock a start is held to: found by what it asks for, believed by its bytes, then checked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from sandbox.choice import Choice
from sandbox.errors import SandboxError, SandboxNotBuilt, UsageError
from sandbox.hints import Literal
from sandbox.lock_keys import keys, program, request_key
from sandbox.policy import search
from sandbox.policy.codec import decode_as, encode
from sandbox.prepared import Found, Wish
from sandbox.records import dataclass, replace
from sandbox.supply import accepted, sealed, spec
from sandbox.supply.accepted import Accepted
from sandbox.supply.lock import SCHEMA, SUFFIX, Lock, key_of
from sandbox.supply.request import parse as parse_request
from sandbox.supply.shell import unwrapped

Scope = Literal["project", "user"]
RULE = "a locked server starts only as it was locked"
MOST_STRANGERS = 64
"""Each of them is read at each start, until somebody accepts it."""
_MOST_WORDS = 32
"""Of a command are looked at for a server that another one starts."""
_CODE = ("lock", "lock_text")


# --- finding ----------------------------------------------------------------------------------------


def find(chosen: Choice, wish: Wish) -> Found | None:
    """The lock of what is to start, the project's before the user's; an error for one that does not count."""
    wanted = keys(chosen, wish)
    if not wanted:
        return None
    known = accepted.every(wish.environ)
    candidates = list(_candidates(wanted, known, wish))
    for path in _strangers(known, wish):
        _refuse_stranger(path, wanted)
    if not candidates:
        return None
    # Two servers of one package differ by their profiles; where none is this one's, the first says so.
    own = [path for path in candidates if known[path].profile == chosen.policy.name]
    return read((own or candidates)[0], known, wish.environ)


def _candidates(wanted: Sequence[str], known: Mapping[str, Accepted], wish: Wish) -> Iterator[str]:
    for directory in _directories(wish.environ, wish.cwd):
        for key in wanted:
            for path, one in known.items():
                if key in one.keys and os.path.dirname(path) == directory:
                    yield path


def _directories(environ: Mapping[str, str], cwd: str) -> list[str]:
    """Where locks that count here may be, the nearest first."""
    # A link would let a repository choose among the locks that were accepted for other projects.
    around = [
        path for kind, path in search.places(environ, cwd) if kind == "project" and not os.path.islink(path)
    ]
    return [os.path.realpath(path) for path in (*around, accepted.user_dir(environ))]


def _strangers(known: Mapping[str, Accepted], wish: Wish) -> Iterator[str]:
    """The locks of the project that nobody accepted as they are called."""
    for directory in _directories(wish.environ, wish.cwd)[:-1]:
        strangers = [path for path in files_in(directory) if os.path.realpath(path) not in known]
        if len(strangers) > MOST_STRANGERS:
            what = f"`{directory}` has {len(strangers)} locks that nobody trusts"
            raise SandboxNotBuilt("untrusted-lock", what, hint=f"mcp-sandbox trust {quoted(directory)}")
        yield from strangers


def files_in(directory: str) -> list[str]:
    """The locks of a directory; none where it cannot be listed."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [os.path.join(directory, name) for name in names if name.endswith(SUFFIX)]


def _refuse_stranger(path: str, wanted: Sequence[str]) -> None:
    from sandbox.supply.lock_text import parse  # only where a project brings what nobody has accepted

    lock = parse(accepted.text_of(path), path)
    if not set(wanted).isdisjoint(lock.keys):
        raise SandboxNotBuilt(
            "untrusted-lock",
            f"`{path}` locks this server and is not trusted yet",
            rule="a project's own locks are used only after `mcp-sandbox trust` at a terminal",
            hint=f"mcp-sandbox trust {quoted(path)}",
        )


def read(path: str, known: Mapping[str, Accepted], environ: Mapping[str, str]) -> Found:
    """The accepted lock of a file, else `lock-gone` or `lock-changed` naming it."""
    one = known[path]
    try:
        raw = accepted.content(path)
    except SandboxNotBuilt as error:
        error.rule, error.hint = RULE, f"mcp-sandbox lock --remove {one.name}"
        raise
    hashed = accepted.digest(raw)
    if hashed not in one.hashes:
        raise SandboxNotBuilt(
            "lock-changed",
            f"`{path}` is not what was accepted",
            rule=RULE,
            hint=f"mcp-sandbox trust {quoted(path)}",
        )
    return compiled(path, raw, hashed, environ)


def quoted(path: str) -> str:
    """A path as a shell takes it."""
    import shlex

    return shlex.quote(path)


def past(chosen: Choice, wish: Wish) -> str:
    """The line for a program that only starts another one, whose lock then holds nothing; else nothing."""
    words = unwrapped(wish.command or chosen.policy.server.command)
    known = accepted.every(wish.environ) if len(words) > 1 else {}
    if not known:
        return ""
    here = _directories(wish.environ, wish.cwd)
    near = {path: one for path, one in known.items() if os.path.dirname(path) in here}
    for at in range(1, min(len(words), _MOST_WORDS)):
        wanted = _keys_of(words[at:], wish)
        for path, one in near.items():
            if not wanted.isdisjoint(one.keys):
                return _past(words[0], path, one)
    return ""


def _past(program: str, path: str, one: Accepted) -> str:
    started = f"not locked: `{os.path.basename(program)}` is what starts here, and the lock `{one.name}`"
    return f"{started} ({path}) holds what comes after it only where that is the command itself"


def _keys_of(words: tuple[str, ...], wish: Wish) -> frozenset[str]:
    """The keys that a command of these words has, as far as words alone say."""
    try:
        request = parse_request(words)
        if request is not None:
            return frozenset((request_key(request),))
        found = program(words, wish)
    except (SandboxError, ValueError):
        return frozenset()
    # A mere name may be anything.
    return frozenset(key_of("program", one) for one in found if len(one) > 1 or "/" in one[0])


# --- the compiled form -------------------------------------------------------------------------------


def compiled(path: str, raw: bytes, hashed: str, environ: Mapping[str, str]) -> Found:
    """What a start needs of a lock, remembered by the hash of its bytes, so that no TOML is read twice."""
    import json

    kept = f"{hashed}.json"
    try:
        document = json.loads(sealed.recall(kept, environ))
        if document["code"] == _code_identity():
            lock = decode_as(Lock, document["lock"])
            return Found(lock.name, path, hashed, tuple(map(str, document["resolved"])), lock)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    found = brief(path, raw, hashed)
    document = {"code": _code_identity(), "lock": encode(found.lock), "resolved": found.resolved}
    sealed.keep(kept, json.dumps(document).encode(), environ)
    return found


def brief(path: str, raw: bytes, hashed: str) -> Found:
    """A lock as a start holds it."""
    from sandbox.supply.lock_text import parse

    return of(parse(raw.decode("utf-8", "replace"), path), path, hashed)


def of(lock: Lock, path: str, hashed: str) -> Found:
    """The same of one that is no file yet."""
    return Found(lock.name, path, hashed, versions(lock), replace(lock, packages=()))


def whole(found: Found) -> Lock:
    """The lock with its packages, from the very bytes that were accepted."""
    from sandbox.supply.lock_text import parse

    raw = accepted.content(found.path)
    if accepted.digest(raw) != found.sha256:
        raise SandboxNotBuilt("lock-changed", f"`{found.path}` was changed meanwhile", rule=RULE)
    return parse(raw.decode(), found.path)


def versions(lock: Lock) -> tuple[str, ...]:
    """What was asked for, each at the version that is locked."""
    if lock.kind == "npm":
        top = {
            one.name: one.version for one in lock.packages if one.place in ("", f"node_modules/{one.name}")
        }
        named = dict.fromkeys(spec.npm_name(each) for each in lock.asked)
        return tuple(f"{name}@{top[name]}" for name in named if name in top)
    if lock.kind == "pypi":
        have = {spec.normal(one.name): one.version for one in lock.packages}
        named = dict.fromkeys(spec.pypi_base(each) for each in lock.asked)
        return tuple(f"{name}=={have[name]}" for name in named if name in have)
    return ()


def _code_identity() -> str:
    """A checksum of what makes a lock of a text: another version of us reads afresh."""
    from binascii import crc32

    here, sum_ = os.path.join(os.path.dirname(os.path.abspath(__file__)), "supply"), SCHEMA
    for module in _CODE:
        with open(os.path.join(here, f"{module}.py"), "rb") as file:
            sum_ = crc32(file.read(), sum_)
    return f"{sum_:08x}"


# --- for those who list and make them ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Here:
    """One lock that counts, or would, for starts from here."""

    name: str
    path: str
    lock: Lock | None
    """With its packages; None where it cannot be read."""
    fault: str = ""
    """The code of the error that a start would end with; empty where it is as it was accepted."""


def here(environ: Mapping[str, str], cwd: str) -> list[Here]:
    """Every lock of the project and of the user, those that nobody accepted too."""
    known = accepted.every(environ)
    found: dict[str, Here] = {}
    for directory in _directories(environ, cwd):
        accepted_here = [path for path in known if os.path.dirname(path) == directory]
        for path in sorted({*map(os.path.realpath, files_in(directory)), *accepted_here}):
            if not path.endswith(accepted.PREVIOUS):
                found.setdefault(path, _here(path, known))
    return list(found.values())


def _here(path: str, known: Mapping[str, Accepted]) -> Here:
    from sandbox.supply.lock_text import parse

    name = os.path.basename(path).removesuffix(SUFFIX)
    try:
        raw = accepted.content(path)
        lock = parse(raw.decode("utf-8", "replace"), path)
    except SandboxNotBuilt as error:
        return Here(known[path].name if path in known else name, path, None, error.code)
    if path not in known:
        return Here(lock.name, path, lock, "untrusted-lock")
    return Here(lock.name, path, lock, "" if accepted.digest(raw) in known[path].hashes else "lock-changed")


def refuse_taken(wish: Wish, directory: str) -> None:
    """A server that is locked already changes by `update` alone, which shows what changes."""
    from sandbox.choice import choose

    chosen = choose(wish)
    wanted = set(keys(chosen, wish))
    for path, one in accepted.every(wish.environ).items():
        same = os.path.dirname(path) == os.path.realpath(directory) and not wanted.isdisjoint(one.keys)
        if same and one.profile == chosen.policy.name:
            raise UsageError(
                "lock-exists",
                f"`{chosen.name}` is locked already, by `{path}`",
                hint=f"mcp-sandbox update {one.name}",
            )


def refuse_name(path: str, lock: Lock, environ: Mapping[str, str]) -> None:
    """Another server's lock is not written over."""
    if os.path.lexists(path) or os.path.realpath(path) in accepted.every(environ):
        raise UsageError(
            "name-taken",
            f"another server's lock is called `{lock.name}`: `{path}`",
            hint="give this one another name: `--name NAME`",
        )
