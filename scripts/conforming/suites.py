"""The official suites: how each is run, and what its checks said."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conforming.served import Subject
from conforming.toolchain import HERE, Toolchain

STRETCH, TOKEN = HERE / "stretch.cjs", HERE / "token.cjs"
_FOLDER = re.compile(r"(?:server-)?(.+)-\d{4}-\d\d-\d\dT[\d-]+Z?$")


@dataclass(frozen=True)
class Suite:
    """One run: which version of the suite, and which of its scenarios; a client's go by their names."""

    name: str
    version: str
    options: tuple[str, ...]
    clients: tuple[str, ...] = ()


_ALL = ("--suite", "all", "--timeout", "300000", "--spec-version")
_OLDER = Suite("0.2, 2025-06-18", "0.2", (*_ALL, "2025-06-18"))
SUITES = (
    Suite("0.1.16", "0.1.16", ("--suite", "all")),
    Suite("0.2, 2025-11-25", "0.2", (*_ALL, "2025-11-25")),
    Suite("0.2, 2026-07-28", "0.2", (*_ALL, "2026-07-28")),
)
_LEGACY = ("initialize", "tools_call", "elicitation-sep1034-client-defaults", "sse-retry")
_MODERN = (
    "tools_call", "request-metadata", "sep-2322-client-request-state", "http-standard-headers",
    "http-custom-headers", "http-invalid-tool-headers", "json-schema-ref-no-deref",
    "json-schema-2020-12-preservation",
)  # fmt: skip
CLIENTS = (
    Suite("client, 0.1.16", "0.1.16", (), _LEGACY),
    Suite("client, 0.2, 2025-06-18", "0.2", ("--spec-version", "2025-06-18"), ("initialize", "tools_call")),
    Suite(
        "client, 0.2, 2025-11-25", "0.2", ("--spec-version", "2025-11-25"),
        (*_LEGACY, "json-schema-2020-12-preservation"),
    ),
    Suite("client, 0.2, 2026-07-28", "0.2", ("--spec-version", "2026-07-28"), _MODERN),
)  # fmt: skip
"""Without those of a login, which is a person's: tests/login has them."""
OVER_HTTP = (SUITES[0], _OLDER, *SUITES[1:])


OF_STREAMS = {"server-sse-streams-functional"}
"""Left out, with a note, where all answers were JSON and no streams: a server chooses for each of them."""


@dataclass(frozen=True)
class Check:
    """What one check of a scenario said; `nth`: which of those with the same name."""

    scenario: str
    id: str
    name: str
    nth: int
    status: str
    error: str

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Names the check in every run."""
        return self.scenario, self.id, self.name, self.nth


def run(suite: Suite, tools: Toolchain, subject: Subject, place: Path, scenario: str = "") -> list[Check]:
    """Every check of the suite of the subject; `place` keeps what the suite wrote."""
    shutil.rmtree(place, ignore_errors=True)  # what an earlier run left is no check of this one
    place.mkdir(parents=True)
    command = (str(tools.node), "--require", str(STRETCH), "--require", str(TOKEN))
    command += (str(tools.suites[suite.version]),)
    for words in _runs(suite, subject, scenario):
        with (place / "output.txt").open("ab") as told:
            # Its status says whether all passed, which is not the question.
            subprocess.run(  # noqa: S603 - our own words
                [*command, *words, "--output-dir", str(place), *suite.options],
                stdout=told, stderr=subprocess.STDOUT, timeout=1800, cwd=place,
                env={**os.environ, "CONFORMANCE_TOKEN": subject.token},
            )  # fmt: skip
    return [*_checks(place)]


def _runs(suite: Suite, subject: Subject, scenario: str) -> Iterator[tuple[str, ...]]:
    """The words of each run: one for all scenarios of a server, one for each of a client."""
    only = ("--scenario", scenario) if scenario else ()
    if not suite.clients:
        yield ("server", "--url", subject.address, *only)
    for name in suite.clients:
        if scenario in ("", name):
            yield ("client", "--command", " ".join(subject.client), "--scenario", name)


def _checks(place: Path) -> Iterator[Check]:
    for file in sorted(place.rglob("checks.json")):
        scenario = _FOLDER.sub(r"\1", file.parent.name)
        seen: dict[tuple[str, str], int] = {}
        for one in json.loads(file.read_text()):
            if one["status"] == "INFO" and one["id"] not in OF_STREAMS:
                continue  # a note of what was sent, which differs with the time it took
            key = one["id"], one["name"]
            seen[key] = nth = seen.get(key, 0) + 1
            error = one.get("errorMessage") or ""
            yield Check(scenario, one["id"], one["name"], nth, one["status"], error)
