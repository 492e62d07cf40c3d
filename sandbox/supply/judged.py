"""Every package of a resolution, held against the policy before it is locked (no I/O)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sandbox.policy.model import Supply
from sandbox.policy.quota import show_duration
from sandbox.records import dataclass
from sandbox.supply import lookalikes, vouched
from sandbox.supply.findings import Finding, Judged, Origins, Rule, Strength
from sandbox.supply.lock import Package
from sandbox.supply.osv import Advisory, Ecosystem, plain
from sandbox.supply.pypi_lock import builders
from sandbox.supply.resolved import Resolution
from sandbox.supply.spec import normal

if TYPE_CHECKING:
    from sandbox.supply.advisories import Advisories
    from sandbox.supply.provenance import Evidence

__all__ = ["Finding", "Judged", "Known", "Origins", "judge"]

_DAY = 86400.0
_STALE = 30 * _DAY


@dataclass(frozen=True, slots=True)
class Known:
    """What a resolution is judged by, besides the policy: all of it read before."""

    now: float
    """Seconds since 1970."""
    advisories: Advisories | None = None
    """None: no database was given."""
    servers: tuple[str, ...] = ()
    """`npm:NAME` and `pypi:NAME` of the shipped profiles."""
    asked: tuple[str, ...] = ()
    """Names of the packages that were asked for: only these can be a typist's mistake."""
    evidence: Evidence | None = None
    """Keys and attestations that a build fetched; None: none was."""


@dataclass(frozen=True, slots=True)
class _Part:
    findings: tuple[Finding, ...] = ()
    unchecked: tuple[str, ...] = ()


def judge(
    resolution: Resolution, ecosystem: Ecosystem, policy: Supply, known: Known, waive: Iterable[str] = ()
) -> Judged:
    """Holds every package against the policy; `waive` are `RULE:NAME`."""
    packages = list({(one.name, one.version): one for one in resolution.packages}.values())
    vouching = vouched.vouched(resolution, ecosystem, policy.provenance, known.evidence)
    parts = (
        _ages(packages, policy, known),
        _Part(tuple(_withdrawn(resolution, packages))),
        # What builds a source decides what that becomes, though it is no part of the tree.
        _advised([*packages, *_builders(packages, ecosystem)], ecosystem, policy, known),
        _Part(tuple(_likes(packages, ecosystem, policy, known))),
        _Part(tuple(_reached(resolution))),
        _Part(vouching.findings, vouching.unchecked),
    )
    findings = [finding for part in parts for finding in part.findings]
    left = [sentence for part in parts for sentence in part.unchecked]
    asked = (*waive, *(f"age:{name}" for name in policy.age_waive))
    unchecked = tuple(dict.fromkeys((*resolution.unchecked, *left)))
    return _waived(findings, unchecked, ecosystem, asked, tuple(waive), vouching.origins)


def _builders(packages: Iterable[Package], ecosystem: Ecosystem) -> Iterator[Package]:
    known = {(one.name, one.version) for one in packages}
    for package in packages if ecosystem == "pypi" else ():
        for one in builders(package) or ():
            if (one.name, one.version) not in known:
                known.add((one.name, one.version))
                yield one


def _waived(
    findings: list[Finding],
    unchecked: tuple[str, ...],
    ecosystem: Ecosystem,
    asked: tuple[str, ...],
    typed: tuple[str, ...],
    origins: tuple[Origins, ...],
) -> Judged:
    """What nobody waived; a waiver that there is nothing for is told, unless a profile has it."""
    wanted = {_spelt(one, ecosystem) for one in asked}
    found = {_spelt(one.waiver, ecosystem) for one in findings}
    return Judged(
        findings=tuple(one for one in findings if _spelt(one.waiver, ecosystem) not in wanted),
        waived=tuple(sorted(one.replace(":", " ", 1) for one in wanted & found)),
        idle=tuple(one for one in typed if _spelt(one, ecosystem) not in found),
        unchecked=unchecked,
        provenance=origins,
    )


def _spelt(waiver: str, ecosystem: Ecosystem) -> str:
    rule, _, name = waiver.partition(":")
    return f"{rule}:{normal(name) if ecosystem == 'pypi' and rule != 'reach' else name}"


def _finding(rule: Rule, package: Package, what: str, strength: Strength) -> Finding:
    return Finding(rule, plain(package.name, 214), plain(package.version, 100), what, strength)


# --- age, yanked, deprecated -----------------------------------------------------------------------


def _ages(packages: list[Package], policy: Supply, known: Known) -> _Part:
    if not policy.age:
        return _Part()
    young, unsaid = [], []
    for package in packages:
        published = _seconds(package.published)
        if published is None:
            unsaid.append(f"{package.name}@{package.version}")
        elif known.now - published < policy.age:
            what = f"it was published {_ago(known.now - published)}, and {_asked(policy.age)} is asked for"
            young.append(_finding("age", package, what, "refuse"))
    told = f"age of {vouched.listed(unsaid)}: the registry does not say when it was published"
    return _Part(tuple(young), (told,) if unsaid else ())


def _seconds(published: str) -> float | None:
    """Seconds since 1970 of an RFC 3339 time; None where it is none."""
    try:
        read = datetime.fromisoformat(published[:40])
    except ValueError:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _ago(seconds: float) -> str:
    if seconds < 0:
        return "in the future"
    return f"{seconds / _DAY:.1f} days ago" if seconds >= _DAY else f"{seconds / 3600:.1f} hours ago"


def _asked(seconds: float) -> str:
    return f"an age of {show_duration(seconds)}"


def _withdrawn(resolution: Resolution, packages: list[Package]) -> Iterator[Finding]:
    for package in packages:
        said = resolution.of(package.name, package.version)
        if said.yanked:
            why = "" if said.yanked == "yes" else f": {plain(said.yanked, 200)}"
            yield _finding("yanked", package, f"it was yanked{why}", "refuse")
        if said.deprecated:
            yield _finding("deprecated", package, f"it is deprecated: {plain(said.deprecated, 200)}", "warn")


# --- advisories ------------------------------------------------------------------------------------


def _advised(packages: list[Package], ecosystem: Ecosystem, policy: Supply, known: Known) -> _Part:
    if policy.advisories == "off":
        return _Part()
    if known.advisories is None:
        where = "`[supply] advisories_at` or `MCP_SANDBOX_OSV`"
        return _Part((), (f"known malicious and vulnerable versions: no database is named by {where}",))
    about = known.advisories.about(ecosystem, [(one.name, one.version) for one in packages])
    return _Part(
        tuple(_of_advisories(packages, about, policy)), tuple(_limits(known.advisories, ecosystem, known.now))
    )


def _of_advisories(
    packages: list[Package], about: Mapping[tuple[str, str], tuple[Advisory, ...]], policy: Supply
) -> Iterator[Finding]:
    strength: Strength = "refuse" if policy.advisories == "require" else "warn"
    for package in packages:
        for one in about[package.name, package.version]:
            if one.malicious:  # nobody asks to be warned of malware that is then installed
                yield _finding("malicious", package, _worded(one, "it is known as malicious"), "refuse")
            else:
                yield _finding("vulnerable", package, _worded(one, "it is known as vulnerable"), strength)


def _worded(one: Advisory, what: str) -> str:
    ids = ", ".join((one.id, *one.also[:2]))
    severity = f", {one.severity}" if one.severity else ""
    fixed = f" (mended in {one.fixed})" if one.fixed else ""
    return f"{what}: {ids}{severity}{': ' if one.summary else ''}{one.summary}{fixed}"


def _limits(database: Advisories, ecosystem: Ecosystem, now: float) -> Iterator[str]:
    """What a database cannot say."""
    place = f"`{plain(database.path, 200)}`"
    if not database.packages.get("npm" if ecosystem == "npm" else "PyPI"):
        yield f"advisories: {place} names no package of {ecosystem} at all"
    if database.broken:
        yield f"advisories: {database.broken} records of {place} cannot be read"
    newest = _seconds(database.newest)
    if newest is None:
        yield f"advisories: {place} does not say how old it is"
    elif now - newest > _STALE:
        yield f"advisories: the newest of {place} is of {database.newest[:10]}"


# --- names, and what a build tried -----------------------------------------------------------------


def _likes(packages: list[Package], ecosystem: Ecosystem, policy: Supply, known: Known) -> Iterator[Finding]:
    if policy.lookalikes == "off":
        return
    strength: Strength = "refuse" if policy.lookalikes == "require" else "warn"
    asked = {normal(name) if ecosystem == "pypi" else name for name in known.asked}
    for package in packages:
        name = normal(package.name) if ecosystem == "pypi" else package.name
        found = lookalikes.like(f"{ecosystem}:{name}", known.servers) if name in asked else None
        if found:
            yield _finding("lookalike", package, f"its name passes for `{found[0]}` ({found[1]})", strength)


def _reached(resolution: Resolution) -> Iterator[Finding]:
    for host in resolution.reached:
        yield Finding("reach", plain(host, 300), "", "the build tried to reach it and was denied", "refuse")
