"""The table of places that hold what a server must not see: credentials, sockets, configs that run things."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.places import cache_dir, config_dir, state_dir

_KEYS, _BROWSER, _CLIENT = "private keys and credentials", "a browser's profile", "config of an MCP client"

OTHER_HOME = "another user's home"

# What it holds, and the places below a home directory; a space in a name is written `\\ `.
_HOME_TABLE = {
    _KEYS: """
        .ssh .aws .azure .gnupg .oci .kube .docker .netrc _netrc .npmrc .yarnrc.yml .bunfig.toml .pypirc .pip
        .config/gcloud .config/doctl .config/hcloud .config/pip .config/uv .config/gh .config/glab-cli
        .config/hub .config/rclone .config/op .config/1Password .config/Bitwarden .config/sops .config/heroku
        .config/netlify .config/configstore .config/git/credentials .config/containers/auth.json
        .cargo/credentials .cargo/credentials.toml .gem/credentials .m2/settings.xml .gradle/gradle.properties
        .git-credentials .pgpass .my.cnf .password-store .terraform.d .terraformrc .vault-token .huggingface
        .cache/huggingface/token .fly .s3cfg .boto .local/share/containers""",
    "a keyring": """
        .local/share/keyrings .local/share/kwalletd .config/keepassxc .keepass Library/Keychains""",
    "a shell's history": """
        .bash_history .zsh_history .python_history .node_repl_history .psql_history""",
    _BROWSER: """
        .mozilla .firefox .thunderbird .config/google-chrome .config/google-chrome-beta .config/chromium
        .config/BraveSoftware .config/microsoft-edge .config/vivaldi .config/opera .cache/mozilla
        .cache/google-chrome .cache/chromium snap/firefox snap/chromium .var/app
        Library/Application\\ Support/Google/Chrome Library/Application\\ Support/Firefox""",
    _CLIENT: """
        .claude.json .claude .config/Claude .local/share/claude .cursor .config/Cursor .config/Code
        .config/VSCodium .vscode-server .copilot .config/github-copilot .codeium .windsurf .config/Windsurf
        .config/zed .continue .codex .gemini .config/goose .junie .lmstudio .kiro .config/opencode
        .local/share/opencode .warp .roo Library/Application\\ Support/Claude
        Library/Application\\ Support/Code Library/Application\\ Support/Cursor""",
}
EVERY_HOME: tuple[tuple[str, str], ...] = tuple(
    (place.replace("\0", " "), why)
    for why, places in _HOME_TABLE.items()
    for place in places.replace("\\ ", "\0").split()
)

SYSTEM: tuple[tuple[str, str], ...] = (
    ("/proc", "the host's processes"),
    ("/sys", "the host's kernel"),
    ("/dev", "the host's devices"),
    ("/run", "the host's sockets"),
    ("/var/run", "the host's sockets"),
    ("/etc", "the host's configuration"),
    ("/boot", "the host's kernel image"),
    ("/var/lib/docker", "every container's files"),
    ("/var/lib/containers", "every container's files"),
    ("/var/lib/containerd", "every container's files"),
    ("/var/lib/kubelet", "every pod's secrets"),
    ("/var/lib/rancher", "every pod's secrets"),
    ("/var/spool/cron", "jobs that run on the host"),
    ("/tmp/.X11-unix", "the display's sockets"),  # noqa: S108 - refused, not used
)

ENGINE_SOCKETS = (
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/user",
)

# Variables with which a user moves one of the above; only absolute values name a place.
RELOCATED: tuple[tuple[str, str], ...] = (
    ("GNUPGHOME", _KEYS),
    ("AWS_SHARED_CREDENTIALS_FILE", _KEYS),
    ("AWS_CONFIG_FILE", _KEYS),
    ("CLOUDSDK_CONFIG", _KEYS),
    ("GOOGLE_APPLICATION_CREDENTIALS", _KEYS),
    ("AZURE_CONFIG_DIR", _KEYS),
    ("KUBECONFIG", _KEYS),
    ("DOCKER_CONFIG", _KEYS),
    ("REGISTRY_AUTH_FILE", _KEYS),
    ("NETRC", _KEYS),
    ("NPM_CONFIG_USERCONFIG", _KEYS),
    ("npm_config_userconfig", _KEYS),
    ("PIP_CONFIG_FILE", _KEYS),
    ("PASSWORD_STORE_DIR", _KEYS),
    ("PGPASSFILE", _KEYS),
    ("VAULT_TOKEN_PATH", _KEYS),
    ("SSH_AUTH_SOCK", "the SSH agent's socket"),
    ("DOCKER_HOST", "a container engine's socket"),
    ("CONTAINER_HOST", "a container engine's socket"),
    ("DBUS_SESSION_BUS_ADDRESS", "the session bus's socket"),
    ("XDG_RUNTIME_DIR", "the session's sockets"),
    ("XAUTHORITY", "the display's key"),
    ("CODEX_HOME", _CLIENT),
    ("CLAUDE_CONFIG_DIR", _CLIENT),
)

GUARDED: tuple[str, ...] = (
    ".mcp-sandbox",
    ".mcp.json",
    ".claude",
    ".cursor",
    ".vscode",
    ".zed",
    ".roo",
    ".continue",
    ".codex",
    ".gemini",
    ".kiro",
    ".junie",
    ".github/copilot-instructions.md",
    ".git/hooks",
    ".git/config",
    # Each leads git to another configuration, which names programs to run.
    ".git/commondir",
    ".git/config.worktree",
    ".git/modules",
    ".envrc",
)
"""Files of a project that make a client, git or a shell run something outside: never writable inside."""


def secret_places(home: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Every secret place of this user and host, absolute, with what it holds; nothing is looked up."""
    places = dict(SYSTEM)
    places.update((path, "a container engine's socket") for path in ENGINE_SOCKETS)
    for base in {home, "/root"} - {""}:
        owner = "" if base == home else " of another user"
        places.update((f"{base.rstrip('/')}/{name}", why + owner) for name, why in EVERY_HOME)
    if home != "/root" and not home.startswith("/root/"):
        places["/root"] = OTHER_HOME
    places.update(_relocated(environ))
    places.update((ours(environ), "mcp-sandbox's own files") for ours in (state_dir, config_dir, cache_dir))
    return places


def _relocated(environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for variable, why in RELOCATED:
        for value in environ.get(variable, "").split(":" if variable == "KUBECONFIG" else "\0"):
            path = value.removeprefix("unix:path=").removeprefix("unix://").partition(",")[0].rstrip("/")
            if path.startswith("/"):
                found[path] = why
    for variable, default in (("XDG_CONFIG_HOME", ".config/"), ("XDG_DATA_HOME", ".local/share/")):
        base = environ.get(variable, "").rstrip("/")
        names = ((name.removeprefix(default), why) for name, why in EVERY_HOME if name.startswith(default))
        found.update((f"{base}/{name}", why) for name, why in names if base.startswith("/"))
    return found
