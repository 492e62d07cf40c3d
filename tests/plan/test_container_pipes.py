"""A server whose stdin and stdout are pipes of the session's folder: its body, and who may have one."""

from __future__ import annotations

import pytest

from sandbox.plan.container import SHELL, body, may_be_piped
from tests.plan.test_container import FILTER, made
from tests.plan.world import place


def test_a_shell_joins_the_pipes_and_gives_way_to_the_server() -> None:
    made_body = body(made(), place(piped=True), FILTER)
    shell, flag, text, name, server = made_body["Entrypoint"]
    assert (shell, flag, name, server) == ("/bin/sh", "-c", SHELL, "node")
    assert text == 'unset PWD; exec "$@" </run/mcp-sandbox/stdin >/run/mcp-sandbox/stdout'
    assert made_body["Cmd"] == ["x.js", "-v"]
    assert (made_body["OpenStdin"], made_body["AttachStdin"], made_body["AttachStderr"]) == (
        False,
        False,
        True,
    )


def test_both_pipes_are_mounted_and_nobody_inside_changes_them() -> None:
    found = body(made(), place(piped=True), FILTER)["HostConfig"]["Mounts"]
    assert [(one["Source"], one["Target"], one["ReadOnly"]) for one in found] == [
        (f"{place().folder}/{name}", f"/run/mcp-sandbox/{name}", True) for name in ("stdin", "stdout")
    ]


def test_all_else_is_as_without_pipes() -> None:
    with_pipes, without = body(made(), place(piped=True), FILTER), body(made(), place(), FILTER)
    with_pipes["HostConfig"].pop("Mounts")
    without["HostConfig"].pop("Mounts")
    differ = {name for name in without if with_pipes[name] != without[name]}
    assert differ == {"Entrypoint", "OpenStdin", "StdinOnce", "AttachStdin"}
    assert with_pipes.keys() == without.keys()


@pytest.mark.parametrize(
    ("name", "may"),
    [
        pytest.param("TOKEN_2", True, id="what every shell keeps"),
        pytest.param("a.b", False, id="a name that no shell has"),
        pytest.param("Ä", False, id="letters beyond ASCII"),
        pytest.param("2A", False, id="begins with a digit"),
        pytest.param("", False, id="no name"),
        pytest.param("PWD", False, id="a shell sets it itself"),
        pytest.param("IFS", False, id="a shell takes no other"),
        pytest.param("PPID", False, id="a shell's own"),
    ],
)
def test_a_variable_that_a_shell_would_change_keeps_the_engines_streams(name: str, may: bool) -> None:
    assert may_be_piped(made(), ["PATH", name]) is may


def test_gvisor_has_pipes_of_its_own() -> None:
    assert not may_be_piped(made(runtime="runsc"), ["PATH"])
