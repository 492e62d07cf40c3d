"""What a clone and a wheel hold: nothing of the machine they were made on, everything a user needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.policy.load import load
from sandbox.policy.profile import json_schema

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {".venv", ".cache", ".git", "node_modules", "__pycache__", "dist", "build"}


def tracked() -> Iterator[Path]:
    """Every file of the tree that is ours: git's list, or a walk where there is no git."""
    listing = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others"]
    done = subprocess.run(
        [*listing, "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    if done.returncode == 0:
        yield from (ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())
        return
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in OURS and not name.endswith("_cache")]
        yield from (Path(folder, name) for name in files)


# Put together here, so that this file does not find itself.
NOT_OURS = {
    "a path of the machine it was written on": [
        r"(?<![\w.])/wo" + r"rk/(main|shared|\.library)",
        r"/opt/(whe" + r"els|py" + r"pi)\b",
    ],
    "a package registry's host": [
        r"registry\.npm" + r"js\.org",
        r"\bpypi\." + r"org\b",
        r"pythonhosted\." + "org",
        r"\bdebian\." + r"org\b",
        r"index-url\s*=",
    ],
}

# What a package manager asks by itself is known to one file.
KNOWN = {"a package registry's host": {"sandbox/supply/public.py"}}


@pytest.mark.parametrize("what", NOT_OURS)
def test_no_tracked_file_names(what: str) -> None:
    patterns = re.compile("|".join(NOT_OURS[what]))
    found = []
    known = KNOWN.get(what, set())
    for path in [one for one in tracked() if str(one.relative_to(ROOT)) not in known]:
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if patterns.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_the_licence_is_the_one_the_package_names() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize(
    "page", sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
)
def test_relative_links_lead_somewhere(page: str) -> None:
    targets = LINK.findall((ROOT / page).read_text())
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


@pytest.mark.parametrize("command", ["scripts/demo", "scripts/test"])
def test_the_commands_of_the_readme_are_there_and_say_what_they_do(command: str) -> None:
    assert f"\n{command}" in (ROOT / "README.md").read_text()
    assert os.access(ROOT / command, os.X_OK)
    assert f"\n{command} makes a Python environment" in (ROOT / command).read_text()


def test_the_first_screen_of_the_readme_says_all_that_is_needed() -> None:
    """What it is, one picture, two commands, what changes: before any other heading."""
    first = (ROOT / "README.md").read_text().partition("\n## ")[0]
    assert len(first.splitlines()) <= 40
    assert "\npipx install ." in first
    assert "\nmcp-sandbox clients wrap" in first
    assert re.findall(r"!\[.+\]\((docs/pictures/[\w-]+\.svg)\)", first)
    assert "What changes for you" in first


def test_every_key_of_a_profile_is_explained() -> None:
    schema = json_schema()
    tables = {
        table: schema["$defs"][value["$ref"].rpartition("/")[2]]["properties"]
        for table, value in schema["properties"].items()
        if "$ref" in value
    }
    keys = [f"`{table}.{key}`" for table, inner in tables.items() for key in inner]
    keys += [f"`{key}`" for key in schema["properties"] if key not in tables and key != "secrets"]
    keys += [f"`secrets.NAME.{key}`" for key in schema["$defs"]["SecretTable"]["properties"]]
    page = (ROOT / "docs" / "profiles.md").read_text()
    assert [key for key in keys if key not in page] == []


@pytest.mark.parametrize("page", ["README.md", "docs/profiles.md"])
def test_the_profiles_in_the_documentation_are_valid(page: str, tmp_path: Path) -> None:
    examples = re.findall(r"^```toml\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    assert examples
    for number, text in enumerate(examples):
        path = tmp_path / f"example{number}.toml"
        path.write_text(text)
        assert load(str(path), environ=os.environ, cwd=str(tmp_path)).server.command


def test_the_changelog_leads_with_the_version_of_the_package() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == PROJECT["version"]


def test_every_dependency_is_pinned_for_a_fresh_machine() -> None:
    lines = (ROOT / "scripts" / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    named = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in pins}
    optional = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *optional["dev"], *optional["uv"]]
    names = {re.split(r"[^\w.-]", one)[0] for one in wanted}
    assert {re.sub(r"[-_.]+", "-", name).lower() for name in names} <= named


# --- the wheel -----------------------------------------------------------------------------------


def _run(*argv: str | Path, **environ: str) -> str:
    done = subprocess.run(
        list(map(str, argv)), capture_output=True, text=True, timeout=110, env={**os.environ, **environ}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    constraints = str(ROOT / "scripts" / "constraints.txt")
    _run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        target,
        ROOT,
        PIP_CONSTRAINT=constraints,
    )
    (built,) = target.glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_profiles_images_and_filters_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = [*ROOT.glob("profiles/*.toml"), *ROOT.glob("images/**/*")]
    wanted = {f"sandbox/data/{path.relative_to(ROOT).as_posix()}" for path in shipped if path.is_file()}
    wanted |= {
        path.relative_to(ROOT).as_posix() for path in tracked() if path.is_relative_to(ROOT / "sandbox")
    }
    assert any(name.endswith(".toml") for name in wanted)
    assert wanted <= names
    assert not {name for name in names if name.startswith(("tests/", "scripts/", "docs/"))}


@pytest.mark.slow
def test_an_installed_wheel_works_far_from_the_clone(wheel: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    _run(sys.executable, "-m", "venv", venv)
    constraints = str(ROOT / "scripts" / "constraints.txt")
    _run(venv / "bin" / "pip", "install", "-q", wheel, PIP_CONSTRAINT=constraints)
    program = venv / "bin" / "mcp-sandbox"
    assert _run(program, "--version") == f"mcp-sandbox {PROJECT['version']}\n"
    listed = _run(program, "profile", "list")
    assert all(path.stem in listed for path in ROOT.glob("profiles/*.toml"))
