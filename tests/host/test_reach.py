"""Programs that no PATH leads to: found where each version manager keeps them, by its own default."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox.host import reach
from sandbox.host.closure import closure
from sandbox.supply import key, request
from tests.host.layouts import HELLO_JS, HELLO_PY, link, write

BARE = "/nonexistent/bin"
SHIM = "#!/bin/sh\nexit 9\n"


def program(path: Path) -> Path:
    return write(path, "#!/bin/sh\necho it\n", program=True)


def nodes(root: Path, *versions: str, inner: str = "bin/node") -> None:
    for version in versions:
        program(root / version / inner)


def nvm(home: Path, default: str, *more: tuple[str, str]) -> None:
    nodes(home / ".nvm/versions/node", "v9.11.2", "v18.20.4", "v20.1.0", "v20.11.1", "v23.1.0")
    for name, text in (("default", default), *more):
        if text:
            write(home / ".nvm/alias" / name, f"{text}\n")


def fnm(home: Path, default: str) -> None:
    root = home / ".local/share/fnm"
    nodes(root / "node-versions", "v9.1.0", "v20.1.0", "v22.2.0", inner="installation/bin/node")
    if default:
        link(root / "aliases/default", root / f"node-versions/{default}/installation")


def volta(home: Path) -> None:
    program(home / ".volta/tools/image/node/20.1.0/bin/node")
    write(home / ".volta/bin/volta-shim", SHIM, program=True)
    link(home / ".volta/bin/node", "volta-shim")
    write(home / ".volta/tools/user/platform.json", '{"node": {"runtime": "20.1.0"}}')


def asdf(home: Path, chosen: str) -> None:
    program(home / ".asdf/installs/nodejs/20.1.0/bin/node")
    write(home / ".asdf/shims/node", "#!/bin/sh\n# asdf-plugin: nodejs 20.1.0\n", program=True)
    if chosen:
        write(home / ".tool-versions", f"nodejs {chosen}\n")


def stale_asdf_and_nvm(home: Path) -> None:
    asdf(home, "")
    nvm(home, "20")


def mise(home: Path) -> None:
    root = home / ".local/share/mise"
    nodes(root / "installs/node", "20.1.0", "22.2.0")
    link(root / "installs/node/latest", "22.2.0")
    link(root / "shims/node", write(home / "opt/mise", SHIM, program=True))
    write(home / ".config/mise/config.toml", '[tools]\nnode = "20"\n')


def pyenv(home: Path) -> None:
    for version in ("3.9.1", "3.12.4", "3.12.11"):
        program(home / f".pyenv/versions/{version}/bin/python3")
    write(home / ".pyenv/shims/python3", SHIM, program=True)
    write(home / ".pyenv/version", "3.12\n")


@dataclass(frozen=True)
class Case:
    """An installation, what is asked for, and the file below the home that must start."""

    make: Callable[[Path], object]
    found: str
    manager: str
    name: str = "node"
    env: dict[str, str] = field(default_factory=dict)


def nvm_case(default: str, version: str, *more: tuple[str, str]) -> Case:
    return Case(lambda home: nvm(home, default, *more), f".nvm/versions/node/{version}/bin/node", "nvm")


CASES = [
    pytest.param(nvm_case("v20.1.0", "v20.1.0"), id="nvm: a version"),
    pytest.param(nvm_case("20", "v20.11.1"), id="nvm: the newest of a major"),
    pytest.param(nvm_case("20.1", "v20.1.0"), id="nvm: 20.1 is not 20.11"),
    pytest.param(nvm_case("9", "v9.11.2"), id="nvm: 9 is older than 18, as numbers"),
    pytest.param(nvm_case("node", "v23.1.0"), id="nvm: the word for the newest"),
    pytest.param(nvm_case("", "v23.1.0"), id="nvm: no default"),
    pytest.param(nvm_case("lts/*", "v20.11.1"), id="nvm: long-term support, never looked up"),
    pytest.param(
        nvm_case("lts/*", "v18.20.4", ("lts/*", "lts/hydrogen"), ("lts/hydrogen", "v18.20.4")),
        id="nvm: aliases of aliases",
    ),
    pytest.param(nvm_case("a", "v23.1.0", ("a", "b"), ("b", "a")), id="nvm: aliases in a circle"),
    pytest.param(nvm_case("v16.0.0", "v23.1.0"), id="nvm: a default that was removed"),
    pytest.param(nvm_case("../../../../tmp", "v23.1.0"), id="nvm: a default that is a path"),
    pytest.param(
        Case(
            lambda home: nodes(home / "elsewhere/versions/node", "v20.1.0"),
            "elsewhere/versions/node/v20.1.0/bin/node",
            "nvm",
            env={"NVM_DIR": "{home}/elsewhere/"},
        ),
        id="nvm: its own variable",
    ),
    pytest.param(
        Case(
            lambda home: fnm(home, "v20.1.0"),
            ".local/share/fnm/node-versions/v20.1.0/installation/bin/node",
            "fnm",
        ),
        id="fnm: its default",
    ),
    pytest.param(
        Case(
            lambda home: fnm(home, ""), ".local/share/fnm/node-versions/v22.2.0/installation/bin/node", "fnm"
        ),
        id="fnm: no default",
    ),
    pytest.param(Case(volta, ".volta/tools/image/node/20.1.0/bin/node", "volta"), id="volta"),
    pytest.param(
        Case(lambda home: asdf(home, "20.1.0"), ".asdf/installs/nodejs/20.1.0/bin/node", "asdf"), id="asdf"
    ),
    pytest.param(Case(mise, ".local/share/mise/installs/node/20.1.0/bin/node", "mise"), id="mise"),
    pytest.param(
        Case(pyenv, ".pyenv/versions/3.12.11/bin/python3", "pyenv", "python3"), id="pyenv: the newest 3.12"
    ),
    pytest.param(
        Case(
            lambda home: program(home / ".linuxbrew/bin/python3.13"),
            ".linuxbrew/bin/python3.13",
            "homebrew",
            "python3.13",
        ),
        id="homebrew in the home",
    ),
    pytest.param(
        Case(
            lambda home: program(home / "brew/bin/node"),
            "brew/bin/node",
            "homebrew",
            env={"HOMEBREW_PREFIX": "{home}/brew"},
        ),
        id="homebrew: its own variable",
    ),
    pytest.param(
        Case(
            lambda home: program(home / ".local/bin/notes"),
            ".local/bin/notes",
            "the user's own programs",
            "notes",
        ),
        id="~/.local/bin",
    ),
    pytest.param(
        Case(lambda home: program(home / ".cargo/bin/rusty"), ".cargo/bin/rusty", "cargo", "rusty"),
        id="cargo",
    ),
    pytest.param(
        Case(lambda home: program(home / "go/bin/gopher"), "go/bin/gopher", "go", "gopher"),
        id="go",
    ),
    pytest.param(
        Case(lambda home: program(home / "miniconda3/bin/snake"), "miniconda3/bin/snake", "conda", "snake"),
        id="conda",
    ),
    pytest.param(
        Case(
            lambda home: program(home / ".npm-global/bin/tool"),
            ".npm-global/bin/tool",
            "npm's own prefix",
            "tool",
        ),
        id="npm's prefix",
    ),
    pytest.param(
        Case(
            stale_asdf_and_nvm,
            ".nvm/versions/node/v20.11.1/bin/node",
            "nvm",
        ),
        id="a shim that no file chooses for is passed over",
    ),
]


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is found is found by reading: no shell, no manager, nothing of the home runs."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    for name in ("fork", "posix_spawn", "posix_spawnp", "execve", "execv", "system"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.mark.parametrize("case", CASES)
def test_a_program_that_path_does_not_lead_to(case: Case, home: Path) -> None:
    case.make(home)
    env = {name: value.format(home=home) for name, value in case.env.items()}
    environ = {"HOME": str(home), "PATH": BARE, **env}

    found = reach.for_command([case.name], environ=environ, cwd=str(home))

    assert [one.manager for one in found.elsewhere] == [case.manager]
    assert f"`{case.name}`" in found.said()[0]
    assert closure([case.name], environ=found.environ, cwd=str(home)).argv == (str(home / case.found),)


def test_what_path_leads_to_is_left_alone(home: Path) -> None:
    nvm(home, "20")
    own = program(home / "own/node")
    environ = {"HOME": str(home), "PATH": str(own.parent)}

    assert reach.for_command(["node"], environ=environ, cwd="/") == reach.Reach(environ)


def test_what_is_nowhere_is_left_to_whoever_says_so(home: Path) -> None:
    environ = {"HOME": str(home), "PATH": BARE}
    for command in (["no-such-program"], ["/no/such/program"], ["./absent"], [""], []):
        assert reach.for_command(command, environ=environ, cwd=str(home)) == reach.Reach(environ)


def test_a_relative_directory_of_a_manager_is_not_the_projects(home: Path) -> None:
    """A hostile repository must not become `~/.nvm` by a variable that is relative."""
    hostile = home / "code/repository"
    nodes(hostile / "nvm/versions/node", "v99.0.0")
    nvm(home, "20")

    environ = {"HOME": str(home), "PATH": BARE, "NVM_DIR": "nvm"}
    found = reach.for_command(["node"], environ=environ, cwd=str(hostile))

    assert str(hostile) not in found.environ["PATH"]
    assert found.elsewhere[0].directory == str(home / ".nvm/versions/node/v20.11.1/bin")


def test_the_interpreter_of_a_script_lies_beside_it(home: Path) -> None:
    """A config that names nvm's program by its path means nvm's node of that version."""
    nvm(home, "23")
    beside = home / ".nvm/versions/node/v20.1.0"
    write(beside / "lib/node_modules/tool/cli.js", "#!/usr/bin/env node\n" + HELLO_JS, program=True)
    link(beside / "bin/tool", "../lib/node_modules/tool/cli.js")
    environ = {"HOME": str(home), "PATH": BARE}

    found = reach.for_command([str(beside / "bin/tool")], environ=environ, cwd="/")

    assert found.elsewhere[0].directory == str(beside / "bin")
    assert closure([str(beside / "bin/tool")], environ=found.environ, cwd="/").path == (str(beside / "bin"),)


def test_the_interpreter_of_a_script_on_path(home: Path) -> None:
    pyenv(home)
    script = write(home / "tools/greet", "#!/usr/bin/env -S python3 -u\n" + HELLO_PY, program=True)
    environ = {"HOME": str(home), "PATH": str(script.parent)}

    found = reach.for_command(["greet"], environ=environ, cwd="/")

    assert [(one.name, one.manager) for one in found.elsewhere] == [("python3", "pyenv")]


def kept_as(command: list[str], home: Path, **env: str) -> str:
    """Under which name the package is kept, as the store asks for it."""
    asked = request.parse(command)
    assert asked is not None
    environ = {"HOME": str(home), **env}
    name = "node" if asked.ecosystem == "npm" else "uv"
    return key.key_of(
        asked, reach.for_package(name, environ=environ, runner=asked.runner).environ, scripts=()
    )


SHELLS = [
    pytest.param(lambda home: nvm(home, "20"), "{home}/.nvm/versions/node/v20.11.1/bin", id="nvm"),
    pytest.param(lambda home: fnm(home, "v20.1.0"), "{home}/.local/state/fnm_multishells/1_2/bin", id="fnm"),
    pytest.param(volta, "{home}/.volta/bin", id="volta"),
    pytest.param(lambda home: asdf(home, "20.1.0"), "{home}/.asdf/shims", id="asdf"),
    pytest.param(mise, "{home}/.local/share/mise/shims", id="mise, shims"),
    pytest.param(mise, "{home}/.local/share/mise/installs/node/20.1.0/bin", id="mise, activated"),
]


@pytest.mark.parametrize(("make", "path"), SHELLS)
def test_a_terminal_and_a_desktop_keep_a_package_under_one_name(
    make: Callable[[Path], object], path: str, home: Path
) -> None:
    make(home)
    link(home / ".local/state/fnm_multishells/1_2", home / ".local/share/fnm/aliases/default")
    command = ["npx", "-y", "some-server@1.0.0"]

    desktop = kept_as(command, home, PATH=BARE)

    assert desktop == kept_as(command, home, PATH=path.format(home=home))
    assert desktop != kept_as(command, home / "empty", PATH=BARE)


def test_the_uv_of_a_package_is_the_file_behind_its_shim(home: Path) -> None:
    """A shim needs its manager's home, which the sandbox of the build does not show."""
    root = home / ".local/share/mise"
    real = root / "installs/uv/0.9.1/uv"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"\x7fELF")
    real.chmod(0o755)
    link(root / "installs/uv/latest", "0.9.1")
    shim = write(home / "opt/mise", "", program=True)
    shim.write_bytes(b"\x7fELF")
    link(root / "shims/uv", shim)

    found = reach.for_package("uv", environ={"HOME": str(home), "PATH": BARE}, runner="uvx")

    assert key.uv_path("uvx", found.environ) == str(root / "installs/uv/latest/uv")
