"""How exposed a policy leaves its host, from 0 (nothing) to 10 (as without a sandbox): a table of assessors.

As with `systemd-analyze security`, each assessor says how far one thing is open, from 0 to 1, and what that
weighs. Here the weights add up to 10, so that the total reads in the same unit as they do, and every
assessor only grows with what is granted: granting more never lowers the score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from sandbox.policy import hosts
from sandbox.policy.model import HostRule, PathRule, Policy
from sandbox.records import dataclass

UNSANDBOXED = 10.0
"""The total of a server that runs without us."""

WORDS = ((1.0, "sealed"), (2.5, "narrow"), (5.0, "open"), (7.5, "wide"))
"""The word of a total below the number; above all of them it is `exposed`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One assessor's finding: `open` of 0 to 1, and the points that it adds to the total."""

    id: str
    what: str
    weight: float
    open: float
    detail: str
    points: float


@dataclass(frozen=True, slots=True)
class Score:
    """The exposure of one policy: the sum of its rows, rounded to a tenth."""

    total: float
    word: str
    rows: tuple[Row, ...]


Found = tuple[float, str]
"""How far something is open, and what of it, in a few words."""


@dataclass(frozen=True, slots=True)
class Assessor:
    """One question to a policy."""

    id: str
    what: str
    weight: float
    look: Callable[[Policy], Found]


@dataclass(frozen=True, slots=True)
class Start:
    """What a policy's server is started from, as its command and the locks of this machine say."""

    how: Literal["unknown", "locked", "version", "range", "newest"] = "unknown"
    """`unknown`: no command, or one that asks no registry."""
    what: str = ""


UNKNOWN = Start()


def exposure(policy: Policy, start: Start = UNKNOWN) -> Score:
    """The score of a policy that is started from `start`; the same of both is always the same score."""
    rows = tuple(_row(one, *one.look(policy)) for one in assessors(start))
    total = round(min(UNSANDBOXED, sum(row.points for row in rows)), 1)
    return Score(total, word(total), rows)


def word(total: float) -> str:
    """The word for a total."""
    return next((name for below, name in WORDS if total < below), "exposed")


def _row(one: Assessor, share: float, detail: str) -> Row:
    share = min(1.0, max(0.0, share))
    return Row(one.id, one.what, one.weight, round(share, 3), detail, round(one.weight * share, 3))


def _summed(shares: Iterable[float]) -> float:
    return min(1.0, sum(shares))


# --- files -----------------------------------------------------------------------------------------


def _breadth(text: str) -> float:
    """How much one mount shows: everything, a home, a place near the root or a directory of a project."""
    path = text.rstrip("/")
    if path in ("", "~", "$HOME", "${HOME}", "/home", "/root"):
        return 1.0
    if path.startswith("/home/") and path.count("/") == 2:
        return 1.0
    return 0.8 if path.startswith("/") and path.count("/") == 1 else 0.5


def _listed(rules: Iterable[PathRule]) -> str:
    return ", ".join(rule.source for rule in rules)


def _read(policy: Policy) -> Found:
    mounts, programs = (*policy.files.read, *policy.files.write), policy.files.programs
    shares = [*(_breadth(rule.source) for rule in mounts), *(_of_programs(rule.source) for rule in programs)]
    return _summed(shares), _listed((*mounts, *programs))


def _of_programs(text: str) -> float:
    """What lies where programs are installed is nobody's secret; any other tree counts as a mount of it."""
    return 0.05 if text.startswith(("/opt/", "/usr/")) and ".." not in text else _breadth(text)


def _written(policy: Policy) -> Found:
    return _summed(_breadth(rule.source) for rule in policy.files.write), _listed(policy.files.write)


def _secret_places(policy: Policy) -> Found:
    return _summed(0.5 for _ in policy.files.expose), ", ".join(policy.files.expose)


def _kept(policy: Policy) -> Found:
    return (1.0, policy.files.persist) if policy.files.persist else (0.0, "")


# --- network ---------------------------------------------------------------------------------------


def _host(rule: HostRule) -> float:
    """A wildcard is as many hosts as its owner likes."""
    return 0.6 if rule.host.startswith("*.") else 0.3


def _spelt(rules: Iterable[HostRule]) -> str:
    return ", ".join(hosts.spelt(rule.host, rule.port) for rule in rules)


def _reach(policy: Policy) -> Found:
    return _summed(map(_host, policy.network.allow)), _spelt(policy.network.allow)


def _inner(policy: Policy) -> Found:
    inner = [rule for rule in policy.network.allow if _is_inner(rule)]
    return _summed(0.5 for _ in inner), _spelt(inner)


def _is_inner(rule: HostRule) -> bool:
    return rule.private or rule.host == "localhost" or hosts.literal(rule.host)


def _unchecked(policy: Policy) -> Found:
    blind = [rule for rule in policy.network.allow if rule.opaque]
    return _summed(0.5 for _ in blind), _spelt(blind)


def _volume(policy: Policy) -> Found:
    if not policy.network.allow or policy.network.upload is not None:
        return 0.0, ""
    return 1.0, "no budget for what is sent"


def _leak(policy: Policy) -> Found:
    """What is read or secret can go where the server may connect."""
    held = max(_read(policy)[0], _secrets(policy)[0], _secret_places(policy)[0], 0.3 * _kept(policy)[0])
    share = held * _reach(policy)[0]
    return share, "what it reads can be sent to where it connects" if share else ""


# --- what it is given ------------------------------------------------------------------------------


def _secrets(policy: Policy) -> Found:
    shares = (0.3 if one.inject else 0.6 for one in policy.secrets)
    return _summed(shares), ", ".join(one.name for one in policy.secrets)


_HARMLESS = frozenset(("LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "NO_COLOR"))


def _variables(policy: Policy) -> Found:
    telling = [name for name in policy.env.passed if name not in _HARMLESS]
    return _summed(0.25 for _ in telling), ", ".join(telling)


# --- the kernel and the machine --------------------------------------------------------------------

_TIERS = {"strict": 0.0, "net": 0.2, "browser": 0.7, "compat": 1.0}


def _calls(policy: Policy) -> Found:
    return _TIERS[policy.syscalls], f"tier {policy.syscalls}"


def _kernel(policy: Policy) -> Found:
    return (0.0, "gVisor") if policy.isolation.runtime == "gvisor" else (0.3, "the host's own kernel")


_LIMITS = (("memory", 512 << 20), ("cpus", 1.0), ("pids", 128), ("open_files", 1024), ("disk", 256 << 20))


def _resources(policy: Policy) -> Found:
    """Each limit that is absent, or as many times larger than the usual one as there are doublings to 16."""
    shares = [_beyond(getattr(policy.quota, name), usual) for name, usual in _LIMITS]
    wide = [name for (name, _), share in zip(_LIMITS, shares, strict=True) if share]
    return sum(shares) / len(shares), ", ".join(wide)


def _beyond(limit: float | None, usual: float) -> float:
    if limit is None:
        return 1.0
    return min(1.0, max(0.0, limit / usual - 1) / 15)


_SOFT = {"kill": 0.0, "freeze": 0.0, "deny": 0.0, "warn": 1.0}
_BREACHES = "pids open_files disk written cpu_time busy wall idle syscall traffic calls".split()


def _breaches(policy: Policy) -> Found:
    soft = [name for name in _BREACHES if _SOFT[getattr(policy.breach, name)]]
    return _summed(0.25 for _ in soft), ", ".join(f"breach.{name} only warns" for name in soft)


# --- what the model sees and does ------------------------------------------------------------------

_POISON = {"block": 0.0, "strip": 0.0, "warn": 0.6, "off": 1.0}
_SECRETS = {"block": 0.0, "redact": 0.0, "log": 0.7, "off": 1.0}
_PROTOCOL = {"strict": 0.0, "on": 0.2, "off": 1.0}
_PINS = {"locked": 0.0, "first-use": 0.2, "off": 1.0}


def _texts(policy: Policy) -> Found:
    return _looked(policy, "poison", _POISON[policy.inspect.poison], policy.inspect.poison)


def _leaks(policy: Policy) -> Found:
    return _looked(policy, "secrets", _SECRETS[policy.inspect.secrets], policy.inspect.secrets)


def _looked(policy: Policy, name: str, share: float, mode: str) -> Found:
    """How an inspector looks, and which of its rules it leaves out."""
    waived = [rule for rule in policy.inspect.waive if rule.startswith(f"{name}.")]
    return share + 0.1 * len(waived), ", ".join((f"inspect.{name} = {mode}", *waived))


def _protocol(policy: Policy) -> Found:
    return _PROTOCOL[policy.inspect.protocol], f"inspect.protocol = {policy.inspect.protocol}"


def _changes(policy: Policy) -> Found:
    return _PINS[policy.tools.pin], f"tools.pin = {policy.tools.pin}"


def _tools(policy: Policy) -> Found:
    """Whether every tool may be called, without a rule and without a person."""
    tools = policy.tools
    if not tools.allow:
        return 0.0, ""
    open_ = 1.0 if "*" in tools.allow else 0.5
    bounded = 0.2 * bool(tools.deny) + 0.2 * bool(tools.ask) + 0.2 * bool(tools.arguments)
    return open_ * (1 - bounded), "any tool" if open_ == 1.0 and not bounded else "some tools"


_FEATURES = {"deny": 0.0, "ask": 0.3, "allow": 1.0}
_ROOTS = {"deny": 0.0, "mounted": 0.0, "all": 1.0}


def _client(policy: Policy) -> Found:
    client = policy.client
    share = 0.5 * _FEATURES[client.sampling] + 0.2 * _FEATURES[client.elicitation]
    named = [name for name in ("sampling", "elicitation") if getattr(client, name) != "deny"]
    named += ["all roots"] if _ROOTS[client.roots] else []
    return share + 0.3 * _ROOTS[client.roots], ", ".join(named)


# --- where it comes from ---------------------------------------------------------------------------


def _scripts(policy: Policy) -> Found:
    return _summed(0.5 for _ in policy.supply.scripts), ", ".join(policy.supply.scripts)


def _image(policy: Policy) -> Found:
    return (1.0, "a tag can be moved") if policy.server.unpinned else (0.0, "")


_STARTS = {"unknown": 0.0, "locked": 0.0, "version": 0.3, "range": 0.6, "newest": 1.0}


def _approved(start: Start) -> Callable[[Policy], Found]:
    """What somebody has looked at is a lock's; of one version alone what it depends on may still differ."""

    def look(policy: Policy) -> Found:
        share = 0.0 if policy.supply.lock == "require" else _STARTS[start.how]
        return share, start.what if share else ""

    return look


def assessors(start: Start = UNKNOWN) -> tuple[Assessor, ...]:
    """Every question, for what is started from `start`."""
    return (*ASSESSORS, Assessor("supply", "starts what nobody has approved", 0.2, _approved(start)))


ASSESSORS = (
    Assessor("files-read", "reads files of the host", 1.4, _read),
    Assessor("files-write", "changes files of the host", 1.6, _written),
    Assessor("files-secret", "sees places that hold secrets", 0.8, _secret_places),
    Assessor("files-kept", "keeps files between runs", 0.1, _kept),
    Assessor("net-reach", "connects to the network", 1.4, _reach),
    Assessor("net-inner", "connects to this machine or a private network", 0.7, _inner),
    Assessor("net-unchecked", "connects without its host being checked", 0.4, _unchecked),
    Assessor("net-volume", "sends as much as it likes", 0.2, _volume),
    Assessor("leak", "can send what it is given", 0.7, _leak),
    Assessor("secrets", "holds credentials", 0.6, _secrets),
    Assessor("variables", "sees variables of the caller", 0.1, _variables),
    Assessor("syscalls", "has system calls beyond the least", 0.3, _calls),
    Assessor("kernel", "shares the host's kernel", 0.2, _kernel),
    Assessor("resources", "uses the machine beyond the usual limits", 0.2, _resources),
    Assessor("breaches", "goes on after breaking a limit", 0.1, _breaches),
    Assessor("poison", "tells the model unchecked text", 0.2, _texts),
    Assessor("redaction", "tells the model secrets", 0.2, _leaks),
    Assessor("protocol", "sends what the protocol does not know", 0.1, _protocol),
    Assessor("pins", "changes its tools unseen", 0.1, _changes),
    Assessor("tools", "has every tool called without a rule", 0.1, _tools),
    Assessor("client", "asks the client for its model or its user", 0.1, _client),
    Assessor("scripts", "runs install scripts", 0.1, _scripts),
    Assessor("image", "is an image that can be exchanged", 0.1, _image),
)
