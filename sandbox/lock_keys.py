"""By what a start finds its lock: what it is that starts, whatever its version and its arguments are."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sandbox.choice import Choice
from sandbox.digest import sha256
from sandbox.host.closure import language_of
from sandbox.host.uvrun import is_uv_run
from sandbox.prepared import Wish
from sandbox.records import dataclass
from sandbox.supply import spec
from sandbox.supply.key import which
from sandbox.supply.lock import Kind, key_of
from sandbox.supply.request import Request
from sandbox.supply.shell import unwrapped

_LAUNCHERS = frozenset(
    "busybox chroot chrt doas env ionice nice nohup setsid stdbuf strace su sudo taskset time timeout "
    "unshare xargs".split()
)


def kind(chosen: Choice) -> Kind:
    """What there is to lock of it."""
    if chosen.bundle is not None:
        return "mcpb"
    if chosen.request is not None:
        return chosen.request.ecosystem
    return "oci" if own_image(chosen) else "program"


def own_image(chosen: Choice) -> bool:
    """It starts from an image that is none of ours."""
    from sandbox.supply.inside import NAMES

    image = chosen.policy.server.image
    return image is not None and image not in NAMES


def keys(chosen: Choice, wish: Wish) -> tuple[str, ...]:
    """By what a start finds its lock, the most particular first; none for what runs elsewhere."""
    named = [key_of("profile", (chosen.policy.name,))] if not wish.command else []
    if chosen.policy.server.url is not None:
        return ()
    if chosen.described:
        # And by nothing else: its variables and arguments make another server of the same package.
        return (*named, key_of("described", (chosen.described,)))
    if chosen.bundle is not None:
        # By its place too: what is exchanged there says itself what it is called.
        place = os.path.realpath(chosen.bundle.path)
        return (*named, key_of("mcpb", (place,)), key_of("mcpb", (chosen.bundle.name,)))
    if chosen.request is not None:
        return (*named, request_key(chosen.request))
    if own_image(chosen) and wish.backend != "native":
        from sandbox.supply.oci import repository

        return (*named, key_of("oci", (repository(chosen.policy.server.image or ""),)))
    if not chosen.command:
        return tuple(named)
    found = dict.fromkeys(program(chosen.command, wish))
    return (*named, *(key_of("program", one) for one in found))


def request_key(request: Request) -> str:
    """The key of packages, whatever versions are asked for."""
    bare = spec.npm_name if request.ecosystem == "npm" else spec.pypi_base
    return key_of(request.ecosystem, tuple(dict.fromkeys(bare(each) for each in request.specs)))


# --- programs ---------------------------------------------------------------------------------------


def program(command: Sequence[str], wish: Wish) -> tuple[tuple[str, ...], ...]:
    """A program by its real path and, as it may be spelt without one, by its name; a script by its own."""
    words = unwrapped(command)
    first = words[0]
    if launches(first):
        return ((first, _nameless("\0".join(words))),)  # no lock has that: what it starts has other keys
    if is_uv_run(words):
        # The project's own program: it is another one in another directory.
        return ((os.path.basename(first), os.path.realpath(wish.cwd), *words[1 : uv_operand(words)]),)
    language = language_of(first)
    if language:
        given = interpreted(words, wish.cwd)
        return ((language, given.module, given.target) if given.module else (language, given.target),)
    at = os.path.join(wish.cwd, first) if "/" in first else which(first, wish.environ)
    real = ((os.path.realpath(at),),) if at else ()
    return real if "/" in first else (*real, (first,))


def launches(program: str) -> bool:
    """It starts another program, which the words after it name."""
    return os.path.basename(program) in _LAUNCHERS


def uv_operand(command: Sequence[str]) -> int:
    """How many words of `uv … run … PROGRAM` there are up to its program."""
    run = command.index("run")
    words = enumerate(command[run + 1 :], run + 2)
    return next((count for count, word in words if not word.startswith("-")), len(command))


@dataclass(frozen=True, slots=True)
class Interpreted:
    """What an interpreter is to run."""

    options: tuple[str, ...]
    """Its own, before that."""
    target: str
    """The script's real path, the module's name, or the hash of a program that is given as text."""
    count: int
    """How many words of the command there are up to it."""
    module: str = ""
    """`-m` where it is a module's."""
    file: bool = False


def interpreted(command: Sequence[str], cwd: str) -> Interpreted:
    """The first word that is no option, behind an interpreter."""
    for at, word in enumerate(command[1:], 1):
        if word == "-m" and at + 1 < len(command):
            return Interpreted(tuple(command[1:at]), command[at + 1], at + 2, word)
        if not word.startswith("-"):
            path = os.path.realpath(os.path.join(cwd, word))
            file = os.path.isfile(path)
            return Interpreted(tuple(command[1:at]), path if file else _nameless(word), at + 1, file=file)
    return Interpreted(tuple(command[1:]), "", len(command))


def _nameless(text: str) -> str:
    """A program given as text (`-c`, `-e`): by its hash, since there may be a secret in it."""
    return str(sha256(text.encode("utf-8", "surrogateescape")).hexdigest())[:16]
