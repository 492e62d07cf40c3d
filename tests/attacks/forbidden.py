"""Programs that make one forbidden system call, from C, from machine code, from Python and from Node.

Each reads one line from stdin, calls, and answers request 1 if it lives: an answer means that it went on.
The machine code is a whole static program of some two hundred bytes, for hosts without a compiler.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass

RESULT = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}).encode() + b"\n"
BASE = 0x400000
HEADERS = 64 + 56
I386, X32 = "i386", "x32"


@dataclass(frozen=True)
class Forbidden:
    """A call by its number on x86_64 (or i386), with arguments that hurt nothing where it is made."""

    name: str
    number: int
    args: tuple[int, ...] = ()
    machine: str = "x86_64"

    @property
    def register(self) -> int:
        return self.number | 0x40000000 if self.machine == X32 else self.number


BAD_POINTER, NONE = 1, -1
FORBIDDEN = (
    Forbidden("ptrace", 101, (0x4200, 0, 0, 0)),
    Forbidden("bpf", 321, (0, BAD_POINTER, 72)),
    Forbidden("keyctl", 250, (0, -2, 0)),
    Forbidden("mount", 165, (BAD_POINTER, BAD_POINTER, BAD_POINTER, 0, 0)),
    Forbidden("setns", 308, (NONE, 0)),
    Forbidden("unshare", 272, (0x400,)),
    Forbidden("userfaultfd", 323, (1,)),
    Forbidden("init_module", 175, (0, 0, BAD_POINTER)),
    Forbidden("kexec_load", 246, (0, 999, 0, 0)),
    Forbidden("process_vm_readv", 310, (0, 0, 0, 0, 0, 0)),
    Forbidden("open_by_handle_at", 304, (NONE, BAD_POINTER, 0)),
    Forbidden("getpid", 20, (), I386),
    Forbidden("getppid", 110, (), X32),
)

C_SERVER = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(int count, char **word) {
  static char line[4096];
  long a[6] = {0};
  if (read(0, line, sizeof line) <= 0) return 1;
  for (int i = 3; i < count && i < 9; i++) a[i - 3] = atol(word[i]);
  if (strcmp(word[2], "i386")) {
    syscall(atol(word[1]), a[0], a[1], a[2], a[3], a[4], a[5]);
  } else {
    long number = atol(word[1]);
    __asm__ volatile("int $0x80" : "+a"(number) : : "memory", "r8", "r9", "r10", "r11");
  }
  static const char result[] = "{\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": {}}\n";
  return write(1, result, sizeof result - 1) < 0;
}
"""
PYTHON_SERVER = """
import ctypes, sys
number, machine, *args = sys.argv[1:]
libc = ctypes.CDLL(None)
def call():
    if machine != "i386":
        libc.syscall(ctypes.c_long(int(number)), *(ctypes.c_long(int(one)) for one in args))
        return
    libc.mmap.restype = ctypes.c_void_p
    page = libc.mmap(None, 4096, 7, 0x22, -1, 0)
    # push rbx; mov eax, number; int 0x80; pop rbx; ret
    code = b"\\x53\\xb8" + int(number).to_bytes(4, "little") + b"\\xcd\\x80\\x5b\\xc3"
    ctypes.memmove(page, code, len(code))
    ctypes.CFUNCTYPE(ctypes.c_int)(page)()
for line in sys.stdin:
    call()
    print('{"jsonrpc": "2.0", "id": 1, "result": {}}', flush=True)
"""
# Node has no way to a system call of one's choice but through a program or an addon: it starts the program.
NODE_SERVER = """
process.stdin.once("data", (line) => {
  require("child_process").spawnSync(process.argv[1], { input: line, stdio: ["pipe", "inherit", "inherit"] });
});
"""


def arguments(one: Forbidden) -> list[str]:
    """What the servers in C and in Python are started with."""
    return [str(one.register), one.machine, *map(str, one.args)]


def elf(one: Forbidden) -> bytes:
    """A static program for Linux on x86_64: reads, calls, answers, ends."""
    code = _read() + _call(one)
    # The answer stands behind the code, whose last part has a known length.
    ending = _write(0) + _exit()
    text = code + _write(BASE + HEADERS + len(code) + len(ending)) + _exit()
    return _headers(len(text) + len(RESULT)) + text + RESULT


def _headers(size: int) -> bytes:
    whole = HEADERS + size
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, whole, whole, 0x1000)
    return ident + header + segment


def _read() -> bytes:
    # sub rsp, 4096; xor eax, eax; xor edi, edi; mov rsi, rsp; mov edx, 4096; syscall
    return b"\x48\x81\xec\x00\x10\x00\x00\x31\xc0\x31\xff\x48\x89\xe6\xba\x00\x10\x00\x00\x0f\x05"


def _call(one: Forbidden) -> bytes:
    load = b"\xb8" + struct.pack("<I", one.register)  # mov eax, number
    if one.machine == I386:
        return load + b"\xcd\x80"  # int 0x80
    # mov rdi, rsi, rdx, r10, r8, r9 with 64 bits each
    registers = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba", b"\x49\xb8", b"\x49\xb9")
    moves = b"".join(at + struct.pack("<q", value) for at, value in zip(registers, one.args, strict=False))
    return load + moves + b"\x0f\x05"


def _write(address: int) -> bytes:
    # mov eax, 1; mov edi, 1; mov rsi, address; mov edx, length; syscall
    return (
        b"\xb8\x01\x00\x00\x00\xbf\x01\x00\x00\x00\x48\xbe"
        + struct.pack("<Q", address)
        + b"\xba"
        + struct.pack("<I", len(RESULT))
        + b"\x0f\x05"
    )


def _exit() -> bytes:
    return b"\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05"  # mov eax, 60; xor edi, edi; syscall
