"""A bundle starts from the store and is given what the profile gives it; a changed one does not start."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sandbox.supply import unbundle
from tests.e2e.caller import PROGRAM, Caller
from tests.supply.bundled import bundle, manifest, started, zipped

everywhere = pytest.mark.backends(docker="user")
native = pytest.mark.backends

SECRET = "hush-9f8e7d6c5b4a3210"  # noqa: S105 - a canary
KEY = {"type": "string", "title": "Key", "description": "k", "sensitive": True, "required": True}
FOLDERS = {"type": "directory", "title": "Folders", "description": "f", "multiple": True}
ASKED = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
INITIALIZE = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": ASKED}) + "\n"

# Says of what it has only the hash: a secret would be redacted on its way out.
KNOWS = """import hashlib, json, os, sys
def told(text):
    return hashlib.sha256(text.encode()).hexdigest()
seen = {"argv": [told(word) for word in sys.argv[1:]]}
seen["env"] = [told(name + "=" + value) for name, value in os.environ.items()]
try:
    os.mkdir(os.path.dirname(__file__) + "/own")
    seen["written"] = True
except OSError as error:
    seen["written"] = error.strerror
print("SEEN", json.dumps(seen), file=sys.stderr)
for line in sys.stdin:
    asked = json.loads(line)
    result = {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {},
              "serverInfo": {"name": "bundled", "version": "1"}}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


def told(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Ground:
    """A caller's directory with bundles in it."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.place = caller.directory()
        self.file = self.place / "server.mcpb"
        os.environ.pop("API_KEY", None)

    def bundle(self, said: dict[str, Any], **files: str) -> str:
        bundle(self.file, said, {"server/main.py": KNOWS} | files)
        os.chown(self.file, self.caller.uid, self.caller.gid)
        return str(self.file)

    def run(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Status, what the server says that it saw, and what a person is told."""
        done = self.caller.run(*self.caller.sandboxed(*words), cwd=self.place, text=INITIALIZE)
        seen = [line.partition("SEEN ")[2] for line in done.stderr.splitlines() if "SEEN " in line]
        return done.returncode, json.loads(seen[0]) if seen else {}, done.stderr


@pytest.fixture
def ground(caller: Caller) -> Ground:
    return Ground(caller)


@everywhere
def test_it_is_given_what_is_named_and_nothing_else(ground: Ground) -> None:
    ground.caller.environ.update(API_KEY=SECRET, OTHER="not granted")
    env = {
        "API_KEY": "${user_config.key}",
        "AUTH": "Bearer ${user_config.key}",
        "OTHER": "${user_config.other}",
    }
    server = started(
        "python", "${__dirname}/server/main.py", "--key=${user_config.key}", "${user_config.dirs}", env=env
    )
    other = {"type": "string", "title": "Other", "description": "o"}
    file = ground.bundle(manifest(server=server, user_config={"key": KEY, "dirs": FOLDERS, "other": other}))

    status, _, told_person = ground.run("--", file)
    assert status == 125
    assert "`API_KEY`: Key (a secret)" in told_person
    assert SECRET not in told_person

    status, seen, said = ground.run("--secret", "API_KEY", "--set-env", "DIRS=/a:/b", "--", file, "more")
    assert status == 0, said
    assert seen["argv"] == [told(word) for word in (f"--key={SECRET}", "/a", "/b", "more")]
    assert told(f"API_KEY={SECRET}") in seen["env"]
    assert told(f"AUTH=Bearer {SECRET}") in seen["env"]
    # The caller has it, the bundle asks for it, and nobody granted it.
    assert told("OTHER=not granted") not in seen["env"]
    _, seen, _ = ground.run("--secret", "API_KEY", "--allow-env", "OTHER", "--", file)
    assert told("OTHER=not granted") in seen["env"]
    assert seen["written"] == "Read-only file system"


@native
def test_a_secret_among_its_words_is_in_no_log(ground: Ground) -> None:
    ground.caller.environ.update(API_KEY=SECRET)
    server = started("python", "${__dirname}/server/main.py", "--key=${user_config.api_key}")
    file = ground.bundle(manifest(server=server, user_config={"api_key": KEY}))
    log = ground.place / "audit.jsonl"
    status, seen, _ = ground.run("--secret", "API_KEY", "--audit", str(log), "--", file)
    assert (status, seen["argv"]) == (0, [told(f"--key={SECRET}")])
    kept = log.read_bytes()
    assert b"session.start" in kept
    assert SECRET.encode() not in kept


@native
def test_one_changed_byte_of_its_tree_is_refused_by_name(ground: Ground) -> None:
    # Of its own in every byte: the store shares a file between all trees that have it.
    own = KNOWS + f"# {ground.place}\n"
    file = ground.bundle(manifest(), **{"server/main.py": own})
    assert ground.run("--", file)[0] == 0
    store = Path(ground.caller.environ["XDG_CACHE_HOME"], "mcp-sandbox/store")
    key = unbundle.key_of(hashlib.sha256(ground.file.read_bytes()).hexdigest())
    digest = json.loads((store / "keys" / f"{key}.json").read_text())["digest"]
    program = store / "trees" / digest / "tree/server/main.py"
    whole = program.read_text()
    altered = whole.replace('"bundled"', '"changed"')
    _rewrite(program, altered)
    status, _, said = ground.run("--", file)
    assert status == 125
    assert "tree-changed" in said
    assert "server/main.py" in said
    _rewrite(program, whole)
    assert ground.run("--", file)[0] == 0


def _rewrite(program: Path, content: str) -> None:
    mode = program.stat().st_mode
    program.chmod(0o644)
    program.write_text(content)
    program.chmod(mode)


@native
def test_another_file_in_its_place_is_another_bundle(ground: Ground) -> None:
    """The hash decides, not the path: what was unpacked before is not what starts."""
    file = ground.bundle(manifest(name="first"))
    assert ground.run("--", file)[0] == 0
    ground.bundle(manifest(name="second", version=ground.place.name.replace("_", "-")))
    status, _, said = ground.run("--", file)
    assert status == 0, said
    assert "unpacked second@" in said


@native
@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"../../evil": "x"}, "leads out", id="a name that leads out"),
        pytest.param({"SERVER/main.py": "x"}, "there twice", id="a name in another case"),
    ],
)
def test_a_hostile_bundle_does_not_start(ground: Ground, change: dict[str, str], why: str) -> None:
    whole = {"manifest.json": json.dumps(manifest()), "server/main.py": KNOWS, **change}
    ground.file.write_bytes(zipped(whole))
    os.chown(ground.file, ground.caller.uid, ground.caller.gid)
    status, _, said = ground.run("--", str(ground.file))
    assert (status, why in said, "bundle-refused" in said) == (125, True, True)


# --- server.json -----------------------------------------------------------------------------------


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A directory, and where it is served on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@native
def test_a_bundle_of_a_server_json_is_the_very_one_whose_hash_it_gives(
    ground: Ground, served: tuple[Path, str]
) -> None:
    folder, url = served
    whole = bundle(
        folder / "far.mcpb", manifest(name=ground.place.name), {"server/main.py": KNOWS}
    ).read_bytes()
    package = {
        "registryType": "mcpb",
        "identifier": f"{url}/far.mcpb",
        "fileSha256": hashlib.sha256(whole).hexdigest(),
        "transport": {"type": "stdio"},
        "environmentVariables": [{"name": "LEVEL", "default": "low", "choices": ["low", "high"]}],
    }
    described = {"name": "io.github.me/far", "description": "d", "version": "1.0.0", "packages": [package]}
    file = ground.place / "server.json"
    file.write_text(json.dumps(described))
    (folder / "far.mcpb").write_bytes(whole + b".")
    status, _, said = ground.run("--", str(file))
    assert (status, "fetched-other" in said) == (125, True), said

    (folder / "far.mcpb").write_bytes(whole)
    status, seen, _ = ground.run("--", str(file))
    assert (status, told("LEVEL=low") in seen["env"]) == (0, True)
    status, seen, _ = ground.run("--set-env", "LEVEL=high", "--", str(file))
    assert (status, told("LEVEL=high") in seen["env"]) == (0, True)
    del package["fileSha256"]
    file.write_text(json.dumps(described))
    status, _, said = ground.run("--", str(file))
    assert (status, "no `fileSha256`" in said) == (125, True)


# --- locked ----------------------------------------------------------------------------------------


@native
def test_a_locked_bundle_is_that_file_and_no_other(ground: Ground) -> None:
    file = ground.bundle(manifest(name=f"kept-{ground.place.name}"))
    locked = ground.caller.run(PROGRAM, "lock", "--yes", "--", file, cwd=ground.place)
    assert "not checked: the bundle is signed by nobody" in locked.stdout + locked.stderr
    assert locked.returncode == 0, locked.stderr
    assert ground.run("--locked", "--", file)[0] == 0
    ground.bundle(manifest(name=f"kept-{ground.place.name}"), more="a file that was not there")
    status, _, said = ground.run("--", file)
    assert (status, "bundle-changed" in said, file in said) == (125, True, True)
    # It says itself what it is called: another name is no way past the lock.
    ground.bundle(manifest(name=f"other-{ground.place.name}"))
    status, _, said = ground.run("--", file)
    assert (status, "bundle-changed" in said) == (125, True), said


@native
def test_where_a_signer_is_required_nobody_is_none(ground: Ground) -> None:
    file = ground.bundle(manifest(name="nobodys"))
    profile = ground.place / "strict.toml"
    head = 'schema = 1\nextends = "python"\n[supply]\nprovenance = "require"\n[server]\n'
    profile.write_text(f'{head}command = ["{file}"]\n')
    locked = ground.caller.run(PROGRAM, "lock", "--yes", "--profile", str(profile), cwd=ground.place)
    assert (locked.returncode, "bundle-not-signed" in locked.stderr) == (125, True), locked.stderr


LISTS = """import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    tools = {"tools": [{"name": "t", "description": "WORDS", "inputSchema": {"type": "object"}}]}
    opened = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
              "serverInfo": {"name": "bundled", "version": "1"}}
    found = {"initialize": opened, "tools/list": tools}.get(asked.get("method"))
    if "id" in asked:
        result = {"result": found} if found else {"error": {"code": -32601, "message": "no"}}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **result}), flush=True)
"""


@native
@pytest.mark.long
def test_an_update_shows_what_the_new_file_says_and_changes_nothing(ground: Ground) -> None:
    name = f"upd-{ground.place.name}"
    file = ground.bundle(manifest(name=name), **{"server/main.py": LISTS.replace("WORDS", "sends mail")})
    assert ground.caller.run(PROGRAM, "lock", "--yes", "--", file, cwd=ground.place).returncode == 0
    ground.bundle(manifest(name=name), **{"server/main.py": LISTS.replace("WORDS", "sends mail, and a copy")})
    shown = ground.caller.run(PROGRAM, "update", "--check", name, cwd=ground.place)
    assert shown.returncode == 1, shown.stderr
    assert "- sends mail" in shown.stdout
    assert "+ sends mail, and a copy" in shown.stdout
    assert "bundle-changed" in ground.run("--", file)[2]
