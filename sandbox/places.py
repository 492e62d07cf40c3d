"""Where our own files live: a pure reading of the environment (XDG Base Directory 0.8)."""

from __future__ import annotations

from collections.abc import Mapping

APP = "mcp-sandbox"


def _base(environ: Mapping[str, str], variable: str, default: str) -> str:
    value = environ.get(variable, "")
    # The specification: a relative path is invalid and must be ignored.
    root = value if value.startswith("/") else f"{environ.get('HOME', '')}/{default}"
    return f"{root}/{APP}"


def state_dir(environ: Mapping[str, str]) -> str:
    """Audit logs and session leases: what must outlive a crash."""
    return _base(environ, "XDG_STATE_HOME", ".local/state")


def cache_dir(environ: Mapping[str, str]) -> str:
    """The package store, host facts and compiled policies: what may be deleted at any time."""
    return _base(environ, "XDG_CACHE_HOME", ".cache")


def has_cache(environ: Mapping[str, str]) -> bool:
    """Whether there is a place for it: an environment without a home has none."""
    return environ.get("HOME", "").startswith("/") or environ.get("XDG_CACHE_HOME", "").startswith("/")


def config_dir(environ: Mapping[str, str]) -> str:
    """The user's own profiles and trust decisions."""
    return _base(environ, "XDG_CONFIG_HOME", ".config")
