"""`mcp-sandbox approve`: a person looks at what a server has become, and lets it be that, at a terminal."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

from sandbox import pins
from sandbox.cli import pin_words
from sandbox.cli.columns import cell
from sandbox.cli.output import document, emit, harmless, note, paint
from sandbox.cli.pin_words import Chosen
from sandbox.cli.typed import typed
from sandbox.digest import sha256
from sandbox.errors import SandboxError, UsageError
from sandbox.inspect.canonical import NAMES, canonical
from sandbox.inspect.pinned import Pinned
from sandbox.pin_telling import likenesses

EPILOG = """examples:
  mcp-sandbox approve --list
  mcp-sandbox approve github
  mcp-sandbox approve github create_issue
  mcp-sandbox approve notes 'resource:*'      new resources are never withheld again"""
ALL = "*"
_LONG = 100


def parser() -> argparse.ArgumentParser:
    """The arguments of `approve`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox approve",
        description="Show how a server differs from what was pinned, and approve it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("server", nargs="?", metavar="SERVER", help="a name of `--list`, or its beginning")
    what = "one of what waits: `read_file`, `prompt:review`, `instructions`; `KIND:*` lets a list grow"
    built.add_argument("item", nargs="?", metavar="ITEM", help=what)
    built.add_argument("--list", action="store_true", help="show which servers are pinned, and what waits")
    built.add_argument("--json", action="store_true", help="one JSON document, and no question")
    what = "forget what is known of SERVER: its next session is the first again"
    built.add_argument("--forget", action="store_true", help=what)
    what = "without a terminal: approve what has this very digest, which a terminal showed"
    built.add_argument("--yes", action="store_true", help=what)
    built.add_argument("--digest", metavar="DIGEST", help="see `--yes`")
    return built


def main(args: argparse.Namespace) -> int:
    """0 when it is approved or nothing waits, 1 when the person said no."""
    if args.yes != (args.digest is not None):
        raise UsageError("no-digest", "`--yes` needs the `--digest` that a terminal showed, and that `--yes`")
    if args.list or args.server is None:
        _list(as_json=args.json)
        return 0
    name = _named(args.server)
    store = pins.Store(name, name, os.environ)
    if args.forget:
        return _forget(store)
    pinned = store.open()
    return _approve(store, pinned, *_chosen(pinned, args.item), args)


# --- what there is -----------------------------------------------------------------------------------


def _list(*, as_json: bool) -> None:
    known = [*_readable()]
    if as_json:
        document({"servers": [_server(name, pinned) for name, pinned in known]})
        return
    for name, pinned in known:
        counts = ", ".join(f"{count} {kind}s" for kind, count in _counts(pinned).items()) or "nothing"
        emit(f"{cell(name, _LONG)}  {counts}")
        for kind, items in pinned.waiting.items():
            for key in items:
                emit(f"  waits: {pin_words.title(kind, key)}")
        for one in likenesses(name, pinned.server, pinned.holds("tool"), os.environ):
            emit(f"  note: {harmless(one.said(pinned.server))}")
    if not known:
        note("no server is pinned yet")


def _readable() -> Iterator[tuple[str, Pinned]]:
    """The servers with their pins; a file that is none is said, and hides no other."""
    for name in pins.every(os.environ):
        try:
            yield name, pins.Store(name, name, os.environ).open()
        except SandboxError as error:
            note(str(error))


def _counts(pinned: Pinned) -> dict[str, int]:
    return {kind: len(pinned.holds(kind)) for kind in NAMES[1:] if pinned.holds(kind)}


def _server(name: str, pinned: Pinned) -> dict[str, Any]:
    alike = [
        {"server": one.other, "alike": one.alike, "tools": list(one.tools)}
        for one in likenesses(name, pinned.server, pinned.holds("tool"), os.environ)
    ]
    return {
        "name": name, "server": pinned.server, "pinned": _counts(pinned), "grows": pinned.open,
        "waiting": pin_words.document(pinned, pinned.waiting), "likenesses": alike,
    }  # fmt: skip


def _named(wanted: str) -> str:
    """The one server that `wanted` means."""
    known = pins.every(os.environ)
    if wanted in known:
        return wanted
    found = [name for name in known if name.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"`{name}`" for name in found)
        raise UsageError("several-servers", f"`{wanted}` may be any of {listed}", hint="write one in full")
    raise UsageError(
        "not-pinned", f"no pinned server is called `{wanted}`", hint="mcp-sandbox approve --list"
    )


def _chosen(pinned: Pinned, wanted: str | None) -> tuple[Chosen, list[str]]:
    """What of it waits, and the kinds that are to grow from now on."""
    if wanted is None:
        return {kind: dict(items) for kind, items in pinned.waiting.items() if items}, []
    kind, _, name = wanted.partition(":")
    if kind in NAMES[1:] and name == ALL:
        return ({kind: dict(pinned.waits(kind))} if pinned.waits(kind) else {}), [kind]
    found: Chosen = {}
    for one, items in pinned.waiting.items():
        key = name if kind == one and name in items else wanted
        if key in items:
            found[one] = {key: items[key]}
    if not found:
        what = f"nothing called `{wanted}` waits for approval"
        raise UsageError("nothing-waits", what, hint="mcp-sandbox approve --list")
    return found, []


# --- the question ------------------------------------------------------------------------------------


def _approve(
    store: pins.Store, pinned: Pinned, chosen: Chosen, grows: list[str], args: argparse.Namespace
) -> int:
    digests = {kind: {key: item.digest for key, item in items.items()} for kind, items in chosen.items()}
    if args.json:
        document({"server": store.name, "waiting": pin_words.document(pinned, chosen)})
        return 0
    if not chosen and not grows:
        emit(f"nothing of {store.name} waits for approval")
        return 0
    digest = sha256(canonical([digests, grows])).hexdigest()
    if args.yes:
        if args.digest != digest:
            what = f"what waits of `{store.name}` is not what this digest was shown for"
            raise UsageError("other-digest", what, hint=f"mcp-sandbox approve {store.name}")
    else:
        _refuse_without_terminal()
        _show(store.name, pinned, chosen, grows, digest)
        if not _agreed(_question(chosen, grows)):
            note("nothing was approved")
            return 1
    return _remember(store, digests, grows)


def _remember(store: pins.Store, digests: dict[str, dict[str, str]], grows: list[str]) -> int:
    try:
        store.approve(digests, grows)
    except pins.FileChanged:
        note(f"error: changed\n  `{store.name}` has changed meanwhile, and nothing was approved\n\n"
             f"hint: mcp-sandbox approve {store.name}")  # fmt: skip
        return 1
    emit(f"approved: {sum(map(len, digests.values()))} of {store.name}")
    return 0


def _refuse_without_terminal() -> None:
    """A pipe is how a program answers, and a program (a model in a shell) must not approve for a person."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        what = "`approve` asks a person, and there is no terminal to ask at"
        raise UsageError("no-terminal", what, hint="run `mcp-sandbox approve` in a terminal of your own")


def _show(name: str, pinned: Pinned, chosen: Chosen, grows: list[str], digest: str) -> None:
    _say(f"{name}: {sum(map(len, chosen.values()))} differ from what was pinned", "bold")
    _say("")
    for words, colour in pin_words.lines(pinned, chosen):
        _say(words, colour)
    for kind in grows:
        _say(f"from now on each new {kind} of {name} is taken as it comes", "red")
    tools = [*chosen.get("tool", {})]
    for one in likenesses(name, pinned.server, tools, os.environ):
        _say(f"note: {one.said(pinned.server)}", "yellow")
    _say(f"digest: {digest}")


def _say(words: str, colour: str = "") -> None:
    safe = harmless(words)
    sys.stderr.write((paint(safe, colour, sys.stderr) if colour else safe) + "\n")


def _question(chosen: Chosen, grows: list[str]) -> str:
    count = sum(map(len, chosen.values()))
    what = {0: "this", 1: "this one"}.get(count, f"these {count}")
    return f"a model reads and calls what you approve; approve {what}?"


def _agreed(question: str) -> bool:
    return typed(f"{question} type `yes`: ") == "yes"


def _forget(store: pins.Store) -> int:
    _refuse_without_terminal()
    _say(f"all that is known of {store.name} is forgotten: whatever its next session brings is pinned", "red")
    if not _agreed("forget it?"):
        note("nothing was forgotten")
        return 1
    store.forget()
    emit(f"forgotten: {store.name}")
    return 0
