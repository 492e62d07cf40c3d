"""Finding a program as the shell and the kernel do, noting every symbolic link on the way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from sandbox.errors import CommandNotExecutable, CommandNotFound

SYSTEM = frozenset({"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"})
"""Top-level directories that every view has: nothing in them needs a mount of its own."""

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"

# Never mounted whole, below the home directory: they hold much more than one program.
WIDE = frozenset(
    {
        *(".local", ".local/bin", ".local/share", ".local/lib", ".local/state", ".config", ".cache", ".npm"),
        *("bin", "snap", "Desktop", "Documents", "Downloads", "Pictures", "Music", "Videos", "Public"),
        *("Templates", "Library"),
    }
)
# Usual names of places that hold many projects: mounted only where a manifest says that it is one itself.
COLLECTIONS = frozenset(
    {"src", "code", "projects", "work", "workspace", "dev", "git", "repos", "go", "scripts"}
)
# Never mounted, nor anything below: what they hold is secret.
SECRET = (".ssh", ".aws", ".gnupg", ".kube", ".docker", ".password-store", ".mozilla", ".config/gcloud")
_LINKS = 40  # the kernel's own limit, path_resolution(7)


def is_system(path: str) -> bool:
    """True where the view's read-only /usr already holds the absolute `path`."""
    return path.split("/", 2)[1] in SYSTEM


def home_of(environ: Mapping[str, str]) -> str:
    """The caller's home, without links; from the user database where HOME says nothing."""
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        import pwd  # off the usual path: MCP clients pass HOME

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            home = "/nonexistent"
    return os.path.realpath(home)


def too_wide(tree: str, home: str) -> bool:
    """True for a real path that holds more than a program: /, a top directory, a home, a secret place."""
    if tree.count("/") < 2 or os.path.dirname(tree) in ("/home", "/run/user", "/var/home"):
        return True
    if home == tree or home.startswith(f"{tree}/"):
        return True
    return (tree.startswith(f"{home}/") and tree[len(home) + 1 :] in WIDE) or is_secret(tree, home)


def is_secret(path: str, home: str) -> bool:
    """True for a place of the home that holds secrets, and for everything in it."""
    return any(path == f"{home}/{place}" or path.startswith(f"{home}/{place}/") for place in SECRET)


def follow(path: str) -> tuple[str, list[tuple[str, str]]]:
    """The real path of an absolute one, and each link met: its place (earlier links resolved), its text."""
    links: list[tuple[str, str]] = []
    done, todo = "/", path.split("/")[::-1]
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            done = os.path.dirname(done)
            continue
        here = os.path.join(done, part)
        try:
            text = os.readlink(here)
        except OSError:
            done = here
            continue
        links.append((here, text))
        if len(links) > _LINKS:
            raise CommandNotExecutable("too-many-links", f"`{path}` goes through more than {_LINKS} links")
        done = "/" if text.startswith("/") else done
        todo.extend(text.split("/")[::-1])
    return done, links


def climb(folder: str, home: str) -> Iterator[str]:
    """`folder` and its parents, up to the repository's root and never to a place that is too wide."""
    while not too_wide(folder, home):
        yield folder
        # A repository is one trust domain: what lies above it is somebody else's.
        if os.path.exists(os.path.join(folder, ".git")):
            return
        folder = os.path.dirname(folder)


def search_path(environ: Mapping[str, str]) -> list[str]:
    """The caller's PATH as directories; an empty entry is the current one, as POSIX says."""
    return (environ.get("PATH") or DEFAULT_PATH).split(":")


def which(name: str, *, environ: Mapping[str, str], cwd: str, skip: str = "") -> str:
    """The absolute path of a command, found as execvp(3) would; raises the error of exit 126 or 127."""
    if "/" in name:
        return _executable(os.path.normpath(os.path.join(cwd, name)), name)
    if not name:
        raise CommandNotFound("command-not-found", "the command is empty")
    refused = ""
    for folder in search_path(environ):
        place = os.path.normpath(os.path.join(cwd, folder, name))
        if os.path.dirname(place) == skip or not os.path.isfile(place):
            continue
        if os.access(place, os.X_OK):
            return place
        refused = refused or place
    if refused:
        return _executable(refused, name)
    raise CommandNotFound(
        "command-not-found", f"`{name}` is in no directory of PATH", hint=_elsewhere(name, home_of(environ))
    )


def _executable(place: str, name: str) -> str:
    if not os.path.lexists(place):
        raise CommandNotFound("command-not-found", f"`{name}` does not exist", hint=f"looked at `{place}`")
    if os.path.isdir(place):
        raise CommandNotExecutable("not-executable", f"`{place}` is a directory")
    if not os.path.exists(place):
        raise CommandNotFound("command-not-found", f"`{place}` is a link to a file that does not exist")
    if not os.access(place, os.X_OK):
        raise CommandNotExecutable(
            "not-executable",
            f"`{place}` is not executable",
            hint=f"`chmod +x {place}`, or name its interpreter",
        )
    return place


def _elsewhere(name: str, home: str) -> str:
    """A client started from the desktop has not the shell's PATH: name the program where it is installed."""
    from glob import escape, glob

    places = (
        *(".local/bin", ".cargo/bin", ".volta/bin", ".bun/bin", ".deno/bin", ".pyenv/shims", ".asdf/shims"),
        *(".nvm/versions/node/*/bin", ".local/share/fnm/node-versions/*/installation/bin"),
        *(".local/share/mise/shims", ".npm-global/bin"),
    )
    for place in places:
        found = sorted(glob(f"{escape(home)}/{place}/{escape(name)}"))
        if found:
            return f"it is at `{found[-1]}`: write that path as the command"
    return "give its absolute path, or start the client with the PATH of your shell"
