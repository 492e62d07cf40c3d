"""`mcp-sandbox serve`: servers over HTTP, each client of them with a sandbox of its own."""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import PurePath

from sandbox.cli import fronting
from sandbox.cli.options import Help
from sandbox.cli.output import emit, note
from sandbox.errors import SandboxError, UsageError

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.serve.capacity import Capacity
    from sandbox.serve.front import Ready

EPILOG = """examples:
  mcp-sandbox serve github
  mcp-sandbox serve --listen unix:/run/user/1000/mcp/socket notes=./notes.toml github
  mcp-sandbox run --listen 127.0.0.1:8808 -- npx -y @modelcontextprotocol/server-everything

A client's URL is http://127.0.0.1:8808/NAME/mcp, its header `Authorization: Bearer TOKEN`."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_GIVEN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.+)", re.S)


def parser() -> argparse.ArgumentParser:
    """The options of `serve`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox serve",
        description="Serve MCP servers over HTTP, with a sandbox for every client session.",
        epilog=EPILOG,
        formatter_class=Help,
    )
    built.add_argument(
        "--listen", metavar="HOST:PORT|unix:PATH", help="where (default: 127.0.0.1:8808); port 0: any"
    )
    fronting.add(built)
    caps = built.add_argument_group("how much")
    caps.add_argument("--sessions", type=_count, metavar="N", help="sandboxes in all (default: 128)")
    caps.add_argument("--each", type=_count, metavar="N", help="sandboxes of one client (default: 32)")
    caps.add_argument("--idle", metavar="TIME", help="end a session without requests after (default: 30m)")
    built.add_argument(
        "--backend", choices=("auto", "native", "docker"), help="of every sandbox (default: auto)"
    )
    built.add_argument("--json", action="store_true", help="say on stdout, in one line, when it is ready")
    built.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors and waivers")
    what = "served at /NAME/mcp (NAME: the profile's own name)"
    built.add_argument("profile", nargs="+", metavar="[NAME=]PROFILE", help=what)
    return built


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= 1 << 16:
        raise argparse.ArgumentTypeError("a number above 0")
    return int(text)


def main(args: argparse.Namespace) -> int:
    """0 once a signal has ended it."""
    more = [f"--backend={args.backend}"] if args.backend else []
    routes = {name: (f"--profile={profile}", *more) for name, profile in named(args.profile).items()}
    return front(args, routes)


def named(given: Iterable[str]) -> dict[str, str]:
    """The profile of each name in the URL."""
    found: dict[str, str] = {}
    for one in given:
        match = _GIVEN.fullmatch(one)
        name, profile = (match[1], match[2]) if match else (PurePath(one).stem, one)
        if not _NAME.fullmatch(name):
            raise UsageError("bad-name", f"`{name}` cannot be part of a URL", hint=f"NAME={one}")
        if name in found:
            raise UsageError("two-of-a-name", f"two profiles are named `{name}`", hint=f"{name}-2={profile}")
        found[name] = profile
    return found


def listen(parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    """What `run --listen` does: the same front for one command or profile, at /mcp."""
    gc.enable()
    args.json = args.sessions = args.each = None
    args.idle = None  # of `run`: each sandbox ends by it itself
    try:
        return front(args, {"": fronting.again(parser, args)})
    except SandboxError as error:
        error.answerable = False  # nobody waits at stdin for an answer
        raise


def front(args: argparse.Namespace, routes: dict[str, tuple[str, ...]]) -> int:
    """Serves until a signal; before it opens anything it has found out that every route could start."""
    from sandbox.cli.aside import Aside
    from sandbox.serve.address import DEFAULT
    from sandbox.serve.front import check, serve
    from sandbox.serve.service import Service
    from sandbox.session import new_id

    options = fronting.options_of(args, args.listen or DEFAULT, routes)
    say: Callable[[str], None] = (lambda text: None) if args.quiet else note
    capacity = _capacity(args)
    check(options)
    private = fronting.private(options)
    for arguments in routes.values():
        _try(arguments, private, lambda text: say(f"mcp-sandbox: {text}"))

    def tell(ready: Ready) -> None:
        _tell(ready, say, in_json=bool(args.json))

    session = new_id("serve")
    with Aside() as aside:
        # What servers say on stderr is not waited for: who reads none of ours would hold up every client.
        return serve(
            options, session, os.environ, lambda report: Service(routes, capacity, aside, report), tell
        )


def _try(arguments: tuple[str, ...], private: list[tuple[str, str]], progress: Callable[[str], None]) -> None:
    """Plans one sandbox as `run` would, and says what a person is told before its start."""
    from sandbox.cli import options, run, starting
    from sandbox.prepare import prepare
    from sandbox.serve.private import refuse_shown

    prepared = prepare(
        options.wish(run.parser().parse_args(list(arguments)), os.environ, os.getcwd()), progress
    )
    refuse_shown(prepared.spec.view, private)
    for line in starting.said(prepared, verbose=False):
        note(f"mcp-sandbox: {line}")


def _capacity(args: argparse.Namespace) -> Capacity:
    from sandbox.policy.quota import duration
    from sandbox.serve.capacity import Capacity

    wanted: dict[str, float] = {
        name: value for name in ("sessions", "each") if (value := getattr(args, name))
    }
    if args.idle is not None:
        try:
            wanted["idle_s"] = duration(args.idle)
        except ValueError as error:
            raise UsageError("bad-time", f"`--idle {args.idle}`: {error}", hint="--idle 30m") from error
    return Capacity(**wanted)  # type: ignore[arg-type]  # each by its own name


def _tell(ready: Ready, say: Callable[[str], None], *, in_json: bool) -> None:
    """Where it is served; a token that was made is shown in any case, since it is the only time."""
    for url in ready.urls.values():
        say(f"mcp-sandbox: serving {url}")
    if ready.new_token:
        note(f"mcp-sandbox: new token, shown this once and kept in `{ready.token_file}`: {ready.new_token}")
    elif ready.token_file:
        say(f"mcp-sandbox: its tokens are in `{ready.token_file}`")
    if in_json:
        told = {"schema": 1, "ready": True, "session": ready.session, "urls": dict(ready.urls)}
        emit(json.dumps({**told, "token_file": ready.token_file or None}))
