"""An entry that starts `docker run IMAGE`: the image by our own backend, from a profile that names it (P)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sandbox.clients import variables
from sandbox.clients.credential import literal
from sandbox.clients.words import Entry
from sandbox.clients.wrapping import Fit, Left, Wrapped, is_wrapped, named, obstacle
from sandbox.digest import sha256
from sandbox.records import dataclass, field
from sandbox.supply.docker_run import DockerRun, parse

ENGINES: Final = frozenset(("docker", "podman", "nerdctl"))
_DETACHED: Final = frozenset(("-d", "--detach"))
# What the sandbox decides itself, at least as tightly.
_OURS: Final = frozenset(
    """--name --label -l --pull --platform --memory -m --memory-swap --memory-reservation --cpus
    --cpu-shares -c --restart --hostname -h --log-driver --log-opt --security-opt --cap-drop --shm-size
    --ulimit --pids-limit --tmpfs --ipc --pid --uts --user --userns --cgroupns --group-add
    --stop-timeout --stop-signal --expose --attach -a --network --network-alias --dns --dns-search
    --dns-option --add-host --cap-add --publish -p --sysctl
    --annotation --domainname --oom-score-adj""".split()
)
_WIDE: Final = frozenset(
    "--privileged -P --publish-all --publish -p --cap-add --add-host --dns --sysctl".split()
)
"""Of those, what makes more possible than a sandbox does."""
_LATER: Final = {
    "--workdir": "a working directory",
    "--entrypoint": "another entrypoint",
    "--env-file": "a file of variables",
}
_OWN_IMAGES: Final = frozenset(("base", "node", "python", "browser"))
_IMAGE: Final = re.compile(r"[a-z0-9][!-~]*")
_PINNED: Final = re.compile(r".+@sha256:[0-9a-f]{64}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)


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


def order(words: Sequence[str]) -> DockerRun | Left | None:
    """The run in a command line; None where it is no engine's, `Left` where it cannot be read as one."""
    if not words or words[0].replace("\\", "/").rpartition("/")[2].removesuffix(".exe") not in ENGINES:
        return None
    found = parse(words)
    return found or Left(
        f"`{' '.join(words[:2])}` is not a `run` with known options, which a profile could say"
    )


def contained(
    entry: Entry, program: str, fit: Fit, words: Sequence[str], folder: str = ""
) -> Contained | Left | None:
    """The entry by our own backend; None where it starts no engine.

    Its profile is named by its path in `folder`, where a client does not look for it by itself.
    """
    found = order(words)
    if found is None or is_wrapped(entry):
        return None
    if isinstance(found, Left) or (why := obstacle(entry, fit)) is not None:
        return found if isinstance(found, Left) else Left(str(why))
    taken = _taken(found)
    if isinstance(taken, Left):
        return taken
    image = f"docker.io/library/{found.image}" if found.image in _OWN_IMAGES else found.image
    text = profile_text(entry.name, image, fit.profile or "base", taken.fixed)
    name = f"engine-{_safe(entry.name)}-{sha256(text.encode()).hexdigest()[:8]}"
    place = f"{folder}/{name}.toml" if folder else name
    args = ["run", *named(entry), "--backend", "docker", "--profile", place, *_mounts(taken, fit)]
    env = dict(entry.env)
    passed = {one: env.get(one, "") for one in taken.passed}
    args += variables.options(passed, stranger=fit.stranger, skipped=frozenset())
    args += ["--", *found.args] if found.args else []
    if not fit.profile:
        taken.notes.append("no profile fits: it gets no network")
    notes = (*fit.notes, *taken.notes, *variables.notes(env, fit.names, stranger=fit.stranger))
    removed = dict.fromkeys(variables.removed(env, stranger=fit.stranger))
    return Contained(Wrapped(program, tuple(args), notes, removed), name, text)


def sources(words: Sequence[str]) -> tuple[str, ...]:
    """What of this machine an engine's run would mount."""
    found = order(words)
    taken = _taken(found) if isinstance(found, DockerRun) else None
    if not isinstance(taken, _Taken):
        return ()
    return tuple(_source(mount) for mount in taken.mounts[1::2])


def _source(mount: str) -> str:
    return mount.rpartition(":")[0]


def _mounts(taken: _Taken, fit: Fit) -> list[str]:
    """The options for the mounts, but for what the entry may not have."""
    words: list[str] = []
    for option, mount in zip(taken.mounts[::2], taken.mounts[1::2], strict=True):
        source = _source(mount)
        if source in fit.unmounted:
            taken.notes.append(f"`{source}` is not mounted: {fit.unmounted[source]}")
        else:
            words += [option, mount]
    return words


def _taken(found: DockerRun) -> _Taken | Left:
    if not _IMAGE.fullmatch(found.image) or not literal(found.image):
        return Left(f"`{found.image}` is not the name of one image")
    if _DETACHED.intersection(found.switches):
        return Left("a detached container has no client that speaks to it")
    taken = _Taken()
    for option, value in (*((switch, "") for switch in found.switches), *found.options):
        if (why := _take(taken, option, value)) is not None:
            return Left(why)
    return taken


def _take(taken: _Taken, option: str, value: str) -> str | None:
    """Takes one option over; says why it cannot."""
    if option == "--volume":
        return _volume(taken, value)
    if option == "--mount":
        return _mount(taken, value)
    if option == "--env":
        return _variable(taken, value)
    if option == "--network" and value not in ("none", "bridge", "default"):
        taken.notes.append(f"`--network {value}` is not taken over: the network is the profile's")
    elif option in _WIDE:
        taken.notes.append(f"`{option}` is not taken over")
    elif option in _LATER or (value and option not in _OURS):
        what = f" ({_LATER[option]})" if option in _LATER else ""
        return f"the engine's `{option}`{what} has no place in a profile"
    return None


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
