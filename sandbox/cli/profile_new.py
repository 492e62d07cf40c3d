"""`mcp-sandbox profile new`: writes the profile that somebody begins with, and never over another."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TextIO

from sandbox import matching, remote
from sandbox.choice import DESCRIBED, package_name
from sandbox.cli.output import document, emit, note
from sandbox.clients.credential import in_arguments
from sandbox.errors import SandboxError, UsageError
from sandbox.host.closure import language_of
from sandbox.places import config_dir
from sandbox.policy.diagnose import parse as sound
from sandbox.policy.fields import PACKAGE
from sandbox.policy.remote import Url
from sandbox.policy.search import PROJECT_DIR, SUFFIX, names_in, shipped
from sandbox.policy.starter import Start, text
from sandbox.prepared import Matched
from sandbox.supply.docker_run import DockerRun
from sandbox.supply.mcpb import named as bundled
from sandbox.supply.request import Request, parse

_ECOSYSTEM = {"npm": "node", "pypi": "python"}


def new(name: str | None, command: Sequence[str], *, project: bool, as_json: bool) -> int:
    """Writes the starter for a command and says where, and what to do with it."""
    if not command:
        hint = "mcp-sandbox profile new -- npx -y SERVER"
        raise UsageError("no-command", "write the server's command after `--`", hint=hint)
    start = starter(name, tuple(command))
    folder = os.path.join(os.getcwd(), PROJECT_DIR) if project else _own_folder()
    path = _write(folder, start.name + SUFFIX, text(start), follow=not project)
    if in_arguments(command):
        what = "a credential among the command's words stands in the profile in plain text"
        note(f"warning: plain-secret\n  {what}\n\nhint: give it as a variable, with `[secrets.NAME]`")
    if as_json:
        document({"name": start.name, "path": path, "extends": start.extends})
        return 0
    emit(f"wrote {path}")
    if project:
        emit("  mcp-sandbox trust   once you have read it: a project's own profiles are not used before")
    emit(f"  mcp-sandbox run --profile {start.name}   starts it; a client's config takes the same words")
    return 0


def starter(name: str | None, command: tuple[str, ...]) -> Start:
    """What is known of the command, by reading its words."""
    if bundled(command):
        from sandbox.cli.profile_described import of_bundle

        return of_bundle(name, command)
    if DESCRIBED in command[0]:
        from sandbox.cli.profile_described import of_server_json, reads

        if reads(command[0]):
            return of_server_json(name, command)
    return of_command(name, command)


def of_command(name: str | None, command: tuple[str, ...]) -> Start:
    """What is known of a command or a URL."""
    if (url := remote.named(command)) is not None:
        return _elsewhere(name, url)
    try:
        request = parse(command)
    except SandboxError:
        request = None  # `run` will say what is wrong with it
    run = matching.image_run(command)
    found = matching.matched(command, request, os.environ, os.getcwd())
    title = _title(command, request, run)
    parent = found.profile if found else _parent(command, request, run)
    args = run.args if run else request.args if request else command[1:]
    home = os.environ.get("HOME", "")
    return Start(
        name=proper_name(name, _short(command, request, run), found),
        command=run.args if run else command,
        extends=parent,
        title="the server " + "".join(char if char.isprintable() else " " for char in title),
        package=_package(request, run, found),
        versions=found.versions if found else "",
        access=found.access if found else "none",
        image=run.image if run else "",
        paths=tuple(dict.fromkeys(matching.named_paths(args, home, os.getcwd()).values())),
        variables=_variables(run),
    )


def _elsewhere(name: str | None, url: Url) -> Start:
    """What is known of a URL."""
    return Start(
        name=proper_name(name, url.host, None),
        command=(),
        extends="base",
        title=f"the server at {url.origin}",
        url=str(url),
        near=remote.near(url),
    )


def _title(command: tuple[str, ...], request: Request | None, run: DockerRun | None) -> str:
    if run is not None:
        return run.name
    return request.title if request else os.path.basename(command[0])


def _short(command: tuple[str, ...], request: Request | None, run: DockerRun | None) -> str:
    """What it is called in one word."""
    named = run.name if run else request.specs[0] if request else ""
    return package_name(named) if named else os.path.basename(command[0])


def _parent(command: tuple[str, ...], request: Request | None, run: DockerRun | None) -> str:
    if run is not None:
        return "base"
    if request is not None:
        return _ECOSYSTEM[request.ecosystem]
    language = language_of(command[0])
    return language if language in _ECOSYSTEM.values() else "base"


def _package(request: Request | None, run: DockerRun | None, found: Matched | None) -> str:
    if found is not None:
        return found.package
    name = f"oci:{run.name}" if run else matching.name_of(request, request.specs[0]) if request else ""
    return name if re.fullmatch(PACKAGE, name, re.ASCII) else ""


def _variables(run: DockerRun | None) -> tuple[str, ...]:
    asked = [word.partition("=")[0] for word in run.values("--env")] if run else []
    return tuple(name for name in asked if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name, re.ASCII))


def proper_name(name: str | None, short: str, found: Matched | None) -> str:
    """The name that was given, else the package's own; a shipped one only for the server that it is for.

    A user's profile stands before the shipped one of its name, for every server that finds it.
    """
    held = set(names_in(shipped()))
    if name is None:
        own = found.profile if found else _proper(short)
        return own if found or own not in held else f"{own}-own"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name, re.ASCII):
        rule = "letters, digits, `.`, `_` and `-`"
        raise UsageError("invalid-profile-name", f"`{name}` is not a profile's name", rule=rule)
    if name in held and not (found and found.profile == name):
        what = f"`{name}` is a shipped profile, and yours would take its place for every server"
        raise UsageError("shipped-name", what, hint=f"mcp-sandbox profile new {name}-own -- …")
    return name


def _proper(text: str) -> str:
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:60].lstrip("._-")
    return kept.removesuffix(SUFFIX) or "server"


def _own_folder() -> str:
    return os.path.join(config_dir(os.environ), "profiles")


def _write(folder: str, name: str, content: str, *, follow: bool) -> str:
    """The file whole, where there was none; what cannot be a profile is not written."""
    path = os.path.join(folder, name)
    sound(path, content)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with _opened(folder, name, follow=follow) as file:
            file.write(content)
    except FileExistsError:
        what = f"`{path}` is there already, and is left as it is"
        raise UsageError("profile-exists", what, hint="give the new one another name") from None
    except OSError as error:
        raise UsageError("not-written", f"`{path}` cannot be written: {error.strerror}") from error
    return path


def _opened(folder: str, name: str, *, follow: bool) -> TextIO:
    """A new file, for its user alone: a command may hold what others must not read."""
    # A project's `.mcp-sandbox` may be a link to the user's own profiles, which nobody has to trust first.
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        # O_EXCL: whatever lies there, a link too, stays as it is.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return open(os.open(name, flags, 0o600, dir_fd=place), "w", encoding="utf-8")
    finally:
        os.close(place)
