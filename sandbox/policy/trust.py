"""A project's own profiles may come with a hostile repository: only those a person accepted are used."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from sandbox.errors import ProfileError
from sandbox.places import config_dir
from sandbox.policy.search import PROJECT_DIR, Found

FILE = "trust.json"


def needs_trust(found: Found) -> bool:
    """True for every file in a project's `.mcp-sandbox`, also where a path or a link leads into one."""
    named = os.path.abspath(found.path).split("/")
    return PROJECT_DIR in named or PROJECT_DIR in os.path.realpath(found.path).split("/")


def require(found: Found, digest: str, environ: Mapping[str, str]) -> None:
    """Raises ProfileError unless this very content of this file was accepted."""
    if not needs_trust(found):
        return
    known = remembered(environ).get(os.path.realpath(found.path))
    if known == digest:
        return
    what = (
        f"`{found.path}` has changed since it was trusted" if known else f"`{found.path}` is not trusted yet"
    )
    rule = "a project's own profiles are used only after `mcp-sandbox trust` at a terminal"
    raise ProfileError("untrusted-profile", what, rule=rule, hint=f"mcp-sandbox trust {_quoted(found.path)}")


def remembered(environ: Mapping[str, str]) -> dict[str, str]:
    """Real path and hash of every accepted profile; a file that others may write is an error."""
    import json

    path = os.path.join(config_dir(environ), FILE)
    try:
        with open(path, "rb") as file:
            held = os.fstat(file.fileno())
            text = file.read(1 << 20)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _broken(path, f"cannot be read: {error.strerror}") from None
    if held.st_uid != os.geteuid() or stat.S_IMODE(held.st_mode) & 0o022:
        raise _broken(path, "can be written by others")
    try:
        document = json.loads(text)
        if document["schema"] != 1:
            raise ValueError
        return {str(real): str(digest) for real, digest in document["profiles"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _broken(path, "is not a list of trusted profiles") from None


def remember(accepted: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Adds real paths and hashes; returns the file they are kept in, replaced at once and private (0600)."""
    import json

    from sandbox.policy.cache import replace_private

    directory = config_dir(environ)
    path = os.path.join(directory, FILE)
    document = {"schema": 1, "profiles": {**remembered(environ), **accepted}}
    try:
        replace_private(path, json.dumps(document, indent=2).encode())
    except OSError as error:
        raise _broken(path, f"cannot be written: {error.strerror}") from None
    return path


def _broken(path: str, why: str) -> ProfileError:
    return ProfileError("trust-unusable", f"`{path}` {why}", hint=f"look at it, then `rm {_quoted(path)}`")


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
