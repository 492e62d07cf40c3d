"""Configuration files made by us: every client, every system, and what is wrong with some of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MAC = "~/Library/Application Support"
_STORAGE = "User/globalStorage"
CORPUS = Path(__file__).resolve().parent / "corpus"


@dataclass(frozen=True)
class Config:
    """One file of the corpus, and where a client looks for it."""

    row: str
    file: str
    place: str
    """As in the table: `~` and `{appdata}` are the user's, anything else is in a project."""
    servers: tuple[str, ...]
    platform: str = "linux"
    error: str = ""
    """The code of the error that reading it must give."""
    mode: int = 0o600
    linked: bool = False
    """The place holds a symbolic link to the file, which lies elsewhere."""

    @property
    def id(self) -> str:
        return f"{self.row}/{self.file}"

    @property
    def content(self) -> bytes:
        return (CORPUS / self.row / self.file).read_bytes()

    @property
    def format(self) -> str:
        suffix = self.file.rpartition(".")[2]
        return {"yml": "yaml", "code-workspace": "jsonc"}.get(suffix, suffix)


CONFIGS = (
    Config(
        "claude-desktop",
        "mac.json",
        "~/Library/Application Support/Claude/claude_desktop_config.json",
        ("filesystem", "github"),
        platform="darwin",
    ),
    Config("claude-desktop", "linux.json", "~/.config/Claude/claude_desktop_config.json", ("git",)),
    Config(
        "claude-desktop",
        "windows-crlf-bom.json",
        "{appdata}/Claude/claude_desktop_config.json",
        ("memory",),
        platform="win32",
    ),
    Config(
        "claude-desktop",
        "windows-msix.json",
        "{localappdata}/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude/claude_desktop_config.json",
        ("time",),
        platform="win32",
    ),
    Config("claude-desktop", "no-servers.json", "~/.config/Claude/claude_desktop_config.json", ()),
    Config("claude-desktop", "empty.json", "~/.config/Claude/claude_desktop_config.json", ()),
    Config(
        "claude-desktop",
        "read-only.json",
        "~/.config/Claude/claude_desktop_config.json",
        ("fetch",),
        mode=0o444,
    ),
    Config(
        "claude-code",
        "large-state.json",
        "~/.claude.json",
        ("everything", "linear", "old", "postgres", "sqlite"),
    ),
    Config("claude-code", "symlinked.json", "~/.claude.json", ("everything",), linked=True),
    Config("claude-code", "project.json", ".mcp.json", ("db", "api", "local")),
    Config("claude-code", "unicode.json", "~/.claude.json", ("Dateien-für-Zoë", "時計")),
    Config("claude-code", "duplicate-server.json", "~/.claude.json", (), error="config-duplicate-key"),
    Config("claude-code", "cut-off.json", "~/.claude.json", (), error="config-malformed"),
    Config("cursor", "user.json", "~/.cursor/mcp.json", ("context7", "figma")),
    Config("cursor", "project-comments.json", ".cursor/mcp.json", ("files", "docs")),
    Config("cursor", "windows.json", "~/.cursor/mcp.json", ("shell",), platform="win32"),
    Config("cursor", "one-line.json", "~/.cursor/mcp.json", ("a", "b", "c")),
    Config("cursor", "single-quotes.json", "~/.cursor/mcp.json", (), error="config-malformed"),
    Config("cursor", "utf-16.json", "~/.cursor/mcp.json", (), error="config-encoding"),
    Config("vscode", "workspace.json", ".vscode/mcp.json", ("github", "remote", "py")),
    Config("vscode", "user-linux.json", "~/.config/Code/User/mcp.json", ("github", "remote", "py")),
    Config(
        "vscode",
        "user-mac.json",
        "~/Library/Application Support/Code/User/mcp.json",
        ("playwright",),
        platform="darwin",
    ),
    Config(
        "vscode",
        "insiders-windows.json",
        "{appdata}/Code - Insiders/User/mcp.json",
        ("excel",),
        platform="win32",
    ),
    Config("vscode", "settings-linux.json", "~/.config/Code/User/settings.json", ("fetch",)),
    Config(
        "vscode", "profile-vscodium.json", "~/.config/VSCodium/User/profiles/-1f2e3d/mcp.json", ("thinking",)
    ),
    Config("vscode", "flatpak.json", "~/.var/app/com.visualstudio.code/config/Code/User/mcp.json", ("time",)),
    Config("vscode", "remote.json", "~/.vscode-server/data/User/mcp.json", ("git",)),
    Config("vscode", "team.code-workspace", "team.code-workspace", ("memory",)),
    Config("copilot-cli", "project.json", ".github/mcp.json", ("time",)),
    Config("antigravity", "project.json", ".agents/mcp_config.json", ("git",)),
    Config("copilot-cli", "user.json", "~/.copilot/mcp-config.json", ("files", "docs")),
    Config("copilot-jetbrains", "linux.json", "~/.config/github-copilot/intellij/mcp.json", ("memory",)),
    Config("windsurf", "linux.json", "~/.codeium/windsurf/mcp_config.json", ("sentry", "puppeteer")),
    Config(
        "windsurf", "mac-next.json", "~/.codeium/windsurf-next/mcp_config.json", ("brave",), platform="darwin"
    ),
    Config("windsurf", "windows.json", "~/.codeium/windsurf/mcp_config.json", ("slack",), platform="win32"),
    Config(
        "zed", "linux.json", "~/.config/zed/settings.json", ("local", "remote", "mcp-server-github", "old")
    ),
    Config("zed", "mac.json", "~/.config/zed/settings.json", ("time",), platform="darwin"),
    Config("zed", "windows.json", "{appdata}/Zed/settings.json", ("fs",), platform="win32"),
    Config("zed", "project.json", ".zed/settings.json", ("check",)),
    Config(
        "cline",
        "linux.json",
        "~/.config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        ("github.com/modelcontextprotocol/servers/tree/main/src/time", "sse"),
    ),
    Config(
        "cline",
        "mac-cursor.json",
        f"{_MAC}/Cursor/{_STORAGE}/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        ("maps",),
        platform="darwin",
    ),
    Config(
        "cline",
        "windows.json",
        "{appdata}/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
        (),
        platform="win32",
    ),
    Config("cline-cli", "user.json", "~/.cline/data/settings/cline_mcp_settings.json", ("duckdb",)),
    Config(
        "roo",
        "linux.json",
        "~/.config/Code/User/globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
        ("mongo",),
    ),
    Config(
        "roo",
        "mac.json",
        f"{_MAC}/VSCodium/{_STORAGE}/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
        ("word",),
        platform="darwin",
    ),
    Config("roo", "project.json", ".roo/mcp.json", ("build",)),
    Config("kilo", "project.json", ".kilocode/mcp.json", ("chroma",)),
    Config("continue", "config.yaml", "~/.continue/config.yaml", ("SQLite", "Playwright", "Remote")),
    Config("continue", "block.yaml", ".continue/mcpServers/pandoc.yaml", ("Pandoc",)),
    Config("continue", "claude-style.json", ".continue/mcpServers/mcp.json", ("memory",)),
    Config("continue", "deprecated.json", "~/.continue/config.json", ("0",)),
    Config("continue", "windows.yaml", "~/.continue/config.yaml", ("Excel",), platform="win32"),
    Config("continue", "anchors.yaml", "~/.continue/config.yaml", ("one", "two")),
    Config("codex", "user.toml", "~/.codex/config.toml", ("context7", "figma", "docs")),
    Config("codex", "dotted.toml", "~/.codex/config.toml", ("memory", "inline")),
    Config("codex", "project.toml", ".codex/config.toml", ("lint",)),
    Config("codex", "windows.toml", "~/.codex/config.toml", ("fs",), platform="win32"),
    Config("codex", "twice.toml", "~/.codex/config.toml", (), error="config-malformed"),
    Config("gemini", "user.json", "~/.gemini/settings.json", ("py", "http", "sse")),
    Config("gemini", "project-comments.json", ".gemini/settings.json", ("fetch",)),
    Config("gemini", "extension.json", "~/.gemini/extensions/notes/gemini-extension.json", ("notes",)),
    Config("qwen", "user.json", "~/.qwen/settings.json", ("calc",)),
    Config("antigravity", "user.json", "~/.gemini/antigravity/mcp_config.json", ("chrome",)),
    Config("antigravity", "config.json", "~/.gemini/config/mcp_config.json", ("remote",)),
    Config(
        "goose",
        "linux.yaml",
        "~/.config/goose/config.yaml",
        ("developer", "fetch", "tavily", "remote", "inline"),
    ),
    Config("goose", "mac.yaml", "~/.config/goose/config.yaml", ("memory",), platform="darwin"),
    Config("goose", "windows.yaml", "{appdata}/Block/goose/config/config.yaml", ("git",), platform="win32"),
    Config("goose", "tabs.yaml", "~/.config/goose/config.yaml", (), error="config-malformed"),
    Config("junie", "user.json", "~/.junie/mcp/mcp.json", ("pdf",)),
    Config("junie", "project.json", ".junie/mcp/mcp.json", ("db",)),
    Config("lmstudio", "user.json", "~/.lmstudio/mcp.json", ("hf", "fs")),
    Config("kiro", "user.json", "~/.kiro/settings/mcp.json", ("aws",)),
    Config("kiro", "project.json", ".kiro/settings/mcp.json", ("web",)),
    Config("amazon-q", "user.json", "~/.aws/amazonq/mcp.json", ("git",)),
    Config("opencode", "user.jsonc", "~/.config/opencode/opencode.jsonc", ("bun", "ctx", "remote")),
    Config("opencode", "servers.json", "opencode.json", ("git",)),
    Config("warp", "user.json", "~/.warp/.mcp.json", ("sequential",)),
    Config("crush", "user.json", "~/.config/crush/crush.json", ("files", "gh")),
    Config("amp", "user.json", "~/.config/amp/settings.json", ("play",)),
    Config("factory", "user.json", "~/.factory/mcp.json", ("drawio",)),
    Config(
        "trae", "mac.json", "~/Library/Application Support/Trae/User/mcp.json", ("notion",), platform="darwin"
    ),
    Config("visual-studio", "windows.json", "~/.mcp.json", ("nuget",), platform="win32"),
)
