"""Forms that want a secret written, and forms that do not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect.solicit import LONGEST, fault

Field = dict[str, Any] | str


def form(message: str, fields: dict[str, Field]) -> dict[str, Any]:
    """An elicitation; a field given as text is a text field with that description."""
    properties = {
        name: {"type": "string", **({"description": field} if isinstance(field, str) else field)}
        for name, field in fields.items()
    }
    return {"message": message, "requestedSchema": {"type": "object", "properties": properties}}


V: dict[str, Field] = {"value": {}}
ASKING: list[tuple[str, dict[str, Field]]] = [
    ("Sign in", {"password": {}}),
    ("Sign in", {"userPassword": {}}),
    ("Sign in", {"PASSWORD": {}}),
    ("Set up", {"apiKey": {}}),
    ("Set up", {"api_key": {}}),
    ("Set up", {"x": {"title": "Your API-Key"}}),
    ("Set up", {"github_token": {}}),
    ("Set up", {"client_secret": {}}),
    ("Set up", {"x": "Paste your private key here"}),
    ("Set up", {"x": "database password"}),
    ("Set up", {"x": {"format": "password"}}),
    ("Set up", {"dsn": "connection string"}),
    ("Pay", {"card": "card number", "cvv": {"type": "integer"}}),
    ("Unlock", {"pin": {"type": "integer"}}),
    ("Unlock", {"code": {"type": "number", "title": "Verification code"}}),
    ("Recover", {"words": "Enter the seed phrase of your wallet"}),
    ("Please enter your GitHub token", V),
    ("Please provide the database password so that I can go on", V),
    ("To continue I need your OpenAI API key.", V),
    ("What is your passphrase?", V),
    ("Type your one-time code", V),
    ("Enter your p\u200bass\u00adword", V),
    ("Enter your p\u0430ssw\u043erd", V),
    ("Enter your \uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44", V),
    ("Bitte Passwort eingeben", V),
    ("Saisissez votre mot de passe", V),
    ("Introduce tu contraseña", V),
    ("Inserisci la chiave API", V),
    ("Digite a sua senha", V),
    ("Wpisz hasło", V),
    ("Введите пароль", V),
    ("请输入您的密码", V),
    ("パスワードを入力してください", V),
    ("비밀번호를 입력하세요", V),
    ("أدخل كلمة المرور", V),
    ("Sign in", {"x": {"type": ["string", "null"], "title": "Password"}}),
    ("Sign in", {"password": {"enum": []}}),
    ("Sign in", {"password": {"type": "text"}}),
    ("Sign in", {"passw0rd": {}}),
    ("Complete", {"value": "Your GitHub password, exactly as you use it to sign in"}),
    ("Complete", {"value": "API key from the settings page, where you can also see how much was used"}),
    ("Complete", {"login": {"type": "object", "properties": {"password": {"type": "string"}}}}),
    ("Sign in", {"password": {"anyOf": [{}]}}),
    ("Sign in", {"password": {"type": "array", "items": {"type": "string"}}}),
]
HONEST: list[tuple[str, dict[str, Field]]] = [
    ("Which branch?", {"branch": {}}),
    ("Your name and age", {"name": {}, "age": {"type": "integer"}}),
    ("Delete the secret `x`?", {"confirm": {"type": "boolean"}}),
    ("Rotate the access token?", {"answer": {"enum": ["yes", "no"]}}),
    ("Enter your password manager of choice", {"choice": {"oneOf": [{"const": "a", "title": "A"}]}}),
    ("Type DELETE to confirm", {"confirm": {}}),
    ("To reset your password enter your e-mail", {"email": {"format": "email"}}),
    ("Zum Zurücksetzen des Passworts", {"email": {"format": "email"}}),
    ("How many tokens?", {"max_tokens": {"type": "integer"}}),
    ("Limit", {"token": {"type": "integer", "title": "Token limit"}}),
    ("Choose", {"password_policy": {}}),
    ("Choose", {"x": {"title": "Password length"}}),
    ("Which secret should be rotated?", {"secret_name": {}}),
    ("Token", {"token_symbol": {}, "token_address": {}}),
    ("A pair", {"key": {}, "value": {}}),
    ("Please enter a name for the new API key", {"name": {}}),
    ("Do you want to install the password manager?", {"answer": {}}),
    ("The token has expired. Which account should I use?", {"account": {}}),
    ("Keyboard", {"keyboard": {}, "pinned": {}, "spin": {}, "monkey": {}}),
    ("What should the commit message be?", {"message": {}}),
    ("Where is the credentials file?", {"credentials_path": {}}),
    ("Rotation", {"why": "Why you want to rotate the token, for the log"}),
    ("Removal", {"typed": "Type DELETE to remove the secret for ever"}),
    ("Login", {"login": {"type": "object", "properties": {"remember": {"type": "boolean"}}}}),
    ("Colours", {"colours": {"type": "array", "items": {"enum": ["secret", "password"]}}}),
    ("Wie heißt der Zweig?", {"zweig": {}}),
    ("你想要哪个分支\uff1f", {"x": {}}),
]


@pytest.mark.parametrize(("message", "fields"), ASKING)
def test_a_form_that_asks_for_a_secret(message: str, fields: dict[str, Field]) -> None:
    found = fault(form(message, fields))
    assert found is not None
    assert found.place[:2] == ("requestedSchema", "properties")
    assert found.reason.startswith("the form asks for a secret: `")


@pytest.mark.parametrize(("message", "fields"), HONEST)
def test_a_form_that_asks_for_none(message: str, fields: dict[str, Field]) -> None:
    assert fault(form(message, fields)) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        pytest.param("https://a.example/x?y", "", id="a page"),
        pytest.param("http://localhost:3000/x", "", id="of this machine"),
        pytest.param("javascript:alert(1)", "no web page", id="a script"),
        pytest.param("data:text/html,x", "no web page", id="data"),
        pytest.param("file:///etc/passwd", "no web page", id="a file"),
        pytest.param("https:///x", "no web page", id="no host"),
        pytest.param("", "no web page", id="nothing"),
        pytest.param(None, "no web page", id="no text"),
        pytest.param(
            "https://a.example@b.example/", "does not lead where", id="a user that looks like a host"
        ),
        pytest.param("https://a.example\\@b.example/", "does not lead where", id="a backslash"),
        pytest.param("https://a.ex\u200bample/", "does not lead where", id="a hidden character"),
    ],
)
def test_pages(url: object, why: str) -> None:
    found = fault({"mode": "url", "message": "Sign in", "url": url})
    assert (found is None) == (why == "")
    assert found is None or why in found.reason


HIDDEN = {"properties": {"password": {"type": "string"}}}


@pytest.mark.parametrize(
    "params",
    [
        pytest.param(
            {"mode": "form", "url": "https://a.example/", "requestedSchema": HIDDEN}, id="a page, too"
        ),
        pytest.param({"url": "https://a.example/", "requestedSchema": HIDDEN}, id="a page and no mode"),
        pytest.param({"mode": "url", "url": "https://a.example/", "requestedSchema": HIDDEN}, id="mode url"),
        pytest.param({"requestedSchema": {"allOf": [HIDDEN]}}, id="below allOf"),
        pytest.param({"requestedSchema": {"$defs": {"x": {"anyOf": [{}, HIDDEN]}}}}, id="below definitions"),
    ],
)
def test_a_form_that_hides(params: dict[str, Any]) -> None:
    found = fault({"message": "Go on", **params})
    assert found is not None
    assert found.place[-1] == "password"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["a" + "\u0301\u0316" * 9000, "\u2800a " * 6000, "enter " * 3000, "a\u00ad" * 9000]
)
def test_texts_that_are_dear_to_read(text: str) -> None:
    fault(form(text, {"x": {"title": text[:900], "description": text[:9000]}}))


@pytest.mark.parametrize(
    "name", ["mcp-sandbox asks: may I?", "MCP Sandbox", "m\u200bcp_sandbox", "\uff4d\uff43\uff50-sandbox"]
)
def test_nobody_speaks_in_our_name(name: str) -> None:
    found = fault(form(name, {}))
    assert found is not None
    assert "in the name of" in found.reason


@pytest.mark.parametrize(
    "params",
    [
        form("x" * (LONGEST + 1), {}),
        form("x", {f"f{at}": "words " * 40 for at in range(200)}),
        form("x", {f"f{at}": {} for at in range(501)}),
    ],
)
def test_what_cannot_be_judged_reaches_nobody(params: dict[str, Any]) -> None:
    found = fault(params)
    assert found is not None
    assert "too long to judge" in found.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["type", "enum", "title", "description", "items", "oneOf", "password"]), inner
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON, JSON, JSON)
def test_nothing_that_a_server_sends_is_an_error(message: Any, schema: Any, properties: Any) -> None:
    fault({"message": message, "requestedSchema": schema, "url": message} if schema else {"message": message})
    fault({"message": message, "requestedSchema": {"properties": properties}})
