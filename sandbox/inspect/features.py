"""What a server may ask of the client: roots, sampling, elicitation, in both eras' forms (P).

In the legacy era a server sends requests of its own; in the modern one (MCP 2026-07-28) a result of the
server's names what it wants (`inputRequests`), and the client sends its call again with the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from sandbox.inspect.judged import DROP, Asked, Edit, Finding, Judged, changed, denied, pointer
from sandbox.policy.model import ClientFeatures
from sandbox.verdict import Action, Verdict
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.splice import Place

if TYPE_CHECKING:
    from sandbox.inspect.solicit import Fault

NAME: Final = "client"
_FEATURES: Final[Mapping[str, str]] = {
    "roots/list": "roots",
    "sampling/createMessage": "sampling",
    "elicitation/create": "elicitation",
}
PAGES_REQUIRED: Final = -32042
MOST_WISHES: Final = 16
MOST_ROOTS: Final = 1000
"""What is more than that is judged by nobody: each takes its time."""
_OWN_CONTEXT: Final = ("none", "thisServer")

Mounted = Callable[[str], str | None]
"""The place inside of a directory of the host's; None where the sandbox has none of it."""
Refused = Callable[[str, str], None]


class Features:
    """`client` of one session's profile, held against every message either way."""

    name = NAME

    def __init__(
        self, client: ClientFeatures, mounted: Mounted, refused: Refused = lambda method, why: None
    ) -> None:
        """`refused` hears what a server may not send, and why: few servers tell a person."""
        self._client = client
        self._mounted = mounted
        self._refused = refused

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        """Of the server's requests, and of results that want something of the client."""
        message = frame.message
        if frame.kind != "response":
            params = message.get("params", _NONE)
            if frame.method in _FEATURES:
                return self._judge(str(frame.method), params, ("params",))
            wanted = params.get("inputRequests")
            return None if wanted is None else self._wanted(wanted, "params")
        if "error" in message:
            return self._pages(message["error"]) if message["error"]["code"] == PAGES_REQUIRED else None
        wanted = message["result"].get("inputRequests")
        return None if wanted is None else self._wanted(wanted, "result")

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        """Of the client's answers: roots that the sandbox does not have are no business of the server's."""
        if frame.kind == "response":
            result = frame.message.get("result", _NONE)
            # Whatever was asked: no other answer has this member.
            return self._filtered(result, ("result",)) if "roots" in result else None
        given = frame.message.get("params", _NONE).get("inputResponses")
        return None if given is None else self._answers(given)

    # --- what is wanted -------------------------------------------------------------------------------

    def _pages(self, error: Mapping[str, Any]) -> Judged | None:
        """Pages that a person has to see before a call can be made (2025-11-25, Elicitation, URL Mode)."""
        data = error.get("data")
        listed = data.get("elicitations") if type(data) is dict else None
        at: Place = ("error", "data", "elicitations")
        pages = listed if type(listed) is list else [_NONE]
        return self._every(((*at, index), "elicitation/create", one) for index, one in enumerate(pages))

    def _wanted(self, wanted: Any, member: str) -> Judged | None:
        """The requests that a result brings along, by their keys."""
        if type(wanted) is not dict:
            return None
        at: Place = (member, "inputRequests")
        return self._every(
            ((*at, key, "params"), one["method"], one.get("params"))
            for key, one in wanted.items()
            if type(one) is dict and type(one.get("method")) is str
        )

    def _every(self, requests: Iterable[tuple[Place, str, Any]]) -> Judged | None:
        """The first that may not be made decides: the others would be answered for nothing."""
        edits: list[Edit] = []
        findings: list[Finding] = []
        to_ask: Judged | None = None
        for at, (place, method, params) in enumerate(requests):
            if at >= MOST_WISHES:
                why = f"the server wants more than {MOST_WISHES} things at once"
                return denied(Finding(NAME, "client.elicitation", pointer(place), why))
            judged = self._judge(method, params if type(params) is dict else _NONE, place)
            if judged is None:
                continue
            if judged.verdict.action is Action.DENY:
                return judged
            if judged.verdict.action is Action.ASK:
                to_ask = to_ask or judged
            edits += judged.edits
            findings += judged.findings
        if to_ask is not None:
            return Judged(to_ask.verdict, tuple(findings), tuple(edits))
        return changed(edits, *findings) if findings else None

    def _judge(self, method: str, params: Mapping[str, Any], place: Place) -> Judged | None:
        """One request of the server's; the edits of one that is asked about are made all the same."""
        feature = _FEATURES.get(method)
        if feature is None:
            return None
        rule, action = f"client.{feature}", getattr(self._client, feature)
        if action == "deny":
            self._refused(method, "")
            return denied(Finding(NAME, rule, pointer(place[:-1]), f"the server may not send `{method}`"))
        if method == "elicitation/create" and (found := _fault(params)) is not None:
            self._refused(method, found.reason)
            return denied(Finding(NAME, rule, pointer((*place, *found.place)), found.reason))
        edits, findings = self._narrowed(method, params, place)
        if action == "ask":
            asks = Finding(NAME, rule, pointer(place[:-1]), f"the server sends `{method}`")
            return Judged(Verdict(Action.ASK, rule, asks.reason), (asks, *findings), tuple(edits))
        return changed(edits, *findings) if findings else None

    def _narrowed(
        self, method: str, params: Mapping[str, Any], place: Place
    ) -> tuple[list[Edit], list[Finding]]:
        """Sampling without what other servers have said (`includeContext: allServers`)."""
        wanted = params.get("includeContext")
        if method != "sampling/createMessage" or wanted is None or wanted in _OWN_CONTEXT:
            return [], []
        at = (*place, "includeContext")
        why = "the server asks for what other servers have said: it gets its own alone"
        return [Edit(at, "thisServer")], [Finding(NAME, "client.sampling", pointer(at), why)]

    # --- roots ----------------------------------------------------------------------------------------

    def _answers(self, given: Any) -> Judged | None:
        """Roots in the answers that a call brings along, whatever they were asked as."""
        if type(given) is not dict:
            return None
        found = [
            judged
            for key, one in given.items()
            if type(one) is dict and (judged := self._filtered(one, ("params", "inputResponses", key)))
        ]
        if not found:
            return None
        edits = [edit for judged in found for edit in judged.edits]
        return changed(edits, *(finding for judged in found for finding in judged.findings))

    def _filtered(self, result: Mapping[str, Any], place: Place) -> Judged | None:
        roots = result.get("roots")
        if type(roots) is not list or self._client.roots == "all":
            return None
        edits = [*self._replaced(roots, (*place, "roots"))]
        if not edits:
            return None
        gone = sum(edit.value is DROP for edit in edits)
        why = f"{gone} of {len(roots)} roots are not mounted"
        if moved := len(edits) - gone:
            why += f", {moved} named by their place inside"
        return changed(edits, Finding(NAME, "client.roots", pointer((*place, "roots")), why))

    def _replaced(self, roots: list[Any], place: Place) -> Iterator[Edit]:
        for at, root in enumerate(roots):
            uri = root.get("uri") if type(root) is dict and at < MOST_ROOTS else None
            path = _path(uri)
            inside = None if path is None else self._mounted(path)
            if inside is None:
                yield Edit((*place, at), DROP)
            elif inside != path:
                yield Edit((*place, at, "uri"), _uri(inside))


_NONE: Final[dict[str, Any]] = {}


def _fault(params: Mapping[str, Any]) -> Fault | None:
    from sandbox.inspect.solicit import fault  # 2 ms, for the first form

    return fault(params)


def _path(uri: Any) -> str | None:
    """The absolute path of a `file:` URI (RFC 8089); None for whatever else a root is called."""
    if type(uri) is not str or len(uri) > 1 << 16:
        return None
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    if scheme.lower() != "file" or host.lower() not in ("", "localhost") or not slash:
        return None
    from urllib.parse import unquote

    try:
        plain = "/" + unquote(path, errors="strict")
    except UnicodeDecodeError:
        return None
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    return None if ".." in parts or "\0" in plain else "/" + "/".join(parts)


def _uri(path: str) -> str:
    from urllib.parse import quote

    return f"file://{quote(path)}"
