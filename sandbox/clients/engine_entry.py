"""An entry that starts `docker run IMAGE`: the image by our own backend, from a profile that names it (P)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sandbox.clients.credential import literal
from sandbox.clients.words import Entry
from sandbox.clients.wrapping import Fit, Left, Wrapped, is_wrapped, named, obstacle, passing
from sandbox.digest import sha256
from sandbox.records import dataclass, field

ENGINES: Final = frozenset(("docker", "podman", "nerdctl"))
_FLAGS: Final = frozenset(
    "-i --interactive -t --tty --rm --init --read-only --no-healthcheck -q --quiet --sig-proxy".split()
)
_VALUED: Final = frozenset("-e -v -w -u -p -l -m -h -c -a".split())
# What the sandbox decides itself, at least as tightly.
_OURS: Final = frozenset(
    """--name --label -l --pull --platform --memory -m --cpus --restart --hostname -h --log-driver --log-opt
    --security-opt --cap-drop --cap-add --shm-size --ulimit --pids-limit --add-host --dns --network --net
    --publish -p --user -u --stop-timeout --memory-swap --tmpfs --ipc --pid --privileged -P --publish-all
    --expose --group-add --userns --cgroupns --cpu-shares -c --sysctl""".split()
)
_WIDE: Final = frozenset(("--privileged", "-P", "--publish-all"))
_LATER: Final = {
    "-w": "a working directory", "--workdir": "a working directory", "--entrypoint": "another entrypoint",
    "--env-file": "a file of variables", "-d": "no client that waits", "--detach": "no client that waits",
}  # fmt: skip
_OWN_IMAGES: Final = frozenset(("base", "node", "python", "browser"))
_IMAGE: Final = re.compile(r"[a-z0-9][!-~]*")
_PINNED: Final = re.compile(r".+@sha256:[0-9a-f]{64}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Order:
    """What an engine is told to run."""

    image: str
    args: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    """Every option with its value, in order; flags without one have an empty value."""


@dataclass(frozen=True, slots=True)
class Contained:
    """A wrapped entry, and the profile that has to exist for it."""

    wrapped: Wrapped
    profile: str
    text: str


@dataclass(slots=True)
class _Taken:
    """What of an order's options has a place in ours."""

    mounts: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    fixed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def order(words: Sequence[str]) -> Order | Left | None:
    """The order in a command line; None where it is no engine's `run`, `Left` where it cannot be read."""
    if not words or words[0].replace("\\", "/").rpartition("/")[2].removesuffix(".exe") not in ENGINES:
        return None
    rest = list(words[1:])
    if rest[:1] == ["container"]:
        del rest[0]
    if rest[:1] != ["run"]:
        return Left(f"`{words[0]}` is told more than `run`, which no profile says")
    del rest[0]
    options: list[tuple[str, str]] = []
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        if (found := _option(word, rest)) is None:
            return Left(f"`{word}` of `{words[0]} run` is not understood")
        options += found
    if not rest:
        return Left(f"`{words[0]} run` names no image")
    return Order(rest[0], tuple(rest[1:]), tuple(options))


def _option(word: str, rest: list[str]) -> list[tuple[str, str]] | None:
    """One option, or several letters in one word, with the value that may be the next word."""
    name, equals, value = word.partition("=")
    if name in _FLAGS or name in _WIDE or name in ("-d", "--detach"):
        return [(name, value)]
    if not word.startswith("--") and len(word) > 2:
        return _letters(word, rest)
    if equals:
        return [(name, value)]
    return [(name, rest.pop(0))] if rest else None


def _letters(word: str, rest: list[str]) -> list[tuple[str, str]] | None:
    found: list[tuple[str, str]] = []
    for at, letter in enumerate(word[1:], 1):
        option = f"-{letter}"
        if option in _VALUED:
            value = word[at + 1 :] or (rest.pop(0) if rest else "")
            return [*found, (option, value)]
        if option not in _FLAGS and option != "-d":
            return None
        found.append((option, ""))
    return found


def contained(entry: Entry, program: str, fit: Fit, words: Sequence[str]) -> Contained | Left | None:
    """The entry by our own backend; None where it starts no engine."""
    found = order(words)
    if found is None or is_wrapped(entry):
        return None
    if isinstance(found, Left) or (why := obstacle(entry, stranger=fit.stranger)) is not None:
        return found if isinstance(found, Left) else Left(str(why))
    taken = _taken(found)
    if isinstance(taken, Left):
        return taken
    image = f"docker.io/library/{found.image}" if found.image in _OWN_IMAGES else found.image
    text = profile_text(entry.name, image, fit.profile or "base", taken.fixed)
    name = f"engine-{_safe(entry.name)}-{sha256(text.encode()).hexdigest()[:8]}"
    args = ["run", *named(entry), "--backend", "docker", "--profile", name, *taken.mounts]
    args += passing([(one, dict(entry.env).get(one, "")) for one in taken.passed])
    args += ["--", *found.args] if found.args else []
    if not fit.profile:
        taken.notes.append("no profile fits: it gets no network")
    return Contained(Wrapped(program, tuple(args), (*fit.notes, *taken.notes)), name, text)


def _taken(found: Order) -> _Taken | Left:
    if not _IMAGE.fullmatch(found.image) or not literal(found.image):
        return Left(f"`{found.image}` is not the name of one image")
    taken = _Taken()
    for option, value in found.options:
        if (why := _take(taken, option, value)) is not None:
            return Left(why)
    return taken


def _take(taken: _Taken, option: str, value: str) -> str | None:
    """Takes one option over; says why it cannot."""
    if option in _FLAGS or option in _OURS:
        if option in ("--network", "--net") and value != "none":
            taken.notes.append(f"`{option} {value}` is not taken over: the network is the profile's")
        if option in ("--privileged", "--cap-add", "-p", "--publish", "-P", "--publish-all"):
            taken.notes.append(f"`{option}` is not taken over")
        return None
    if option in ("-v", "--volume"):
        return _volume(taken, value)
    if option == "--mount":
        return _mount(taken, value)
    if option in ("-e", "--env"):
        return _variable(taken, value)
    what = f" ({_LATER[option]})" if option in _LATER else ""
    return f"the engine's `{option}`{what} has no place in a profile"


def _variable(taken: _Taken, value: str) -> str | None:
    name, equals, fixed = value.partition("=")
    if not _VARIABLE.fullmatch(name):
        return f"`-e {name}` names no variable"
    if not equals:
        taken.passed.append(name)
    elif fixed and not literal(fixed):
        return f"`-e {name}=…` holds a variable of the client's: move it to the entry's `env`"
    else:
        taken.fixed[name] = fixed
    return None


def _volume(taken: _Taken, value: str) -> str | None:
    head = re.match(r"\$\{[^}]*\}", value)
    start = head.end() if head else 0
    source, _, rest = value[start:].partition(":")
    target, _, mode = rest.partition(":")
    return _bind(taken, value[:start] + source, target, "ro" in mode.split(","))


def _mount(taken: _Taken, value: str) -> str | None:
    parts = dict(part.partition("=")[::2] for part in value.split(","))
    source, target = parts.get("source", parts.get("src", "")), _first(parts, "target", "destination", "dst")
    read_only = any(parts.get(key, "false") in ("", "true", "1") for key in ("readonly", "ro"))
    if parts.get("type", "volume") != "bind":
        return "the engine's `--mount` of a volume has no place in a profile"
    return _bind(taken, source, target, read_only)


def _first(parts: Mapping[str, str], *keys: str) -> str:
    return next((parts[key] for key in keys if key in parts), "")


def _bind(taken: _Taken, source: str, target: str, read_only: bool) -> str | None:
    if not source.startswith(("/", "~/", "./", "../", "$")) and source not in (".", "~"):
        return f"it keeps data in the engine's volume `{source}`, which a profile does not have"
    if not target.startswith("/") or ":" in source.partition("}")[2]:
        return f"the mount `{source}` cannot be said in a profile"
    taken.mounts += ["--allow-read" if read_only else "--allow-write", f"{source}:{target}"]
    return None


def profile_text(name: str, image: str, extends: str, fixed: Mapping[str, str]) -> str:
    """The profile, as a person would write it."""
    return "\n".join(_lines(name, image, extends, fixed)) + "\n"


def _lines(name: str, image: str, extends: str, fixed: Mapping[str, str]) -> Iterator[str]:
    yield "# Written by `mcp-sandbox clients wrap`; `clients unwrap` removes it while it is unchanged."
    yield "schema = 1"
    yield f"extends = {_toml(extends)}"
    yield f"description = {_toml(f'the image of `{name}`, contained')}"
    yield ""
    yield "[server]"
    yield f"image = {_toml(image)}"
    if not _PINNED.fullmatch(image):
        yield "# Its owner can move the tag: write `NAME@sha256:…` and take this line out to hold it."
        yield "unpinned = true"
    if fixed:
        yield ""
        yield "[env.set]"
        yield from (f"{key} = {_toml(value)}" for key, value in fixed.items())


def _toml(text: str) -> str:
    # A JSON string is a basic string of TOML's, but for DEL and surrogates.
    written = json.dumps(text.encode(errors="replace").decode(), ensure_ascii=False)
    return written.replace("\x7f", "\\u007f")


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:40].strip("-.") or "server"
