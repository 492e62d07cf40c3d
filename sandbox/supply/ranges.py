"""Whether a locked version is one of those that a command asks for (no I/O): npm's ranges and PyPI's clauses.

Only what is plainly outside is refused: a tag and what is not understood leave the version open.
"""

from __future__ import annotations

import re

from sandbox.patterns import regex

_NPM = regex(
    r"(\^|~>?|>=|<=|>|<|=)?\s*v?([0-9]{1,18}|[xX*])(?:\.([0-9]{1,18}|[xX*]))?(?:\.([0-9]{1,18}|[xX*]))?([-+][0-9A-Za-z.+-]+)?"
)
_VERSION = regex(r"([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{1,18})(-[0-9A-Za-z.-]+)?")
_CLAUSE = regex(r"(===|==|~=|!=|<=|>=|<|>)([0-9]{1,18}(?:\.[0-9]{1,18})*)(\.\*)?")
_RELEASE = regex(r"(?:[0-9]{1,18}!)?([0-9]{1,18}(?:\.[0-9]{1,18})*)")

Parts = tuple[int, ...]


def npm_allows(selector: str, version: str) -> bool:
    """`1.2.3` of `^1.0 || 2.x`; True where the selector is a tag, or where there is none."""
    if not selector:
        return True
    found = _VERSION.match(version)
    if found is None:
        return True
    release = (int(found[1]), int(found[2]), int(found[3]))
    return any(_every(one.strip(), release, pre=bool(found[4])) for one in selector.split("||"))


def _every(comparators: str, release: Parts, *, pre: bool) -> bool:
    low, hyphen, high = comparators.partition(" - ")
    words = [f">={low}", f"<={high}"] if hyphen else re.sub(r"([\^~<>=])\s+", r"\1", comparators).split()
    return all(_one(word, release, pre=pre) for word in words)


def _one(word: str, release: Parts, *, pre: bool) -> bool:
    found = _NPM.fullmatch(word)
    if found is None or (pre and found[5]):
        return True  # a tag, or the order of pre-releases, which is the registry's business
    numbers = [int(part) for part in found.group(2, 3, 4) if part is not None and part.isdecimal()]
    low, upper = _padded(numbers), _above(numbers)
    match found[1]:
        case "^":
            first = next((at for at, number in enumerate(numbers) if number), len(numbers) - 1)
            return low <= release < _above(numbers[: first + 1])
        case "~" | "~>":
            return low <= release < _above(numbers[:2])
        case ">=":
            return release >= low
        case "<=":
            return release < upper
        case ">":
            return release >= upper if numbers else False
        case "<":
            return release < low
        case _:
            return low <= release < upper


def _padded(numbers: list[int]) -> Parts:
    return (*numbers, *[0] * (3 - len(numbers)))


def _above(numbers: list[int]) -> Parts:
    """The first release that does not begin with these."""
    if not numbers:
        return (1 << 62, 0, 0)
    return _padded([*numbers[:-1], numbers[-1] + 1])


def pypi_allows(clauses: str, version: str) -> bool:
    """`1.2` of `>=1,<2`, by the release alone: what precedes or follows one counts as it."""
    found = _RELEASE.match(version)
    if found is None:
        return True
    release = _release(found[1])
    return all(_clause(one, release) for one in clauses.split(",") if one)


def _release(text: str) -> Parts:
    numbers = [int(part) for part in text.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _clause(clause: str, release: Parts) -> bool:
    found = _CLAUSE.fullmatch(clause)
    if found is None:
        return True
    wanted = _release(found[2])
    written = [int(part) for part in found[2].split(".")]
    starts = _starts(release, written)
    match found[1]:
        case "==" | "===":
            return starts if found[3] else release == wanted
        case "!=":
            return not starts if found[3] else release != wanted
        case "~=":
            return release >= wanted and _starts(release, written[:-1])
        case ">=":
            return release >= wanted
        case "<=":
            return release <= wanted
        case ">":
            return release > wanted
        case _:
            return release < wanted


def _starts(release: Parts, written: list[int]) -> bool:
    padded = (*release, *[0] * (len(written) - len(release)))
    return padded[: len(written)] == tuple(written)
