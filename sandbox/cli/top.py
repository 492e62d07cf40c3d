"""`mcp-sandbox top`: a live view of the running sandboxes, the hungriest first."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sandbox import status
from sandbox.cli.columns import number
from sandbox.cli.output import emit

if TYPE_CHECKING:
    from rich.console import Console

EPILOG = """examples:
  mcp-sandbox top
  mcp-sandbox top --once --json"""
LEAST_S = 0.2
SORTS: dict[str, Callable[[dict[str, Any]], float]] = {
    "memory": lambda one: number(one, "use", "memory") or 0.0,
    "cpu": lambda one: number(one, "use", "share") or 0.0,
    "calls": lambda one: number(one, "messages", "calls") or 0.0,
    "denied": lambda one: number(one, "denied", "all") or 0.0,
    "up": lambda one: float(one["uptime"]),
}


def parser() -> argparse.ArgumentParser:
    """The arguments of `top`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox top",
        description="Watch your running sandboxes: what each uses of its limits, and did. `q` ends it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("--sort", choices=SORTS, default="memory", help="the column that orders (memory)")
    built.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="S", help="seconds between looks (1)"
    )
    built.add_argument("--once", action="store_true", help="one look; the same without a terminal")
    built.add_argument("--count", type=_count, metavar="N", help="so many looks")
    built.add_argument("--json", action="store_true", help="one line of JSON for each look")
    return built


def _seconds(text: str) -> float:
    seconds = float(text)
    if not LEAST_S <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"from {LEAST_S} to 3600 seconds")
    return seconds


def _count(text: str) -> int:
    if not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError("from 1 to 1000000")
    return int(text)


def main(args: argparse.Namespace) -> int:
    """0, also where nothing runs."""
    looks = 1 if args.once else args.count
    if args.json:
        _lines(args, looks)
        return 0
    from rich.console import Console

    console = Console()
    if console.is_terminal and looks is None:
        _live(args, console)
    else:
        _print(args, console, looks or 1)
    return 0


def _look(args: argparse.Namespace) -> list[dict[str, Any]]:
    found = status.every(os.environ)
    return sorted(found, key=SORTS[args.sort], reverse=True)


def _lines(args: argparse.Namespace, looks: int | None) -> None:
    for _ in _looks(looks, args.interval):
        said = {"schema": 1, "at": round(time.time(), 3), "sessions": _look(args)}
        emit(json.dumps(said, ensure_ascii=False))


def _print(args: argparse.Namespace, console: Console, looks: int) -> None:
    from sandbox.cli.frame import frame

    for _ in _looks(looks, args.interval):
        console.print(frame(_look(args), time.strftime("%H:%M:%S")))


def _looks(looks: int | None, interval: float) -> Iterator[int]:
    done = 0
    while looks is None or done < looks:
        if done:
            time.sleep(interval)
        yield done
        done += 1


def _live(args: argparse.Namespace, console: Console) -> None:
    from rich.live import Live

    from sandbox.cli.frame import frame

    # The terminal is given back, whoever ends us; an exception alone is lost where it meets a finaliser.
    asked: list[int] = []

    def end(by: int, _frame: object) -> None:
        asked.append(by)
        raise KeyboardInterrupt

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, end)
    with (
        suppress(KeyboardInterrupt),
        _keys() as pressed,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while not asked:
            # Measured anew each time: the terminal may have another size by now.
            shown = frame(_look(args), time.strftime("%H:%M:%S"), rows=console.size.height, hint="q ends")
            live.update(shown, refresh=True)
            if pressed(args.interval) in ("q", "Q", "\x04"):
                break
    if signal.SIGTERM in asked:
        sys.exit(128 + signal.SIGTERM)


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """Waits for a key, at most that long; the terminal reads lines again afterwards."""
    if not sys.stdin.isatty():
        yield lambda seconds: _slept(seconds)
        return
    import termios
    import tty

    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    try:
        tty.setcbreak(fd)
        yield lambda seconds: _key(fd, seconds)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _key(fd: int, seconds: float) -> str:
    readable, _, _ = select.select([fd], [], [], seconds)
    # A terminal that is gone reads as its end: so do we.
    return os.read(fd, 1).decode("latin-1") or "q" if readable else ""


def _slept(seconds: float) -> str:
    time.sleep(seconds)
    return ""
