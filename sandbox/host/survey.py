"""What one start has to know of the host: the paths the policy names, as they are now; changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from stat import S_ISDIR, S_ISREG

from sandbox.host.aliases import aliases
from sandbox.host.sockets import sockets
from sandbox.places import cache_dir
from sandbox.plan.etc import (
    COPIED,
    COPIED_DIRECTORIES,
    COPIED_SUFFIXES,
    JAVA,
    JAVA_TREE,
    LINKS,
    NETWORKED,
    TREES,
)
from sandbox.plan.facts import Closure, PathFact, Survey
from sandbox.plan.system import PROGRAMS
from sandbox.plan.wants import (
    HOME,
    Want,
    command_wants,
    exposed,
    guarded,
    kept_home,
    log_place,
    mountpoints,
    wants,
)
from sandbox.policy.model import Policy
from sandbox.policy.paths import below, secret_places

_LARGEST = 4 << 20


def survey(policy: Policy, closure: Closure, *, environ: Mapping[str, str], cwd: str) -> Survey:
    """The facts that `plan` needs of this host for this policy and command; a missing path has kind ""."""
    home = home_of(environ)
    asked = wants(policy, home=home, cwd=cwd, environ=environ)
    wanted = (*asked, *command_wants(closure))
    named = [want.source for want in wanted]
    named += exposed(policy, home=home, cwd=cwd, environ=environ)
    named += _within(policy, home, cwd, environ)
    log = log_place(policy, cwd)
    folder = os.path.dirname(log) if log else ""
    paths = look_at(path for path in (*named, home, cwd, closure.cwd, folder) if path)
    kept = kept_home(policy, home=home, environ=environ) if policy.files.persist else ""
    paths |= look_at(_inner(wanted, paths, kept))
    found, unsearched = sockets(_trees(asked, paths, environ))
    beside, _ = sockets(_trees(command_wants(closure), paths, environ))
    return Survey(
        home=home,
        cwd=cwd,
        environ=environ,
        closure=closure,
        paths=paths,
        etc=dict(_public_files()),
        system=dict(_system_layout()),
        protected=_protected(home, environ),
        sockets=(*found, *beside),
        unsearched=unsearched,
    )


def _within(policy: Policy, home: str, cwd: str, environ: Mapping[str, str]) -> Iterable[str]:
    if not policy.tools.arguments:
        return ()
    from sandbox.plan.within import named  # where a profile has rules for arguments

    return named(policy, home=home, cwd=cwd, environ=environ).values()


def home_of(environ: Mapping[str, str]) -> str:
    """The caller's home: `HOME`, or the user database where a client did not pass it."""
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        # Imported here: every usual start has HOME and saves the import.
        import pwd

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return ""
    return os.path.normpath(home)


def look_at(paths: Iterable[str]) -> dict[str, PathFact]:
    """The real path, kind and owner of each."""
    return {path: _fact(path) for path in dict.fromkeys(paths)}


def _fact(path: str) -> PathFact:
    real = os.path.realpath(path)
    try:
        found = os.stat(real)
    except OSError:
        return PathFact(real, "")
    if S_ISDIR(found.st_mode):
        return PathFact(real, "dir", found.st_uid, found.st_gid)
    return PathFact(real, "file" if S_ISREG(found.st_mode) else "other", found.st_uid, found.st_gid)


def _inner(wanted: Iterable[Want], paths: Mapping[str, PathFact], kept: str) -> list[str]:
    """Paths below the wanted ones that the plan asks about: guarded files, and what is mounted on."""
    placed = [(paths[want.source].real, want.target or paths[want.source].real) for want in wanted]
    inner = list(mountpoints([*placed, (kept, HOME)] if kept else placed))
    for want in wanted:
        if want.writable and paths[want.source].kind == "dir":
            files = guarded(paths[want.source].real)
            inner += [*files, *(path.rpartition("/")[0] for path in files)]
    return inner


def _trees(wanted: Iterable[Want], paths: Mapping[str, PathFact], environ: Mapping[str, str]) -> list[str]:
    """The directories that may hold sockets of the host's: all but frozen packages, sealed without any."""
    ours = f"{cache_dir(environ)}/store"
    facts = (paths[want.source] for want in wanted)
    return [fact.real for fact in facts if fact.kind == "dir" and not below(fact.real, ours)]


def _public_files() -> Iterable[tuple[str, bytes]]:
    for path in (*COPIED, *NETWORKED, *_listed()):
        try:
            with open(path, "rb", buffering=0) as file:
                content = file.read(_LARGEST)
        except OSError:
            continue
        yield path, content


def _listed() -> list[str]:
    found = []
    for directory in (*COPIED_DIRECTORIES, *_java()):
        names = sorted(_names(directory))
        found += [f"{directory}/{name}" for name in names if name.endswith(COPIED_SUFFIXES)]
    return found


def _java() -> list[str]:
    return [path for path in (f"/etc/{name}" for name in _names("/etc")) if JAVA.fullmatch(path)]


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _system_layout() -> Iterable[tuple[str, str]]:
    """What each system path is: "" for a directory, else the text of the link; absent paths are left out."""
    java = [f"{place}/{JAVA_TREE}" for place in _java()]
    for path in (*PROGRAMS, *TREES, *java, *LINKS):
        try:
            yield path, os.readlink(path)
        except OSError:
            # EINVAL: no link; one of `LINKS` is then among the public files, or not there.
            if path not in LINKS and os.path.isdir(path):
                yield path, ""


def _protected(home: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The secret places and, where one is or lies behind a symlink, its real path too."""
    places = secret_places(home, environ)
    real_home = os.path.realpath(home) if home else ""
    # Also those that do not exist yet: on some systems every home lies behind a link (/home -> var/home).
    moved = {real_home + path.removeprefix(home): why for path, why in places.items() if below(path, home)}
    real = {os.path.realpath(path): why for path, why in places.items() if os.path.lexists(path)}
    known = {**(moved if home else {}), **real, **places}
    return {**aliases(_mountinfo(), known), **known}


def _mountinfo() -> str:
    try:
        with open("/proc/self/mountinfo", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
