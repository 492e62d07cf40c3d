"""What of a server is pinned, under which name, and the digest by which it is known again (P)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sandbox.digest import sha256
from sandbox.records import dataclass
from sandbox.wire.structs import msgspec

KEY_CHARS: Final = 4096
"""A longer name or URI is nobody's: such an item cannot be pinned."""
MOMENT_CHARS: Final = 40
_OF_MOMENTS: Final = dict.fromkeys(map(ord, "0123456789-+:.TZ "))
SERVER: Final = "server"
"""The kind of what a server says of itself: `identity`, `instructions`, and its answer to each revision."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One list of a server's: how it is asked for, where its items are, and which member names an item."""

    name: str
    method: str
    member: str
    key: str
    changed: str


KINDS: Final = (
    Kind("tool", "tools/list", "tools", "name", "notifications/tools/list_changed"),
    Kind("prompt", "prompts/list", "prompts", "name", "notifications/prompts/list_changed"),
    Kind("resource", "resources/list", "resources", "uri", "notifications/resources/list_changed"),
    Kind(
        "template",
        "resources/templates/list",
        "resourceTemplates",
        "uriTemplate",
        "notifications/resources/list_changed",
    ),
)
NAMES: Final = (SERVER, *(kind.name for kind in KINDS))

_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(value: object) -> bytes:
    """The one spelling of a JSON value: members sorted by name, no spaces, nothing escaped that need not be.

    Text is not normalised: two spellings that look alike are two definitions.
    """
    return _encode(value)


def key(kind: Kind, item: object) -> str:
    """The name by which an item of a list is known; empty where it has none that can be kept."""
    found = item.get(kind.key) if type(item) is dict else None
    return found if type(found) is str and len(found) <= KEY_CHARS else ""


def definition(kind: str, item: Any) -> Any:
    """What of an item is pinned: all but a size and a moment, which a resource's content decides."""
    if kind != "resource" or type(item) is not dict:
        return item
    kept = dict(item)
    if type(kept.get("size")) in (int, float):
        del kept["size"]
    if type(notes := kept.get("annotations")) is dict and _is_moment(notes.get("lastModified")):
        kept["annotations"] = {name: value for name, value in notes.items() if name != "lastModified"}
    return kept


def _is_moment(value: object) -> bool:
    """Whether a text can be nothing but a moment (ISO 8601)."""
    return type(value) is str and len(value) <= MOMENT_CHARS and not value.translate(_OF_MOMENTS)


def digest(kind: str, item: object) -> str:
    """SHA-256 over the canonical spelling of what is pinned of an item."""
    return measured(kind, item)[0]


def measured(kind: str, item: object) -> tuple[str, int]:
    """The digest, and the length of that spelling in bytes."""
    spelt = canonical(definition(kind, item))
    return sha256(spelt).hexdigest(), len(spelt)


def covers(template: str, uri: str) -> bool:
    """Whether `uri` may come from a URI template (RFC 6570), by the text around its expressions alone."""
    head, opened, rest = template.partition("{")
    if not opened:
        return uri == template
    tail = rest.rpartition("}")[2]
    return len(uri) >= len(head) + len(tail) and uri.startswith(head) and uri.endswith(tail)


def identity(result: Mapping[str, Any]) -> object:
    """Who a server says it is, in the answer to `initialize` or `server/discover` (in `_meta` there)."""
    meta = result.get("_meta")
    told = meta.get("io.modelcontextprotocol/serverInfo") if type(meta) is dict else None
    return result.get("serverInfo", told)


REVISION: Final = "answer to "
"""How the names of a server's answers to each revision begin."""


def said(result: Mapping[str, Any], method: str, params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a server says of itself in its answer to `method`, each under the name by which it is approved."""
    if (who := identity(result)) is not None:
        yield "identity", who
    if (told := result.get("instructions")) is not None:
        yield "instructions", told
    if method == "initialize":
        wanted = params.get("protocolVersion")
        if type(wanted) is str and len(wanted) <= len("2026-07-28"):
            yield REVISION + wanted, result.get("protocolVersion")
    else:
        yield REVISION + "discover", result.get("supportedVersions")
