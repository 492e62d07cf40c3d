"""Whether an elicitation asks a person for a secret, or speaks in our name (P).

MCP forbids servers to ask for passwords, keys, tokens or card data in a form (2025-11-25, Elicitation, Form
Mode). What is judged is what a form wants written: a field where nothing can be written asks for nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sandbox.wire.splice import Place

LONGEST: Final = 20_000
MOST_FIELDS: Final = 500
_FREE: Final = frozenset({"string", "number", "integer", "array"})

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
_ALIKE: Final = str.maketrans("авеёікмнорстухѕԁһјӏαεικνορτυχ", "abeeikmhopctyxsdhjlaeiknoptux")
"""Letters of other scripts that look Latin, for words that mix them."""


class Fault(NamedTuple):
    """What is wrong with an elicitation: where in its parameters, and why."""

    place: Place
    reason: str


def fault(params: Mapping[str, Any]) -> Fault | None:
    """Why an elicitation must not reach a person, or None."""
    message = params.get("message")
    text = message if type(message) is str else ""
    if len(text) > LONGEST:
        return Fault(("message",), "the question is too long to judge")
    if "mcpsandbox" in "".join(_words(text)):
        return Fault(("message",), "the question speaks in the name of mcp-sandbox")
    if params.get("mode") == "url" or "url" in params:
        return _url_fault(params.get("url"))
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
    properties = schema.get("properties") if type(schema) is dict else None
    if type(properties) is not dict:
        return None
    if len(properties) > MOST_FIELDS or sum(map(_size, properties.items())) > LONGEST:
        return Fault(("requestedSchema",), "the form is too long to judge")
    asked = _asks(message)
    for name, field in properties.items():
        if type(field) is not dict or not _writable(field):
            continue
        found = _field_fault(name, field)
        if (
            not found
            and asked
            and not _ELSE.intersection(_words(f"{name} {field.get('title', '')}"[:LONGEST]))
        ):
            found = asked
        if found:
            return Fault(("requestedSchema", "properties", name), f"the form asks for a secret: `{found}`")
    return None


def _size(field: tuple[str, Any]) -> int:
    name, held = field
    texts = (held.get("title"), held.get("description")) if type(held) is dict else ()
    return len(name) + sum(len(text) for text in texts if type(text) is str)


def _writable(field: Mapping[str, Any]) -> bool:
    """Whether a person can write what they like there; a client may show what it does not know as text."""
    kind = field.get("type", "string")
    kinds = kind if type(kind) is list else [kind]
    items = field.get("items")
    choices = items if kinds == ["array"] and type(items) is dict else field
    return any(type(one) is str and one in _FREE for one in kinds) and not _chosen(choices)


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
    words = _words(text)
    return (_secret(words, number) if len(words) <= _REACH else "") or _asks(text)


def _label_fault(label: str, number: bool) -> str:
    words = _words(label)
    return words[0] if len(words) == 1 and words[0] in _WHOLE else _secret(words, number)


def _asks(text: str) -> str:
    """The secret that a sentence asks for; a sentence that only speaks of one asks for none."""
    words = _words(text)
    for at, word in enumerate(words):
        if word in _ASKING or words[at : at + 3] == ["what", "is", "your"]:
            reach = words[at + 1 : at + 2 + _REACH]
            turn = next((index for index, one in enumerate(reach) if one in _TURNS), len(reach))
            if found := next(_found(words, at + 1, at + 1 + turn), ""):
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
    plain = unicodedata.normalize("NFKC", text)
    shown = "".join(one for one in plain if unicodedata.category(one) != "Cf")
    return [_latin(word) for word in _WORD.findall(_CAMEL.sub(" ", shown).casefold())]


def _latin(word: str) -> str:
    return word.translate(_ALIKE) if not word.isascii() and _LATIN.search(word) else word
