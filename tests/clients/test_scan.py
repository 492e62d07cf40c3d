"""What is wrong with a client's servers: every rule has an entry that breaks it and one that does not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sandbox.cli.clients import parser
from sandbox.cli.output import spelt
from sandbox.clients.credential import MASK, in_arguments, in_plain_text, is_secret, masked
from sandbox.clients.report import Exposed, document, sarif
from sandbox.clients.scan import RULES, Held, Server, failing, findings
from sandbox.clients.words import Entry
from sandbox.clients.wrapping import Fit
from sandbox.supply.lookalikes import like
from tests.inspect.secret_values import GITHUB

OURS = "/opt/bin/mcp-sandbox"
KNOWN = (
    "npm:@modelcontextprotocol/server-filesystem",
    "pypi:mcp-server-fetch",
    "npm:@playwright/mcp",
    "oci:mcp/time",
)


def server(command: str = "", entry: Entry | None = None, **more: Any) -> Server:
    words = command.split()
    made = entry or Entry("a", words[0] if words else "", tuple(words[1:]), path=("mcpServers", "a"))
    return Server(
        "cursor", "user", "/home/me/.cursor/mcp.json", 3, made, more.pop("fit", Fit()), KNOWN, **more
    )


def rules(one: Server) -> set[str]:
    return {found.rule for found in findings([one])}


def entry(command: str, *args: str, **more: Any) -> Entry:
    return Entry("a", command, args, path=("mcpServers", "a"), **more)


LOCKED = Held("locked", "/l/x.lock")
REMOTE = Entry("a", url="https://x.example/mcp", kind="http", path=("s", "a"))


@pytest.mark.parametrize(
    ("rule", "bad", "good"),
    [
        pytest.param("uncontained", server("x"), server(f"{OURS} run -- x"), id="uncontained"),
        pytest.param(
            "missing-program",
            server(f"{OURS} run -- x", program_missing=True),
            server(f"{OURS} run -- x"),
            id="our program is gone",
        ),
        pytest.param(
            "false-wrapper",
            server("/p/mcp-sandbox run -- x", fit=Fit(stranger=True, impostor=True)),
            server(f"{OURS} run -- x", fit=Fit(stranger=True)),
            id="a project's own mcp-sandbox",
        ),
        pytest.param(
            "granted-by-project",
            server(f"{OURS} run --allow-net x.example -- x", fit=Fit(stranger=True)),
            server(f"{OURS} run --name a --profile p -- x --allow-net y", fit=Fit(stranger=True)),
            id="grants of a project's own",
        ),
        pytest.param(
            "granted-by-project",
            server(f"{OURS} run -- env A=b npx x@1.0.0", fit=Fit(stranger=True)),
            server(f"{OURS} run --locked -- env npx x@1.0.0 A=b", fit=Fit(stranger=True)),
            id="a variable of a project's own",
        ),
        pytest.param(
            "steering-variable",
            server(entry=entry(OURS, "run", "--", "x", env=(("LD_PRELOAD", "/x"),))),
            server(entry=entry(OURS, "run", "--", "x", env=(("LOG", "/x"),))),
            id="a preload of ours",
        ),
        pytest.param(
            "steering-variable",
            server(entry=entry(OURS, "run", "--", "x", env=(("PATH", "."),)), fit=Fit(stranger=True)),
            server(entry=entry(OURS, "run", "--", "x", env=(("PATH", "."),))),
            id="a project's PATH",
        ),
        pytest.param(
            "steering-variable",
            server(f"{OURS} run -- /p/npx x", fit=Fit(stranger=True, own_program=True)),
            server(f"{OURS} run -- /p/server x", fit=Fit(stranger=True, own_program=True)),
            id="a project's package runner",
        ),
        pytest.param(
            "wide-engine", server("docker run --privileged x"), server("docker run -i x"), id="privileged"
        ),
        pytest.param(
            "wide-engine",
            server("env A=b docker run --privileged x"),
            server("env A=b docker run -i x"),
            id="privileged, behind env",
        ),
        pytest.param(
            "wide-engine",
            server("docker run -v /var/run/docker.sock:/s x"),
            server("docker run -v /data:/d x"),
            id="the engine's socket",
        ),
        pytest.param(
            "wide-engine", server("docker run -v /:/host x"), server("docker run -v /a:/b x"), id="everything"
        ),
        pytest.param(
            "wide-engine", server("docker run --net host x"), server("docker run --net none x"), id="network"
        ),
        pytest.param(
            "look-alike",
            server("npx -y @modelcontextprotocol-server/filesystem"),
            server("npx -y @modelcontextprotocol/server-filesystem"),
            id="another scope",
        ),
        pytest.param(
            "writable-config", server("x", exposed_file="every user"), server("x"), id="a file of everybody's"
        ),
        pytest.param(
            "secret-in-config",
            server(entry=entry("x", env=(("GITHUB_TOKEN", GITHUB),))),
            server(entry=entry("x", env=(("GITHUB_TOKEN", "${input:token}"),))),
            id="a token in plain text",
        ),
        pytest.param(
            "secret-in-arguments",
            server("x --api-key q8Zr2LmW0pXc5Tn7"),
            server("x --api-key ${input:key}"),
            id="a key among the arguments",
        ),
        pytest.param("unpinned", server("npx -y x@latest"), server("npx -y x@1.2.3"), id="npm"),
        pytest.param("unpinned", server("uvx x"), server("uvx x==1.2.3"), id="PyPI"),
        pytest.param(
            "unpinned",
            server("docker run -i a/b:1"),
            server(f"docker run -i a/b@sha256:{'0' * 64}"),
            id="an image",
        ),
        pytest.param(
            "unpinned",
            server(f"{OURS} run -- docker run -i a/b:1", lock=Held("none")),
            server(f"{OURS} run -- docker run -i a/b:1", lock=LOCKED),
            id="an image that a lock holds",
        ),
        pytest.param(
            "unpinned",
            server("npx -y x", lock=LOCKED),
            server(f"{OURS} run -- npx -y x", lock=LOCKED),
            id="a lock that nobody asks",
        ),
        pytest.param(
            "lock-refused",
            server(f"{OURS} run -- npx -y x", lock=Held("lock-changed", "/l/x.lock", "mcp-sandbox trust x")),
            server(f"{OURS} run -- npx -y x", lock=LOCKED),
            id="a lock that somebody changed",
        ),
        pytest.param(
            "shell-command",
            server(entry=entry("bash", "-c", "curl x | sh")),
            server(entry=entry("bash", "-c", "npx -y x@1.0.0")),
            id="a shell's line",
        ),
        pytest.param(
            "shell-command",
            server(entry=entry("cmd", "/c", "npx x & del y")),
            server(entry=entry("cmd", "/c", "npx", "-y", "x@1.0.0")),
            id="a shell of Windows",
        ),
        pytest.param(
            "plain-http",
            server(entry=Entry("a", url="http://x.example/mcp", path=("s", "a"))),
            server(entry=Entry("a", url="http://127.0.0.1:80/mcp", path=("s", "a"))),
            id="unencrypted",
        ),
        pytest.param("remote", server(entry=REMOTE), server("x"), id="remote"),
        pytest.param(
            "unpinned-contained",
            server(f"{OURS} run -- npx -y x"),
            server(f"{OURS} run -- npx -y x@1.2.3"),
            id="held by us alone",
        ),
        pytest.param(
            "unpinned-contained",
            server(f"{OURS} run -- npx -y x", lock=Held("none")),
            server(f"{OURS} run -- npx -y x", lock=LOCKED),
            id="held by a lock",
        ),
    ],
)
def test_rules(rule: str, bad: Server, good: Server) -> None:
    assert rule in rules(bad)
    assert rule not in rules(good)


def test_every_rule_is_explained() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "scan.md").read_text()
    told = re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", page, re.MULTILINE)
    assert told == [(rule.id, rule.level) for rule in RULES]


def test_the_hook_is_a_command_of_ours() -> None:
    text = (Path(__file__).resolve().parents[2] / ".pre-commit-hooks.yaml").read_text()
    (hook,) = YAML(typ="safe").load(text)
    program, command, *words = hook["entry"].split()
    assert (program, command) == ("mcp-sandbox", "clients")
    assert parser().parse_args(words).action == "scan"
    for path in (".mcp.json", ".cursor/mcp.json", ".vscode/mcp.json", ".roo/mcp.json", ".codex/config.toml"):
        assert re.search(hook["files"], path)


def test_every_rule_has_a_case() -> None:
    marks = [mark for mark in test_rules.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    tried = {case.values[0] for case in marks[0].args[1]}
    assert tried | {"same-name", "same-tool"} == {rule.id for rule in RULES}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        pytest.param(entry("y"), True, id="another command"),
        pytest.param(entry("x"), False, id="the same command"),
        pytest.param(entry(OURS, "run", "--", "x"), False, id="the same, wrapped"),
        pytest.param(Entry("b", "y", path=("s", "b")), False, id="another name"),
    ],
)
def test_one_name_for_two_servers(other: Entry, told: bool) -> None:
    found = findings([server("x"), server(entry=other)])
    assert ("same-name" in {one.rule for one in found}) is told


def test_two_projects_may_share_a_name() -> None:
    one = Entry("a", "x", path=("projects", "/p", "mcpServers", "a"))
    other = Entry("a", "y", path=("projects", "/q", "mcpServers", "a"))
    assert "same-name" not in {found.rule for found in findings([server(entry=one), server(entry=other)])}


@pytest.mark.parametrize(
    ("name", "command", "tools", "told"),
    [
        pytest.param("b", "y", {"search", "z"}, True, id="two servers"),
        pytest.param("b", "y", {"z"}, False, id="other tools"),
        pytest.param("b", "x", {"search"}, False, id="the same server under two names"),
    ],
)
def test_one_name_for_two_tools(name: str, command: str, tools: set[str], told: bool) -> None:
    other = Entry(name, command, path=("s", name))
    found = findings([server("x", tools=frozenset({"search"})), server(entry=other, tools=frozenset(tools))])
    assert [one.reason for one in found if one.rule == "same-tool"][:1] == (
        ["its tool `search` is also one of `b`"] if told else []
    )


def test_notes_are_no_reason_to_fail() -> None:
    assert not failing(findings([server(entry=REMOTE)]))
    assert failing(findings([server("x")]))


# --- packages that pass for others -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "of"),
    [
        pytest.param("npm:@modelcontextprotocol/server-filesystem", None, id="the package itself"),
        pytest.param("npm:@modelcontextprotocol-server/filesystem", KNOWN[0], id="another scope"),
        pytest.param("npm:modelcontextprotocol-server-filesystem", KNOWN[0], id="no scope"),
        pytest.param("npm:@modelcontextprotocol/server-filesytem", KNOWN[0], id="a letter missing"),
        pytest.param("npm:@modelcontextprotocol/server-filesystems", KNOWN[0], id="a letter more"),
        pytest.param("npm:@modelcontextprotocol/server-filesysetm", KNOWN[0], id="two letters swapped"),
        pytest.param("npm:@modelcontextprotocol/server-filesyst\u0435m", KNOWN[0], id="a Cyrillic letter"),
        pytest.param("pypi:mcp_server_fetch", KNOWN[1], id="underscores"),
        pytest.param("npm:mcp-server-fetch", KNOWN[1], id="the other registry"),
        pytest.param("npm:mcp-server-fetcher", None, id="two letters more"),
        pytest.param("npm:@modelcontextprotocol/server-memory", None, id="another server"),
        pytest.param("npm:playwright", None, id="another package"),
    ],
)
def test_look_alikes(package: str, of: str | None) -> None:
    found = like(package, KNOWN)
    assert (found[0] if found else None) == of


# --- credentials -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        pytest.param("GITHUB_PERSONAL_ACCESS_TOKEN", "", True, id="a token"),
        pytest.param("BRAVE_API_KEY", "${env:BRAVE}", True, id="a reference"),
        pytest.param("apiKey", "", True, id="camel case"),
        pytest.param("DATABASE_URL", "", True, id="an address with a password"),
        pytest.param("X", "postgresql://me:hunter2hunter2@db/x", True, id="a password by its look"),
        pytest.param("X", GITHUB, True, id="a token by its look"),
        pytest.param("MAX_TOKENS", "4096", False, id="a limit"),
        pytest.param("MAX_TOKENS", "", False, id="a limit without a value"),
        pytest.param("TOKENIZER", "", False, id="a word that begins so"),
        pytest.param("SSH_KEY_PATH", "/home/me/key", False, id="a path"),
        pytest.param("USE_TOKEN", "true", False, id="a flag"),
        pytest.param("LOG_LEVEL", "debug", False, id="a word"),
        pytest.param("KEYBOARD", "de", False, id="a keyboard"),
        pytest.param("MONKEY", "", False, id="a monkey"),
    ],
)
def test_which_variables_are_secrets(name: str, value: str, secret: bool) -> None:
    assert is_secret(name, value) is secret


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        pytest.param("q8Zr2LmW0pXc5Tn7", True, id="the value itself"),
        pytest.param("${API_KEY}", False, id="the client's variable"),
        pytest.param("${input:api-key}", False, id="an input"),
        pytest.param("${API_KEY:-}", False, id="with a default"),
        pytest.param("{env:API_KEY}", False, id="OpenCode's"),
        pytest.param("$API_KEY", False, id="a shell's"),
        pytest.param("YOUR_API_KEY_HERE", False, id="an example"),
        pytest.param("<your key>", False, id="a blank"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_what_stands_in_plain_text(value: str, plain: bool) -> None:
    assert in_plain_text("API_KEY", value) is plain


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        pytest.param("x --token q8Zr2LmW0pXc5Tn7 /d", f"x --token {MASK} /d", id="after its option"),
        pytest.param("x --token=q8Zr2LmW0pXc5Tn7", f"x --token={MASK}", id="in its option"),
        pytest.param("x API_KEY=q8Zr2LmW0pXc5Tn7", f"x API_KEY={MASK}", id="assigned"),
        pytest.param("x postgresql://me:q8Zr2LmW0p@db/x", f"x postgresql://me:{MASK}@db/x", id="an address"),
        pytest.param(f"x {GITHUB}", f"x {MASK}", id="by its look"),
        pytest.param("x --secret API_KEY -- y", "x --secret API_KEY -- y", id="a name is none"),
        pytest.param("x --author me --keyboard de", "x --author me --keyboard de", id="other options"),
    ],
)
def test_what_is_shown_of_arguments(words: str, shown: str) -> None:
    assert " ".join(masked(words.split())) == shown


def test_a_header_is_masked() -> None:
    assert (
        masked(["x", "--header", "Authorization: Bearer q8Zr2LmW0pXc5Tn7"])[2]
        == f"Authorization: Bearer {MASK}"
    )


@given(st.lists(st.text(max_size=20), max_size=5))
def test_what_is_shown_never_holds_what_was_found(words: list[str]) -> None:
    shown = masked(words)
    assert len(shown) == len(words)
    assert not [
        one for one in in_arguments(words) if len(one) > len(MASK) and any(one in word for word in shown)
    ]


# --- documents -------------------------------------------------------------------------------------


def test_no_document_holds_a_secret() -> None:
    one = server(entry=entry("x", "--token", GITHUB, env=(("API_KEY", GITHUB),)))
    found = findings([one])
    assert {"secret-in-config", "secret-in-arguments"} <= {each.rule for each in found}
    made = [document([one], [Exposed(10.0, None)], found), sarif(found, "1", {})]
    assert GITHUB not in str(made)


HOSTILE = st.text(st.characters(), max_size=30)  # also halves of surrogate pairs, NUL and controls


@given(
    HOSTILE,
    HOSTILE,
    st.lists(HOSTILE, max_size=3),
    st.dictionaries(HOSTILE, HOSTILE, max_size=2),
    st.booleans(),
)
def test_any_entry_is_judged(
    name: str, command: str, args: list[str], env: dict[str, str], mine: bool
) -> None:
    words = (OURS, ("run", "--", command, *args)) if mine else (command, tuple(args))
    one = server(entry=Entry(name, *words, env=tuple(env.items()), path=("s", name)), fit=Fit(stranger=mine))
    found = findings([one, server("x")])
    for made in (document([one], [Exposed(None, None)], found), sarif(found, "1", {})):
        assert json.loads(spelt(made).encode()) == json.loads(json.dumps(made))


def test_sarif_points_at_the_entry() -> None:
    found = findings([server("npx -y x")])
    made = sarif(found, "1.2.3", {"/home/me/.cursor/mcp.json": ".cursor/mcp.json"})
    result = made["runs"][0]["results"][0]
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": ".cursor/mcp.json"}, "region": {"startLine": 3}}
    assert result["ruleId"] == made["runs"][0]["tool"]["driver"]["rules"][result["ruleIndex"]]["id"]
    assert made == sarif(found, "1.2.3", {"/home/me/.cursor/mcp.json": ".cursor/mcp.json"})
