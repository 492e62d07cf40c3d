"""Real MCP clients from npm: how each is installed, the file with two servers, and what it is asked."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

NODE = "node@22.23.3"
"""Some clients need a newer node than distributions have; the servers get the machine's own."""

FLAT = """{
  "security": {"auth": {"selectedType": "gemini-api-key"}},
  // two servers, as their pages say
  "mcpServers": {
    "memory": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-memory"]},
    "filesystem": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "{project}"]}
  }
}
"""
SERVERS = {
    "memory": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-memory"]},
    "filesystem": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "{project}"]},
}


@dataclass(frozen=True)
class Real:
    """A client: its package, its program, its file below the home with two servers, and what is asked."""

    id: str
    packages: tuple[str, ...]
    program: str
    """Its script below `node_modules`, or its program where that needs no node."""
    config: str
    content: str
    words: tuple[str, ...]
    """Makes it start its servers, or say what it would start."""
    says: tuple[str, ...]
    """What it prints for each server (`{name}`) that it is content with."""
    starts: bool = True
    """Whether it starts them."""
    node: bool = True
    scripts: bool = False
    """Whether its package has to run an install script."""
    env: dict[str, str] = field(default_factory=dict)

    def written(self, project: Path) -> str:
        """Its file, before anything of ours."""
        return self.content.replace("{project}", str(project))


CLAUDE_STATE = json.dumps(
    {"numStartups": 7, "projects": {"/home/a/b": {"history": [{"display": "hällo"}]}}, "mcpServers": SERVERS},
    ensure_ascii=False,
)
COPILOT_FILE = json.dumps(
    {"mcpServers": {name: {"type": "local", "tools": ["*"], **one} for name, one in SERVERS.items()}},
    indent="\t",
)
OPENCODE = """{
  "$schema": "https://opencode.ai/config.json", // theirs
  "autoupdate": false,
  "model": "here/none",
  "small_model": "here/none",
  "provider": {
    "here": {
      "npm": "@ai-sdk/openai-compatible",
      "options": {"baseURL": "{env:MODEL_URL}/v1", "apiKey": "none"},
      "models": {"none": {"tool_call": true}}
    }
  },
  "mcp": {
    "memory": {"type": "local", "command": ["npx", "-y", "@modelcontextprotocol/server-memory"]},
    "filesystem": {
      "type": "local", "enabled": true,
      "command": ["npx", "-y", "@modelcontextprotocol/server-filesystem", "{project}"]
    }
  }
}
"""
CONTINUE_FILE = """# what I use
name: mine
version: 1.0.0
schema: v1
models:
  - name: none
    provider: openai
    model: none
    apiBase: {url}/v1
    apiKey: none
    capabilities: [tool_use]
    roles: [chat]
mcpServers:
  - name: memory   # a list, here
    command: npx
    args: ["-y", "@modelcontextprotocol/server-memory"]
  - name: filesystem
    args:
      - -y
      - "@modelcontextprotocol/server-filesystem"
      - {project}   # where it may look
    command: 'npx'
"""
CODEX = """# what I use
[mcp_servers.memory]
command = "npx"   # no path
args = ["-y", "@modelcontextprotocol/server-memory"]

[mcp_servers.filesystem]
command = 'npx'
args = [
  "-y", "@modelcontextprotocol/server-filesystem",
  "{project}",
]
startup_timeout_sec = 60
"""

CLAUDE = Real(
    "claude-code",
    ("@anthropic-ai/claude-code@2.1.332",),
    ".bin/claude",
    ".claude.json",
    CLAUDE_STATE,
    ("mcp", "list"),
    ("{name}: ", "✔ Connected"),
    node=False,
    scripts=True,
    env={"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"},
)
GEMINI = Real(
    "gemini",
    ("@google/gemini-cli@0.61.0",),
    "@google/gemini-cli/bundle/gemini.js",
    ".gemini/settings.json",
    FLAT,
    ("mcp", "list"),
    ("✓ {name}: ", "Connected"),
    env={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
)
CODEX_CLI = Real(
    "codex",
    ("@openai/codex@0.169.0",),
    "@openai/codex/bin/codex.js",
    ".codex/config.toml",
    CODEX,
    ("mcp", "list"),
    ("{name} ", "enabled"),
    starts=False,
)
OPENCODE_CLI = Real(
    "opencode",
    ("opencode-ai@1.18.33",),
    ".bin/opencode",
    ".config/opencode/opencode.jsonc",
    OPENCODE,
    ("mcp", "list"),
    ("✓ {name}", "connected"),
    node=False,
    scripts=True,
)
QWEN = Real(
    "qwen",
    ("@qwen-code/qwen-code@0.24.4",),
    "@qwen-code/qwen-code/cli.js",
    ".qwen/settings.json",
    FLAT,
    ("mcp", "list"),
    ("{name}: ", "Connected"),
)
COPILOT = Real(
    "copilot-cli",
    ("@github/copilot@1.0.102",),
    "@github/copilot/npm-loader.js",
    ".copilot/mcp-config.json",
    COPILOT_FILE,
    ("mcp", "list"),
    ("{name} (local)",),
    starts=False,
)
CLIENTS = (CLAUDE, GEMINI, CODEX_CLI, OPENCODE_CLI, QWEN, COPILOT)
CONTINUE = Real(
    "continue",
    ("@continuedev/cli@1.5.47",),
    "@continuedev/cli/dist/cn.js",
    ".continue/config.yaml",
    CONTINUE_FILE,
    (),
    (),
)


@dataclass(frozen=True)
class Agent:
    """How a client is told to do one piece of work with a model of the test's, at `{url}`."""

    client: Real
    words: tuple[str, ...]
    env: dict[str, str]


AGENTS = (
    Agent(
        CLAUDE,
        ("-p", "look", "--allowedTools", "mcp__memory,mcp__filesystem"),
        {
            **CLAUDE.env,
            "ANTHROPIC_BASE_URL": "{url}",
            "ANTHROPIC_API_KEY": "none",
            "CLAUDE_CODE_MAX_RETRIES": "0",
            "ENABLE_TOOL_SEARCH": "false",  # all tools are offered at once
            "MCP_CONNECTION_NONBLOCKING": "false",  # and not before their servers are there
            "MCP_TIMEOUT": "120000",
        },
    ),
    Agent(
        GEMINI,
        ("-p", "look", "--approval-mode", "yolo", "-m", "gemini-2.5-flash"),
        {**GEMINI.env, "GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_API_KEY": "none"},
    ),
    Agent(OPENCODE_CLI, ("run", "look"), {"MODEL_URL": "{url}"}),
    Agent(CONTINUE, ("-p", "look", "--config", "{config}", "--auto"), {"CONTINUE_CLI_ENABLE_TELEMETRY": "0"}),
)

INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
SDK = ("@modelcontextprotocol/sdk@1.32.2", "jsonc-parser@3.3.1")


def installed(ground: Path, name: str, packages: tuple[str, ...], *, scripts: bool = False) -> Path:
    """The `node_modules` that holds the packages: made once, for as long as the cache lives."""
    place = ground / name
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = place / "made"
        if not made.exists() or made.read_text() != " ".join(packages):
            _install(place, packages, scripts=scripts)
            made.write_text(" ".join(packages))
    return place / "node_modules"


def _install(place: Path, packages: tuple[str, ...], *, scripts: bool) -> None:
    quiet = ["--no-audit", "--no-fund", "--loglevel=error", *([] if scripts else ["--ignore-scripts"])]
    argv = ["npm", "install", *quiet, f"--cache={place}/npm", f"--prefix={place}", *packages]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(place / "npm", ignore_errors=True)


def newer_node(ground: Path) -> str:
    """The program of `NODE`."""
    found = installed(ground, "node", (NODE,), scripts=True) / "node/bin/node"
    assert os.access(found, os.X_OK)
    return str(found)
