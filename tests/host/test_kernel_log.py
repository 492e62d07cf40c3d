"""Records of the kernel's log: which are of a process that a filter ended, whatever it called itself."""

from __future__ import annotations

import pytest

from sandbox.host.kernel_log import Killed, parsed

HEAD = b"5,1023,27824500464,-;audit: type=1326 audit(1795647721.065:202): auid=4294967295 uid=0 gid=0 "
TAIL = b" exe=%s sig=%d arch=c000003e syscall=101 compat=0 ip=0x7f36bae1d0f7 code=0x80000000\n"


def record(comm: bytes, *, exe: bytes = b'"/usr/bin/python3.11"', signal: int = 31) -> bytes:
    return HEAD + b"ses=4294967295 pid=15698 comm=" + comm + TAIL % (exe, signal)


@pytest.mark.parametrize(
    ("comm", "name"),
    [
        pytest.param(b'"python3"', "python3", id="a plain name"),
        pytest.param(b"612062", "a b", id="a name with a blank comes in hexadecimal"),
        pytest.param(b"1B5B326A", "\x1b[2j", id="so do control characters"),
        pytest.param(b"FF", "\\xff", id="and what is no text"),
    ],
)
def test_a_killed_process(comm: bytes, name: str) -> None:
    assert parsed(record(comm)) == Killed(15698, name, 0xC000003E, 101)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(record(b'"python3"', signal=0), id="one that was only logged"),
        pytest.param(
            b"6,1,2,-;" + record(b'"x"').partition(b";")[2].replace(b"audit:", b"x audit:"), id="quoted"
        ),
        pytest.param(b"6,339,5140900,-;NET: Registered PF_INET6 protocol family\n", id="another matter"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_anything_else_is_nothing(line: bytes) -> None:
    assert parsed(line) is None
