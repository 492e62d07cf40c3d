"""A host made of a table: the facts and the survey that the real ones would give for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sandbox.plan.container import Place
from sandbox.plan.facts import Cgroups, Closure, Container, Engine, HostFacts, PathFact, Probe, Survey
from sandbox.plan.image import Image
from sandbox.policy import hosts
from sandbox.policy.model import (
    AuditPolicy,
    Behaviour,
    BreachPolicy,
    Env,
    Files,
    HostBudget,
    HostRule,
    Inspect,
    Isolation,
    Network,
    Origin,
    PathRule,
    Policy,
    Quota,
    Secret,
    Server,
    Tools,
    Traffic,
)
from sandbox.policy.paths import secret_places
from sandbox.policy.resolve import HOST_LISTS
from sandbox.records import replace

HOME = "/home/u"
WORKS = Probe(True)
MERGED = {
    "/usr": "",
    "/bin": "usr/bin",
    "/sbin": "usr/sbin",
    "/lib": "usr/lib",
    "/lib64": "usr/lib64",
    "/etc/ssl/certs": "",
    "/etc/alternatives": "",
}
ETC = {
    "/etc/os-release": b"ID=debian\n",
    "/etc/services": b"https 443/tcp\n",
    "/etc/resolv.conf": b"nameserver 9.9.9.9\n",
}


class Paths(Mapping[str, PathFact]):
    """Path facts of a tree: `dir`, `file`, `other` or `-> target`, with ` uid:gid` after a kind."""

    def __init__(self, tree: Mapping[str, str], uid: int) -> None:
        self.tree, self.uid = tree, uid

    def real(self, path: str) -> str:
        for _ in range(40):
            at = ""
            for part in path.strip("/").split("/"):
                at = f"{at}/{part}"
                text = self.tree.get(at, "")
                if text.startswith("-> "):
                    path = text[3:] + path.removeprefix(at)
                    break
            else:
                return path
        return path

    def __getitem__(self, path: str) -> PathFact:
        real = self.real(path)
        text = self.tree.get(real, "")
        # A link that is left leads in a circle: nothing is there.
        kind, _, owner = ("" if text.startswith("-> ") else text).partition(" ")
        uid, _, gid = (owner or f"{self.uid}:{self.uid}").partition(":")
        return PathFact(real, kind, int(uid), int(gid))  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tree)

    def __len__(self) -> int:
        return len(self.tree)


def survey(tree: Mapping[str, str], **changes: Any) -> Survey:
    """What the survey of that tree says; `changes` replace its fields."""
    environ = {"HOME": HOME, **changes.pop("environ", {})}
    uid = changes.pop("uid", 1000)
    paths = Paths(tree, uid)
    places = secret_places(HOME, environ)
    protected = {paths.real(place): why for place, why in places.items()} | places
    fields: dict[str, Any] = {
        "home": HOME,
        "cwd": HOME,
        "closure": Closure(("/usr/bin/server",)),
        "etc": ETC,
        "system": MERGED,
        "protected": protected,
    }
    return Survey(environ=environ, paths=paths, **(fields | changes))


def facts(uid: int = 1000, **changes: Any) -> HostFacts:
    """A host on which everything works and no cgroup is writable."""
    probes = dict.fromkeys(("namespaces", "mounts", "proc", "seccomp", "idmap", "trap"), WORKS)
    return HostFacts(**({"kernel": "6.18", "machine": "x86_64", "uid": uid, "gid": uid, **probes} | changes))


def failing(detail: str, hint: str) -> Probe:
    """A probe that did not work."""
    return Probe(False, detail, hint)


def cgroups(version: Any, *controllers: str) -> Cgroups:
    """A writable parent for each controller."""
    return Cgroups(version, {name: f"/sys/fs/cgroup/{name}" for name in controllers})


def engine(**changes: Any) -> Engine:
    """An engine on this machine that holds every limit."""
    able: dict[str, Any] = {"seccomp": True, "limits": ("memory", "swap", "pids", "cpu"), "machine": "x86_64"}
    return Engine(**({"endpoint": "unix:///engine.sock", **able} | changes))


def image(name: str = "base", **changes: Any) -> Image:
    """An image of ours; `changes` say what another brings along."""
    return Image(name, "sha256:" + "1" * 64, **changes)


def container(
    at: Engine | None = None, *, image: Image | None = None, uid: int = 1000, gid: int = 1000
) -> Container:
    """What a plan for a container stands on, for an ordinary caller unless said otherwise."""
    return Container(at or engine(), image or Image("base", "sha256:" + "1" * 64), uid, gid)


def place(**changes: Any) -> Place:
    """One session's place at an engine."""
    return Place(**({"session": "s1", "folder": "/state/s1", "network": "h0"} | changes))


def rules(*texts: str, file: str = "web.toml") -> tuple[PathRule, ...]:
    """Path rules as the loader makes them, one a line from line 5."""
    made = []
    for line, text in enumerate(texts, 5):
        source, _, target = text.partition(":")
        made.append(PathRule(source, target or None, Origin(file, line)))
    return tuple(made)


def network(table: Mapping[str, Any]) -> Network:
    """A network as the loader makes it: a list of hosts a line, from `allow` in line 10 on."""
    rules: dict[tuple[str, int], HostRule] = {}
    for line, name in enumerate(HOST_LISTS, 10):
        for text in table.get(name, ()):
            rule = hosts.parse(text, Origin("web.toml", line))
            held = rules.get((rule.host, rule.port), rule)
            rules[rule.host, rule.port] = held if name == "allow" else replace(held, **{name: True})
    plain = {key: table[key] for key in ("upload", "download", "connections") if key in table}
    budgets = [(hosts.parse(text), limits) for text, limits in table.get("budget", {}).items()]
    return Network(
        tuple(rules.values()),
        **plain,
        budgets=tuple(HostBudget(at.host, at.port, **limits) for at, limits in budgets),
        behaviour=Behaviour(**table.get("behaviour", {})),
    )


def policy(table: Mapping[str, Any] | None = None) -> Policy:
    """A policy from a table shaped like a profile; every key given gets an origin `web.toml:LINE`."""
    given = dict(table or {})
    files = dict(given.get("files", {}))
    for key in ("read", "write", "programs"):
        files[key] = rules(*files.get(key, ()))
    files["expose"] = tuple(files.get("expose", ()))
    env = given.get("env", {})
    return Policy(
        "web",
        server=Server(**given.get("server", {})),
        files=Files(**files),
        network=network(given.get("network", {})),
        env=Env(tuple(env.get("pass", ())), tuple(env.get("set", {}).items())),
        secrets=tuple(
            Secret(name, secret.get("from", "env"), tuple(secret.get("inject", ())), Origin("web.toml", 20))
            for name, secret in given.get("secrets", {}).items()
        ),
        quota=Quota(**given.get("quota", {})),
        traffic=Traffic(**given.get("traffic", {})),
        tools=Tools(**given.get("tools", {})),
        inspect=Inspect(**given.get("inspect", {})),
        syscalls=given.get("syscalls", "net"),
        isolation=Isolation(**given.get("isolation", {})),
        audit=AuditPolicy(**given.get("audit", {})),
        breach=BreachPolicy(**given.get("breach", {})),
        origins=tuple(_origins(given)),
    )


def _origins(given: Mapping[str, Any]) -> Iterator[tuple[str, Origin]]:
    yield from _network_origins(given.get("network", {}))
    for table, keys in given.items():
        names = list(keys) if isinstance(keys, dict) else [""]
        for line, name in enumerate(names, 30):
            yield f"{table}.{name}".rstrip("."), Origin("web.toml", line)


def _network_origins(table: Mapping[str, Any]) -> Iterator[tuple[str, Origin]]:
    for line, name in enumerate(HOST_LISTS, 10):
        for text in table.get(name, ()):
            yield f"network.{name}.{hosts.spelling(text)}", Origin("web.toml", line)
    for text, limits in table.get("budget", {}).items():
        for line, key in enumerate(limits, 20):
            yield f'network.budget."{hosts.spelling(text)}".{key}', Origin("web.toml", line)
    for line, key in enumerate(table.get("behaviour", {}), 25):
        yield f"network.behaviour.{key}", Origin("web.toml", line)
