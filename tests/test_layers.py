"""The house of docs/architecture.md: imports point inward, pure files stay pure, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SANDBOX = ROOT / "sandbox"

# From the innermost outward; a part imports parts of an earlier line, and itself, and nothing else.
LAYERS = [
    {"errors", "verdict", "event", "excess", "places", "records", "digest", "patterns", "importing", "hints"},
    {"policy"},
    {"plan", "wire"},
    {"inspect"},  # its inspectors read frames
    {"audit", "contexts"},
    {"kernel_files"},
    {"linux", "netlink", "observer", "engine", "scope", "processors"},
    {"trap", "bridge"},
    {"host", "backend", "relay", "egress", "watchdog", "supply", "imaging"},
    {
        "attempt",
        "breaches",
        "build",
        "building",
        "bundles",
        "choice",
        "container_build",
        "containers",
        "evidence",
        "fetched",
        "file_watch",
        "first_looks",
        "control",
        "described",
        "gateway",
        "notify_program",
        "notify",
        "image_locks",
        "image_signatures",
        "images",
        "inspection",
        "judging",
        "kill_watch",
        "leases",
        "lifecycle",
        "lock_keys",
        "locked_pins",
        "locked",
        "locks",
        "matching",
        "metering",
        "notices",
        "outbound",
        "pin_telling",
        "pins",
        "prepare",
        "prepared",
        "preparing",
        "program_locks",
        "prune",
        "realising",
        "remote",
        "restart",
        "secrecy",
        "secret_sources",
        "session",
        "standstill",
        "status",
        "stopping",
        "supplied",
        "syscall_watch",
    }
    | {"waived", "wanted", "watch"},
    {"attack", "clients", "demo", "examine", "login", "serve"},
    {"learn"},  # leads the conversation of `examine`
    {"looked"},  # as `learn` does, and reads its log as that does
    {"locking"},
    {"update"},
    {"cli"},
]
DEPTH = {part: depth for depth, parts in enumerate(LAYERS) for part in parts}
# The words use each other, and so do the modules that wire a session together.
FREE_AMONG_THEMSELVES = [LAYERS[0], next(layer for layer in LAYERS if "session" in layer)]
# System calls are made by what asks the kernel (host) and what builds with it (backend).
ONLY_FROM = {
    "linux": {"host", "backend", "gateway", "attempt", "watchdog"},
    "engine": {"host", "backend", "containers", "image_locks", "images", "imaging", "leases", "build", "cli"},
    "netlink": {"trap", "host", "backend", "egress"},
    "observer": {"trap"},
    "scope": {"host", "backend"},
    "trap": {"host", "backend", "egress"},
}

EFFECTS = frozenset("socket asyncio subprocess ctypes docker psutil pyroute2 time random".split())
PURE_FOLDERS = ("plan", "wire", "inspect")
PURE_FILES = {
    "errors.py",
    "verdict.py",
    "event.py",
    "excess.py",
    "places.py",
    "lifecycle.py",
    "policy/breach.py",
    "policy/hosts.py",
    "policy/model.py",
    "policy/paths.py",
    "policy/exceeded.py",
    "policy/quota.py",
    "policy/sample.py",
    "policy/resolve.py",
    "policy/score.py",
    "policy/starter.py",
    "policy/tools.py",
    "policy/versions.py",
    "supply/attestations.py",
    "supply/cms.py",
    "supply/cosign.py",
    "supply/cyclonedx.py",
    "supply/docker_run.py",
    "supply/findings.py",
    "supply/granted.py",
    "supply/hostile_json.py",
    "supply/judged.py",
    "supply/lock.py",
    "supply/ranges.py",
    "supply/lock_text.py",
    "supply/lookalikes.py",
    "supply/manifest.py",
    "supply/mcpb.py",
    "supply/mcpb_signature.py",
    "supply/npm_lock.py",
    "supply/oci.py",
    "supply/oci_files.py",
    "supply/osv.py",
    "supply/parts.py",
    "supply/pypi_lock.py",
    "supply/public.py",
    "supply/registries.py",
    "supply/runtime_words.py",
    "supply/semver.py",
    "supply/server_json.py",
    "supply/shape.py",
    "supply/signatures.py",
    "supply/spdx.py",
    "supply/uv_project.py",
    "supply/vouched.py",
    "audit/chain.py",
    "bridge/envelope.py",
    "bridge/reply.py",
    "bridge/unfinished.py",
    "bridge/words.py",
    "clients/brackets.py",
    "clients/codec.py",
    "clients/credential.py",
    "clients/engine_entry.py",
    "clients/json_text.py",
    "clients/report.py",
    "clients/scan.py",
    "clients/shapes.py",
    "clients/table.py",
    "clients/toml_text.py",
    "clients/tree.py",
    "clients/variables.py",
    "clients/words.py",
    "clients/wrapping.py",
    "clients/yaml_text.py",
    "egress/addresses.py",
    "egress/behaviour.py",
    "egress/budget.py",
    "egress/canary.py",
    "egress/charge.py",
    "egress/decide.py",
    "egress/guard.py",
    "egress/names.py",
    "egress/tally.py",
    "egress/upstream.py",
    "examine/conversation.py",
    "examine/judging.py",
    "examine/report.py",
    "login/address.py",
    "login/challenge.py",
    "login/grant.py",
    "login/metadata.py",
    "login/refused.py",
    "learn/compose.py",
    "learn/seen.py",
    "learn/wants.py",
    "relay/crashes.py",
    "relay/lines.py",
    "relay/replay.py",
    "serve/heard.py",
    "serve/renumber.py",
    "serve/replies.py",
    "serve/routing.py",
    "host/aliases.py",
    "relay/calls.py",
    "relay/denials.py",
    "relay/listing.py",
    "relay/rates.py",
    "relay/refusals.py",
    "serve/oauth/algorithms.py",
    "serve/oauth/claims.py",
    "serve/oauth/compact.py",
    "serve/oauth/metadata.py",
    "serve/oauth/place.py",
    "serve/address.py",
    "serve/budget.py",
    "serve/crowd.py",
    "serve/guard.py",
    "serve/limits.py",
    "serve/reading.py",
    "serve/words.py",
    "update/diff.py",
    "update/difference.py",
    "update/packages.py",
    "update/report.py",
    "update/text_diff.py",
    "watchdog/meter.py",
    "watchdog/pace.py",
}

FILES = sorted(path.relative_to(SANDBOX).as_posix() for path in SANDBOX.rglob("*.py"))


def part(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


def imports(file: str) -> Iterator[str]:
    """The dotted names that a file imports anywhere, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse((SANDBOX / file).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from _from(node)


def _from(node: ast.ImportFrom) -> Iterator[str]:
    module = node.module or ""
    # `from sandbox import linux` names a part; `from sandbox.plan import spec` is inside one already.
    yield from (f"sandbox.{alias.name}" for alias in node.names) if module == "sandbox" else (module,)


def may_import(importer: str, imported: str) -> bool:
    if importer == imported:
        return True
    if imported in ONLY_FROM:
        return importer in ONLY_FROM[imported]
    if any({importer, imported} <= group for group in FREE_AMONG_THEMSELVES):
        return True
    return DEPTH[imported] < DEPTH[importer]


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        pytest.param("cli", "session", True, id="cli uses the wiring"),
        pytest.param("plan", "policy", True, id="plan reads the policy"),
        pytest.param("policy", "plan", False, id="policy knows nothing of plans"),
        pytest.param("relay", "backend", False, id="siblings do not know each other"),
        pytest.param("relay", "audit", True, id="relay may speak to audit, which is further in"),
        pytest.param("session", "cli", False, id="the wiring does not know the command line"),
        pytest.param("backend", "linux", True, id="backends make system calls"),
        pytest.param("relay", "linux", False, id="the relay makes no system call of its own"),
    ],
)
def test_the_rule_itself(importer: str, imported: str, *, allowed: bool) -> None:
    assert may_import(importer, imported) is allowed


@pytest.mark.parametrize("file", [file for file in FILES if file != "__init__.py"])
def test_imports_point_inward(file: str) -> None:
    assert part(file) in DEPTH, f"`{part(file)}` has no layer: add it to docs/architecture.md and to LAYERS"
    ours = {name.split(".")[1] for name in imports(file) if name.startswith("sandbox.")}
    assert not {name for name in ours if not may_import(part(file), name)}


@pytest.mark.parametrize("file", [f for f in FILES if f in PURE_FILES or f.startswith(PURE_FOLDERS)])
def test_pure_files_have_no_effects(file: str) -> None:
    assert not EFFECTS & {name.partition(".")[0] for name in imports(file)}


@pytest.mark.parametrize("file", FILES)
def test_files_stay_small(file: str) -> None:
    lines = len((SANDBOX / file).read_text().splitlines())
    assert lines < 400
    assert not (file.endswith("__init__.py") and lines), "`__init__.py` files are empty"


@pytest.mark.parametrize("file", FILES)
def test_no_module_is_named_for_what_it_is_not(file: str) -> None:
    assert Path(file).stem not in {"utils", "helpers", "manager", "common", "misc"}


def test_only_one_file_touches_ctypes() -> None:
    assert {file for file in FILES if "ctypes" in {name.split(".")[0] for name in imports(file)}} <= {
        "linux.py"
    }


HEAVY = frozenset(
    "pydantic pydantic_core msgspec rich asyncio docker pyroute2 pyseccomp cffi email http "
    "dataclasses inspect shutil socket subprocess tempfile".split()
)
NOT_FOR_A_PLAN = {"typing", "gettext", "signal", "importlib"}
"""Their imports take four milliseconds, and all of it waits for the plan."""
UNTIL_THE_FORKS = """
import os, sys
from sandbox import preparing
from sandbox.cli import main

say, fork = preparing._say, os.fork

def planned(tell, *said):
    if said[0] == "made":
        print("plan", *sys.modules, flush=True)
    say(tell, *said)

def keeper():
    print("keeper", *sys.modules, flush=True)
    os.fork = fork
    return fork()

def planner():
    os.fork = keeper
    return fork()

preparing._say, os.fork = planned, planner
main.main(["run", "--", "/bin/cat"])
"""


def test_a_warm_run_imports_nothing_heavy_on_the_way_to_the_sandbox() -> None:
    """What plans imports no library at all, and what forks the keeper none either: it would have a copy."""
    warm = "import sys; from sandbox.cli.main import main; sys.exit(main(['plan', '--', '/bin/cat']))"
    subprocess.run([sys.executable, "-c", warm], stdout=subprocess.DEVNULL, timeout=30, check=True)
    printed = subprocess.check_output(
        [sys.executable, "-c", UNTIL_THE_FORKS], stdin=subprocess.DEVNULL, text=True, timeout=30
    )
    loaded = {words[0]: words[1:] for words in map(str.split, printed.splitlines())}
    assert "sandbox.plan.plan" in loaded["plan"]
    assert {"sandbox.backend.native.keeper", "sandbox.gateway"} <= set(loaded["keeper"])
    assert not (HEAVY | NOT_FOR_A_PLAN) & {name.partition(".")[0] for name in loaded["plan"]}
    assert not HEAVY & {name.partition(".")[0] for name in loaded["keeper"]}
