"""Which profile a command finds: every way to start the package, and nothing that only looks like it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import matching
from sandbox.errors import ProfileError, SandboxError
from sandbox.matching import matched, named_paths
from sandbox.policy.search import names_in, shipped
from sandbox.prepared import Matched
from sandbox.supply.request import parse

ROOT = Path(__file__).resolve().parent.parent
FILES = "npm:@modelcontextprotocol/server-filesystem"
GIT = "pypi:mcp-server-git"
WORD = "pypi:office-word-mcp-server"
TIME = "oci:mcp/time"


def row(
    profile: str, paths: str = "none", beside: tuple[str, ...] = (), programs: tuple[str, ...] = ()
) -> Any:
    return {"profile": profile, "versions": "", "paths": paths, "with": beside, "programs": programs}


KNOWN = {
    FILES: row("filesystem", "write"),
    GIT: row("git", "read", ("pypi:mcp",)),
    WORD: row("office-word", programs=("word_mcp_server",)),
    TIME: row("time"),
    "pypi:uvicorn-mcp": row("uvicorn"),
}


def found(*command: str, cwd: str = "/", home: str = "/nowhere", path: str = "/usr/bin") -> Matched | None:
    try:
        request = parse(command)
    except SandboxError:
        return None
    return matched(command, request, {"HOME": home, "PATH": path}, cwd, KNOWN)


def line(text: str) -> Any:
    return pytest.param(text.split(), id=text)


# --- what is started by a package runner -----------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        line("npx @modelcontextprotocol/server-filesystem"),
        line("env A=b npx @modelcontextprotocol/server-filesystem"),
        line("npx -y @modelcontextprotocol/server-filesystem@2025.8.21 /x"),
        line("/opt/node/bin/npx --yes @modelcontextprotocol/server-filesystem@latest"),
        line("npx -p @modelcontextprotocol/server-filesystem mcp-server-filesystem /x"),
        line("npm exec @modelcontextprotocol/server-filesystem -- /x"),
        line("bunx @modelcontextprotocol/server-filesystem"),
        line("bun x @modelcontextprotocol/server-filesystem"),
        line("pnpm dlx @modelcontextprotocol/server-filesystem"),
        line("yarn dlx @modelcontextprotocol/server-filesystem"),
        pytest.param(["sh", "-c", "npx -y @modelcontextprotocol/server-filesystem /x"], id="sh -c npx"),
    ],
)
def test_every_runner_of_npm(words: list[str]) -> None:
    one = found(*words)
    assert one is not None
    assert (one.profile, one.package, one.access) == ("filesystem", FILES, "write")


@pytest.mark.parametrize(
    "words",
    [
        line("uvx mcp-server-git"),
        line("uvx mcp-server-git==2026.10.10 --repository /x"),
        line("uvx mcp-server-git@latest"),
        line("uvx MCP_Server.Git"),
        line("uvx --from mcp-server-git mcp-server-git"),
        line("uvx --with mcp<2 mcp-server-git"),
        line("uvx --prerelease allow mcp-server-git"),
        line("uvx --python 3.12 mcp-server-git"),
        line("uv tool run mcp-server-git"),
        line("uv run --with mcp-server-git mcp-server-git"),
        line("uv run --with mcp --with mcp-server-git mcp-server-git"),
        line("uv run --with mcp-server-git python -m mcp_server_git"),
        line("uv run --with mcp-server-git -m mcp_server_git"),
        line("pipx run mcp-server-git"),
        line("pipx run --spec mcp-server-git==2026.10.10 mcp-server-git"),
    ],
)
def test_every_runner_of_pypi(words: list[str]) -> None:
    one = found(*words)
    assert one is not None
    assert (one.profile, one.package) == ("git", GIT)


def test_a_program_that_the_profile_itself_names() -> None:
    one = found("uvx", "--from", "office-word-mcp-server", "word_mcp_server")
    assert one is not None
    assert one.profile == "office-word"


@pytest.mark.parametrize(
    "words",
    [
        line("npx @modelcontextprotocol-server/filesystem"),
        line("npx @modelcontextprotocoI/server-filesystem"),
        line("npx @ModelContextProtocol/server-filesystem"),
        line("npx @modelcontextprotocol/Server-Filesystem"),
        line("npx @modelcontextprotocol/server-filesystem-mcp"),
        line("npx @modelcontextprotocol/server_filesystem"),
        line("npx modelcontextprotocol/server-filesystem"),
        line("npx server-filesystem"),
        line("npx mcp-server-filesystem"),
        line("npx @other/server-filesystem"),
        line("npx @modelcontextprotocol%2fserver-filesystem"),
        line("npx @modelcontextprotocol/server-filesystem@npm:evil"),
        line("npx filesystem@npm:@modelcontextprotocol/server-filesystem"),
        line("npx npm:@modelcontextprotocol/server-filesystem"),
        line("npx ./@modelcontextprotocol/server-filesystem"),
        line("npx file:@modelcontextprotocol/server-filesystem"),
        line("npx github:modelcontextprotocol/server-filesystem"),
        line("npx https://evil.example/@modelcontextprotocol/server-filesystem.tgz"),
        line("npx @modelcontextprotocol/server-filesystem@https://evil.example/x.tgz"),
        line("npx --registry https://evil.example/ @modelcontextprotocol/server-filesystem"),
        line("npx -p @modelcontextprotocol/server-filesystem -p evil mcp-server-filesystem"),
        line("npx -p evil -p @modelcontextprotocol/server-filesystem mcp-server-filesystem"),
        line("npx -p @modelcontextprotocol/server-filesystem node -e 1"),
        line("npx -p @modelcontextprotocol/server-filesystem tsc"),
        line("npx evil @modelcontextprotocol/server-filesystem"),
        line("uvx mcp-server-git-x"),
        line("uvx mcp-servergit"),
        line("uvx mcp_server_glt"),
        line("uvx evil mcp-server-git"),
        line("uvx --from evil mcp-server-git"),
        line("uvx --from git+https://evil.example/mcp-server-git mcp-server-git"),
        line("uvx --from ./mcp-server-git mcp-server-git"),
        line("uvx --with evil mcp-server-git"),
        line("uvx --index-url https://evil.example/simple mcp-server-git"),
        line("uvx --extra-index-url https://evil.example/simple mcp-server-git"),
        line("uvx --find-links /tmp/evil mcp-server-git"),
        line("uvx --from mcp-server-git python -c 1"),
        line("uvx --from mcp-server-git python -m evil"),
        line("uvx --from mcp-server-git python"),
        line("uvx --from mcp-server-git uvicorn"),
        line("uvx --python /tmp/evil/python mcp-server-git"),
        line("uvx --python ./evil mcp-server-git"),
        line("uv run --with mcp-server-git evil"),
        line("uv run --with mcp-server-git python evil.py"),
        line("pipx run --spec evil mcp-server-git"),
        line("echo npx @modelcontextprotocol/server-filesystem"),
        line("env -i npx @modelcontextprotocol/server-filesystem"),
        line("./env A=b npx @modelcontextprotocol/server-filesystem"),
        line("env NODE_OPTIONS=--require=/x npx @modelcontextprotocol/server-filesystem"),
        line("env PATH=/x mcp-server-git"),
        line("mcp-server-git"),
        line("node @modelcontextprotocol/server-filesystem"),
        line("python -m mcp_server_git"),
        line("docker run evil/time"),
        line("docker run mcp/time-x"),
        line("docker run evil.example/mcp/time"),
        line("docker run localhost:5000/mcp/time"),
        line("docker run MCP/time"),
        line("docker run --entrypoint sh mcp/time"),
        line("docker run --unknown mcp/time"),
        line("docker exec mcp/time"),
        line("docker build mcp/time"),
        line("docker run evil mcp/time"),
        line("docker run -v mcp/time evil"),
    ],
)
def test_what_only_looks_like_it_finds_nothing(words: list[str]) -> None:
    assert found(*words) is None


@given(st.text(min_size=1, max_size=60))
def test_no_other_name_finds_a_profile(name: str) -> None:
    held = {key.partition(":")[2] for key in KNOWN}
    for runner in ("npx", "uvx"):
        one = found(runner, "--", name)
        if one is not None:
            said = re.sub(r"[-_.]+", "-", name.strip().partition("[")[0].lower()) if runner == "uvx" else name
            assert any(said.startswith(known) for known in held)
            assert one.package.partition(":")[2] in said


RUNNERS = st.sampled_from(
    [["npx"], ["uvx"], ["uv", "run", "--with"], ["pipx", "run"], ["npm", "exec"], ["docker", "run"], ["node"]]
)
WORDS = st.sampled_from(
    """-y -p --package --from --with --spec --registry --index-url --python -m -- -c -e -r --rm python node sh
    evil ./evil https://evil.example/x 3.12 @modelcontextprotocol/server-filesystem mcp-server-git
    mcp_server_git mcp/time evil/time""".split()
)


@given(RUNNERS, st.lists(WORDS, min_size=1, max_size=6))
def test_no_arrangement_of_words_gives_a_profile_to_another_program(
    runner: list[str], rest: list[str]
) -> None:
    words = [*runner, *rest]
    one = found(*words)
    if one is None:
        return
    args = one.args
    before = words[: len(words) - len(args)] if args else words
    assert tuple(words[len(before) :]) == args or "--" in words
    names = {"@modelcontextprotocol/server-filesystem", "mcp-server-git", "mcp_server_git", "mcp/time"}
    assert names & set(before)
    if before[0] != "docker" and "--" not in words:
        assert not {"evil", "./evil", "https://evil.example/x", "--registry", "--index-url"} & set(before)


@pytest.mark.parametrize(
    ("words", "version"),
    [
        ("npx @modelcontextprotocol/server-filesystem@2025.8.21", "2025.8.21"),
        ("npx @modelcontextprotocol/server-filesystem@^2025.8.21", None),
        ("npx @modelcontextprotocol/server-filesystem@latest", None),
        ("uvx mcp-server-git==2026.10.10", "2026.10.10"),
        ("uvx mcp-server-git@2026.10.10", "2026.10.10"),
        ("uvx mcp-server-git[x]==2026.10.10", "2026.10.10"),
        ("uvx mcp-server-git>=2026", None),
        ("docker run mcp/time:1.2", "1.2"),
        ("docker run mcp/time", None),
    ],
)
def test_the_version_is_the_one_that_the_command_pins(words: str, version: str | None) -> None:
    one = found(*words.split())
    assert one is not None
    assert one.version == version


@pytest.mark.parametrize(
    "words",
    [
        line("docker run mcp/time"),
        line("docker run -i --rm mcp/time:latest"),
        line("docker run -it -e TZ --env A=1 -v /x:/y:ro docker.io/mcp/time"),
        line("docker run -ite TZ mcp/time"),
        line("podman run --rm --network=none mcp/time@sha256:" + "0" * 64),
        line("/usr/bin/docker container run mcp/time --zone UTC"),
    ],
)
def test_an_image_of_docker_run(words: list[str]) -> None:
    one = found(*words)
    assert one is not None
    assert (one.profile, one.package, one.paths) == ("time", TIME, ())


# --- what is installed -----------------------------------------------------------------------------


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A project with the package in its `node_modules`, and one that only calls itself so."""
    for folder, name in (("server-filesystem", FILES[4:]), ("liar", FILES[4:])):
        place = tmp_path / "app/node_modules/@modelcontextprotocol" / folder
        (place / "dist").mkdir(parents=True)
        (place / "dist/index.js").write_text("#!/usr/bin/env node\n")
        (place / "dist/index.js").chmod(0o755)
        (place / "package.json").write_text(json.dumps({"name": name, "version": "2025.8.21"}))
    return tmp_path / "app/node_modules/@modelcontextprotocol"


def test_a_script_of_node_by_where_it_really_lies(modules: Path, tmp_path: Path) -> None:
    script = modules / "server-filesystem/dist/index.js"
    link = tmp_path / "link.js"
    link.symlink_to(script)
    for path in (script, link):
        one = found("node", str(path), "/x")
        assert one is not None
        assert (one.profile, one.version, one.args) == ("filesystem", "2025.8.21", ("/x",))
    assert found("node", "--no-warnings", os.path.relpath(script, tmp_path), cwd=str(tmp_path)) is not None
    assert found(str(script), "/x") is not None  # a program that npm put on PATH is a link to it


def test_a_script_elsewhere_or_with_company_finds_nothing(modules: Path, tmp_path: Path) -> None:
    script = str(modules / "server-filesystem/dist/index.js")
    own = tmp_path / "node_modules_x/@modelcontextprotocol/server-filesystem/index.js"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert found("node", "-r", "/evil.js", script) is None
    assert found("node", "--import=/evil.mjs", script) is None
    assert found("node", "-e", "1", script) is None
    assert found("node", str(modules / "liar/dist/index.js")) is None
    assert found("node", str(own)) is None
    assert found("node") is None


def test_the_manifest_of_the_folder_must_say_the_same(modules: Path) -> None:
    script = str(modules / "server-filesystem/dist/index.js")
    manifest = modules / "server-filesystem/package.json"
    for text in (
        '{"name": "evil", "version": "1"}',
        "{",
        "[]",
        '{"name": 1}',
        "[" * 100_000,
        " " * (2 << 20),
    ):
        manifest.write_text(text)
        assert found("node", script) is None
    manifest.unlink()
    assert found("node", script) is None
    os.mkfifo(manifest)
    assert found("node", script) is None


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment as pip leaves it: programs, and the records of two packages."""
    made = tmp_path / "venv"
    site = made / "lib/python3.11/site-packages"
    (made / "bin").mkdir(parents=True)
    (made / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (made / "bin/python").symlink_to(sys.executable)
    for name, dist, entry in (
        ("mcp-server-git", "mcp_server_git-2026.10.10", "mcp-server-git = mcp_server_git:main"),
        ("word_mcp_server", "office_word_mcp_server-1.1.0", "word_mcp_server = word:main"),
    ):
        (made / "bin" / name).write_text(f"#!{made}/bin/python\n")
        (made / "bin" / name).chmod(0o755)
        info = site / f"{dist}.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text(f"[console_scripts]\n{entry}\n")
        (info / "RECORD").write_text(
            "mcp_server_git/__init__.py,sha256=x,1\n" if "git" in name else "word.py,,\n"
        )
    (made / "bin/evil").write_text(f"#!{made}/bin/python\n")
    (made / "bin/evil").chmod(0o755)
    return made


def test_a_program_or_module_of_an_environment(venv: Path, tmp_path: Path) -> None:
    (tmp_path / "on-path").symlink_to(venv / "bin/mcp-server-git")
    python = str(venv / "bin/python")
    for words in (
        [str(venv / "bin/mcp-server-git"), "--repository", "/x"],
        [str(tmp_path / "on-path"), "--repository", "/x"],
        [python, "-m", "mcp_server_git", "--repository", "/x"],
        [python, "-u", "-Im", "mcp_server_git", "--repository", "/x"],
        [python, str(venv / "bin/mcp-server-git"), "--repository", "/x"],
    ):
        one = found(*words)
        assert one is not None, words
        assert (one.profile, one.version) == ("git", "2026.10.10")
        assert one.args == ("--repository", "/x")
    named = found("mcp-server-git", path=str(venv / "bin"))
    assert named is not None
    word = found(str(venv / "bin/word_mcp_server"))
    assert word is not None
    assert word.profile == "office-word"


def test_uv_run_of_a_project_is_the_program_of_its_environment(venv: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text("[project]\nname = 'p'\n")
    venv.rename(project / ".venv")
    for words in (
        ["uv", "run", "--directory", str(project), "mcp-server-git", "--repository", "/x"],
        ["uv", "--directory", str(project), "run", "-m", "mcp_server_git", "--repository", "/x"],
    ):
        one = found(*words)
        assert one is not None, words
        assert (one.profile, one.args) == ("git", ("--repository", "/x"))
    assert found("uv", "run", "--directory", str(project), "evil") is None
    assert found("uv", "run", "--directory", str(tmp_path), "mcp-server-git") is None


def test_what_an_environment_does_not_record_finds_nothing(venv: Path, tmp_path: Path) -> None:
    python = str(venv / "bin/python")
    assert found(str(venv / "bin/evil")) is None
    assert found(python, "-m", "evil") is None
    assert found(python, "-c", "1", "-m", "mcp_server_git") is None
    assert found(python, "-X", "importtime", "-m", "mcp_server_git") is None
    (tmp_path / "mcp-server-git").write_text("#!/bin/sh\n")
    (tmp_path / "mcp-server-git").chmod(0o755)
    assert found(str(tmp_path / "mcp-server-git")) is None


def test_a_module_of_the_working_directory_comes_first_and_is_not_the_package(
    venv: Path, tmp_path: Path
) -> None:
    python = str(venv / "bin/python")
    assert found(python, "-m", "mcp_server_git", cwd=str(tmp_path)) is not None
    (tmp_path / "mcp_server_git.py").write_text("print('anybody')")
    assert found(python, "-m", "mcp_server_git", cwd=str(tmp_path)) is None


def test_what_was_installed_from_a_path_or_a_repository_is_nobodys_release(venv: Path) -> None:
    info = venv / "lib/python3.11/site-packages/mcp_server_git-2026.10.10.dist-info"
    (info / "direct_url.json").write_text('{"url": "file:///evil"}')
    assert found(str(venv / "bin/mcp-server-git")) is None
    assert found(str(venv / "bin/python"), "-m", "mcp_server_git") is None


# --- the paths that it names -----------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("docs", "app/data", "app/dash-x", ".ssh"):
        (tmp_path / "ann" / name).mkdir(parents=True)
    (tmp_path / "ann/notes.db").write_text("")
    (tmp_path / "ann/app/x.db").write_text("")
    return tmp_path / "ann"


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        pytest.param("{home}/docs", ["docs"], id="absolute"),
        pytest.param("~/docs", ["docs"], id="below home"),
        pytest.param(".", ["app"], id="the working directory"),
        pytest.param("./data", ["app/data"], id="below it"),
        pytest.param("../docs", ["docs"], id="beside it"),
        pytest.param("--dir=./data", ["app/data"], id="an option's value"),
        pytest.param("--dir ./data", ["app/data"], id="the word after an option"),
        pytest.param("--dir=~/docs -x", ["docs"], id="an option's value below home"),
        pytest.param("{home}/docs ~/docs", ["docs", "docs"], id="twice"),
        pytest.param("./x.db", ["app/x.db"], id="a file"),
        pytest.param("data x.db docs", [], id="bare names are words"),
        pytest.param("./gone /gone ~/gone --dir=/gone", [], id="what does not exist"),
        pytest.param("/usr/bin/env /bin/sh /dev/null", [], id="what is inside anyway"),
        pytest.param("./data/../../.ssh {home}/app/../.ssh", [], id="two readings"),
        pytest.param("./$HOME $HOME ${{HOME}}/docs", [], id="variables are not expanded"),
        pytest.param("file://{home}/docs a=./data path:./data", [], id="no path alone"),
        pytest.param("~root ~ann/docs", [], id="another's home"),
    ],
)
def test_the_paths_of_arguments(words: str, paths: list[str], home: Path) -> None:
    args = words.format(home=home).split()
    named = named_paths(args, str(home), str(home / "app"))
    assert list(named.values()) == [str(home / path) for path in paths]


def files(*words: str, home: Path) -> Matched:
    one = found("npx", FILES[4:], *words, home=str(home), cwd=str(home / "app"))
    assert one is not None
    return one


def test_a_home_in_an_argument_is_spelt_out_since_the_servers_own_is_another(home: Path) -> None:
    one = files("~/docs", "--dir=~/docs", "~/gone/x", "~x", home=home)
    assert one.args == (f"{home}/docs", f"--dir={home}/docs", "~/gone/x", "~x")
    assert one.paths == (f"{home}/docs",)


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        pytest.param(["./x.db"], ["app"], id="a file's directory"),
        pytest.param(["./new.db"], ["app"], id="of one that is not there yet"),
        pytest.param(["./data"], ["app/data"], id="a directory itself"),
        pytest.param(["~/notes.db"], ["notes.db"], id="in a home the file alone"),
        pytest.param(["~/new.db"], [], id="in a home nothing for one that is not there"),
        pytest.param(["~/.ssh/new"], [], id="nothing in a secret place"),
        pytest.param(["/new.db"], [], id="nothing of the root"),
        pytest.param(["/tmp/.X11-unix/x"], [], id="nothing of the display"),
    ],
)
def test_what_may_be_written_is_the_directory_of_a_file(
    words: list[str], paths: list[str], home: Path
) -> None:
    assert files(*words, home=home).paths == tuple(str(home / path) for path in paths)


def test_a_profile_without_paths_has_none(home: Path) -> None:
    one = found("uvx", "office-word-mcp-server", "~/docs", home=str(home))
    assert one is None or one.paths == ()
    one = found("uvx", "--from", "office-word-mcp-server", "word_mcp_server", "~/docs", home=str(home))
    assert one is not None
    assert (one.paths, one.args) == ((), ("~/docs",))


# --- the index -------------------------------------------------------------------------------------


def test_the_index_is_what_the_profiles_say() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/build-index"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_every_profile_of_the_index_is_shipped() -> None:
    rows = matching.index()
    assert {one["profile"] for one in rows.values()} <= set(names_in(shipped()))
    assert all(one["paths"] in ("none", "read", "write") for one in rows.values())


@pytest.mark.parametrize("content", [None, b"", b'{"packages": {', b"\xff"])
def test_without_an_index_nothing_matches(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / matching.INDEX).write_bytes(content)
    monkeypatch.setattr(matching, "shipped", lambda: str(tmp_path))
    command = ["npx", FILES[4:]]
    assert matching.match(command, {"HOME": "/nowhere"}, "/") is None
    with pytest.raises(ProfileError, match="comes with the program"):
        matching.best(command, parse(command), {"HOME": "/nowhere"}, "/")
