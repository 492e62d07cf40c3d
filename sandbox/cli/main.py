"""The entry point: picks the one command asked for, imports that and nothing else."""

from __future__ import annotations

import sys

from sandbox import importing

importing.install()  # before any other module of ours is looked for

from sandbox.errors import USAGE, SandboxError  # noqa: E402

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    import signal
    from argparse import ArgumentParser
else:
    import _signal as signal  # the enums of `signal` take half a millisecond of a start

COMMANDS = {
    "run": "start a server in its sandbox (what an MCP client's config calls)",
    "lock": "freeze a server: what runs from then on is what was looked at",
    "update": "show what a locked server's newest version changes, and lock that",
    "rollback": "go back to what was locked before the last update",
    "serve": "serve servers over HTTP, a sandbox for each client",
    "plan": "show what would be enforced, step by step, and by which mechanism",
    "inspect": "list all that a server offers, and what is suspicious in it",
    "learn": "run a server contained and write the least profile for it",
    "check": "validate profiles",
    "score": "say how exposed a profile leaves this machine",
    "doctor": "show what this host can enforce",
    "demo": "run a real server in the sandbox and show what it could not do",
    "ps": "show your running sandboxes, and remove what killed ones left",
    "top": "watch your running sandboxes: what each uses of its limits",
    "stop": "end running sandboxes",
    "approve": "look at how a server has changed, and approve it",
    "answer": "decide about calls that wait for a person",
    "resume": "let a sandbox go on that was frozen at a breach",
    "image": "build, list and remove the images of the Docker backend",
    "sbom": "print what a locked server is made of (CycloneDX, SPDX)",
    "store": "show, verify and remove the packages that servers start from",
    "clients": "find, judge and contain the servers that your MCP clients start",
    "profile": "list profiles, show one, write one, or print the schema of the file",
    "audit": "show, follow or verify the audit log",
    "login": "log in to a remote server that asks for it (OAuth)",
    "logout": "forget a login, and have its issuer end it",
    "trust": "accept a project's own profiles",
    "completion": "print shell completion",
}

HELP = """usage: mcp-sandbox [--version] COMMAND [options]

Runs an MCP server where it can reach only what its profile grants.

{commands}

example, in an MCP client's config:
  "command": "mcp-sandbox", "args": ["run", "--", "npx", "-y", "@modelcontextprotocol/server-everything"]

`mcp-sandbox COMMAND --help` shows a command's options."""


def usage() -> str:
    """The help of the program as a whole."""
    return HELP.format(commands="\n".join(f"  {name:<11} {what}" for name, what in COMMANDS.items()))


def parser(command: str) -> ArgumentParser:
    """The argument parser of one command, for `main` and for shell completion."""
    built: ArgumentParser = importing.module(f"sandbox.cli.{command}").parser()
    return built


def main(argv: list[str] | None = None) -> int:
    """Runs one command and returns its exit status; every `SandboxError` becomes its message."""
    args = sys.argv[1:] if argv is None else argv
    try:
        return dispatch(args)
    except SandboxError as error:
        return _failed(args, error)
    except KeyboardInterrupt:
        from sandbox.cli.leaving import leave

        return leave(130)
    except BrokenPipeError:
        return _closed_stdout()


def _failed(args: list[str], error: SandboxError) -> int:
    if args[:1] == ["run"]:
        from sandbox.cli.starting import refuse

        return refuse(error)
    from sandbox.cli.output import note

    note(str(error))
    return error.exit_status


def dispatch(args: list[str]) -> int:
    """Finds the command, parses its arguments and runs it."""
    if not args or args[0] in ("-h", "--help", "help"):
        from sandbox.cli.output import emit

        emit(usage())
        return 0 if args else USAGE
    if args[0] in ("-V", "--version"):
        from importlib.metadata import version

        from sandbox.cli.output import emit

        emit(f"mcp-sandbox {version('mcp-sandbox')}")
        return 0
    if args[0] not in COMMANDS:
        return _unknown(args[0])
    _require_directory()
    _settle_children()
    _settle_home()
    settle_runtime_directory()
    if args[0] == "run":
        from sandbox.cli.starting import start

        return start(args[1:])
    module = importing.module(f"sandbox.cli.{args[0]}")
    status: int = module.main(module.parser().parse_args(args[1:]))
    return status


def _unknown(name: str) -> int:
    import difflib

    from sandbox.errors import UsageError

    near = difflib.get_close_matches(name, COMMANDS, 1)
    hint = f"mcp-sandbox {near[0]} --help" if near else "mcp-sandbox --help"
    raise UsageError("unknown-command", f"`{name}` is not a command of mcp-sandbox", hint=hint)


def _require_directory() -> None:
    import os

    from sandbox.errors import UsageError

    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UsageError(
            "no-directory", "the working directory does not exist any more", hint="cd"
        ) from error


def _settle_children() -> None:
    """Where a client ignores SIGCHLD, so would we, and the kernel would keep from us how our children end."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _settle_home() -> None:
    """A HOME that is missing or relative becomes the user database's.

    Relative, it would make the working directory, perhaps a hostile repository's, the place of our own
    profiles, trust decisions and package store.
    """
    import os

    if os.environ.get("HOME", "").startswith("/"):
        return
    import pwd  # off the usual path: MCP clients pass HOME

    try:
        os.environ["HOME"] = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        os.environ.pop("HOME", None)


def settle_runtime_directory(below: str = "/run/user") -> None:
    """The session's runtime directory where the client does not pass it on, as no SDK does.

    A rootless engine listens there, and the keyring's bus; it counts if it is ours alone (file-hierarchy(7)).
    """
    import os
    import stat

    usual = f"{below}/{os.geteuid()}"
    if os.environ.get("XDG_RUNTIME_DIR"):
        return
    try:
        found = os.lstat(usual)
    except OSError:
        return
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
        os.environ["XDG_RUNTIME_DIR"] = usual


def _closed_stdout() -> int:
    # The reader went away (`| head`): point stdout elsewhere so that the interpreter's last flush is silent.
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0
