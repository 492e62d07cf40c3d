"""One target under atheris: `child.py TARGET [libFuzzer's options]`; what it meets of ours is measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import atheris

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]
DRAWN = "-drawn"
"""At the end of a target's name: Hypothesis draws the conversation from the bytes."""

MEASURED = ["sandbox.wire", "sandbox.inspect", "sandbox.relay", "sandbox.serve", "sandbox.bridge"]

with atheris.instrument_imports(include=MEASURED):
    from fuzzing.targets import TARGETS

from fuzzing.mutate import mutated  # noqa: E402 - and not measured
from fuzzing.structured import holding  # noqa: E402


def main() -> None:
    """Ends as libFuzzer does: 77 after a broken promise, 70 after a hang."""
    name = sys.argv.pop(1)
    if name.endswith(DRAWN):
        drawn: Any = holding(TARGETS[name.removesuffix(DRAWN)])
        atheris.Setup(sys.argv, drawn.hypothesis.fuzz_one_input)
    else:
        atheris.Setup(sys.argv, TARGETS[name], custom_mutator=_mutator)
    atheris.Fuzz()


def _mutator(data: bytes, most: int, seed: int) -> bytes:
    return mutated(data, most, seed, atheris.Mutate)


if __name__ == "__main__":
    main()
