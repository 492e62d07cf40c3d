"""A `server.json` of the MCP registry as what it describes: a package's command, a bundle, or a URL."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping

from sandbox import matching, wanted
from sandbox.choice import Choice, choose, load_for, no_profile
from sandbox.errors import CommandNotFound, SandboxError, SandboxNotBuilt, UsageError
from sandbox.policy.flags import Flags
from sandbox.policy.load import load
from sandbox.policy.model import Origin, Policy
from sandbox.prepared import Wish
from sandbox.records import dataclass, replace
from sandbox.supply import hostile_json, server_json
from sandbox.supply.hostile_json import Malformed
from sandbox.supply.request import parse
from sandbox.supply.server_json import REMOTE, Described, Input, Missing, Package, Transport
from sandbox.wanted import Hidden, Wanted

FILE = "server.json"
DESCRIBED = Origin(FILE)
"""Where a variable comes from that the file sets."""
_NAMED = re.compile(r"(.*?server\.json)(?:#([a-z]{1,20}))?")


@dataclass(frozen=True, slots=True)
class Chosen:
    """One way to run what a file describes."""

    path: str
    described: Described
    named: str
    """The way that was asked for; empty: the first."""
    package: Package | None
    remote: Transport | None

    @property
    def place(self) -> str:
        """The file as it was asked for, by its real path."""
        real = os.path.realpath(self.path)
        return f"{real}#{self.named}" if self.named else real

    @property
    def words(self) -> str:
        """The file as a person can paste it, with the way that was chosen."""
        kind = self.package.kind if self.package else REMOTE
        return shlex.quote(f"{self.path}#{kind}" if len(self.described.kinds) > 1 else self.path)


def named(word: str) -> bool:
    """Whether a command's first word is such a file, and maybe `#KIND` behind it."""
    return "://" not in word and _NAMED.fullmatch(word) is not None


def choice(wish: Wish) -> Choice:
    """The choice of a wish whose command is the file."""
    chosen = read(wish.command[0], wish.cwd)
    more = wish.command[1:]
    if chosen.remote is not None:
        if more:
            raise UsageError("unknown-option", "a server that runs elsewhere takes no arguments")
        return _elsewhere(wish, chosen, chosen.remote)
    assert chosen.package is not None  # noqa: S101 - one of both
    return _here(wish, chosen, chosen.package, more)


def read(word: str, cwd: str) -> Chosen:
    """The file, and the way to run it that `#KIND` names, else the first that is understood."""
    found = _NAMED.fullmatch(word)
    assert found is not None  # noqa: S101 - asked of such words alone
    path = os.path.abspath(os.path.join(cwd, os.path.expanduser(found[1])))
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            data = file.read(hostile_json.LARGEST + 1)
    except OSError as error:
        raise CommandNotFound("file-not-found", f"`{path}` cannot be read: {error.strerror}") from None
    try:
        return _way(path, server_json.parse(data), found[2])
    except Malformed as error:
        raise refused(path, error) from None


def refused(path: str, error: Exception) -> SandboxError:
    """The error of a file that is not understood."""
    return SandboxNotBuilt("server-json-refused", f"`{path}` {error}")


def _way(path: str, described: Described, kind: str | None) -> Chosen:
    able = [one for one in described.packages if one.kind in server_json.KINDS]
    package = next((one for one in able if kind in (None, one.kind)), None)
    if package is not None:
        return Chosen(path, described, kind or "", package, None)
    if described.remotes and kind in (None, REMOTE):
        # The older transport only where there is no other.
        remotes = sorted(described.remotes, key=lambda one: one.type == "sse")
        return Chosen(path, described, kind or "", None, remotes[0])
    there = ", ".join(dict.fromkeys(map(hostile_json.spelt, described.kinds))) or "nothing"
    known = ", ".join((*server_json.KINDS, REMOTE))
    if kind is not None and kind not in described.kinds:
        raise Malformed(f"offers {there}, and not `{kind}`")
    raise Malformed(f"offers {kind or there}, of which none can be run here: what can is {known}")


# --- here ------------------------------------------------------------------------------------------


def _here(wish: Wish, chosen: Chosen, package: Package, more: tuple[str, ...]) -> Choice:
    base = command(chosen, package, wish.environ)
    policy = _policy(wish, base)
    given = _given(policy, wish.environ)
    lacking = list[Input]()
    words = _words(chosen, package.arguments, given, lacking)
    before = _words(chosen, package.before, given, lacking)
    fixed = _variables(chosen, package, given, policy, lacking)
    if lacking:
        raise _missing(chosen, lacking)
    if before:
        base = command(chosen, package, wish.environ, before)
    flags = _over_http(wish.flags, chosen, package, given)
    whole = replace(wish, command=(*base, *words, *more), flags=flags)
    made = choose(whole)
    hint = no_profile(chosen.words) if made.hint else ""
    told = (*_told(chosen), *made.told)
    return replace(
        made,
        policy=_with(made.policy, fixed),
        told=told,
        hint=hint,
        described=chosen.place,
        instead=whole.command,
    )


def _told(chosen: Chosen) -> tuple[str, ...]:
    kinds = chosen.described.kinds
    if len(kinds) < 2:
        return ()
    taken = chosen.package.kind if chosen.package else REMOTE
    others = ", ".join(f"`#{hostile_json.spelt(one)}`" for one in dict.fromkeys(kinds) if one != taken)
    return (f"`{FILE}` offers several: `{taken}` is taken, {others} behind its name takes another",)


def command(
    chosen: Chosen, package: Package, environ: Mapping[str, str], before: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The words that start a package, without its own arguments; a bundle is fetched."""
    if package.kind == "mcpb":
        return (_bundle(chosen, package, environ),)
    if package.sha256:
        what = f"has a `fileSha256` for `{package.identifier}`, which is checked of bundles alone"
        raise refused(chosen.path, Malformed(what))
    try:
        return server_json.command(package, before)
    except Malformed as error:
        raise refused(chosen.path, error) from None


def _bundle(chosen: Chosen, package: Package, environ: Mapping[str, str]) -> str:
    if not package.sha256:
        what = f"has no `fileSha256` for `{package.identifier}`, without which no bundle is fetched"
        raise refused(chosen.path, Malformed(what))
    from sandbox import fetched
    from sandbox.places import cache_dir
    from sandbox.supply.zipped import LARGEST

    wish = fetched.Wish(package.identifier, package.sha256, LARGEST)
    return fetched.fetch(wish, os.path.join(cache_dir(environ), "bundles"), ".mcpb", environ)


def _policy(wish: Wish, base: tuple[str, ...]) -> Policy:
    """The profile that counts: named, or found by the package."""
    if wish.profile is not None:
        return load_for(wish)
    found = matching.best(base, parse(base), wish.environ, wish.cwd)
    name = found.profile if found else None
    return load(name, environ=wish.environ, cwd=wish.cwd, flags=wish.flags)


Given = Callable[[Input], str | None]


def _given(policy: Policy, environ: Mapping[str, str]) -> Given:
    known = wanted.given(policy, environ)

    def value(one: Input) -> str | None:
        found = known.get(one.variable)
        if isinstance(found, Hidden):
            raise Malformed(f"puts `{one.variable}` where a secret cannot be put")
        return found

    return value


def _words(
    chosen: Chosen, arguments: tuple[Input, ...], given: Given, lacking: list[Input]
) -> tuple[str, ...]:
    """The arguments as a command line has them; what has no value and needs one is added to `lacking`."""
    found: list[str] = []
    for one in arguments:
        try:
            found += server_json.words((one,), given)
        except Missing as error:
            lacking.append(error.input)
        except Malformed as error:
            raise refused(chosen.path, error) from None
    return tuple(found)


def _variables(
    chosen: Chosen, package: Package, given: Given, policy: Policy, lacking: list[Input]
) -> dict[str, str]:
    """Those that the file sets; what the policy gives stays."""
    held = {*policy.env.passed, *dict(policy.env.fixed), *(one.name for one in policy.secrets)}
    found = dict[str, str]()
    for one in package.variables:
        if one.name in held:
            continue
        if one.hidden:
            # One that holds a secret is a secret as a whole.
            if one.required or one.value is not None:
                lacking.append(replace(one, secret=True))
            continue
        try:
            value = server_json.value_of(one, given)
        except Missing as error:
            lacking.append(error.input)
        except Malformed as error:
            raise refused(chosen.path, error) from None
        else:
            found |= {one.name: value} if value is not None else {}
    return found


def _with(policy: Policy, fixed: Mapping[str, str]) -> Policy:
    if not fixed:
        return policy
    origins = {**dict(policy.origins), **{f"env.set.{name}": DESCRIBED for name in fixed}}
    env = replace(policy.env, fixed=(*policy.env.fixed, *fixed.items()))
    return replace(policy, env=env, origins=tuple(origins.items()))


def _missing(chosen: Chosen, inputs: list[Input]) -> SandboxError:
    values = [Wanted(one.variable, one.title, _kind(one), one.hidden) for one in inputs]
    return wanted.missing(chosen.described.name, values, chosen.words, f"`isRequired` in `{FILE}`")


def _kind(one: Input) -> str:
    if one.hidden:
        return "a secret"
    if one.choices:
        return f"one of {', '.join(map(hostile_json.spelt, one.choices[:8]))}"
    return "a path" if one.format == "filepath" else hostile_json.spelt(one.format)


def _over_http(flags: Flags, chosen: Chosen, package: Package, given: Given) -> Flags:
    """`--http` for a package that says it listens."""
    transport = package.transport
    if transport.type == "stdio" or flags.http is not None:
        return flags
    inputs = (*package.arguments, *package.variables)
    try:
        url = server_json.filled(transport.url, inputs, given) or ""
    except Missing as error:
        raise _missing(chosen, [error.input]) from None
    except Malformed as error:
        raise refused(chosen.path, error) from None
    found = re.fullmatch(r"https?://[^/:]+:([0-9]{1,5})(/[!-~]*)?", url)
    if found is None:
        raise refused(chosen.path, Malformed("listens at a URL whose port is not known"))
    return replace(flags, http=f"{found[1]}{found[2] or '/'}")


# --- elsewhere -------------------------------------------------------------------------------------


def _elsewhere(wish: Wish, chosen: Chosen, remote: Transport) -> Choice:
    policy = load_for(wish)
    given = _given(policy, wish.environ)
    try:
        url = server_json.filled(remote.url, remote.variables, given)
    except Missing as error:
        raise _missing(chosen, [error.input]) from None
    except Malformed as error:
        raise refused(chosen.path, error) from None
    flags = _headers(wish.flags, chosen, remote, policy, given)
    made = choose(replace(wish, command=(url or remote.url,), flags=flags))
    return replace(made, told=(*_told(chosen), *made.told))


def _headers(flags: Flags, chosen: Chosen, remote: Transport, policy: Policy, given: Given) -> Flags:
    """The headers that the file wants, but for those that the profile or an option has."""
    typed = {text.partition(":")[0].lower() for text in flags.headers}
    held = {
        *dict(policy.server.headers),
        *typed,
        *(one.partition("=")[0].lower() for one in flags.headers_from),
    }
    secrets = {one.name for one in policy.secrets}
    plain, lacking = list[str](), list[Input]()
    for one in remote.headers:
        if one.name.lower() in held:
            continue
        try:
            value = _hidden(one, secrets, given) if one.hidden else server_json.value_of(one, given)
        except Missing as error:
            lacking.append(error.input)
        except Malformed as error:
            raise refused(chosen.path, error) from None
        else:
            plain += [f"{one.name}: {value}"] if value is not None else []
    if lacking:
        raise _missing(chosen, lacking)
    return replace(flags, headers=(*flags.headers, *plain))


def _hidden(one: Input, secrets: set[str], given: Given) -> str | None:
    """A header with each secret in it by its name alone; its value is put in outside of the sandbox."""

    def value(part: Input) -> str | None:
        if not part.secret:
            return given(part)
        return f"${{{part.variable}}}" if part.variable in secrets else None

    return server_json.value_of(replace(one, choices=()), value)
