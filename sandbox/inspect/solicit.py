"""Whether an elicitation asks a person for a secret, or speaks in our name (P).

MCP forbids servers to ask for passwords, keys, tokens or card data in a form (2025-11-25, Elicitation, Form
Mode). What is judged is what a form wants written: a field where nothing can be written asks for nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from sandbox.wire.splice import Place

LONGEST: Final = 20_000
MOST_FIELDS: Final = 500
DEEPEST: Final = 20
MARKS: Final = 8
_UNWRITTEN: Final = frozenset({"boolean", "null", "object"})

_SECRETS: Final = tuple(
    tuple(line.split())
    for line in """
password
passwords
passwd
pwd
passphrase
passcode
pass phrase
pass code
secret
secrets
credential
credentials
api key
apikey
api secret
access key
secret key
private key
signing key
encryption key
ssh key
master key
account key
token
access token
bearer
otp
totp
one time code
verification code
security code
authentication code
auth code
mfa code
2 fa code
sms code
pin code
pin number
your pin
cvv
cvc
card number
credit card
debit card
seed phrase
recovery phrase
recovery code
backup code
mnemonic phrase
secret phrase
social security number
ssn
session cookie
connection string
passwort
kennwort
geheimzahl
zugangsdaten
schlüssel
kreditkartennummer
mot de passe
clé api
clé privée
clé secrète
code secret
contraseña
clave api
clave privada
clave secreta
palabra clave secreta
número de tarjeta
parola chiave
chiave api
chiave privata
chiave segreta
senha
palavra passe
chave api
chave privada
wachtwoord
hasło
пароль
пароля
токен
секретный ключ
приватный ключ
şifre
şifreniz
parola
parolan\u0131z
mật khẩu
kata sandi
salasana
lösenord
adgangskode
passord
heslo
jelszó
κωδικός πρόσβασης
""".split("\n")
    if line
)
_FOREIGN: Final = ("密码", "密碼", "口令", "私钥", "私鑰", "密钥", "密鑰", "助记词", "助記詞", "验证码",
    "パスワード", "暗証番号", "秘密鍵", "비밀번호", "비밀 번호", "암호", "كلمة المرور", "كلمة السر", "סיסמה",
    "पासवर्ड", "รหัสผ่าน")  # fmt: skip
"""Where words are not set apart, or take endings: found anywhere."""
_WHOLE: Final = frozenset({"pin", "pw", "psw", "mnemonic", "passkey"})
"""Secrets where a field is called that and nothing else."""
_OF_ONE: Final = frozenset("""
length policy strength hint expiry expiration manager reset count limit budget type id ids name names
location path file symbol address standard amount length size field rotation age url uri label format
generator prefix usage algorithm hash helper provider store profile version rule rules santa
""".split())  # fmt: skip
"""What follows where not the secret itself is meant: `password policy`, `token count`, `secret name`."""
_ASKING: Final = frozenset("""
enter provide type paste supply give submit share input tell send fill insert write need needs require
requires required reveal disclose reply respond copy
""".split())  # fmt: skip
_TURNS: Final = frozenset("to for so and because if when before after then with about without not".split())
_ELSE: Final = frozenset("""
email mail username user login account name host hostname url uri phone city country date title subject
comment message reason description query path file folder branch repository repo quantity amount number id
""".split())  # fmt: skip
"""What a field may be called so that it is plainly about something else than its form's words."""
_REACH: Final = 5

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[^\W\d_]+|\d+")
_LATIN = re.compile(r"[a-z]")
_DIGIT = re.compile(r"[A-Za-z][013457@$]|[013457@$][A-Za-z]")
_LEET: Final = str.maketrans("013457@$", "oieastas")
_ALIKE: Final = str.maketrans("авеёікмнорстухѕԁһјӏαεικνορτυχ", "abeeikmhopctyxsdhjlaeiknoptux")
"""Letters of other scripts that look Latin, for words that mix them."""


class Fault(NamedTuple):
    """What is wrong with an elicitation: where in its parameters, and why."""

    place: Place
    reason: str


def fault(params: Mapping[str, Any]) -> Fault | None:
    """Why an elicitation must not reach a person, or None; of a page with a form both are judged."""
    message = params.get("message")
    text = message if type(message) is str else ""
    if len(text) > LONGEST:
        return Fault(("message",), "the question is too long to judge")
    if "mcpsandbox" in "".join(_words(text)):
        return Fault(("message",), "the question speaks in the name of mcp-sandbox")
    if (params.get("mode") == "url" or "url" in params) and (found := _url_fault(params.get("url"))):
        return found
    return _form_fault(text, params.get("requestedSchema"))


def _url_fault(url: Any) -> Fault | None:
    """A page is where secrets may be asked for; that it is a page is all that can be judged."""
    text = url if type(url) is str else ""
    scheme, slashes, rest = text.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not slashes or scheme.lower() not in ("https", "http") or not authority:
        return Fault(("url",), "the address is no web page")
    if "@" in authority or "\\" in text or any(one.isspace() or not one.isprintable() for one in text):
        return Fault(("url",), "the address does not lead where it seems to")
    return None


def _form_fault(message: str, schema: Any) -> Fault | None:
    fields = [*islice(_fields(schema, ("requestedSchema",), 0), MOST_FIELDS + 1)]
    if len(fields) > MOST_FIELDS or sum(_size(place[-1], field) for place, field in fields) > LONGEST:
        return Fault(("requestedSchema",), "the form is too long to judge")
    asked = _asks(message)
    for place, field in fields:
        if not _writable(field):
            continue
        name = str(place[-1])
        found = _field_fault(name, field)
        if not found and asked and not _ELSE.intersection(_words(f"{name} {field.get('title', '')}")):
            found = asked
        if found:
            return Fault(place, f"the form asks for a secret: `{found}`")
    return None


def _fields(schema: Any, at: Place, depth: int) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Every field wherever a client may look for one: MCP's forms are flat, and a client may know more."""
    if depth > DEEPEST or type(schema) not in (dict, list):
        return
    for key, inner in schema.items() if type(schema) is dict else enumerate(schema):
        if key == "properties" and type(inner) is dict:
            for name, field in inner.items():
                if type(field) is dict:
                    yield (*at, "properties", name), field
                    yield from _fields(field, (*at, "properties", name), depth + 1)
        else:
            yield from _fields(inner, (*at, key), depth + 1)


def _size(name: str | int, field: Mapping[str, Any]) -> int:
    texts = (name, field.get("title"), field.get("description"))
    return sum(len(text) for text in texts if type(text) is str)


def _writable(field: Mapping[str, Any]) -> bool:
    """Whether a person can write what they like there; a client may show what it does not know as text."""
    kind = field.get("type", "string")
    kinds = kind if type(kind) is list else [kind]
    items = field.get("items")
    choices = items if kinds == ["array"] and type(items) is dict else field
    return not all(type(one) is str and one in _UNWRITTEN for one in kinds) and not _chosen(choices)


def _chosen(field: Mapping[str, Any]) -> bool:
    """Whether a field offers values to choose from, in one of the forms that elicitation has."""
    listed = field.get("enum")
    titled = field.get("oneOf", field.get("anyOf"))
    if type(titled) is list and titled:
        return all(type(one) is dict and "const" in one for one in titled)
    return type(listed) is list and bool(listed)


def _field_fault(name: str, field: Mapping[str, Any]) -> str:
    if field.get("format") == "password":
        return "format: password"
    title, about = (field.get(key) for key in ("title", "description"))
    number = field.get("type") in ("number", "integer")
    for label in (name, title):
        if type(label) is str and (found := _label_fault(label, number)):
            return found
    text = about if type(about) is str else ""
    # A description begins with what is wanted, and goes on with why and how.
    return _secret(_until_turn(_words(text)[: _REACH + 1]), number) or _asks(text)


def _label_fault(label: str, number: bool) -> str:
    words = _words(label)
    if len(words) == 1 and words[0] in _WHOLE:
        return words[0]
    return _secret(words, number) or (
        _secret(_words(label.translate(_LEET)), number) if _DIGIT.search(label) else ""
    )


def _until_turn(words: list[str]) -> list[str]:
    return words[: next((at for at, one in enumerate(words) if one in _TURNS), len(words))]


def _asks(text: str) -> str:
    """The secret that a sentence asks for; a sentence that only speaks of one asks for none."""
    words = _words(text)
    for at, word in enumerate(words):
        if word in _ASKING or words[at : at + 3] == ["what", "is", "your"]:
            reach = len(_until_turn(words[at + 1 : at + 2 + _REACH]))
            if found := next(_found(words, at + 1, at + 1 + reach), ""):
                return found
    # In a language whose verbs are not known here, the word alone.
    return _foreign(words) or next((one for one in _found(words, 0, len(words)) if one not in _ENGLISH), "")


def _secret(words: Sequence[str], number: bool = False) -> str:
    """The first secret that the words name; of a number only those that are numbers."""
    named = (one for one in _found(words, 0, len(words)) if not (number and one in _NO_NUMBER))
    return _foreign(words) or next(named, "")


def _foreign(words: Sequence[str]) -> str:
    if all(word.isascii() for word in words):
        return ""
    whole = "".join(words)
    return next((word for word in _FOREIGN if word.replace(" ", "") in whole), "")


def _found(words: Sequence[str], start: int, end: int) -> Iterator[str]:
    """The secrets that `words[start:end]` name, but for `password policy` and the like."""
    for at in range(start, end):
        for secret in _BY_FIRST.get(words[at], ()):
            after = at + len(secret)
            if after <= end and tuple(words[at:after]) == secret and words[after : after + 1] not in _OTHER:
                yield " ".join(secret)


_OTHER: Final = [[word] for word in _OF_ONE]
_NO_NUMBER: Final = frozenset({"token", "secret", "secrets", "credential", "credentials"})
_ENGLISH: Final = frozenset(" ".join(words) for words in _SECRETS[: _SECRETS.index(("passwort",))])
_BY_FIRST: Final[dict[str, list[tuple[str, ...]]]] = {}
for _one in _SECRETS:
    _BY_FIRST.setdefault(_one[0], []).append(_one)


def _words(text: str) -> list[str]:
    """Words in one spelling: `apiKey`, `API-Key` and `api_key` are the same two."""
    if text.isascii():
        return _WORD.findall(_CAMEL.sub(" ", text).lower())
    plain = unicodedata.normalize("NFKC", _few_marks(text))
    shown = "".join(one for one in plain if unicodedata.category(one) != "Cf")
    return [_latin(word) for word in _WORD.findall(_CAMEL.sub(" ", shown).casefold())]


def _few_marks(text: str) -> str:
    """Without what follows eight combining marks in a row: to order them takes the square of their number."""
    kept, row = [], 0
    for one in text:
        row = row + 1 if unicodedata.combining(one) else 0
        if row <= MARKS:
            kept.append(one)
    return "".join(kept)


def _latin(word: str) -> str:
    return word.translate(_ALIKE) if not word.isascii() and _LATIN.search(word) else word
