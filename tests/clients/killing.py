"""Kills a process at the entry of its Nth system call that writes, for every N, by ptrace(2).

As a program: `killing.py DIRECTORY` wraps and unwraps a config there, killed at each of them, and prints
what was wrong afterwards, as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from sandbox.clients.changing import carry_out, to_unwrap, to_wrap
from sandbox.clients.gather import Around, opened
from sandbox.clients.keep import alone
from sandbox.clients.table import row
from sandbox.clients.words import Found

PROGRAM = "/opt/mcp-sandbox/bin/mcp-sandbox"
TRACEME, SYSCALL, SETOPTIONS, GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
EXITKILL_AND_SYSGOOD = 0x100001
ENTRY = 1
FORBIDDEN = 77
"""The status where this machine lets nobody be traced."""
# x86_64 and aarch64: open, write, rename, unlink, mkdir, chmod, chown, sync, truncate, xattr, link.
WRITING = {
    "x86_64": {
        1,
        2,
        18,
        257,
        82,
        264,
        316,
        87,
        263,
        83,
        258,
        90,
        91,
        268,
        93,
        260,
        74,
        75,
        77,
        188,
        190,
        265,
        266,
    },
    "aarch64": {64, 68, 56, 38, 276, 35, 34, 52, 53, 55, 54, 82, 83, 46, 5, 7, 37, 36},
}
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
LIBC.ptrace.restype = ctypes.c_long


def killed(number: int, act: Callable[[], None]) -> bool:
    """Runs `act` in a process that is killed at its `number`th writing call; False where it had fewer."""
    pid = os.fork()
    if pid == 0:
        if LIBC.ptrace(TRACEME, 0, None, None):
            os._exit(FORBIDDEN)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            act()
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
        os._exit(0)
    if not os.WIFSTOPPED(os.waitpid(pid, 0)[1]):
        sys.exit(FORBIDDEN)
    LIBC.ptrace(SETOPTIONS, pid, None, EXITKILL_AND_SYSGOOD)
    writing, seen = WRITING[platform.machine()], 0
    while True:
        LIBC.ptrace(SYSCALL, pid, None, None)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            assert status == 0, f"the change itself failed: {status}"
            return False
        if os.WSTOPSIG(status) != signal.SIGTRAP | 0x80 or entered(pid) not in writing:
            continue
        seen += 1
        if seen == number:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return True


def entered(pid: int) -> int:
    """The number of the call that is entered; -1 at its return."""
    info = ctypes.create_string_buffer(88)
    LIBC.ptrace(GET_SYSCALL_INFO, pid, len(info), ctypes.addressof(info))
    return int.from_bytes(info.raw[24:32], sys.byteorder) if info.raw[0] == ENTRY else -1


# --- what is killed --------------------------------------------------------------------------------


class World:
    """A home with one config, and our own files of one user."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / ".cursor" / "mcp.json"
        environ = {"HOME": str(root), "PATH": "/usr/bin:/bin"}
        self.around = Around(str(root), "linux", environ, str(root))

    def fresh(self, content: bytes) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.config.parent.mkdir(parents=True)
        self.config.write_bytes(content)

    def found(self) -> Found:
        cursor = row("cursor")
        assert cursor is not None
        return Found(cursor, str(self.config), os.path.realpath(self.config), "jsonc", "user")

    def wrap(self) -> None:
        with alone(self.around.environ):
            plan = to_wrap(opened(self.found()), self.around, PROGRAM, lambda _: True)
            if plan.changes:
                carry_out(plan, self.around)

    def unwrap(self) -> None:
        with alone(self.around.environ):
            plan = to_unwrap(opened(self.found()), self.around, lambda _: True)
            if plan.changes:
                carry_out(plan, self.around)

    def beside(self) -> list[str]:
        return sorted(path.name for path in self.config.parent.iterdir())

    def profiles(self) -> list[Path]:
        return sorted((self.root / ".config" / "mcp-sandbox" / "profiles").glob("*"))


def storm(
    world: World, before: bytes, first: Callable[[], None], act: Callable[[], None]
) -> tuple[int, list[str]]:
    """Kills `act` at each of its writing calls, after `first`; how many there were, and what was wrong."""
    wrong: list[str] = []
    for number in range(1, 1000):
        world.fresh(before)
        first()
        old = world.config.read_bytes()
        done = not killed(number, act)
        now = world.config.read_bytes()
        act()  # whoever comes next finishes it
        new = world.config.read_bytes()
        if now not in (old, new):
            wrong.append(f"{number}: half a file")
        world.unwrap()
        if world.config.read_bytes() != before:
            wrong.append(f"{number}: {UNLIKE}")
        if world.beside() != ["mcp.json"]:
            wrong.append(f"{number}: {world.beside()}")
        if done:
            return number - 1, wrong
    raise AssertionError("it never ends")


UNLIKE = "unwrapped, it is not what it was"
CONFIG = b"""\xef\xbb\xbf// mine\r
{\r
  "mcpServers": {\r
    "git": { "command": "uvx", "args": [ "mcp-server-git" ] /* pinned later */ },\r
    "image": { "command": "docker", "args": ["run", "-i", "--rm", "-e", "MODE=fast", "mcp/time"] },\r
    "odd": {"command":"my-server",},\r
  }\r
}\r
"""
MORE = b'"more": {"command": "npx", "args": ["-y", "some-server"]},\r\n    "odd"'


def torn(world: World) -> list[str]:
    """The same, of a program that opens the file and writes it."""
    new, wrong = b"{}", []

    def write() -> None:
        world.config.write_bytes(new)

    for number in (1, 2, 3):
        world.config.write_bytes(CONFIG)
        killed(number, write)
        if world.config.read_bytes() not in (CONFIG, new):
            wrong.append(f"{number}: half a file")
    return wrong


def main(root: str) -> None:
    """Three storms, and what one finds where there is no care."""
    world = World(Path(root) / "home")

    def wrapped_and_changed() -> None:
        world.wrap()
        world.config.write_bytes(world.config.read_bytes().replace(b'"odd"', MORE, 1))

    world.fresh(CONFIG)
    world.wrap()  # all imports are done before anything is traced
    world.unwrap()
    with_more = CONFIG.replace(b'"odd"', MORE, 1)
    report = {
        "wrap": storm(world, CONFIG, lambda: None, world.wrap),
        "unwrap": storm(world, CONFIG, world.wrap, world.unwrap),
    }
    calls, wrong = storm(world, CONFIG, wrapped_and_changed, world.wrap)
    # What was added stays: it was not there before.
    report["wrap again"] = calls, [one for one in wrong if not one.endswith(UNLIKE)]
    world.fresh(CONFIG)
    report["in place"] = 0, torn(world)
    world.fresh(CONFIG)
    wrapped_and_changed()
    world.unwrap()
    if world.config.read_bytes() != with_more:
        report["changed"] = 0, ["what was added is lost"]
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
