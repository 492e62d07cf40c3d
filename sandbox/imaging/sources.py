"""Where this machine's apt gets Debian from, for the suite that the images are made of: a pure reading."""

from __future__ import annotations

import re
from collections.abc import Iterator

QUERY = ("apt-get", "--print-uris", "update")
"""Lists every release file that apt would ask for, whether or not it ever did."""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_ASKED = re.compile(r"'(?P<uri>[^']+?)/?/dists/(?P<release>[^']+)/InRelease'")
# A mirror's own folder, or a moment of a snapshot; others call what they add to Debian `/linux/debian`.
_DEBIAN = re.compile(r"(?<!/linux)/debian(-security)?(/\d{8}T\d{6}Z)?")
_PARTS = ("", "-updates", "-security", "/updates")
# How a machine's administrator made apt reach its mirrors; all else of its configuration is its own affair.
_SETTINGS = re.compile(r"Acquire::(https?|ForceIPv[46]|Retries|Check-Valid-Until)\b", re.IGNORECASE)


def sources(asked: str, codename: str, suite: str) -> tuple[str, ...]:
    """Lines of a sources.list for `suite`, from what apt asks for on a machine of Debian `codename`."""
    return tuple(dict.fromkeys(_lines(asked, codename, suite)))


def _lines(asked: str, codename: str, suite: str) -> Iterator[str]:
    wanted = {f"{codename}{part}": f"{suite}{part}" for part in _PARTS}
    for found in _ASKED.finditer(asked):
        uri, release = found["uri"], found["release"]
        if release in wanted and re.search(_DEBIAN.pattern + "$", uri):
            yield f"deb [signed-by={KEYRING}] {uri} {wanted[release]} main"


def settings(dump: str) -> str:
    """The lines of `apt-config dump` that say how mirrors are reached (proxies, certificates)."""
    return "".join(f"{line}\n" for line in dump.splitlines() if _SETTINGS.match(line))
