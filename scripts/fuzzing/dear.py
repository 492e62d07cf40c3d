"""`dear.py INSPECTOR shapes|growth NUMBER...`: what hostile messages, or a long session, cost; JSON lines."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from fuzzing.costs import costs, faults  # noqa: E402 - beside this script, which is no package
from fuzzing.growth import ALLOWED, grown  # noqa: E402


def main() -> int:
    """1 where something is too dear; the lines with `fault` say what."""
    name, what, *numbers = sys.argv[1:]
    if what == "growth":
        held = grown(name, int(numbers[0]))
        found = [f"{name}: a session of {numbers[0]} turns kept {held >> 10} KiB of its second half"]
        _tell({"inspector": name, "grown": held})
        found = found if held > ALLOWED else []
    else:
        measured = []
        for cost in costs(name, [int(one) for one in numbers if one.isdecimal()], _wanted(numbers)):
            measured.append(cost)
            _tell(asdict(cost))
        found = list(faults(measured))
    for fault in found:
        _tell({"fault": fault})
    return bool(found)


def _wanted(numbers: list[str]) -> str:
    return next((one for one in numbers if not one.isdecimal()), "")


def _tell(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
