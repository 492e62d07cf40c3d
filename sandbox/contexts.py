"""The docker command line's contexts: which engine a user works with, read as that command line reads it.

Not by the SDK, which asks this process's environment, takes a context that does not exist for the usual
engine, and without a settings file looks for contexts below the current directory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from sandbox.digest import sha256
from sandbox.errors import SandboxNotBuilt
from sandbox.records import dataclass

USUAL = "default"
"""The name of no context: the engine at one of the usual sockets."""


@dataclass(frozen=True, slots=True)
class Context:
    """An engine by name: its address, and the certificates that it is spoken to with."""

    name: str
    host: str
    certificates: str = ""
    """The folder of `ca.pem`, `cert.pem` and `key.pem`; empty where there are none."""
    verify: bool = True


def current(environ: Mapping[str, str]) -> Context | None:
    """The context in use, None where it is the usual engine; raises for one that cannot be read."""
    name = name_of(environ)
    return None if name == USUAL else _read(name, environ)


def name_of(environ: Mapping[str, str]) -> str:
    """`DOCKER_CONTEXT`, else what the settings say."""
    named = environ.get("DOCKER_CONTEXT")
    if named:
        return named
    path = settings_file(environ)
    try:
        with open(path, "rb") as file:
            return str(json.load(file).get("currentContext") or USUAL)
    except (FileNotFoundError, NotADirectoryError):
        return USUAL
    except (OSError, ValueError, AttributeError) as error:
        raise _unreadable(f"`{path}` cannot be read: {error}") from error


def files(environ: Mapping[str, str]) -> list[str]:
    """Every file that decides which engine it is."""
    settings = settings_file(environ)
    name = USUAL if environ.get("DOCKER_HOST") else name_of(environ)
    return [settings] if name == USUAL else [settings, meta_file(name, environ)]


def settings_file(environ: Mapping[str, str]) -> str:
    """The docker command line's settings."""
    return f"{_folder(environ)}/config.json"


def meta_file(name: str, environ: Mapping[str, str]) -> str:
    """Where a context is written down."""
    return f"{_folder(environ)}/contexts/meta/{_id(name)}/meta.json"


def _folder(environ: Mapping[str, str]) -> str:
    return environ.get("DOCKER_CONFIG") or f"{environ.get('HOME') or os.path.expanduser('~')}/.docker"


def _id(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def _read(name: str, environ: Mapping[str, str]) -> Context:
    try:
        with open(meta_file(name, environ), "rb") as file:
            found: Any = json.load(file)["Endpoints"]["docker"]
        host, skip = found["Host"], found.get("SkipTLSVerify", False)
    except FileNotFoundError:
        raise _unreadable(f"the docker context `{name}` does not exist") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(f"the docker context `{name}` cannot be read: {error!r}") from error
    if not isinstance(host, str) or not host:
        raise _unreadable(f"the docker context `{name}` names no engine")
    place = f"{_folder(environ)}/contexts/tls/{_id(name)}/docker"
    return Context(name, host, place if os.path.isdir(place) else "", verify=not skip)


def _unreadable(what: str) -> SandboxNotBuilt:
    return SandboxNotBuilt("engine-context", what, hint="docker context ls")
