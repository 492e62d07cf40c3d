"""The starters of what says itself what it wants: a bundle, and a `server.json`."""

from __future__ import annotations

import os

from sandbox import bundles, described
from sandbox.cli.profile_new import of_command, proper_name
from sandbox.described import Chosen
from sandbox.policy.starter import Setting, Start
from sandbox.records import replace
from sandbox.supply import mcpb
from sandbox.supply.server_json import Input, Transport

_PARENTS = {"node": "node", "python": "python", "uv": "python", "binary": "base"}


def reads(word: str) -> bool:
    """Whether a command's first word is a `server.json`."""
    return described.named(word)


def of_bundle(name: str | None, command: tuple[str, ...]) -> Start:
    """What is known of a bundle by its manifest: each setting as a variable or a secret."""
    bundle = bundles.opened(command, os.environ, os.getcwd())
    return Start(
        name=proper_name(name, bundle.name, None),
        command=(bundle.path, *command[1:]),
        extends=_PARENTS[bundle.manifest.type],
        title=_plain(f"the bundle {bundle.manifest.name} {bundle.manifest.version}"),
        settings=tuple(map(_setting, bundle.manifest.settings)),
    )


def _setting(one: mcpb.Setting) -> Setting:
    values = one.default or ()
    listed = ":" if one.kind in ("directory", "file") else ","
    return Setting(one.variable, one.title, one.sensitive, one.required, listed.join(values))


def of_server_json(name: str | None, command: tuple[str, ...]) -> Start:
    """What is known of a `server.json`: its package's own, and each input as a variable or a secret."""
    chosen = described.read(command[0], os.getcwd())
    short = chosen.described.name.rpartition("/")[2]
    if chosen.remote is not None:
        return _elsewhere(name or proper_name(None, short, None), chosen.remote)
    return replace(
        _packaged(name, chosen, short),
        command=(_place(chosen), *command[1:]),
        image="",
        title=_plain(f"the server {chosen.described.name} {chosen.described.version}"),
        settings=_settings(chosen),
        variables=(),
    )


def _elsewhere(name: str, remote: Transport) -> Start:
    """A URL, its variables and headers: what a profile calls `${NAME}` is `{name}` there."""
    start = of_command(name, (_template(remote.url, remote.variables),))
    headers = [
        Setting(
            "", one.title, value=_template(one.value or "", one.variables) or _whole(one), header=one.name
        )
        for one in remote.headers
    ]
    parts = [part for one in remote.headers for part in (one.variables or (one,)) if part.value is None]
    return replace(start, settings=(*headers, *map(_input, (*remote.variables, *parts))))


def _template(text: str, variables: tuple[Input, ...]) -> str:
    for one in variables:
        text = text.replace(f"{{{one.name}}}", f"${{{one.variable}}}")
    return text


def _whole(one: Input) -> str:
    return f"${{{one.variable}}}" if one.hidden or not one.default else one.default


def _packaged(name: str | None, chosen: Chosen, short: str) -> Start:
    assert chosen.package is not None  # noqa: S101 - one of both
    base = described.command(chosen, chosen.package, os.environ)
    if chosen.package.kind == "mcpb":
        return of_bundle(name or proper_name(None, short, None), base)
    return of_command(name, base)


def _place(chosen: Chosen) -> str:
    assert chosen.package is not None  # noqa: S101 - one of both
    several = len(chosen.described.kinds) > 1
    return f"{chosen.path}#{chosen.package.kind}" if several else chosen.path


def _settings(chosen: Chosen) -> tuple[Setting, ...]:
    package = chosen.package
    assert package is not None  # noqa: S101 - one of both
    inputs = [
        part
        for one in (*package.variables, *package.arguments, *package.before)
        if one.name not in ("-y", "--yes")
        for part in ((one,) if one.value is None or one.hidden else one.variables)
    ]
    return tuple(map(_input, {one.variable: one for one in inputs}.values()))


def _input(one: Input) -> Setting:
    value = one.default or ("" if one.value is None or one.variables else one.value)
    return Setting(one.variable, one.title, one.hidden, one.required, value)


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:200]
