"""What signatures and attestations prove of each package, and what is wrong with them (no I/O)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from urllib.parse import urlsplit

from sandbox.policy.model import Judgement
from sandbox.records import dataclass
from sandbox.supply.attestations import EXTRA, NotCheckedError, NotHeldError, proven
from sandbox.supply.findings import Finding, Origins, Strength
from sandbox.supply.lock import Package
from sandbox.supply.osv import Ecosystem, plain
from sandbox.supply.provenance import Evidence, attestations_at, keys_at
from sandbox.supply.resolved import Resolution, Said
from sandbox.supply.signatures import Key, check, keys_of

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Vouched:
    """What came of it for all packages."""

    findings: tuple[Finding, ...] = ()
    unchecked: tuple[str, ...] = ()
    origins: tuple[Origins, ...] = ()


@dataclass(frozen=True, slots=True)
class _One:
    """What came of it for one package: what is proven, what is wrong, and why the rest was left open."""

    words: tuple[str, ...] = ()
    faults: tuple[Finding, ...] = ()
    open: tuple[str, ...] = ()


def vouched(
    resolution: Resolution, ecosystem: Ecosystem, mode: Judgement, evidence: Evidence | None
) -> Vouched:
    """Every package's signatures and attestations; what is forged is refused whatever `mode` asks for."""
    if mode == "off":
        return Vouched()
    evidence = evidence or Evidence()
    libraries = find_spec("cryptography") is not None
    findings, origins = list[Finding](), list[Origins]()
    left = dict[str, list[str]]()
    for package in resolution.packages:
        said = resolution.of(package.name, package.version)
        one = _of_package(package, said, ecosystem, evidence) if libraries else _One(open=(_missing(said),))
        findings += one.faults
        if one.words:
            origins.append(Origins(package.name, package.version, one.words))
        elif not one.faults and mode == "require":
            findings.append(
                _fault("provenance", package, "; ".join(one.open) or "nothing vouches for it", mode)
            )
        for reason in one.open:
            left.setdefault(reason, []).append(f"{package.name}@{package.version}")
    return Vouched(tuple(findings), tuple(_sentences(left)), tuple(origins))


def _missing(said: Said) -> str:
    return f"signatures were not checked: {EXTRA}" if said.signatures or said.attestations else NOTHING


NOTHING = "its registry serves no signature and no attestation of it"


def _of_package(package: Package, said: Said, ecosystem: Ecosystem, evidence: Evidence) -> _One:
    signed = _signed(package, said, evidence) if ecosystem == "npm" else _One()
    attested = _attested(package, said, ecosystem, evidence)
    one = _One(signed.words + attested.words, signed.faults + attested.faults, signed.open + attested.open)
    return one if one.words or one.faults or one.open else _One(open=(NOTHING,))


def _signed(package: Package, said: Said, evidence: Evidence) -> _One:
    if not said.signatures:
        return _One()
    outcome, key = check(
        package.name,
        package.version,
        package.integrity,
        said.signatures,
        _keys(package, evidence),
        package.published,
    )
    if outcome == "valid" and key is not None:
        return _One(words=(f"signed by {plain(key.owner, 100)}",))
    if outcome == "forged":
        what = "the registry's signature does not fit what was installed"
        return _One(faults=(_fault("signature", package, what, "require"),))
    if outcome == "expired":
        return _One(open=("it is signed with a key that had ended before, or may have",))
    return _One(open=("it is signed with a key that its registry does not serve",))


def _keys(package: Package, evidence: Evidence) -> tuple[Key, ...]:
    content = evidence.documents.get(keys_at(package))
    try:
        return keys_of(content, urlsplit(package.source).hostname or "") if content else ()
    except ValueError:
        return ()


def _attested(package: Package, said: Said, ecosystem: Ecosystem, evidence: Evidence) -> _One:
    place = attestations_at(package, said, ecosystem)
    if not place or (place in evidence.none and not said.attestations):
        return _One()
    content = evidence.documents.get(place)
    if content is None and not said.attestations:
        return _One(open=("its registry was not reached for attestations",))
    if content is None:
        return _One(open=("its registry names attestations, and they could not be fetched",))
    try:
        words = proven(package, ecosystem, content)
    except NotCheckedError as error:
        return _One(open=(f"its attestations were not checked: {error}",))
    except NotHeldError as error:
        what = f"an attestation does not hold: {plain(str(error), 200)}"
        return _One(faults=(_fault("attestation", package, what, "require"),))
    return _One(words=words)


def _fault(rule: str, package: Package, what: str, mode: Judgement) -> Finding:
    strength: Strength = "refuse" if mode == "require" else "warn"
    return Finding(rule, plain(package.name, 214), plain(package.version, 100), what, strength)  # type: ignore[arg-type]


def _sentences(left: dict[str, list[str]]) -> Iterator[str]:
    for reason, packages in left.items():
        yield f"provenance of {listed(packages)}: {reason}"


def listed(packages: Sequence[str]) -> str:
    """The first few of many names, and how many more there are."""
    named = [plain(one, 120) for one in dict.fromkeys(packages)]
    more = len(named) - _NAMED
    return ", ".join(named[:_NAMED]) + (f" and {more} more" if more > 0 else "")
