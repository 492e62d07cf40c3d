"""The options of one run on top of a policy: parsed by the same rules as a profile's values."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

from sandbox.errors import UsageError
from sandbox.policy import hosts, paths, quota
from sandbox.policy.flags import Flags
from sandbox.policy.model import HostRule, Origin, PathRule, Policy, Secret
from sandbox.records import replace

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_LONGEST_PATTERN = 256
_LISTENS = re.compile(r"([0-9]{1,5})(/[!-~]*)?", re.ASCII)
_QUOTAS = (
    ("memory", quota.memory),
    ("cpus", quota.cpus),
    ("pids", quota.pids),
    ("disk", quota.space),
    ("wall", quota.duration),
    ("idle", quota.duration),
)


def add(policy: Policy, flags: Flags) -> Policy:
    """The policy with every option applied and recorded; UsageError names the option that cannot be."""
    origins: dict[str, Origin] = dict(policy.origins)
    made = _network(policy, flags, origins)
    made = _files(made, flags, origins)
    made = _variables(made, flags, origins)
    made = _quotas(made, flags, origins)
    made = _http(made, flags, origins)
    made = _headers(made, flags, origins)
    made = _tools(made, flags, origins)
    if flags.audit is not None:
        origins["audit.path"] = Origin("--audit")
        made = replace(made, audit=replace(made.audit, path=_plain("--audit", flags.audit)))
    return replace(made, origins=tuple(origins.items()))


def _network(policy: Policy, flags: Flags, origins: dict[str, Origin]) -> Policy:
    option = "--allow-net"
    new = [_rule(option, text) for text in flags.allow_net]
    held = {(rule.host, rule.port) for rule in policy.network.allow}
    fresh = {(rule.host, rule.port): rule for rule in new if (rule.host, rule.port) not in held}
    origins.update({f"network.allow.{hosts.spelt(*key)}": rule.origin for key, rule in fresh.items()})
    allow = hosts.inherited((*policy.network.allow, *fresh.values()))
    return replace(policy, network=replace(policy.network, allow=allow))


def _rule(option: str, text: str) -> HostRule:
    try:
        return hosts.parse(text, Origin(option))
    except ValueError as why:
        raise _refused(option, text, why) from None


def _files(policy: Policy, flags: Flags, origins: dict[str, Origin]) -> Policy:
    read = tuple(_path("--allow-read", text) for text in flags.allow_read)
    write = tuple(_path("--allow-write", text) for text in flags.allow_write)
    origins.update({f"files.read.{text}": Origin("--allow-read") for text in flags.allow_read})
    origins.update({f"files.write.{text}": Origin("--allow-write") for text in flags.allow_write})
    files = replace(policy.files, read=(*policy.files.read, *read), write=(*policy.files.write, *write))
    return replace(policy, files=files)


def _path(option: str, text: str) -> PathRule:
    try:
        return PathRule(*paths.split(text), Origin(option))
    except ValueError as why:
        raise _refused(option, text, why) from None


def _plain(option: str, text: str) -> str:
    rule = _path(option, text)
    if rule.target:
        raise _refused(option, text, ValueError("a path without `:`"))
    return rule.source


def _variables(policy: Policy, flags: Flags, origins: dict[str, Origin]) -> Policy:
    """A variable of an option is taken over from wherever the profile had it."""
    passed = tuple(_variable("--allow-env", name) for name in dict.fromkeys(flags.allow_env))
    # `NAME?`: given where it is set, as a client's own variable may not be.
    asked = {
        _variable("--secret", name.removesuffix("?")): "env?" if name.endswith("?") else "env"
        for name in flags.secrets
    }
    fixed = dict(_pair("--set-env", text) for text in flags.set_env)
    _refuse_twice({"--allow-env": set(passed), "--secret": set(asked), "--set-env": set(fixed)})
    # A secret that the profile already describes keeps its source and its hosts.
    kept = tuple(one for one in policy.secrets if one.name not in {*passed, *fixed})
    new = tuple(
        Secret(name, source, (), Origin("--secret"))
        for name, source in asked.items()
        if name not in {s.name for s in kept}
    )
    taken = {*passed, *fixed, *(one.name for one in new)}
    env = replace(
        policy.env,
        passed=(*(name for name in policy.env.passed if name not in taken), *passed),
        fixed=(*(pair for pair in policy.env.fixed if pair[0] not in taken), *fixed.items()),
    )
    for name in taken:
        for key in (f"env.pass.{name}", f"env.set.{name}", f"secrets.{name}.from", f"secrets.{name}.inject"):
            origins.pop(key, None)
    origins.update({f"env.pass.{name}": Origin("--allow-env") for name in passed})
    origins.update({f"env.set.{name}": Origin("--set-env") for name in fixed})
    origins.update({f"secrets.{one.name}.from": one.origin for one in new})
    return replace(policy, env=env, secrets=(*kept, *new))


def _refuse_twice(named: dict[str, set[str]]) -> None:
    """A variable comes from one option."""
    for one, other in combinations(named, 2):
        if both := sorted(named[one] & named[other]):
            raise UsageError("invalid-option", f"`{both[0]}` is asked for by `{one}` and by `{other}`")


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise _refused(option, text, ValueError("a variable and its value are written `NAME=VALUE`"))
    return _variable(option, name), value


def _variable(option: str, name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise _refused(
            option, name, ValueError("the name of a variable is letters, digits and `_`, without a value")
        )
    return name


def _quotas(policy: Policy, flags: Flags, origins: dict[str, Origin]) -> Policy:
    new: dict[str, Any] = {}
    for name, read in _QUOTAS:
        text = getattr(flags, name)
        if text is None:
            continue
        try:
            new[name] = read(int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text)
        except ValueError as why:
            raise _refused(f"--{name}", text, why) from None
        origins[f"quota.{name}"] = Origin(f"--{name}")
    return replace(policy, quota=replace(policy.quota, **new))


def _tools(policy: Policy, flags: Flags, origins: dict[str, Origin]) -> Policy:
    """Narrows alone: what the profile denies or asks about stays so."""
    if not flags.only_tools:
        return policy
    for pattern in flags.only_tools:
        if not 0 < len(pattern) <= _LONGEST_PATTERN:
            why = f"a pattern of tools' names has between 1 and {_LONGEST_PATTERN} characters"
            raise _refused("--only-tools", pattern[:_LONGEST_PATTERN], ValueError(why))
    origins["tools.only"] = Origin("--only-tools")
    return replace(policy, tools=replace(policy.tools, only=tuple(dict.fromkeys(flags.only_tools))))


def _headers(policy: Policy, flags: Flags, origins: dict[str, Origin]) -> Policy:
    """A header of an option takes the place of the profile's; no error repeats its value."""
    if not flags.headers and not flags.headers_from:
        return policy
    from sandbox.policy import remote  # for the few servers that run elsewhere

    headers, secrets = dict(policy.server.headers), list(policy.secrets)
    known = {*policy.env.passed, *dict(policy.env.fixed), *(one.name for one in policy.secrets)}
    for text in flags.headers:
        try:
            name, value = remote.split(text)
        except ValueError as why:
            raise _refused("--header", text.partition(":")[0][:80], why) from None
        headers[name] = value
        origins[f"server.headers.{name}"] = Origin("--header")
    for text in flags.headers_from:
        name, variable = _named_header(text)
        headers[name] = f"${{{variable}}}"
        origins[f"server.headers.{name}"] = at = Origin("--header-from")
        if variable not in known:
            secrets.append(Secret(variable, "env", (), at))
            origins[f"secrets.{variable}.from"] = at
            known.add(variable)
    server = replace(policy.server, headers=tuple(headers.items()))
    return replace(policy, server=server, secrets=tuple(secrets))


def _named_header(text: str) -> tuple[str, str]:
    from sandbox.policy import remote

    header, equals, variable = text.partition("=")
    try:
        if not equals:
            raise ValueError("a header and the variable that has its value are written `NAME=VARIABLE`")
        return remote.header_name(header), _variable("--header-from", variable)
    except ValueError as why:
        raise _refused("--header-from", header[:80], why) from None


def _http(policy: Policy, flags: Flags, origins: dict[str, Origin]) -> Policy:
    """The port and path of the option in place of the profile's."""
    if flags.http is None:
        return policy
    found = _LISTENS.fullmatch(flags.http)
    if found is None or not 0 < int(found[1]) <= 65535:
        why = ValueError("a port of 1 to 65535, and a path that begins with `/` behind it: `3000/mcp`")
        raise _refused("--http", flags.http, why)
    origins.update({f"server.{key}": Origin("--http") for key in ("transport", "port", "path")})
    path = found[2] or policy.server.path
    return replace(policy, server=replace(policy.server, transport="http", port=int(found[1]), path=path))


def _refused(option: str, text: str, why: ValueError) -> UsageError:
    shown = text.encode("unicode_escape").decode()
    return UsageError("invalid-option", f"`{option} {shown}`: {why}")
