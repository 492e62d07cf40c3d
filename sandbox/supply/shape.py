"""What installers and registries print, brought into a shape that may be kept and shown (no I/O)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from urllib.parse import urlsplit, urlunsplit

from sandbox.errors import SandboxNotBuilt

Value = str | bool | int | list["Value"] | dict[str, "Value"]

_LONGEST = 2000
_MOST = 2000
_DEEPEST = 4


class Unfit(SandboxNotBuilt):
    """What was resolved cannot be kept: it is not what a registry gives, or there is too much of it."""

    def __init__(self, what: str) -> None:
        super().__init__("package-not-from-registry", what)


def line(text: object) -> str:
    """One short line, without a letter that a terminal acts upon, hides or cannot show."""
    shown = "".join(filter(str.isprintable, str(text)[:_LONGEST]))
    return shown if len(shown) <= 300 else shown[:299] + "…"


def value(raw: object, depth: int = _DEEPEST) -> Value:
    """A value of TOML's own kinds, of bounded size; `Unfit` for anything else."""
    if isinstance(raw, int) and abs(raw) < 1 << 53:
        return raw
    if isinstance(raw, str) and len(raw) <= _LONGEST and (raw.isprintable() or not raw):
        return raw
    if depth and isinstance(raw, list) and len(raw) <= _MOST:
        return [value(each, depth - 1) for each in raw]
    if depth and isinstance(raw, dict) and len(raw) <= _MOST:
        return {str(value(key)): value(each, depth - 1) for key, each in raw.items()}
    raise Unfit(f"`{line(raw)}` cannot be kept in a lock")


def address(url: str) -> str:
    """A URL without login, query and fragment, any of which may be a secret; empty for what is none."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        parts.port  # noqa: B018 - a ValueError where it is no number
    except ValueError:
        return ""
    if parts.scheme not in ("https", "http", "file") or len(url) > _LONGEST or not url.isprintable():
        return ""
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def moment(raw: object) -> str:
    """RFC 3339 in UTC, to the second; empty for what is no date."""
    try:
        if isinstance(raw, str):
            raw = datetime.fromisoformat(raw[:40])
        if not isinstance(raw, datetime):
            return f"{raw.isoformat()}T00:00:00Z" if isinstance(raw, date) else ""
        utc = raw.replace(tzinfo=raw.tzinfo or UTC, microsecond=0).astimezone(UTC)
        return utc.isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return ""
