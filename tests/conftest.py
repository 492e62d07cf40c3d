"""What every test stands on: a home of its own, a caller that is not root, loud skips, recorded proofs."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import shutil
import signal
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import backends

ROOT = Path(__file__).resolve().parent.parent
PURE = ("plan", "policy", "wire", "relay", "audit", "inspect")
TEST_USERS = ("mcp-sandbox-test", "tester", "nobody")
CI = bool(os.environ.get("CI"))

# Taken before any test changes HOME: where this user's own package registry settings are.
REAL_HOME = Path(os.environ.get("HOME", "/nonexistent"))

# Tests in these folders run a sandbox; what others prove is proved of a part of ours alone.
SANDBOXED = ("tests/attacks/", "tests/e2e/", "tests/backend/")

Require = Callable[[str], None]
Ready = Callable[[str], str]
Prefix = Callable[[list[str]], list[str]]


# --- a home of its own ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One package store for the whole run: a server is fetched once, however many tests start it."""
    chosen = os.environ.get("MCP_SANDBOX_TEST_CACHE")
    return Path(chosen) if chosen else tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def goes_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that a test calls ends nothing but itself, and an interrupt ends the tests as before."""
    monkeypatch.setattr("sandbox.cli.leaving.leave", int)
    handler = signal.getsignal(signal.SIGINT)
    yield
    if signal.getsignal(signal.SIGINT) is not handler:
        signal.signal(signal.SIGINT, handler)


@pytest.fixture(autouse=True)
def own_home(
    tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """No test reads or writes the caller's real home: home, state and config are fresh for each test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(variable, raising=False)
    _keep_registry_settings(monkeypatch)
    return home


def _keep_registry_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which registry, proxy and CA packages come through is the machine's business, not the test's."""
    for variable, place in (("NPM_CONFIG_USERCONFIG", ".npmrc"), ("PIP_CONFIG_FILE", ".config/pip/pip.conf")):
        if variable not in os.environ and (REAL_HOME / place).is_file():
            monkeypatch.setenv(variable, str(REAL_HOME / place))


# --- who calls -----------------------------------------------------------------------------------


def caller() -> str:
    """`root` or `user`: the two kinds of caller every promise is proved for."""
    return "root" if os.geteuid() == 0 else "user"


def unprivileged_user() -> pwd.struct_passwd:
    """The account that stands for an ordinary user when the tests run as root."""
    for name in TEST_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.fail(f"none of the users {', '.join(TEST_USERS)} exists")


@pytest.fixture
def as_user() -> Prefix:
    """Turns an argv into one that runs unprivileged: itself for an ordinary user, setpriv for root."""

    def prefix(argv: list[str]) -> list[str]:
        if os.geteuid() != 0:
            return argv
        user = unprivileged_user()
        drop = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
        return [*drop, *argv]

    return prefix


# --- what must be there --------------------------------------------------------------------------


def _native() -> str:
    """Why the native backend cannot run here, or nothing: what our own probes say."""
    from sandbox.host.probe import probe

    facts = probe()
    needed = {name: getattr(facts, name) for name in ("namespaces", "mounts", "proc", "seccomp")}
    return "; ".join(f"{name}: {one.detail}" for name, one in needed.items() if not one.works)


def _program(name: str) -> str:
    return "" if shutil.which(name) else f"`{name}` is not installed"


_PROBES: dict[str, Callable[[], str]] = {
    "native": _native,
    "docker": backends.without_engine,
    "gvisor": backends.without_gvisor,
}
_missing: dict[str, str] = {}


@pytest.fixture(scope="session")
def require() -> Require:
    """`require("native")`, `require("node")`: a missing part skips the test, and in CI fails it."""

    def check(part: str) -> None:
        if part not in _missing:
            _missing[part] = _PROBES[part]() if part in _PROBES else _program(part)
        if not _missing[part]:
            return
        if CI:
            pytest.fail(f"CI must provide `{part}`: {_missing[part]}", pytrace=False)
        pytest.skip(f"needs `{part}`: {_missing[part]}")

    return check


@pytest.fixture(scope="session")
def ready(require: Require, shared_cache: Path) -> Ready:
    """`ready("docker")`: requires the backend; the note of images that a state directory needs."""
    own = Path(os.environ.get("XDG_STATE_HOME") or REAL_HOME / ".local" / "state")

    def check(backend: str) -> str:
        require(backend)
        return "" if backend == backends.NATIVE else backends.built_images(own, shared_cache)

    return check


# --- proofs of docs/threats.md -------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """`scripts/test` says where the outcomes of marked tests go; other runs record nothing."""
    parser.addoption("--threat-outcomes", metavar="FILE", help="record outcomes of threat proofs in FILE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A proof of a row that does not exist stops the run; a test for root is skipped for others."""
    known = _threat_ids()
    items.sort(key=_waits_for_images)
    for item in items:
        for mark in item.iter_markers("threat"):
            _check_mark(f"{item.path.name}::{item.name}", mark, known)
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="proved by the run as root"))


def _waits_for_images(item: pytest.Item) -> bool:
    """What is pure runs first, while CI still builds the images that the first container needs."""
    return not any(item.path.is_relative_to(ROOT / "tests" / one) for one in PURE)


def _threat_ids() -> set[str]:
    rows = tomllib.loads((ROOT / "docs" / "threats.toml").read_text())["row"]
    return {one for row in rows for one in row["ids"]}


def _check_mark(test: str, mark: pytest.Mark, known: set[str]) -> None:
    usage = '@pytest.mark.threat("D2", proves="what the world shows")'
    if len(mark.args) != 1 or not mark.kwargs.get("proves") or set(mark.kwargs) - {"proves", "backend"}:
        raise pytest.UsageError(f"{test}: write {usage}")
    if mark.args[0] not in known:
        raise pytest.UsageError(f"{test}: `{mark.args[0]}` is no row of docs/threats.toml")


class Proofs:
    """Collects, for every marked test, the worst outcome of its phases."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.outcomes: dict[str, str] = {}
        self.items: dict[str, pytest.Item] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Every collected proof starts as not run: a run that is cut short proves nothing."""
        told = [one for one in session.items if one.get_closest_marker("threat") or _parameters(one)]
        self.items = {item.nodeid: item for item in told}
        self.outcomes = dict.fromkeys(self.items, "not-run")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A failure in any phase is a failure, and only the call itself can pass."""
        if report.nodeid not in self.outcomes or self.outcomes[report.nodeid] == "failed":
            return
        # xfail counts as skipped: what is expected to fail proves nothing.
        if report.failed or report.skipped:
            self.outcomes[report.nodeid] = report.outcome
        elif report.when == "call":
            self.outcomes[report.nodeid] = "xpassed" if hasattr(report, "wasxfail") else "passed"

    def pytest_sessionfinish(self) -> None:
        """One JSON document: who called, each proof with its row, and every case that names its backend.

        Beside what is run again, whatever the same run has left before stands.
        """
        proofs = [entry for nodeid, item in self.items.items() for entry in self._entries(nodeid, item)]
        cases = [self._case(nodeid, item) for nodeid, item in self.items.items() if _parameters(item)]
        document = {"caller": caller(), "proofs": proofs, "cases": cases}
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.target.write_text(json.dumps(self._with_former(document), indent=1))

    def _with_former(self, document: dict[str, Any]) -> dict[str, Any]:
        former = json.loads(self.target.read_text()) if self.target.exists() else {}
        for part in ("proofs", "cases"):
            stand = [one for one in former.get(part, []) if one["node"] not in self.items]
            document[part] = [*stand, *document[part]]
        return document

    def _case(self, nodeid: str, item: pytest.Item) -> dict[str, str]:
        asked = _parameters(item)
        return {
            "node": nodeid,
            "test": _test(nodeid, item),
            "caller": str(asked.get("caller") or caller()),
            "backend": str(asked["backend"]),
            "outcome": self.outcomes[nodeid],
        }

    def _entries(self, nodeid: str, item: pytest.Item) -> Iterator[dict[str, str]]:
        backend = _parameters(item).get("backend")
        usual = "native" if os.path.relpath(item.path, ROOT).startswith(SANDBOXED) else "part"
        for mark in item.iter_markers("threat"):
            yield {
                "node": nodeid,
                "row": mark.args[0],
                "proves": mark.kwargs["proves"],
                "test": _test(nodeid, item),
                "backend": str(backend or mark.kwargs.get("backend", usual)),
                "outcome": self.outcomes[nodeid],
                "sha256": hashlib.sha256(item.path.read_bytes()).hexdigest(),
            }


def _parameters(item: pytest.Item) -> dict[str, Any]:
    """Who calls which backend, of a test that is run for several."""
    asked: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    return asked if "backend" in asked else {}


def _test(nodeid: str, item: pytest.Item) -> str:
    return f"{os.path.relpath(item.path, ROOT)}::{nodeid.partition('::')[2].partition('[')[0]}"


def pytest_configure(config: pytest.Config) -> None:
    """Outcomes are recorded only where the caller of pytest asked for them."""
    target = config.getoption("--threat-outcomes")
    if target:
        config.pluginmanager.register(Proofs(Path(target).absolute()), "threat-proofs")
