"""The labelled texts with and without credentials, their values made up at run time.

No value of a credential's form stands in a file, or every scanner of repositories would take it for one.
`tuned` texts were looked at while the rules were written, `held` ones were not: each was measured first.
"""

from __future__ import annotations

import random
import re
import string
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox.inspect.credentials import Rule, shipped

HERE = Path(__file__).parent
Split = Literal["tuned", "held"]
SPLITS: tuple[Split, ...] = ("tuned", "held")
KINDS_A_TEXT = 5
"""Of a text for tokens, with how many kinds of them it is made; any other text, how often."""
_ALNUM = string.ascii_letters + string.digits
_CLASSES = {
    "w": _ALNUM,
    "x": _ALNUM + "-_",
    "b": _ALNUM + "+/",
    "h": "0123456789abcdef",
    "hex": "0123456789abcdef",
    "l": string.ascii_lowercase + string.digits,
    "u": string.ascii_uppercase + string.digits,
    "k": string.ascii_uppercase + "234567",
    "q": "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L",
    "d": string.digits,
    "s": string.ascii_letters,
}
_SLOT = re.compile(r"\{([a-z]+)(\d*)\}")
_HUMAN = (
    "Sommer2024!",
    "correct-horse-battery",
    "Tr0ub4dor&3",
    "P@ssw0rd!",
    "qwertz789",
    "Admin#2023",
    "letmein!99",
)


@dataclass(frozen=True)
class Text:
    """One labelled text; `secrets` are what must not be left of it."""

    group: str
    text: str
    secrets: tuple[str, ...] = ()
    rule: str = ""


class Making:
    """Fills the slots of templates, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  made up, and the same each time
        self.rules = [rule for rule in shipped().rules if rule.group == "token"]

    def draw(self, kind: str, count: int) -> str:
        """`count` characters of a class, mixed as chance mixes them."""
        return "".join(self.random.choice(_CLASSES[kind]) for _ in range(count))

    def example(self, template: str) -> str:
        """A made-up value of a rule."""
        return _SLOT.sub(lambda found: self._slot(found[1], found[2]), template)

    def honest(self, template: str) -> str:
        """The template with its slots filled, but for those that would be a secret."""
        return _SLOT.sub(self._honest, template)

    def _honest(self, found: re.Match[str]) -> str:
        name, count = found[1], found[2]
        if count:
            return self.draw(name, int(count)) if name in _CLASSES else found[0]
        return self.value(name) if name in _HONEST else found[0]

    def _slot(self, name: str, count: str) -> str:
        return self.draw(name, int(count)) if count else self.value(name)

    def value(self, name: str) -> str:
        """A value of a slot that has a name of its own."""
        made = getattr(self, f"_{name}", None)
        if made is None:
            raise ValueError(f"no slot `{name}`")
        return str(made())

    def _b(self) -> str:
        return self.draw("b", 64)

    def _md(self) -> str:
        return self.draw("h", 32)

    def _sha(self) -> str:
        return self.draw("h", 40)

    def _uuid(self) -> str:
        return "-".join(self.draw("h", size) for size in (8, 4, 4, 4, 12))

    def _pw(self) -> str:
        return self.draw("w", 8) + self.draw("d", 2) + self.draw("x", 12) + self.draw("w", 2)

    def _mixed(self) -> str:
        return self._pw()

    def _human(self) -> str:
        return self.random.choice(_HUMAN)

    def _key(self) -> str:
        kind = self.random.choice(("RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "))
        lines = "\n".join(self.draw("b", 64) for _ in range(self.random.randint(3, 12)))
        return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"

    def _keyjson(self) -> str:
        return self._key().replace("\n", "\\n")

    def _keyyaml(self) -> str:
        return self._key().replace("\n", "\n    ")

    def _age(self) -> str:
        return "AGE-SECRET-KEY-1" + self.draw("q", 58)

    def _jwkd(self) -> str:
        return self.draw("x", 43)

    def _azkey(self) -> str:
        return self.draw("b", 86) + "=="

    def _awssession(self) -> str:
        return "IQoJb3JpZ2luX2Vj" + self.draw("b", 280)

    def _jwt(self) -> str:
        head = urlsafe_b64encode(b'{"alg":"RS256","typ":"JWT"}').decode().rstrip("=")
        body = urlsafe_b64encode(f'{{"sub":"{self.draw("d", 9)}","iat":1732580000}}'.encode()).decode()
        return f"{head}.{body.rstrip('=')}.{self.draw('x', 86)}"

    def _basic(self) -> str:
        return b64encode(f"svc-user:{self._pw()}".encode()).decode()

    def _discord(self) -> str:
        number = self.draw("d", 18).replace("0", "1")
        head = urlsafe_b64encode(number.encode()).decode().rstrip("=")
        return f"{head}.{self.draw('x', 6)}.{self.draw('x', 32)}"

    def _card(self) -> str:
        start = self.random.choice(("4", "51", "55", "6011", "2221"))
        digits = start + self.draw("d", 15 - len(start))
        return next(digits + last for last in string.digits if _luhn(digits + last))

    def _cardspaced(self) -> str:
        return " ".join(re.findall("....", self._card()))

    def _carddashed(self) -> str:
        return "-".join(re.findall("....", self._card()))


def _luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0


_HONEST = frozenset(("b", "md", "sha", "uuid"))
_SECRET_SLOTS = frozenset(
    "token key keyjson keyyaml age jwkd jwt awssession pw b40 azkey basic hex64 card cardspaced carddashed"
    " human".split()
)


def with_secrets(split: Split, seed: int = 1) -> Iterator[Text]:
    """Every text with a credential in it."""
    making = Making(seed + (split == "held"))
    at = 0
    for group, template in _lines(f"with.{split}.txt"):
        for _ in range(KINDS_A_TEXT if group == "token" else 2):
            at += 1
            yield _filled(making, group, template, making.rules[at % len(making.rules)])


def _filled(making: Making, group: str, template: str, rule: Rule) -> Text:
    secrets: list[str] = []
    token = making.example(rule.example)

    def slot(found: re.Match[str]) -> str:
        name = found[1] + found[2]
        value = token if name == "token" else making._slot(found[1], found[2])
        if name in _SECRET_SLOTS:
            secrets.append(value)
        return value

    text = _SLOT.sub(slot, template)
    return Text(group, text, tuple(dict.fromkeys(secrets)), rule.id if group == "token" else "")


def without_secrets(split: Split, seed: int = 1) -> Iterator[Text]:
    """Every text without one, those with made-up values twice; what looks like a slot of secrets stays."""
    making = Making(seed + 10 + (split == "held"))
    for group, template in _lines(f"without.{split}.txt"):
        for _ in range(2 if _SLOT.search(template) or group == "ids" else 1):
            yield Text(group, making.honest(template))


def _lines(name: str) -> Iterator[tuple[str, str]]:
    for line in (HERE / name).read_text("utf-8").splitlines():
        group, _, template = line.partition(" | ")
        yield group, template.replace("\\n", "\n").replace("\\r", "\r").replace("\\x1b", "\x1b")
