"""Which packages a runner's command line asks for, word by word."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sandbox.errors import SandboxError
from sandbox.supply.request import Request, parse


@dataclass(frozen=True)
class Case:
    command: str
    specs: tuple[str, ...]
    bin: str | None = None
    args: tuple[str, ...] = ()
    pinned: bool = False
    python: str | None = None
    options: tuple[str, ...] = ()


NPM = [
    pytest.param(Case("npx -y pkg", ("pkg@latest",)), id="npx takes the operand as package"),
    pytest.param(Case("npx pkg@latest", ("pkg@latest",)), id="no version is the tag latest"),
    pytest.param(
        Case("npx -y @a/b@1.2.3 x -y", ("@a/b@1.2.3",), None, ("x", "-y"), True), id="scoped, pinned"
    ),
    pytest.param(Case("npx pkg@v1.2.3-rc.1", ("pkg@1.2.3-rc.1",), pinned=True), id="a leading v is dropped"),
    pytest.param(Case("npx pkg@^1.2.3", ("pkg@^1.2.3",)), id="a range is not pinned"),
    pytest.param(Case("npx pkg@1.2", ("pkg@1.2",)), id="two numbers are not pinned"),
    pytest.param(
        Case("npx -p a@1.0.0 -p b c d", ("a@1.0.0", "b@latest"), "c", ("d",)), id="-p names a program"
    ),
    pytest.param(Case("npx --package=a --yes -- a -x", ("a@latest",), "a", ("-x",)), id="--package= and --"),
    pytest.param(
        Case("npx a -- -x", ("a@latest",), None, ("--", "-x")), id="npx keeps a later -- for the program"
    ),
    pytest.param(Case("npm exec a -- -x", ("a@latest",), None, ("-x",)), id="npm exec drops the --"),
    pytest.param(
        Case("npm exec -- a -- -x", ("a@latest",), None, ("--", "-x")), id="npm exec: only the first --"
    ),
    pytest.param(Case("npm x -y -- a b", ("a@latest",), None, ("b",)), id="npm x"),
    pytest.param(Case("/usr/bin/npx -y a", ("a@latest",)), id="an absolute runner"),
    pytest.param(Case("/home/u/.nvm/versions/node/v20/bin/npx a", ("a@latest",)), id="the npx of nvm"),
    pytest.param(Case("bunx a b", ("a@latest",), None, ("b",)), id="bunx"),
    pytest.param(Case("bun x a", ("a@latest",)), id="bun x"),
    pytest.param(Case("pnpm dlx --package a b", ("a@latest",), "b"), id="pnpm dlx"),
    pytest.param(
        Case("npx --registry https://r.test/ a", ("a@latest",), options=("--registry", "https://r.test/")),
        id="a registry goes to the installer",
    ),
]
PYPI = [
    pytest.param(Case("uvx mcp-server-time", ("mcp-server-time",), "mcp-server-time"), id="uvx"),
    pytest.param(
        Case("uvx Foo_Bar@1.0 -x", ("foo-bar==1.0",), "Foo_Bar", ("-x",), True), id="uvx pins with @"
    ),
    pytest.param(Case("uvx a@latest", ("a",), "a"), id="@latest is no version"),
    pytest.param(Case("uvx a==1.0", ("a==1.0",), "a", pinned=True), id="uvx pins with =="),
    pytest.param(Case("uvx a==1.*", ("a==1.*",), "a"), id="a wildcard is not pinned"),
    pytest.param(
        Case("uvx --from a[z,b]>=1,<2 c d", ("a[b,z]<2,>=1",), "c", ("d",)), id="--from, extras and a range"
    ),
    pytest.param(Case("uvx --with mcp<2 a", ("a", "mcp<2"), "a"), id="--with"),
    pytest.param(Case("uvx --with x,y>=1,<2 a", ("a", "x", "y<2,>=1"), "a"), id="--with parts at commas"),
    pytest.param(Case("uvx --with b==2 a==1", ("a==1", "b==2"), "a", pinned=True), id="all pinned"),
    pytest.param(Case("uvx -p 3.12 a", ("a",), "a", python="3.12"), id="uvx -p is the python"),
    pytest.param(Case("uv tool run --python=3.12 a", ("a",), "a", python="3.12"), id="uv tool run"),
    pytest.param(
        Case("uvx -p /usr/bin/python3 a", ("a",), "a", python="/usr/bin/python3"), id="a system's python"
    ),
    pytest.param(
        Case("uv run --with mcp[cli] mcp run s.py", ("mcp[cli]",), "mcp", ("run", "s.py")), id="uv run --with"
    ),
    pytest.param(
        Case("uv run --no-project --with a -m b --c", ("a",), "python", ("-m", "b", "--c")), id="uv run -m"
    ),
    pytest.param(Case("pipx run a==1.0 -x", ("a==1.0",), "a", ("-x",), True), id="pipx run"),
    pytest.param(Case("pipx run --spec a b", ("a",), "b"), id="pipx run --spec"),
    pytest.param(
        Case("uvx --index-url https://r.test/s a", ("a",), "a", options=("--index-url", "https://r.test/s")),
        id="an index goes to the installer",
    ),
]


@pytest.mark.parametrize("case", [*NPM, *PYPI])
def test_the_packages_of_a_runner(case: Case) -> None:
    words = case.command.split(" ")
    request = parse(words)
    assert isinstance(request, Request)
    assert request.runner == words[0]
    assert (request.specs, request.bin, request.args) == (case.specs, case.bin, case.args)
    assert (request.pinned, request.python, request.options) == (case.pinned, case.python, case.options)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("", id="nothing"),
        pytest.param("node server.js", id="node itself"),
        pytest.param("npm run start", id="an npm script"),
        pytest.param("uv run server.py", id="a project's script"),
        pytest.param("uv --directory /srv/x run server", id="a project elsewhere"),
        pytest.param(
            "uv run --directory /srv/x --frozen server -w", id="an option like ours after the program"
        ),
        pytest.param("uv sync", id="another command of uv"),
        pytest.param("python -m npx", id="npx as an argument"),
        pytest.param("pipx install a", id="another command of pipx"),
    ],
)
def test_what_is_no_package_runner(command: str) -> None:
    assert parse(command.split()) is None


@pytest.mark.parametrize(
    ("command", "code", "named"),
    [
        pytest.param("npx -c 'a'", "unsupported-option", "`-c`", id="a shell line"),
        pytest.param(
            "npx --no-install a", "unsupported-option", "`--no-install`", id="an unknown npx option"
        ),
        pytest.param("npx -y", "no-package", "npx", id="no package"),
        pytest.param("uvx -p /p/python3 a", "unsupported-option", "/p/python3", id="a file as python"),
        pytest.param("uvx -p ./python3 a", "unsupported-option", "./python3", id="a project's python"),
        pytest.param(
            "uvx -p /usr/../p/python3 a", "unsupported-option", "/usr/../p", id="a file as a system's python"
        ),
        pytest.param("pipx run --python=--x a", "unsupported-option", "--x", id="an option as python"),
        pytest.param("npx -p a", "no-package", "npx", id="a package and no program"),
        pytest.param("npx -p", "unsupported-option", "`-p`", id="a value is missing"),
        pytest.param("npx -p a ./x", "unsupported-option", "`./x`", id="a path as program"),
        pytest.param("npm exec a --flag", "unsupported-option", "`--flag`", id="npm exec eats the option"),
        pytest.param("bunx --bun a", "unsupported-option", "`--bun`", id="bun as the runtime"),
        pytest.param("npx ./local", "not-a-registry-package", "`./local`", id="a directory"),
        pytest.param("npx github:a/b", "not-a-registry-package", "`github:a/b`", id="a repository"),
        pytest.param("npx a/b", "not-a-registry-package", "`a/b`", id="a repository in short"),
        pytest.param("npx a@npm:b@1", "not-a-registry-package", "`a@npm:b@1`", id="an alias"),
        pytest.param("npx a.tgz", "not-a-registry-package", "`a.tgz`", id="an archive"),
        pytest.param("npx https://h.test/a.tgz", "not-a-registry-package", "h.test", id="a URL"),
        pytest.param("npx @a", "not-a-registry-package", "`@a`", id="a scope alone"),
        pytest.param("uvx --from git+https://h.test/a b", "not-a-registry-package", "git+", id="git"),
        pytest.param("uvx --from . b", "not-a-registry-package", "`.`", id="the working directory"),
        pytest.param("uvx a.whl", "not-a-registry-package", "`a.whl`", id="a wheel"),
        pytest.param("uvx --refresh a", "unsupported-option", "`--refresh`", id="an unknown uvx option"),
        pytest.param("uvx --from a b@1", "unsupported-option", "`b@1`", id="a version on the program"),
        pytest.param("uvx --find-links wheels a", "unsupported-option", "wheels", id="a relative place"),
        pytest.param(
            "uvx --isolated=yes a", "unsupported-option", "--isolated=yes", id="a flag with a value"
        ),
        pytest.param("uv run --with a s.py", "unsupported-option", "`s.py`", id="a script with packages"),
        pytest.param(
            "uv run --directory /x --with a b", "unsupported-option", "`--directory`", id="a project"
        ),
        pytest.param("uv run --with a /srv/s", "unsupported-option", "`/srv/s`", id="a path with packages"),
        pytest.param("pipx run https://h.test/s.py", "not-a-registry-package", "h.test", id="a script's URL"),
    ],
)
def test_what_cannot_be_frozen_is_refused_and_named(command: str, code: str, named: str) -> None:
    with pytest.raises(SandboxError) as refused:
        parse(command.split())
    assert refused.value.code == code
    assert named in refused.value.what
    assert refused.value.exit_status == 125
    assert refused.value.hint


def test_two_spellings_of_one_package_are_one_request() -> None:
    assert parse(["npx", "pkg"]) == parse(["npx", "-y", "pkg@latest"])
    assert parse(["uvx", "A.b[Y,x]>=1, <2"]).specs == parse(["uvx", "--from", "a_b[x,y]<2,>=1", "A.b"]).specs  # type: ignore[union-attr]
