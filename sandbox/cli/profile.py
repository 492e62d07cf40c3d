"""`mcp-sandbox profile`: list the profiles, show one resolved, print the schema of the file."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from typing import Any

from sandbox.cli.commanded import Commanded
from sandbox.cli.output import document, emit
from sandbox.errors import ProfileError
from sandbox.policy.load import read
from sandbox.policy.model import Origin, Policy
from sandbox.policy.search import Found, everything
from sandbox.prepared import Wish
from sandbox.records import names
from sandbox.supplied import scored_profile

EPILOG = """examples:
  mcp-sandbox profile show filesystem
  mcp-sandbox profile new -- npx -y some-mcp-server
  mcp-sandbox profile schema > profile.schema.json"""


def parser() -> argparse.ArgumentParser:
    """The arguments of `profile`."""
    built = Commanded(
        prog="mcp-sandbox profile",
        description="List the profiles, show one with its origins, write one, or print the file's schema.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = built.add_subparsers(dest="action", required=True, metavar="list|show|new|schema")
    listed = commands.add_parser("list", help="every profile, where it is from, how exposed it leaves you")
    shown = commands.add_parser("show", help="one profile resolved, each line with where it was written")
    commands.add_parser("schema", help="the JSON Schema of a profile file, for editors")
    shown.add_argument("name", metavar="NAME", help="a profile's name or path")
    made = commands.add_parser(
        "new",
        usage="mcp-sandbox profile new [--project] [NAME] -- COMMAND [ARGUMENT…]",
        help="a profile to begin with, for the server's command after `--`",
    )
    made.add_argument("name", nargs="?", metavar="NAME", help="its name (default: the package's)")
    made.add_argument("--project", action="store_true", help="in this project's .mcp-sandbox, not in yours")
    for command in (listed, shown, made):
        command.add_argument("--json", action="store_true", help="one JSON document")
    return built


def main(args: argparse.Namespace) -> int:
    """Prints what was asked for; nothing is started, so untrusted profiles are shown too."""
    if args.action == "list":
        return _list(args.json)
    if args.action == "show":
        return _show(args.name, args.json)
    if args.action == "new":
        from sandbox.cli.profile_new import new

        return new(args.name, args.command, project=args.project, as_json=args.json)
    from sandbox.policy.profile import json_schema

    emit(json.dumps(json_schema(), indent=2))
    return 0


def rows(policy: Policy) -> list[tuple[str, Any, Origin]]:
    """Every key of the file's own spelling with its value, and where it was written."""
    found: list[tuple[str, Any, Origin]] = [
        ("server.command", list(policy.server.command), Origin("default"))
    ]
    found += _plain(policy, "match", "packages versions paths")
    found += _plain(policy, "server", "transport port path ready image unpinned restart restarts url ca pin")
    found += [(f"server.headers.{name}", value, _NONE) for name, value in policy.server.headers]
    for access in ("read", "write", "programs"):
        rules = getattr(policy.files, access)
        texts = [
            (f"{rule.source}:{rule.target}" if rule.target else rule.source, rule.origin) for rule in rules
        ]
        found += [(f"files.{access}", text, origin) for text, origin in texts] or [
            (f"files.{access}", [], _NONE)
        ]
    found += _plain(policy, "files", "home tmp persist expose")
    found += _network(policy)
    found += [(f"env.pass.{name}", True, _NONE) for name in policy.env.passed]
    found += [(f"env.set.{name}", value, _NONE) for name, value in policy.env.fixed]
    found += [(f"secrets.{one.name}.from", one.source, one.origin) for one in policy.secrets]
    found += [(f"secrets.{one.name}.inject", list(one.inject), _NONE) for one in policy.secrets if one.inject]
    for table, keys in _TABLES:
        found += _plain(policy, table, keys)
    found += [(f"tools.cost.{name}", cost, _NONE) for name, cost in policy.tools.cost]
    found += _arguments(policy)
    found.append(("syscalls.tier", policy.syscalls, _NONE))
    return [(key, value, at if at != _NONE else policy.origin(key)) for key, value, at in found]


def _network(policy: Policy) -> Iterator[tuple[str, Any, Origin]]:
    """A host under every list that names it: a mark that comes of a wildcard stands with the wildcard."""
    from sandbox.policy.hosts import spelt

    rules = [spelt(rule.host, rule.port) for rule in policy.network.allow]
    for key in ("network.allow", "network.opaque", "network.private"):
        written = ((text, policy.origin(f"{key}.{text}")) for text in rules)
        listed: list[tuple[str, Any, Origin]] = [(key, text, at) for text, at in written if at != _NONE]
        yield from listed or [(key, [], _NONE)]
    yield from _plain(policy, "network", "upload download connections")
    for budget in policy.network.budgets:
        key = f'network.budget."{spelt(budget.host, budget.port)}"'
        values = ((name, getattr(budget, name)) for name in ("upload", "download", "connections"))
        yield from ((f"{key}.{name}", value, _NONE) for name, value in values if value is not None)
    for name in names(policy.network.behaviour):
        yield f"network.behaviour.{name}", getattr(policy.network.behaviour, name), _NONE


_NONE = Origin("default")
_SIZES = frozenset(
    "files.home files.tmp quota.memory quota.disk quota.written traffic.message traffic.waste".split()
)
_TIMES = frozenset(
    """quota.wall quota.idle quota.cpu_time quota.busy traffic.timeout traffic.stall tools.window tools.answer
    breach.grace breach.answer supply.age""".split()
)
_RATES = frozenset(("traffic.rate", "traffic.flood", "tools.rate"))
_TABLES = (
    ("quota", "memory cpus pids open_files disk written cpu_time busy wall idle"),
    ("traffic", "message rate concurrency timeout flood waste stall"),
    ("tools", "allow deny ask ask_tainted ask_at answer pin calls rate repeat window budget"),
    ("inspect", "poison secrets protocol waive"),
    ("client", "roots sampling elicitation"),
    ("isolation", "runtime decoys"),
    ("supply", "scripts hosts lock age age_waive provenance image_keys advisories lookalikes advisories_at"),
    ("audit", "payloads path"),
    (
        "breach",
        "pids open_files disk written cpu_time busy wall idle syscall traffic calls grace answer notify",
    ),
)


def _plain(policy: Policy, table: str, keys: str) -> list[tuple[str, Any, Origin]]:
    values = ((key, getattr(getattr(policy, table), key)) for key in keys.split())
    return [(f"{table}.{key}", list(one) if isinstance(one, tuple) else one, _NONE) for key, one in values]


_WRITTEN = {"minimum": "min", "maximum": "max"}
"""Keys of an argument rule that a profile spells otherwise."""


def _arguments(policy: Policy) -> list[tuple[str, Any, Origin]]:
    found: list[tuple[str, Any, Origin]] = []
    for rule in policy.tools.arguments:
        at = f"tools.arguments.{rule.tool}.{rule.argument}"
        for name in names(rule)[2:]:
            value = getattr(rule, name)
            plain = list(value) if isinstance(value, tuple) else value
            if plain is not None and plain is not False and plain != []:
                found.append((f"{at}.{_WRITTEN.get(name, name)}", plain, _NONE))
    return found


def _show(name: str, as_json: bool) -> int:
    policy = read(name, environ=os.environ, cwd=os.getcwd(), trusted_only=False)
    if as_json:
        keys = [{"key": k, "value": v, "file": o.file, "line": o.line} for k, v, o in rows(policy)]
        sources = [{"path": path, "sha256": digest} for path, digest in policy.sources]
        head = {"name": policy.name, "description": policy.description, "sources": sources}
        document({**head, "keys": keys})
        return 0
    emit(f"{policy.name}: {policy.description}" if policy.description else policy.name)
    for path, _ in policy.sources:
        emit(f"  {printable(path)}")
    table = [(key, _text(key, value), _where(origin)) for key, value, origin in rows(policy)]
    wide, middle = max(len(row[0]) for row in table), min(48, max(len(row[1]) for row in table))
    for key, value, origin in table:
        emit(f"{key:<{wide}}  {value:<{middle}}  {origin}")
    return 0


def _text(key: str, value: Any) -> str:
    from sandbox.policy.quota import show_duration, show_size

    if value is None or value == []:
        return "-"
    if key in _SIZES or (key.startswith("network.") and key.endswith(("upload", "download"))):
        return show_size(value)
    if key in _TIMES:
        return show_duration(value) if value else "-"
    if key in _RATES:
        return f"{value:g}/s"
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _where(origin: Origin) -> str:
    # The directory is in the head; the file's name and line are what an editor needs.
    name = os.path.basename(origin.file)
    return printable(f"{name}:{origin.line}" if origin.line else name)


def printable(text: str) -> str:
    """`text` with everything escaped that could move the cursor or hide (a profile may be hostile)."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _list(as_json: bool) -> int:
    found = [_described(one) for one in everything(os.environ, os.getcwd())]
    if as_json:
        document({"profiles": found})
        return 0
    wide = max((len(one["name"]) for one in found), default=4)
    emit(f"{'NAME':<{wide}}  {'FROM':<7}  EXPOSURE      WHAT IT IS FOR")
    for one in found:
        score = f"{one['exposure']:4.1f} {one['word']}" if one["word"] else ""
        purpose = printable(one["description"] or one["fault"])
        emit(f"{one['name']:<{wide}}  {one['from']:<7}  {score:<12}  {purpose}")
    return 0


def _described(one: Found) -> dict[str, Any]:
    row = {"name": one.name, "from": one.kind, "path": one.path, "description": "", "fault": ""}
    try:
        policy = read(one.name, environ=os.environ, cwd=os.getcwd(), trusted_only=False)
    except ProfileError as error:
        fault = f"({error.code}: mcp-sandbox check {one.name})"
        return {**row, "fault": fault, "exposure": None, "word": "", "packages": []}
    score = scored_profile(policy, Wish((), dict(os.environ), os.getcwd(), profile=one.name))
    found = {"exposure": score.total, "word": score.word, "packages": list(policy.match.packages)}
    return {**row, "description": policy.description, **found}
