"""What `docker run …` would start: its image and the words around it, read without asking an engine."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Sequence

from sandbox.records import dataclass

_ENGINES = frozenset(("docker", "podman", "nerdctl"))
_SWITCHES = frozenset(
    """-d --detach -i --interactive -t --tty --rm --init --privileged --read-only --no-healthcheck -q --quiet
    --oom-kill-disable -P --publish-all --sig-proxy --disable-content-trust --no-hosts --replace""".split()
)
_VALUES = frozenset(
    """-e --env --env-file -v --volume --mount --tmpfs --volumes-from --name --network --net --network-alias
    -p --publish --expose -w --workdir -u --user --userns --group-add --entrypoint --platform --pull
    -h --hostname --domainname --add-host --dns --dns-search --dns-option --ip --ip6 --mac-address --link
    -l --label --label-file --annotation -m --memory --memory-swap --memory-reservation --memory-swappiness
    -c --cpu-shares --cpus --cpuset-cpus --cpuset-mems --cpu-period --cpu-quota --pids-limit --ulimit
    --shm-size --gpus --device --cap-add --cap-drop --security-opt --sysctl --ipc --pid --uts --cgroupns
    --cgroup-parent --runtime --isolation --restart --stop-signal --stop-timeout --log-driver --log-opt
    --cidfile --health-cmd --health-interval --health-retries --health-timeout --storage-opt -a --attach
    --oom-score-adj --blkio-weight --detach-keys""".split()
)
_LONG = {"-e": "--env", "-v": "--volume", "-u": "--user", "-w": "--workdir", "--net": "--network"}
_DOCKER_HUB = ("docker.io/", "index.docker.io/", "registry-1.docker.io/")


@dataclass(frozen=True, slots=True)
class DockerRun:
    """One command line of `docker run`."""

    engine: str
    image: str
    """As written."""
    args: tuple[str, ...]
    """What follows the image."""
    options: tuple[tuple[str, str], ...]
    """Those with a value, in order, by their long name where they have both."""
    switches: tuple[str, ...]

    def values(self, option: str) -> tuple[str, ...]:
        """Every value that an option was given."""
        return tuple(value for name, value in self.options if name == option)

    @property
    def name(self) -> str:
        """The image without registry, tag and digest where the registry is Docker's own: `mcp/time`."""
        return split(self.image)[0]

    @property
    def tag(self) -> str:
        """The image's tag; empty where it has none."""
        return split(self.image)[1]


def parse(command: Sequence[str]) -> DockerRun | None:
    """The run that a command line asks for; None where it is another one, or one with an unknown option."""
    words = list(command[1:])
    if not command or os.path.basename(command[0]) not in _ENGINES:
        return None
    if words[:1] == ["container"]:
        words = words[1:]
    if words[:1] != ["run"]:
        return None
    left = words[1:]
    try:
        read = list(_options(left))
    except ValueError:
        return None
    if not left:
        return None
    valued = tuple((name, value) for name, value in read if value is not None)
    switches = tuple(name for name, value in read if value is None)
    return DockerRun(os.path.basename(command[0]), left[0], tuple(left[1:]), valued, switches)


def _options(left: list[str]) -> Iterator[tuple[str, str | None]]:
    """Takes the options off `left`; ValueError for one that is not known, whose value could be the image."""
    while left and left[0].startswith("-"):
        word = left.pop(0)
        if word == "--":
            return
        yield from _long(word, left) if word.startswith("--") else _short(word, left)


def _long(word: str, left: list[str]) -> Iterator[tuple[str, str | None]]:
    option, equals, value = word.partition("=")
    if option in _SWITCHES:
        yield option, None
    elif option in _VALUES:
        yield _LONG.get(option, option), value if equals else _next(left)
    else:
        raise ValueError(option)


def _short(word: str, left: list[str]) -> Iterator[tuple[str, str | None]]:
    """`-it`, `-e NAME`, `-eNAME`, `-ite NAME`: letters up to the first that takes the rest."""
    for at, letter in enumerate(word[1:], 1):
        option, rest = f"-{letter}", word[at + 1 :]
        if option in _VALUES:
            yield _LONG.get(option, option), rest.removeprefix("=") if rest else _next(left)
            return
        if option not in _SWITCHES:
            raise ValueError(option)
        yield option, None


def _next(left: list[str]) -> str:
    if not left:
        raise ValueError("no value")
    return left.pop(0)


def split(image: str) -> tuple[str, str]:
    """An image's name and tag, Docker's own registry left out: `docker.io/library/x:1` is `x` and `1`."""
    named = image.partition("@")[0]
    folder, slash, last = named.rpartition("/")
    last, _, tag = last.partition(":")
    name = f"{folder}{slash}{last}"
    for hub in _DOCKER_HUB:
        name = name.removeprefix(hub)
    return name.removeprefix("library/"), tag
