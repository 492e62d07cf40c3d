"""The shared options: what is typed becomes one wish, what comes later is refused."""

from __future__ import annotations

import argparse

import pytest

from sandbox.cli import options
from sandbox.errors import SandboxError, UsageError


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    options.add(parser)
    return parser.parse_args(list(words))


def test_everything_typed_reaches_the_wish() -> None:
    words = (
        "--profile web --allow-read . --allow-read /srv:/work --allow-write out --allow-env TZ --secret TOKEN"
        " --allow-net a.example --allow-net b.example:80"
    )
    words += (
        " --only-tools get_* --only-tools list_*"
        " --memory 1G --cpus 2 --pids 9 --wall 1h --audit a.jsonl --name n --refresh -- node x.js --memory 5"
    )
    wish = options.wish(parsed(*words.split()), {"A": "b"}, "/srv")
    assert wish.command == ("node", "x.js", "--memory", "5")
    assert (wish.profile, wish.name, wish.refresh, wish.cwd) == ("web", "n", True, "/srv")
    assert wish.flags.allow_read == (".", "/srv:/work")
    assert wish.flags.allow_write == ("out",)
    assert wish.flags.allow_env == ("TZ",)
    assert wish.flags.allow_net == ("a.example", "b.example:80")
    assert wish.flags.secrets == ("TOKEN",)
    assert wish.flags.only_tools == ("get_*", "list_*")
    quotas = (wish.flags.memory, wish.flags.cpus, wish.flags.pids, wish.flags.wall, wish.flags.audit)
    assert quotas == ("1G", "2", "9", "1h", "a.jsonl")


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["--", "node", "--", "x"], ("node", "--", "x")),
        (["node", "--", "x"], ("node", "--", "x")),
        ([], ()),
        (["--"], ()),
    ],
)
def test_only_the_first_dashes_are_ours(words: list[str], command: tuple[str, ...]) -> None:
    assert options.command_of(parsed(*words).command) == command


def test_a_command_that_looks_like_an_option_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="--memory"):
        options.command_of(["--", "--memory"])
    with pytest.raises((SandboxError, argparse.ArgumentError, SystemExit)):
        parsed("--nope", "--", "x")
