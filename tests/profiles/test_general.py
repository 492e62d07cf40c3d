"""The profiles for any server, each with a real one: `offline`, `web`, `workspace`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Ready
from tests.e2e.caller import PROGRAM
from tests.profiles.grounds import sites
from tests.profiles.loopback import loopback
from tests.profiles.served import Call, Served, failed, session, text
from tests.talking import Client

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(300)]

FETCH = "uvx mcp-server-fetch --allow-private-ips"  # its own guard refuses this machine's sites
FILES = "npx -y @modelcontextprotocol/server-filesystem {here}"
MIB = 1 << 20
PIECE, PIECES = 14_000, 100  # a head that is longer is no head to the gateway


def _page(port: str) -> Call:
    return Call("fetch", {"url": f"http://localhost:{port}/otter", "raw": True})


# --- offline -------------------------------------------------------------------------------------


def test_offline_does_what_needs_nothing(tmp_path: Path, engaged: Ready) -> None:
    engaged("native")
    row = Served("offline", command="uvx mcp-server-calculator")
    (answer,) = session(row, "native", tmp_path, {}, [Call("calculate", {"expression": "6*7"})]).answers
    assert "42" in text(answer)


def test_offline_has_no_socket_to_fetch_with(tmp_path: Path, engaged: Ready) -> None:
    engaged("native")
    with sites(tmp_path) as words:
        offline = session(Served("offline", command=FETCH), "native", tmp_path, words, [_page("{port}")])
        reader = Served("web", command=FETCH, flags="--allow-net localhost:{port}")
        web = session(reader, "native", tmp_path, words, [_page("{port}"), _page("{other}")])
    assert failed(offline.answers[0])
    assert "otter" in text(web.answers[0])
    assert failed(web.answers[1])


# --- web -----------------------------------------------------------------------------------------


def _carried_out(profile: str, place: Path) -> tuple[int, int]:
    """What a sink at an allowed host got of a project asked for in pieces, and how the session ended."""
    pieces: list[int] = []

    def kept(path: str) -> bytes:
        pieces.append(len(path))
        return b"ok"

    with loopback(kept) as port:
        words = ["run", "--profile", profile, "--allow-net", f"localhost:{port}", "--", *FETCH.split()]
        client = Client([PROGRAM, *words], place, dict(os.environ))
        try:
            client.lead("legacy", [])
            _carry(client, f"http://localhost:{port}/?")
            client.end()
        except (AssertionError, BrokenPipeError):  # it is ended in the middle of a call
            client.child.wait(20)
        finally:
            client.kill()
    return sum(pieces), client.child.returncode


def _carry(client: Client, url: str) -> None:
    for piece in range(PIECES):
        given = {"url": url + f"{piece}".rjust(PIECE, "x"), "raw": True}
        client.call("legacy", f"call-{piece}", "fetch", given)


def test_web_lets_only_so_much_out_through_an_allowed_host(tmp_path: Path, engaged: Ready) -> None:
    engaged("native")
    assert PIECE * PIECES > 1.3 * MIB
    received, status = _carried_out("base", tmp_path)
    assert (received > PIECE * PIECES, status) == (True, 0)
    received, status = _carried_out("web", tmp_path)
    assert (received < 1.1 * MIB, status) == (True, 124)


# --- workspace -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["native", "docker"])
def test_workspace_reads_the_project_and_writes_its_folder(
    backend: str, tmp_path: Path, engaged: Ready
) -> None:
    engaged(backend)
    (tmp_path / "out").mkdir()
    (tmp_path / "a.txt").write_text("the project's")
    row = Served("workspace", command=FILES)
    calls = [
        Call("read_text_file", {"path": "{here}/a.txt"}),
        Call("write_file", {"path": "{here}/out/b.txt", "content": "a result"}),
        Call("write_file", {"path": "{here}/a.txt", "content": "changed"}),
        Call("write_file", {"path": "{here}/c.txt", "content": "new"}),
    ]
    answers = session(row, backend, tmp_path, {"here": str(tmp_path)}, calls).answers
    assert [failed(answer) for answer in answers] == [False, False, True, True]
    assert (tmp_path / "out/b.txt").read_text() == "a result"
    assert ((tmp_path / "a.txt").read_text(), (tmp_path / "c.txt").exists()) == ("the project's", False)
    waived = session(row, backend, tmp_path, {"here": str(tmp_path)}, calls, "--allow-write {here}").answers
    assert [failed(answer) for answer in waived] == [False] * 4
    assert (tmp_path / "a.txt").read_text() == "changed"
