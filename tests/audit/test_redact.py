import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sandbox.audit.redact import ITEMS_MAX, MARK, TEXT_MAX, Redactor

SECRET = 'pa"ss/w+rd=ü 42'  # noqa: S105  it is meant to be one
RAW = SECRET.encode()


@pytest.mark.threat("S6", proves="no encoding of a known secret reaches the log")
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(SECRET, id="plain"),
        pytest.param(RAW.hex(), id="hex"),
        pytest.param(RAW.hex().upper(), id="upper-case hex"),
        pytest.param(quote(SECRET, safe=""), id="URL-encoded"),
        pytest.param(quote(SECRET), id="URL-encoded with slashes left"),
        pytest.param(quote_plus(SECRET).lower(), id="form-encoded in lower case"),
        pytest.param("".join(f"%{byte:02X}" for byte in RAW), id="every byte URL-encoded"),
        pytest.param(json.dumps(SECRET)[1:-1], id="as a JSON string"),
    ],
)
def test_a_known_secret_is_taken_out_of_any_text(form: str):
    assert Redactor([SECRET]).text(f"before {form} after") == f"before {MARK} after"


@given(st.binary(max_size=7), st.text(min_size=8, max_size=40), st.binary(max_size=7))
def test_no_base64_of_a_text_with_the_secret_keeps_it(before: bytes, secret: str, after: bytes):
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + secret.encode() + after).decode()
        clean = Redactor([secret]).text(text)
        assert MARK in clean
        # At most the characters that the neighbours' bits also decide are left.
        assert len(clean) - len(MARK) <= len(text) - (len(secret.encode()) * 8 - 8) // 6


PRIVATE = "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nb3BlbnNzaA\n-----END OPENSSH PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        pytest.param("Authorization: Bearer abcdef123456", f"Authorization: Bearer {MARK}", id="bearer"),
        pytest.param("authorization: basic dXNlcjpwYXNz", f"authorization: basic {MARK}", id="basic"),
        pytest.param("AKIA" + "ABCDEFGHIJKLMNOP", MARK, id="AWS key id"),
        pytest.param("x ghp_" + "a1B2" * 9, f"x {MARK}", id="GitHub token"),
        pytest.param("github_pat_" + "a1B2_" * 9, MARK, id="GitHub fine-grained token"),
        pytest.param("glpat-" + "a1B2" * 5, MARK, id="GitLab token"),
        pytest.param("xoxb-" + "1234567890-abc", MARK, id="Slack token"),
        pytest.param("sk-ant-" + "a1B2" * 9, MARK, id="model vendor's key"),
        pytest.param("npm_" + "a1B2" * 9, MARK, id="npm token"),
        pytest.param("AIza" + "a1B2-" * 7, MARK, id="Google key"),
        pytest.param(JWT, MARK, id="JSON web token"),
        pytest.param(f"a {PRIVATE} b", f"a {MARK} b", id="private key"),
        pytest.param(PRIVATE[:50], MARK, id="the beginning of a private key"),
        pytest.param("postgres://me:hunter2@db/x", f"postgres://{MARK}@db/x", id="password in a URL"),
        pytest.param("--api-key=hunter2", f"--api-key={MARK}", id="flag with a value"),
        pytest.param("GITHUB_TOKEN=hunter2 ls", f"GITHUB_TOKEN={MARK} ls", id="environment assignment"),
    ],
)
def test_what_looks_like_a_credential_is_taken_out(text: str, clean: str):
    assert Redactor().text(text) == clean
    assert json.loads(Redactor().json({"x": text})) == {"x": clean}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("sha256:" + "ab" * 32, id="a hash"),
        pytest.param(
            "/usr/lib/node_modules/@modelcontextprotocol/server-everything/dist/index.js", id="a path"
        ),
        pytest.param("https://api.github.com:443/repos?page=2", id="a URL"),
        pytest.param("the task-force's token budget", id="words"),
        pytest.param("--max-old-space-size=512", id="another flag"),
    ],
)
def test_what_is_no_secret_stays(text: str):
    assert Redactor([SECRET]).text(text) == text


def test_a_command_hides_what_follows_a_secret_flag():
    argv = ["server", "--token", "hunter2", "--verbose", "--password", "--port", "80", "/data"]
    shown = ["server", "--token", MARK, "--verbose", "--password", "--port", "80", "/data"]
    assert Redactor().command(argv) == shown


def test_keys_lists_and_nested_values_are_cleaned_too():
    detail = {"a": [{"b-hunter22": ["hunter22"]}], "n": 1, "t": True, "none": None, "f": 1.5}
    clean = {"a": [{f"b-{MARK}": [MARK]}], "n": 1, "t": True, "none": None, "f": 1.5}
    assert Redactor(["hunter22"]).detail(detail) == clean
    assert json.loads(Redactor(["hunter22"]).json(detail)) == clean


def test_a_tiny_secret_hides_only_itself():
    redactor = Redactor(["x"])
    assert (redactor.text("x"), redactor.text("six")) == (MARK, "six")
    assert json.loads(redactor.json({"a": "x", "b": "six"})) == {"a": MARK, "b": "six"}


def test_a_secret_within_a_secret_leaves_nothing_of_the_longer_one():
    assert Redactor(["hunter22", "hunter22-and-more"]).text("hunter22-and-more") == MARK


def test_a_secret_learnt_later_is_hidden_from_then_on():
    redactor = Redactor()
    redactor.conceal(["hunter22", ""])
    assert redactor.text("hunter22") == MARK


def test_what_is_too_much_is_shortened_and_says_so():
    shown = json.loads(Redactor().json({"text": "a" * 10**6, "list": list(range(1000))}))
    assert shown["text"] == "a" * TEXT_MAX + "… (1000000 characters)"
    assert len(shown["list"]) == ITEMS_MAX + 1
    assert shown["list"][-1] == "… (1000 items)"


def test_a_secret_across_the_place_where_a_text_is_cut_does_not_show():
    text = "a" * (TEXT_MAX - 4) + "hunter22" + "b" * 100
    assert "hunt" not in Redactor(["hunter22"]).text(text)


def test_numbers_no_reader_takes_become_words():
    detail = {"nan": float("nan"), "inf": float("inf"), "big": 10**5000}
    shown = json.loads(Redactor().json(detail))
    assert shown == {"nan": "nan", "inf": "inf", "big": "(an integer of 16610 bits)"}


def test_deep_nesting_is_cut():
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert "nested too deeply" in Redactor().json({"x": deep})  # type: ignore[dict-item]


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=4, max_size=20), st.text(max_size=30), st.text(max_size=30))
def test_the_quick_way_and_the_walk_agree_that_the_secret_is_gone(secret: str, before: str, after: str):
    assume(secret not in before + after and secret not in MARK and MARK not in secret)
    shown = json.loads(Redactor([secret]).json({"x": before + secret + after}))["x"]
    assert MARK in shown


# --- as a host name holds it ----------------------------------------------------------------------

TOKEN = "Tok3n-aB9xQ7zLm4VrYw2K"  # noqa: S105  it is meant to be one
HEX = TOKEN.encode().hex()
BASE64 = base64.b64encode(TOKEN.encode()).decode().rstrip("=")


def base32(before: bytes, secret: str, after: bytes) -> str:
    return base64.b32encode(before + secret.encode() + after).decode().rstrip("=")


@pytest.mark.threat("S6", proves="no name that the server looks up carries a known secret into the log")
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(TOKEN.lower(), id="lower case"),
        pytest.param(TOKEN.upper(), id="upper case"),
        pytest.param(f"{TOKEN[:9]}.{TOKEN[9:]}", id="split over labels"),
        pytest.param(".".join(TOKEN.lower()), id="a label for each character"),
        pytest.param(base32(b"", TOKEN, b""), id="base32"),
        pytest.param(base32(b"", TOKEN, b"").lower(), id="base32 in lower case"),
        pytest.param(BASE64.lower(), id="base64 in lower case"),
        pytest.param(f"{HEX[:21]}.{HEX[21:]}", id="hex, split over labels"),
    ],
)
def test_a_secret_in_a_name_is_taken_out(form: str):
    redactor = Redactor([TOKEN])
    text = redactor.text(f"denied `x.{form}.evil.example`")
    assert MARK in text
    assert text.startswith("denied `x.")
    assert text.endswith(".evil.example`")
    # Base64's and base32's last character is decided by the neighbours' bits as well.
    assert len(text) <= len(f"denied `x.{MARK}.evil.example`") + 1
    assert json.loads(redactor.json({"host": f"x.{form}.evil.example"}))["host"] in text


@given(st.binary(max_size=11), st.text(min_size=8, max_size=40), st.binary(max_size=11), st.booleans())
def test_no_base32_of_a_text_with_the_secret_keeps_it(before: bytes, secret: str, after: bytes, lower: bool):
    text = base32(before, secret, after)
    clean = Redactor([secret]).text(text.lower() if lower else text)
    assert MARK in clean
    assert len(clean) - len(MARK) <= len(text) - (len(secret.encode()) * 8 - 8) // 5


@settings(max_examples=300, deadline=None)
@given(st.text("abXY19\u0131\u017fK\u03c3\u03a3", min_size=8, max_size=16), st.text("ab.X\u03a3", max_size=9))
def test_the_quick_way_never_misses_a_secret_in_other_letters(secret: str, around: str):
    text = around + (".".join(secret.lower()) if secret.isascii() else secret) + around
    assert MARK in json.loads(Redactor([secret]).json({"x": text}))["x"]


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        pytest.param("Secr3t", "the secr3t of it", id="too short to be looked for in other letters"),
        pytest.param("Secr3t", "se.cr.3t", id="too short to be looked for over labels"),
        pytest.param("a.b.c.d.e", "abcde", id="short without its dots"),
    ],
)
def test_a_short_secret_hides_nothing_else(secret: str, text: str):
    assert Redactor([secret]).text(text) == text
    assert json.loads(Redactor([secret]).json({"x": text})) == {"x": text}


@pytest.mark.threat("S6", proves="no part of a secret stays in the end of a text that is cut through it")
def test_a_tail_is_cut_after_its_secrets_are_out():
    redactor = Redactor(["correct-horse-battery"])
    text = "x" * 100 + "correct-horse-battery" + "y" * 30
    for most in range(1, 60):
        tail = redactor.tail(text, most)
        assert len(tail) == most
        assert "horse" not in tail
        assert "batter" not in tail
    key = "-----BEGIN PRIVATE KEY-----\nMIIB\nAAAA\n-----END PRIVATE KEY-----\n"
    assert redactor.tail(key + "done\n", 4000) == f"{MARK}\ndone\n"
    assert redactor.tail("", 10) == ""
