"""`dear.py INSPECTOR shapes|growth`: what hostile messages, or a long session, cost; JSON lines."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from fuzzing.costs import costs, faults  # noqa: E402 - beside this script, which is no package
from fuzzing.growth import grown  # noqa: E402


def parser() -> argparse.ArgumentParser:
    """The options."""
    built = argparse.ArgumentParser(prog="dear.py", description=__doc__)
    built.add_argument("inspector")
    built.add_argument("what", choices=("shapes", "growth"))
    built.add_argument("--sizes", type=int, nargs="+", default=[1 << 16, 1 << 18], metavar="BYTES")
    built.add_argument("--seconds", type=float, default=math.inf, help="no further shape after that long")
    built.add_argument("--seed", type=int, default=0, help="of the order of the shapes")
    built.add_argument("--only", default="", metavar="WORDS", help="shapes with these words in their name")
    built.add_argument("--turns", type=int, default=600, help="of the session")
    return built


def main() -> int:
    """1 where something is too dear; the lines with `found` say what."""
    args = parser().parse_args()
    found = shapes(args) if args.what == "shapes" else growth(args)
    for fault in found:
        _tell({"found": fault})
    return bool(found)


def shapes(args: argparse.Namespace) -> list[str]:
    """Measures one after another."""
    measured = []
    for cost in costs(args.inspector, args.sizes, seconds=args.seconds, seed=args.seed, only=args.only):
        measured.append(cost)
        _tell(asdict(cost))
    return list(faults(measured))


def growth(args: argparse.Namespace) -> list[str]:
    """Plays the session."""
    found = grown(args.inspector, args.turns)
    _tell({"inspector": args.inspector, **asdict(found)})
    return [f"{args.inspector}: {fault}, of {args.turns} turns" for fault in found.faults()]


def _tell(line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
