"""From a wish to a policy and a command: the profile that is named or found, and what the command adds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from sandbox import matching
from sandbox.errors import UsageError
from sandbox.policy import paths
from sandbox.policy.load import load, under
from sandbox.policy.model import Files, Origin, PathRule, Policy, Secret
from sandbox.prepared import NO_FLAGS, Matched, Wish
from sandbox.records import dataclass, replace
from sandbox.supply import spec
from sandbox.supply.request import Request, parse, refuse_steered
from sandbox.supply.shell import behind_env

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.policy.remote import Url
    from sandbox.supply.docker_run import DockerRun
    from sandbox.supply.mcpb import Bundle

COMMAND = Origin("command")
"""Where a grant comes from that the command's own words name."""
BUNDLES = (".mcpb", ".dxt")
"""How the file of a bundle is called."""
DESCRIBED = "server.json"
"""How the file is called that describes a server for the MCP registry."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be started under which policy, and what a person is told of how that came about."""

    policy: Policy
    command: tuple[str, ...]
    request: Request | None
    name: str
    """What the audit and messages call the server: its profile, its package, or its program."""
    matched: Matched | None = None
    told: tuple[str, ...] = ()
    hint: str = ""
    """For a server that no profile is for: how it gets one."""
    bundle: Bundle | None = None
    """The bundle that the command names, its command filled in."""
    described: str = ""
    """The `server.json` that the command names, with the `#KIND` that was typed."""
    instead: tuple[str, ...] = ()
    """The command that it comes to."""
    profile: Policy | None = None
    """As its files had it when they were read, without this run's options and what the words add."""


def choose(wish: Wish) -> Choice:
    """The choice of one wish; nothing of the host is looked at but profiles and the paths that are named."""
    if (behind := behind_env(wish.command)) is not None:
        return _behind_env(wish, *behind)
    if wish.command and DESCRIBED in wish.command[0]:
        from sandbox import described  # for the few that come as a file of the MCP registry

        if described.named(wish.command[0]):
            return described.choice(wish)
    if wish.command and "://" in wish.command[0]:
        from sandbox import remote  # for the few that run elsewhere

        if (url := remote.named(wish.command)) is not None:
            return _elsewhere(wish, load_for(wish), url, COMMAND)
    request = parse(wish.command)
    found = None
    if wish.profile is None:
        found = matching.best(wish.command, request, wish.environ, wish.cwd)
    name = found.profile if found else wish.profile
    profile = load(name, environ=wish.environ, cwd=wish.cwd)
    policy = under(profile, wish.flags)
    if wish.command and policy.server.url is not None:
        from sandbox.remote import here

        policy = here(policy)
    if wish.profile is not None and policy.match.packages:
        known = dict.fromkeys(policy.match.packages, matching.row(policy))
        found = matching.matched(wish.command, request, wish.environ, wish.cwd, known)
    made = granted(policy, found, wish.environ, wish.cwd) if found else policy
    run = _image_run(wish, found)
    if run is not None:
        chosen = _of_image(wish, made, run, found)
    else:
        chosen = _of_command(wish, made, request, found)
    told = _told(wish, policy, made, found) + chosen.told
    # A profile that names a `server.json` is read again for what that comes to, and is what the server gets.
    return replace(chosen, matched=found, told=told, profile=chosen.profile or profile)


def _behind_env(wish: Wish, variables: Mapping[str, str], words: tuple[str, ...]) -> Choice:
    """The choice for what `env` starts, which gets its variables."""
    chosen = choose(replace(wish, command=words))
    if chosen.request is not None or matching.image_run(words) is not None:
        refuse_steered(words[0], variables)
    return replace(chosen, policy=_assigned(chosen.policy, variables))


def _of_command(wish: Wish, policy: Policy, request: Request | None, found: Matched | None) -> Choice:
    if not wish.command and policy.server.url is not None:
        from sandbox.remote import read

        url = read(policy.server.url, f"profile `{policy.name}`")
        return _elsewhere(wish, policy, url, policy.origin("server.url"))
    command = wish.command or policy.server.command
    own_image = policy.server.image is not None and wish.backend != "native"
    if not command and not own_image:
        what = f"profile `{policy.name}` names no server, and no command was given"
        hint = "write the server's command after `--`, or as `command` under `[server]`"
        raise UsageError("no-command", what, hint=hint)
    if not wish.command and command and DESCRIBED in command[0]:
        return choose(replace(wish, command=command))
    if command and command[0].lower().endswith(BUNDLES):
        return _of_bundle(wish, policy, command)
    if not wish.command:
        request = parse(command)
        if (behind := behind_env(command)) is not None:
            policy, command = _assigned(policy, behind[0]), behind[1]
    if found is not None:
        command, request = found.respelt(command, request)
    name = _name(wish, policy, request, command)
    hint = unmatched(command, request) if _alone(wish, found) else ""
    return Choice(policy, command, request, name, hint=hint)


def _of_bundle(wish: Wish, policy: Policy, command: tuple[str, ...]) -> Choice:
    """A bundle's own command, with its settings from the profile and the options."""
    from sandbox import bundles  # for the few that come as one

    bundle = bundles.opened(command, wish.environ, wish.cwd, wish.bundle)
    bundle, told = bundles.filled(bundle, policy, wish.environ, command[1:])
    hint = no_profile(bundles.shown(bundle)) if _alone(wish, None) else ""
    own = policy.name if policy.server.command and wish.profile is not None else bundle.name
    asked, name = bundles.request(bundle), wish.name or own
    return Choice(policy, bundles.words(bundle), asked, name, told=told, hint=hint, bundle=bundle)


def load_for(wish: Wish) -> Policy:
    """The policy of the profile that is named, else the least of all."""
    return load(wish.profile, environ=wish.environ, cwd=wish.cwd, flags=wish.flags)


def _elsewhere(wish: Wish, policy: Policy, url: Url, origin: Origin) -> Choice:
    """A server at a URL: no program and no package is looked for."""
    from sandbox.remote import reached

    name = wish.name or (url.origin.partition("://")[2] if wish.command else policy.name)
    return Choice(reached(policy, url, origin), (), None, name)


def _alone(wish: Wish, found: Matched | None) -> bool:
    """Whether nobody said what the server may do: no profile and no option of this run."""
    return found is None and wish.profile is None and wish.flags == NO_FLAGS


def _name(wish: Wish, policy: Policy, request: Request | None, command: Sequence[str]) -> str:
    if wish.name:
        return wish.name
    # A server whose profile was found is called, and pinned, as without one: it is not the profile's own.
    if not command or (policy.server.command and wish.profile is not None):
        return policy.name
    return package_name(request.specs[0]) if request else os.path.basename(command[0])


def package_name(spec: str) -> str:
    """A package's name without scope, version or extras: `@scope/server-x@1.2` is `server-x`."""
    name = spec.rpartition("/")[2]
    end = next((i for i, c in enumerate(name) if not (c.isalnum() or c in "-_.")), len(name))
    return name[:end]


# --- what a match grants ---------------------------------------------------------------------------


def granted(policy: Policy, found: Matched, environ: Mapping[str, str], cwd: str) -> Policy:
    """The policy with the command's own paths in the place of the profile's relative ones.

    A profile's `.` stands for the paths of its own command. It stays where this one names none, unless
    the working directory is or shows a secret place: a client with windows starts servers in a home.
    What an option of this run says of a path counts more than that the command names it.
    """
    access = policy.match.paths
    if access == "none":
        return policy
    keep = not found.paths and not matching.secret(cwd, environ)
    said = tuple(_said(policy, environ, cwd))
    named = [path for path in found.paths if not any(paths.below(path, place) for place in said)]
    rules = tuple(PathRule(path, None, COMMAND) for path in named)
    files = policy.files if keep else _without_relative(policy.files)
    if access == "read":
        files = replace(files, read=(*files.read, *rules))
    else:
        files = replace(files, write=(*files.write, *rules))
    origins = {**dict(policy.origins), **{f"files.{access}.{path}": COMMAND for path in named}}
    return replace(policy, files=files, origins=tuple(origins.items()))


def _said(policy: Policy, environ: Mapping[str, str], cwd: str) -> Iterator[str]:
    """The paths that `--allow-read` and `--allow-write` name, at their own place."""
    for rule in (*policy.files.read, *policy.files.write):
        if rule.origin.file in ("--allow-read", "--allow-write") and not rule.target:
            with suppress(ValueError):  # the plan refuses it
                yield paths.expand(rule.source, home=environ.get("HOME", ""), cwd=cwd, environ=environ)


def _without_relative(files: Files) -> Files:
    read = tuple(rule for rule in files.read if not _relative(rule))
    return replace(files, read=read, write=tuple(rule for rule in files.write if not _relative(rule)))


def _relative(rule: PathRule) -> bool:
    """Whether a file, not an option of this run, says a path below the working directory."""
    return bool(rule.origin.line) and not rule.source.startswith(("/", "~", "$"))


# --- docker run ------------------------------------------------------------------------------------


def _image_run(wish: Wish, found: Matched | None) -> DockerRun | None:
    """`docker run IMAGE`, of which the image is contained: its engine is out of reach from inside."""
    if not wish.command or (found is None and wish.profile is not None):
        return None
    return matching.image_run(wish.command)


def _of_image(wish: Wish, policy: Policy, run: DockerRun, found: Matched | None) -> Choice:
    """The image with the arguments and variables that the command gives it, and nothing else of it."""
    if run.values("--entrypoint"):
        raise UsageError(
            "unsupported-option",
            "`--entrypoint` of `docker run` is another program than the image's own",
            hint="write a profile with the image as `[server] image` and the program in its `command`",
        )
    if policy.server.image is None:
        server = replace(policy.server, image=run.image, unpinned="@sha256:" not in run.image)
        origins = {**dict(policy.origins), "server.image": COMMAND, "server.unpinned": COMMAND}
        policy = replace(policy, server=server, origins=tuple(origins.items()))
    policy = _with_variables(policy, run.values("--env"))
    left = sorted({*(name for name, _ in run.options), *run.switches} - _TAKEN)
    line = f"`docker run {' '.join(left)}` is not taken over: a profile or an option says what it may do"
    name = wish.name or package_name(run.name)
    hint = unmatched(wish.command, None) if _alone(wish, found) else ""
    return Choice(policy, run.args, None, name, told=(line,) if left else (), hint=hint)


# What says how it is started, which we do too, or what its variables are, which are passed on.
_TAKEN = frozenset("--env --name --platform --pull --rm --init -i --interactive -t --tty -q --quiet".split())


def _with_variables(policy: Policy, words: Sequence[str]) -> Policy:
    """`-e NAME` as a secret of the caller's, `-e NAME=VALUE` as it is; the profile's own secrets stay."""
    held = {one.name for one in policy.secrets}
    given = {name: value for name, equals, value in (word.partition("=") for word in words) if equals}
    asked = [word for word in words if "=" not in word and word not in held]
    secrets = tuple(Secret(name, "env?", (), COMMAND) for name in dict.fromkeys(asked))
    fixed = {**dict(policy.env.fixed), **{name: value for name, value in given.items() if name not in held}}
    passed = tuple(name for name in policy.env.passed if name not in {*given, *asked})
    env = replace(policy.env, passed=passed, fixed=tuple(fixed.items()))
    return replace(policy, env=env, secrets=(*policy.secrets, *secrets))


def _assigned(policy: Policy, variables: Mapping[str, str]) -> Policy:
    """The variables that `env` sets before the command, from wherever the profile had them."""
    if not variables:
        return policy
    fixed = {**dict(policy.env.fixed), **variables}
    passed = tuple(name for name in policy.env.passed if name not in variables)
    secrets = tuple(one for one in policy.secrets if one.name not in variables)
    named = {f"env.set.{name}": COMMAND for name in variables}
    origins = {**dict(policy.origins), **named}
    env = replace(policy.env, passed=passed, fixed=tuple(fixed.items()))
    return replace(policy, env=env, secrets=secrets, origins=tuple(origins.items()))


# --- what a person is told -------------------------------------------------------------------------


def _told(wish: Wish, before: Policy, after: Policy, found: Matched | None) -> tuple[str, ...]:
    """Which profile was found by what, and what the command's words changed of it."""
    if found is None:
        return ()
    by = "" if wish.profile is not None else f", found by `{found.package}`"
    changed = _changed(before, after)
    return (f"profile `{after.name}`{by}{changed}",) if by or changed else ()


def _changed(before: Policy, after: Policy) -> str:
    mounts = [rule.source for rule in (*after.files.read, *after.files.write) if rule.origin == COMMAND]
    if mounts:
        access = "read-only" if after.match.paths == "read" else "writable"
        return f"; {access}, as the command names it: {', '.join(f'`{path}`' for path in mounts)}"
    if after.files == before.files:
        return ""
    return "; the working directory is not mounted, since it is or shows a secret place"


def unproven(found: Matched, policy: Policy, resolved: Sequence[str]) -> str:
    """The line for a version that the profile was not proven with; else nothing."""
    version = found.version or _resolved(found.package, resolved)
    if not policy.match.versions or not version:
        return ""
    from sandbox.policy.versions import within  # where there is a version to compare

    if within(version, policy.match.versions) is not False:
        return ""
    proven = f"`{found.package}` {policy.match.versions}"
    return f"profile `{policy.name}` was proven with {proven}, and this is {version}"


def _resolved(package: str, resolved: Sequence[str]) -> str | None:
    """The version that a frozen tree holds of a package."""
    name = package.partition(":")[2]
    found = (matching.pinned_version(one) for one in resolved if _bare(one) == name)
    return next(filter(None, found), None)


def _bare(one: str) -> str:
    return spec.npm_name(one) if "@" in one[1:] else spec.pypi_base(one)


def unmatched(command: Sequence[str], request: Request | None) -> str:
    """The line for a server that no profile is for."""
    before = command[: len(command) - len(request.args)] if request and request.args else command
    # Neither what a shell would read otherwise, nor an index with its login.
    whole = request is not None and not any(matching.unsafe(word) or "://" in word for word in before)
    return no_profile(" ".join(before) if whole else "COMMAND")


def no_profile(shown: str) -> str:
    """The line for a server that no profile is for; `shown` is what it is started by."""
    return (
        "no profile is for this server, so it has no files and no network; "
        f"`mcp-sandbox profile new -- {shown}` writes one"
    )
