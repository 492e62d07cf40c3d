"""`argparse` as `run` loads it: the same words, and nothing of it left behind for others."""

from __future__ import annotations

import subprocess
import sys

import pytest

USE = """
from sandbox.cli.arguments import argparse
parser = argparse.ArgumentParser(prog="p")
parser.add_argument("--number", type=int)
parser.add_argument("first", nargs=2)
parser.parse_args({words!r})
"""
PLAIN = USE.replace("from sandbox.cli.arguments ", "")


def said(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


@pytest.mark.parametrize("words", [["-h"], ["--number", "x", "a", "b"], ["a"], ["--unknown"], ["--n"]])
def test_it_says_what_the_standard_librarys_says(words: list[str]) -> None:
    ours, theirs = said(USE.format(words=words)), said(PLAIN.format(words=words))
    assert "usage: p" in ours
    assert ours == theirs


@pytest.mark.parametrize("before", ["", "import gettext, argparse", "import argparse", "import gettext"])
def test_whoever_asks_for_gettext_gets_the_real_one(before: str) -> None:
    use = "from sandbox.cli.arguments import argparse\nimport gettext\nprint(gettext.find, argparse._)"
    found = said(f"{before}\n{use}")
    assert "function find" in found
    assert "class 'str'" in found
