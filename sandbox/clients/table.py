"""Every client that we know: where its files are, and how it writes a server down (P)."""

from __future__ import annotations

import re
from typing import Final

from sandbox.clients.words import Files, Row

_SERVERS: Final = (("mcpServers",),)

# --- how clients write a variable ------------------------------------------------------------------------

_SHELL: Final = r"\$\{(?P<env>[A-Za-z_][A-Za-z0-9_]*)(?::-[^}]*)?\}"
_DOLLAR: Final = r"\$\{?(?P<env>[A-Za-z_][A-Za-z0-9_]*)(?:(?<=\w):-[^}]*)?\}?"
_EDITOR: Final = r"\$\{(?:env:(?P<env>[^}]+)|input:(?P<input>[^}]+)|(?P<other>[A-Za-z][^}]*))\}"
_BRACES: Final = r"\{(?:env:(?P<env>[^}]+)|file:(?P<other>[^}]+))\}"
_TEMPLATE: Final = r"\$\{\{\s*(?:secrets|inputs)\.(?P<input>[^}\s]+)\s*\}\}"


def _everywhere(*paths: str) -> Files:
    """The same files on every system."""
    return Files(paths, paths, paths)


def _editors(*tails: str, names: tuple[str, ...] = ("*",)) -> Files:
    """Files in the user folder of an editor of the VS Code family: any of them, or those of `names`."""
    mac = tuple(f"~/Library/Application Support/{name}/User/{tail}" for tail in tails for name in names)
    windows = tuple(f"{{appdata}}/{name}/User/{tail}" for tail in tails for name in names)
    linux = tuple(f"{{config}}/{name}/User/{tail}" for tail in tails for name in names)
    packed = tuple(f"~/.var/app/*/config/{name}/User/{tail}" for tail in tails for name in names)
    remote = tuple(f"~/.{name}-server*/data/User/{tail}" for tail in tails for name in _REMOTE.get(names, ()))
    return Files(linux + packed + remote, mac, windows)


_VS_CODE: Final = ("Code", "Code - Insiders", "Code - OSS", "VSCodium", "VSCodium - Insiders")
_REMOTE: Final[dict[tuple[str, ...], tuple[str, ...]]] = {("*",): ("*",), _VS_CODE: ("vscode", "vscodium")}

ROWS: Final[tuple[Row, ...]] = (
    Row(
        "claude-desktop",
        "Claude Desktop",
        _SERVERS,
        files=Files(
            linux=("{config}/Claude/claude_desktop_config.json",),
            mac=("~/Library/Application Support/Claude/claude_desktop_config.json",),
            windows=(
                "{appdata}/Claude/claude_desktop_config.json",
                # The store's package sees a private copy of the roaming folder.
                "{localappdata}/Packages/Claude_*/LocalCache/Roaming/Claude/claude_desktop_config.json",
            ),
        ),
    ),
    Row(
        "claude-code",
        "Claude Code",
        (("mcpServers",), ("projects", "*", "mcpServers")),
        files=Files(
            linux=("{CLAUDE_CONFIG_DIR:~}/.claude.json", "/etc/claude-code/managed-mcp.json"),
            mac=(
                "{CLAUDE_CONFIG_DIR:~}/.claude.json",
                "/Library/Application Support/ClaudeCode/managed-mcp.json",
            ),
            windows=("{CLAUDE_CONFIG_DIR:~}/.claude.json",),
        ),
        project=(".mcp.json",),
        variables=_SHELL,
    ),
    Row(
        "cursor",
        "Cursor",
        _SERVERS,
        files=_everywhere("~/.cursor/mcp.json"),
        project=(".cursor/mcp.json",),
        variables=_EDITOR,
    ),
    Row(
        "vscode",
        "VS Code",
        (("servers",), ("mcp", "servers"), ("settings", "mcp", "servers")),
        files=_editors("mcp.json", "profiles/*/mcp.json", "settings.json", names=_VS_CODE),
        project=(".vscode/mcp.json", ".vscode/settings.json", "*.code-workspace"),
        variables=_EDITOR,
    ),
    Row(
        "copilot-cli",
        "GitHub Copilot CLI",
        _SERVERS,
        files=_everywhere("{COPILOT_HOME:~/.copilot}/mcp-config.json"),
        project=(".github/mcp.json",),
        variables=_DOLLAR,
    ),
    Row(
        "copilot-jetbrains",
        "GitHub Copilot for JetBrains",
        (("servers",),),
        files=Files(
            linux=("{config}/github-copilot/intellij/mcp.json",),
            mac=("~/.config/github-copilot/intellij/mcp.json",),
            windows=("{localappdata}/github-copilot/intellij/mcp.json",),
        ),
        variables=_EDITOR,
    ),
    Row(
        "windsurf",
        "Windsurf",
        _SERVERS,
        files=_everywhere("~/.codeium/windsurf*/mcp_config.json", "~/.codeium/mcp_config.json"),
        variables=_EDITOR,
    ),
    Row(
        "zed",
        "Zed",
        (("context_servers",),),
        "zed",
        files=Files(
            linux=("{config}/zed/settings.json", "~/.var/app/dev.zed.Zed/config/zed/settings.json"),
            mac=("~/.config/zed/settings.json", "~/Library/Application Support/Zed/settings.json"),
            windows=("{appdata}/Zed/settings.json",),
        ),
        project=(".zed/settings.json",),
    ),
    Row(
        "cline",
        "Cline",
        _SERVERS,
        files=_editors("globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"),
        variables=_EDITOR,
    ),
    Row(
        "cline-cli",
        "Cline CLI",
        _SERVERS,
        files=_everywhere(
            "{CLINE_DIR:~/.cline}/data/settings/cline_mcp_settings.json", "{CLINE_MCP_SETTINGS_PATH:}"
        ),
        variables=_EDITOR,
    ),
    Row(
        "roo",
        "Roo Code",
        _SERVERS,
        files=_editors(
            "globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json",
            "globalStorage/rooveterinaryinc.roo-cline/settings/cline_mcp_settings.json",
        ),
        project=(".roo/mcp.json",),
        variables=_EDITOR,
    ),
    Row(
        "kilo",
        "Kilo Code",
        _SERVERS,
        files=_editors("globalStorage/kilocode.kilo-code/settings/mcp_settings.json"),
        project=(".kilocode/mcp.json",),
        variables=_EDITOR,
    ),
    Row(
        "continue",
        "Continue",
        (("mcpServers",), ("experimental", "modelContextProtocolServers")),
        "transport",
        files=_everywhere(
            "{CONTINUE_GLOBAL_DIR:~/.continue}/config.yaml",
            "{CONTINUE_GLOBAL_DIR:~/.continue}/config.json",
            "{CONTINUE_GLOBAL_DIR:~/.continue}/mcpServers/*.yaml",
            "{CONTINUE_GLOBAL_DIR:~/.continue}/mcpServers/*.yml",
            "{CONTINUE_GLOBAL_DIR:~/.continue}/mcpServers/*.json",
        ),
        project=(
            ".continue/mcpServers/*.yaml",
            ".continue/mcpServers/*.yml",
            ".continue/mcpServers/*.json",
        ),
        variables=_TEMPLATE,
    ),
    Row(
        "codex",
        "Codex",
        (("mcp_servers",),),
        "codex",
        files=Files(
            linux=("{CODEX_HOME:~/.codex}/config.toml", "/etc/codex/config.toml"),
            mac=("{CODEX_HOME:~/.codex}/config.toml", "/etc/codex/config.toml"),
            windows=("{CODEX_HOME:~/.codex}/config.toml",),
        ),
        project=(".codex/config.toml",),
    ),
    Row(
        "gemini",
        "Gemini CLI",
        _SERVERS,
        "gemini",
        files=Files(
            linux=(
                "{GEMINI_CLI_HOME:~}/.gemini/settings.json",
                "{GEMINI_CLI_HOME:~}/.gemini/extensions/*/gemini-extension.json",
                "/etc/gemini-cli/settings.json",
            ),
            mac=(
                "{GEMINI_CLI_HOME:~}/.gemini/settings.json",
                "{GEMINI_CLI_HOME:~}/.gemini/extensions/*/gemini-extension.json",
                "/Library/Application Support/GeminiCli/settings.json",
            ),
            windows=(
                "{GEMINI_CLI_HOME:~}/.gemini/settings.json",
                "{GEMINI_CLI_HOME:~}/.gemini/extensions/*/gemini-extension.json",
            ),
        ),
        project=(".gemini/settings.json",),
        variables=_DOLLAR,
    ),
    Row(
        "goose",
        "Goose",
        (("extensions",),),
        "goose",
        files=Files(
            linux=("{config}/goose/config.yaml",),
            mac=("~/.config/goose/config.yaml",),
            windows=("{appdata}/Block/goose/config/config.yaml",),
        ),
    ),
    Row(
        "junie",
        "Junie",
        _SERVERS,
        files=_everywhere("~/.junie/mcp/mcp.json"),
        project=(".junie/mcp/mcp.json",),
    ),
    Row(
        "lmstudio",
        "LM Studio",
        _SERVERS,
        files=_everywhere("~/.lmstudio/mcp.json", "~/.cache/lm-studio/mcp.json"),
    ),
    Row(
        "kiro",
        "Kiro",
        _SERVERS,
        files=_everywhere("~/.kiro/settings/mcp.json", "~/.kiro/agents/*.json"),
        project=(".kiro/settings/mcp.json", ".kiro/agents/*.json"),
        variables=_SHELL,
    ),
    Row(
        "amazon-q",
        "Amazon Q Developer",
        _SERVERS,
        files=_everywhere("~/.aws/amazonq/*.json", "~/.aws/amazonq/cli-agents/*.json"),
        project=(".amazonq/*.json", ".amazonq/cli-agents/*.json"),
    ),
    Row(
        "opencode",
        "OpenCode",
        (("mcp",), ("mcp", "servers")),
        "array",
        files=_everywhere(
            "{XDG_CONFIG_HOME:~/.config}/opencode/opencode.json",
            "{XDG_CONFIG_HOME:~/.config}/opencode/opencode.jsonc",
            "{XDG_CONFIG_HOME:~/.config}/opencode/config.json",
            "{OPENCODE_CONFIG:}",
        ),
        project=(
            "opencode.json",
            "opencode.jsonc",
            ".opencode/opencode.json",
            ".opencode/opencode.jsonc",
        ),
        variables=_BRACES,
    ),
    Row(
        "warp",
        "Warp",
        _SERVERS,
        files=_everywhere("~/.warp/.mcp.json"),
        project=(".warp/.mcp.json",),
    ),
    Row(
        "antigravity",
        "Antigravity",
        _SERVERS,
        files=_everywhere("~/.gemini/antigravity*/mcp_config.json", "~/.gemini/config/mcp_config.json"),
        project=(".agents/mcp_config.json",),
    ),
    Row(
        "qwen",
        "Qwen Code",
        _SERVERS,
        "gemini",
        files=_everywhere("~/.qwen/settings.json"),
        project=(".qwen/settings.json",),
        variables=_DOLLAR,
    ),
    Row(
        "crush",
        "Crush",
        (("mcp",),),
        files=Files(
            linux=("{config}/crush/crush.json",),
            mac=("~/.config/crush/crush.json",),
            windows=("~/.config/crush/crush.json", "{localappdata}/crush/crush.json"),
        ),
        project=("crush.json", ".crush.json"),
        variables=_DOLLAR,
    ),
    Row(
        "amp",
        "Amp",
        (("amp.mcpServers",),),
        files=_everywhere("{XDG_CONFIG_HOME:~/.config}/amp/settings.json"),
        project=(".amp/settings.json",),
        variables=_SHELL,
    ),
    Row(
        "factory",
        "Factory",
        _SERVERS,
        files=_everywhere("~/.factory/mcp.json"),
        project=(".factory/mcp.json",),
        variables=_SHELL,
    ),
    Row(
        "trae",
        "Trae",
        _SERVERS,
        files=_editors("mcp.json", names=("Trae", "Trae CN")),
        project=(".trae/mcp.json",),
        variables=_EDITOR,
    ),
    Row(
        "visual-studio",
        "Visual Studio",
        (("servers",),),
        files=Files(
            windows=("~/.mcp.json",),
        ),
        project=(".vs/mcp.json",),
        variables=_EDITOR,
    ),
)


def row(id: str) -> Row | None:
    """The client of that id."""
    return next((one for one in ROWS if one.id == id), None)


def variables(row: Row, text: str) -> tuple[tuple[str, str], ...]:
    """What the client puts in for parts of `text`: (`env`, NAME), (`input`, ID), (`other`, NAME)."""
    if not row.variables:
        return ()
    found = re.finditer(row.variables, text)
    return tuple((str(one.lastgroup), one[str(one.lastgroup)]) for one in found if one.lastgroup)
