"""Which clients' files this machine has, and their bytes."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import Final

from sandbox.clients.codec import MAX_BYTES
from sandbox.clients.table import ROWS
from sandbox.clients.words import ConfigError, Found, Row

FORMATS: Final = {
    ".json": "json",
    ".jsonc": "jsonc",
    ".code-workspace": "jsonc",
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
}
MOST_FILES: Final = 200
"""Of one pattern; a folder of thousands of matching files is no client's."""
_PLACE: Final = re.compile(r"\{([A-Za-z_]+)(?::([^}]*))?\}")


def find(home: str, platform: str, environ: Mapping[str, str], cwd: str) -> list[Found]:
    """Every file of every client for this user, this system (`sys.platform`) and the project of `cwd`."""
    found: dict[tuple[str, str], Found] = {}
    for row in ROWS:
        for path, scope in _candidates(row, home, platform, environ, cwd):
            real = os.path.realpath(path)
            # A link from one place of a client to another is one file, told once.
            if os.path.isfile(real) and (format := FORMATS.get(os.path.splitext(path)[1])):
                found.setdefault((row.id, real), Found(row, path, real, format, scope))
    return list(found.values())


def content(path: str) -> bytes:
    """The bytes of a regular file of at most `codec.MAX_BYTES`, or a `ConfigError`."""
    try:
        # Without waiting: a named pipe in the place of a file would hold us for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError("config-unreadable", f"{path}: {_why(error)}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError("config-unreadable", f"{path} is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            read = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(read) > MAX_BYTES:
        raise ConfigError("config-size", f"{path} has more than {MAX_BYTES} bytes, which are not read")
    return read


def _why(error: OSError) -> str:
    return (error.strerror or "cannot be read").lower()


def project(cwd: str, home: str) -> list[str]:
    """The directory `cwd` and those above it up to the repository that it is in, which the home never is."""
    found, directory = [os.path.abspath(cwd)], os.path.abspath(cwd)
    while directory not in (home, "/"):
        if os.path.lexists(f"{directory}/.git"):
            return found
        directory = os.path.dirname(directory)
        found.append(directory)
    return found[:1]


def _candidates(
    row: Row, home: str, platform: str, environ: Mapping[str, str], cwd: str
) -> Iterator[tuple[str, str]]:
    for template in _templates(row, platform):
        scope = "system" if template.startswith("/") else "user"
        for path in _matching(_filled(template, home, environ)):
            yield path, scope
    for directory in project(cwd, home):
        for template in row.project:
            for path in _matching(f"{glob.escape(directory)}/{template}"):
                yield path, "project"


def _templates(row: Row, platform: str) -> tuple[str, ...]:
    if platform == "darwin":
        return row.files.mac
    return row.files.windows if platform in ("win32", "cygwin") else row.files.linux


def _filled(template: str, home: str, environ: Mapping[str, str]) -> str:
    """The template as a pattern: only the table's own `*` is one, whatever a directory is called."""
    usual = {
        "config": _absolute(environ.get("XDG_CONFIG_HOME")) or f"{home}/.config",
        "appdata": environ.get("APPDATA") or f"{home}/AppData/Roaming",
        "localappdata": environ.get("LOCALAPPDATA") or f"{home}/AppData/Local",
    }

    def place(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        if default is None:
            return glob.escape(usual[name])
        if value := environ.get(name):
            return glob.escape(value)
        return glob.escape(home) + default[1:] if default.startswith("~") else default

    filled = _PLACE.sub(place, template)
    return glob.escape(home) + filled[1:] if filled.startswith("~/") else filled


def _absolute(value: str | None) -> str:
    # The specification: a relative path is invalid and must be ignored.
    return value if value and value.startswith("/") else ""


def _matching(pattern: str) -> list[str]:
    if not os.path.isabs(pattern):
        return []
    if not glob.has_magic(pattern):
        return [pattern]
    return sorted(glob.glob(pattern, include_hidden=True))[:MOST_FILES]
