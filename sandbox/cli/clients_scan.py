"""`mcp-sandbox clients scan`: what is wrong with the servers that this machine's clients start."""

from __future__ import annotations

import argparse
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from sandbox.cli.clients_diff import command_line, one_line
from sandbox.cli.clients_exposure import exposed
from sandbox.cli.clients_found import around, configs, files, is_chosen, require_server, shown
from sandbox.cli.output import document, emit, note, paint, spelt
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from sandbox.clients.gather import Config
    from sandbox.clients.report import Exposed
    from sandbox.clients.scan import Finding, Server

COLOURS = {"error": "red", "warning": "yellow", "note": "bold"}


def add(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--sarif", action="store_true", help="SARIF 2.1.0, for code scanners")


def main(args: argparse.Namespace) -> int:
    """0; 1 where anything but notes was found, or a file could not be read."""
    from sandbox.clients.scan import failing, findings

    failed: list[tuple[Any, SandboxError]] = []
    servers = [server for config in configs(files(args), failed) for server in _servers(args, config)]
    require_server(args, [server.entry.name for server in servers])
    found = findings(servers)
    if args.sarif:
        _sarif(found)
    elif args.json:
        from sandbox.clients.report import document as made

        document(made(servers, _exposed(servers), found))
    else:
        _print(servers, _exposed(servers), found)
    return 1 if failed or failing(found) else 0


def _servers(args: argparse.Namespace, config: Config) -> Iterator[Server]:
    from sandbox.cli.clients_locked import held
    from sandbox.clients.gather import directory_of, fit
    from sandbox.clients.scan import Server
    from sandbox.clients.wrapping import is_wrapped
    from sandbox.matching import index

    found, here = config.found, around()
    others, known = others_who_write(found.real), tuple(index())
    for entry in config.entries:
        if is_chosen(args, entry):
            known_of, cwd = fit(entry, found, here), directory_of(entry, found, here)
            yield Server(
                client=found.row.id,
                scope=found.scope,
                path=found.path,
                line=config.document.line(entry.path),
                entry=entry,
                fit=known_of,
                known=known,
                exposed_file=others,
                tools=known_tools(entry.name),
                program_missing=is_wrapped(entry)
                and entry.command.startswith("/")
                and not os.access(entry.command, os.X_OK),
                cwd=cwd,
                lock=held(entry, known_of, here, cwd, found.row.id),
            )


def known_tools(name: str) -> frozenset[str]:
    """The tools of the one contained server of that name, as its pins have them; none where it is unclear."""
    from sandbox import pins

    named = [one for one in pins.every(os.environ) if re.fullmatch(rf"{re.escape(name)}-[0-9a-f]{{8}}", one)]
    if len(named) != 1:
        return frozenset()
    try:
        return frozenset(pins.load(pins.path_of(named[0], os.environ)).holds("tool"))
    except (OSError, ValueError):
        return frozenset()


def others_who_write(path: str) -> str:
    """Who besides its owner may change the file, or put another in its place; empty: nobody."""
    for at in (path, os.path.dirname(path)):
        try:
            held = os.stat(at)
        except OSError:
            continue
        if stat.S_IMODE(held.st_mode) & 0o002 and not (
            stat.S_ISDIR(held.st_mode) and held.st_mode & stat.S_ISVTX
        ):
            return "every user of this machine"
    return ""


def _exposed(servers: Sequence[Server]) -> list[Exposed]:
    here = around()
    return [exposed(server, here) for server in servers]


def _sarif(found: list[Finding]) -> None:
    """SARIF has a schema of its own, so ours is not in front of it."""
    from importlib.metadata import version
    from pathlib import Path
    from urllib.parse import quote

    from sandbox.clients.report import sarif

    here = os.getcwd()
    paths = {one.server.path for one in found}
    uris = {
        path: quote(os.path.relpath(path, here)) if path.startswith(here + "/") else Path(path).as_uri()
        for path in paths
    }
    emit(spelt(sarif(found, version("mcp-sandbox"), uris)))


def _print(servers: Sequence[Server], exposure: Sequence[Exposed], found: Sequence[Finding]) -> None:
    from sandbox.cli.clients_locked import told as told_lock
    from sandbox.clients.report import told

    if not servers:
        emit("no client's file with a server was found")
        return
    place = ""
    of: dict[int, list[Finding]] = {}
    for one in found:
        of.setdefault(id(one.server), []).append(one)
    for server, exposed_ in zip(servers, exposure, strict=True):
        if server.path != place:
            place = server.path
            emit(paint(f"{server.client}: {shown(place)}", "bold", sys.stdout))
        emit(f"  {one_line(server.entry.name)}  {_state(server, exposed_)}")
        emit(f"    {command_line(server.command) if server.entry.command else _address(server.entry.url)}")
        if server.lock is not None and (line := told_lock(server.lock)):
            emit(f"    {one_line(line)}")
        if exposed_.contained is not None:
            emit(f"    {'' if server.contained else 'in its sandbox it '}{one_line(told(exposed_.reach))}")
        for one in of.get(id(server), []):
            word = paint(one.level, COLOURS[one.level], sys.stdout)
            emit(f"    {word}: {one_line(one.reason)} [{one.rule}]")
    _total(servers, found)


def _address(url: str) -> str:
    """Scheme and host: the rest of a remote server's URL is often its only credential."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/?#]*@)?([^/?#]*)(.*)", url, re.DOTALL)
    return one_line(f"{found[1]}{found[2]}{'/…' if found[3].strip('/') else ''}") if found else "…"


def _state(server: Server, exposed_: Exposed) -> str:
    if not server.entry.command:
        return "remote"
    if server.contained:
        return f"contained, exposure {_number(exposed_.now)}"
    fits = f"profile `{server.fit.profile}` fits" if server.fit.profile else "no profile fits"
    return f"not contained, exposure {_number(exposed_.now)}; {fits}: {_number(exposed_.contained)}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


def _total(servers: Sequence[Server], found: Sequence[Finding]) -> None:
    contained = sum(server.contained for server in servers)
    serious = [one for one in found if one.level != "note"]
    colour = "yellow" if serious else "green"
    count = "1 finding" if len(serious) == 1 else f"{len(serious)} findings"
    emit(paint(f"{contained} of {len(servers)} servers contained, {count}", colour, sys.stdout))
    if any(one.rule == "uncontained" for one in serious):
        note("hint: mcp-sandbox clients wrap")
