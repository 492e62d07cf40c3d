"""msgspec without what we never ask it: what is left works, and the rest is there for whoever asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

WORKS = """
import sys
from sandbox.wire.structs import msgspec

class One(msgspec.Struct):
    a: int

assert msgspec.json.decode(b'{"a": 1}', type=One) == One(1)
assert msgspec.json.encode(One(2)) == b'{"a":2}'
"""
LEFT_OUT = """
assert not sys.modules.keys() & {"msgspec.inspect", "typing_extensions", "uuid", "decimal", "platform"}
import msgspec.inspect, msgspec.msgpack, msgspec.toml, msgspec.yaml
assert isinstance(msgspec.inspect.type_info(int), msgspec.inspect.IntType)
assert msgspec.msgpack.decode(msgspec.msgpack.encode([1])) == [1]
import typing_extensions
assert typing_extensions.Protocol
import decimal, uuid
assert decimal.Decimal("0.1") and uuid.UUID(int=1)
assert msgspec.json.decode(b'[0.1, 1234567890123456789012345]') == [0.1, 1234567890123456789012345]
"""
BEFORE = """
import msgspec.inspect
from sandbox.wire import structs
assert structs.msgspec.inspect is msgspec.inspect and msgspec.inspect.type_info
"""


def run(code: str, *path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT)))}
    subprocess.run([sys.executable, "-c", code], env=environ, cwd="/", check=True, timeout=60)


def test_what_we_use_works_and_the_rest_can_be_had() -> None:
    run(WORKS + LEFT_OUT)


def test_one_that_is_there_already_stays() -> None:
    run(BEFORE)


def test_a_version_that_needs_more_is_imported_whole(tmp_path: Path) -> None:
    package = tmp_path / "msgspec"
    package.mkdir()
    (package / "__init__.py").write_text("from .inspect import needed\nfrom . import json, yaml\n")
    for name in ("inspect", "json", "yaml"):
        (package / f"{name}.py").write_text("needed = 'all of it'\n")
    run("from sandbox.wire.structs import msgspec; assert msgspec.yaml.needed == msgspec.needed", tmp_path)


INTERRUPTED = """
import os, signal, sys
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
try:
    from sandbox.wire.structs import msgspec
except KeyboardInterrupt:
    sys.exit(3)
finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
msgspec.json.Decoder(dict[str, msgspec.Raw])
"""


def test_an_interrupt_within_its_import_is_no_crash_after_it() -> None:
    """Its C part would swallow it, and have less than it needs from then on."""
    ends = set()
    for step in range(1, 25):
        argv = [sys.executable, "-c", INTERRUPTED, str(step / 1000)]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, timeout=60)
        ends.add(done.returncode)
    assert ends <= {0, 1, 3, -2}, "an interrupt ends it, or comes too late"
