"""What a server may ask of the client, in both eras' forms."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.inspect.features import MOST_ROOTS, MOST_WISHES, Features
from sandbox.inspect.judged import DROP, Asked, Judged
from sandbox.policy.model import ClientFeatures
from sandbox.relay.denials import edited
from sandbox.verdict import Action
from sandbox.wire.jsonrpc import Frame
from tests.inspect.test_calls import frame

MOUNTED = {"/src": "/src", "/home/u/src": "/work", "/a b": "/a b"}
CALLED = Asked("tools/call", "t")
FORM = {"message": "Which branch?", "requestedSchema": {"type": "object", "properties": {"branch": {}}}}
PHISHING = {"message": "?", "requestedSchema": {"properties": {"password": {"type": "string"}}}}
SAMPLE = {"messages": [], "maxTokens": 1}
METHODS = {
    "roots/list": ({}, "client.roots"),
    "sampling/createMessage": (SAMPLE, "client.sampling"),
    "elicitation/create": (FORM, "client.elicitation"),
}


def features(**client: Any) -> Features:
    return Features(ClientFeatures(**client), MOUNTED.get)


def request(method: str, params: Any, id: object = "s") -> Frame:
    return frame({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def wants(**requests: Any) -> Frame:
    wanted = {key: {"method": method, "params": params} for key, (method, params) in requests.items()}
    result = {"resultType": "input_required", "inputRequests": wanted, "requestState": "s"}
    return frame({"jsonrpc": "2.0", "id": 1, "result": result})


def both(inspector: Features, method: str, params: Any) -> list[Judged | None]:
    """The same wish in the legacy and in the modern era."""
    return [
        inspector.to_client(request(method, params), None),
        inspector.to_client(wants(one=("prompts/x", {}), two=(method, params)), CALLED),
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("action", ["allow", "ask", "deny"])
def test_each_feature_as_the_profile_says(method: str, action: str) -> None:
    params, rule = METHODS[method]
    feature = rule.removeprefix("client.")
    chosen = {"allow": "all", "ask": "mounted", "deny": "deny"}[action] if feature == "roots" else action
    for judged in both(features(**{feature: chosen}), method, params):
        if action == "allow" or (action == "ask" and feature == "roots"):
            assert judged is None
        else:
            assert judged is not None
            assert (judged.verdict.action.value, judged.verdict.rule) == (action, rule)


def test_by_default_nothing_is_written_by_the_clients_model() -> None:
    for method, (params, _) in METHODS.items():
        for judged in both(features(), method, params):
            assert (judged is not None) == (method == "sampling/createMessage")


def test_a_denial_names_the_request_among_several() -> None:
    judged = features().to_client(
        wants(a=("elicitation/create", FORM), b=("sampling/createMessage", SAMPLE)), CALLED
    )
    assert judged is not None
    assert judged.findings[0].place == "/result/inputRequests/b"


@pytest.mark.parametrize("elicitation", ["allow", "ask"])
def test_a_form_for_a_secret_reaches_nobody(elicitation: str) -> None:
    for judged in both(features(elicitation=elicitation), "elicitation/create", PHISHING):
        assert judged is not None
        assert judged.verdict.action is Action.DENY
        assert judged.findings[0].place.endswith("/params/requestedSchema/properties/password")


@pytest.mark.parametrize("context", ["allServers", "everything", 5, ["allServers"]])
@pytest.mark.parametrize("sampling", ["allow", "ask"])
def test_sampling_gets_nothing_of_other_servers(context: object, sampling: str) -> None:
    params = {**SAMPLE, "includeContext": context}
    for judged, sent in zip(
        both(features(sampling=sampling), "sampling/createMessage", params),
        (request("sampling/createMessage", params), wants(two=("sampling/createMessage", params))),
        strict=True,
    ):
        assert judged is not None
        message = edited(sent, judged.edits).message
        inner = message.get("params") or message["result"]["inputRequests"]["two"]["params"]
        assert inner["includeContext"] == "thisServer"


@pytest.mark.parametrize(
    "result",
    [
        {"inputRequests": None},
        {"inputRequests": []},
        {"inputRequests": {"a": None, "b": {"method": 5}, "c": {"method": ["x"]}, "d": {}}},
        {"inputRequests": {"a": {"method": "other/method", "params": []}}},
        {"content": [{"type": "text", "text": "inputRequests"}]},
    ],
)
def test_what_is_no_wish_passes_here(result: Any) -> None:
    assert features().to_client(frame({"jsonrpc": "2.0", "id": 1, "result": result}), CALLED) is None


# --- roots ----------------------------------------------------------------------------------------------


def roots(*uris: object) -> list[dict[str, object]]:
    return [{"uri": uri, "name": "x"} for uri in uris]


GIVEN = ("file:///src", "file:///home/u/src", "file:///other", "file:///a%20b")
LEFT = ["file:///src", "file:///work", "file:///a%20b"]


def answered(inspector: Features, given: Any, id: object = "s") -> Judged | None:
    return inspector.to_server(frame({"jsonrpc": "2.0", "id": id, "result": {"roots": given}}))


def test_roots_are_those_that_are_mounted() -> None:
    inspector = features()
    assert inspector.to_client(request("roots/list", {}), None) is None
    reply = frame({"jsonrpc": "2.0", "id": "s", "result": {"roots": roots(*GIVEN)}})
    judged = inspector.to_server(reply)
    assert judged is not None
    assert [one["uri"] for one in edited(reply, judged.edits).message["result"]["roots"]] == LEFT
    assert judged.findings[0].reason == "1 of 4 roots are not mounted, 1 named by their place inside"
    assert features(roots="all").to_server(reply) is None


def test_in_rounds_roots_are_filtered_too() -> None:
    given = {
        "a": {"roots": roots(*GIVEN)},
        "b": {"action": "accept"},
        "c": None,
        "d": {"roots": roots("file:///src")},
    }
    sent = frame({
        "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "t", "inputResponses": given},
    })  # fmt: skip
    judged = features().to_server(sent)
    assert judged is not None
    told = edited(sent, judged.edits).message["params"]["inputResponses"]
    assert [one["uri"] for one in told["a"]["roots"]] == LEFT
    assert {key: told[key] for key in "bcd"} == {key: given[key] for key in "bcd"}
    assert features(roots="all").to_server(sent) is None


@pytest.mark.threat("S6", proves="no order of requests and answers lets roots past that are not mounted")
def test_roots_are_filtered_whatever_they_answer() -> None:
    """A server may have thousands of requests open, under ids that it chose."""
    inspector = features()
    for id in range(5000):
        inspector.to_client(request("roots/list", {}, id=id), None)
    for id in (0, "0", 4999, "other"):
        assert answered(inspector, roots("file:///other"), id=id) is not None


def test_roots_that_are_all_mounted_pass_as_they_came() -> None:
    inspector = features()
    inspector.to_client(request("roots/list", {}), None)
    assert answered(inspector, roots("file:///src", "file://localhost/src/", "FILE:///src")) is None


NOT_MOUNTED = [
    "file:///src/../other", "file:///src%00", "file://host/src", "https://a.example/src", "/src", "file:src",
    "file:///%ff", "", 5, None, "file:///" + "x" * 70_000, "file:///src%2f..%2f..%2fother",
]  # fmt: skip


@pytest.mark.parametrize("uri", NOT_MOUNTED, ids=lambda uri: str(uri)[:30])
def test_what_is_no_path_of_this_machine_is_no_root(uri: object) -> None:
    inspector = features()
    inspector.to_client(request("roots/list", {}), None)
    judged = answered(inspector, roots(uri))
    assert judged is not None
    assert judged.edits[0].value is DROP


@pytest.mark.parametrize("given", [None, {}, "x"])
def test_roots_that_are_no_list_pass_here(given: Any) -> None:
    inspector = features()
    inspector.to_client(request("roots/list", {}), None)
    assert answered(inspector, given) is None


def test_items_that_are_no_roots_are_taken_out() -> None:
    inspector = features()
    inspector.to_client(request("roots/list", {}), None)
    judged = answered(inspector, [1, None, "file:///src", {"uri": "file:///src"}])
    assert judged is not None
    assert [edit.place[-1] for edit in judged.edits] == [0, 1, 2]


# --- other ways to want something ------------------------------------------------------------------------

PAGES = {"code": -32042, "message": "sign in first"}


def failed(**error: Any) -> Frame:
    return frame({"jsonrpc": "2.0", "id": 1, "error": {**PAGES, **error}})


def page(url: str, message: str = "Sign in") -> dict[str, Any]:
    return {"elicitations": [{"mode": "url", "elicitationId": "1", "url": url, "message": message}]}


@pytest.mark.parametrize(
    ("client", "data", "action"),
    [
        pytest.param({}, page("https://a.example/"), None, id="a page"),
        pytest.param({}, page("javascript:alert(1)"), "deny", id="no page"),
        pytest.param({}, page("https://a.example/", "mcp-sandbox asks"), "deny", id="in our name"),
        pytest.param({"elicitation": "deny"}, page("https://a.example/"), "deny", id="denied"),
        pytest.param({"elicitation": "ask"}, page("https://a.example/"), "ask", id="asked about"),
        pytest.param({"elicitation": "deny"}, {}, "deny", id="denied, in a form unknown here"),
    ],
)
def test_an_error_that_wants_a_page_seen(client: dict[str, Any], data: Any, action: str | None) -> None:
    judged = features(**client).to_client(failed(data=data), CALLED)
    assert (judged and judged.verdict.action.value) == action


@pytest.mark.parametrize("data", [None, 5, {"elicitations": 5}, {"elicitations": [5, None, []]}])
def test_an_error_with_nonsense_passes_here(data: Any) -> None:
    assert features().to_client(failed(data=data), CALLED) is None
    assert features().to_client(failed(code=-32000, data=page("javascript:x")), CALLED) is None


def test_a_notification_wants_nothing_either() -> None:
    status = {"taskId": "1", "inputRequests": {"a": {"method": "sampling/createMessage", "params": SAMPLE}}}
    for message in (
        {"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": status},
        {"jsonrpc": "2.0", "method": "sampling/createMessage", "params": SAMPLE},
    ):
        judged = features().to_client(frame(message), None)
        assert judged is not None
        assert judged.verdict.rule == "client.sampling"
        assert features(sampling="allow").to_client(frame(message), None) is None


# --- bounds and words ------------------------------------------------------------------------------------


def test_more_wishes_than_are_judged_are_none() -> None:
    many = {f"k{at}": ("elicitation/create", FORM) for at in range(MOST_WISHES + 1)}
    judged = features().to_client(wants(**many), CALLED)
    assert judged is not None
    assert judged.verdict.action is Action.DENY
    del many["k0"]
    assert features().to_client(wants(**many), CALLED) is None


def test_more_roots_than_are_looked_at_are_none() -> None:
    looked: list[str] = []

    def mounted(path: str) -> str:
        looked.append(path)
        return path

    inspector = Features(ClientFeatures(), mounted)
    judged = answered(inspector, roots(*["file:///src"] * (MOST_ROOTS + 5)))
    assert judged is not None
    assert (len(looked), len(judged.edits)) == (MOST_ROOTS, 5)


def test_a_person_hears_what_was_refused() -> None:
    heard: list[tuple[str, str]] = []
    inspector = Features(ClientFeatures(), MOUNTED.get, lambda method, why: heard.append((method, why)))
    inspector.to_client(request("sampling/createMessage", SAMPLE), None)
    inspector.to_client(request("elicitation/create", PHISHING), None)
    inspector.to_client(request("elicitation/create", FORM), None)
    assert heard == [
        ("sampling/createMessage", ""),
        ("elicitation/create", "the form asks for a secret: `password`"),
    ]
