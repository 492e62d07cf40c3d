"""Servers that drive a browser: each opens a page for real whose script runs, and none that was not named."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sandbox import images
from tests.profiles.served import Call, Refused, Served

TITLE = "A page of the test"
PAGE = f"""<!doctype html><html lang="en"><head><title>{TITLE}</title><link rel="icon" href="data:,"></head>
<body><h1>Chapter one</h1><button onclick="document.title = 'pressed'">Press</button>
<script>document.body.append("six times seven is " + 6 * 7)</script></body></html>"""
SHOWN = "six times seven is 42"
BODY = "() => document.body.innerText"

OWN = (
    "*.googleapis.com",  # updates of the browser's parts, and what it asks its maker for
    "clients2.google.com",  # extensions, the clock
    "accounts.google.com",
    "www.google.com",
)
"""What a browser wants by itself, whatever is opened in it; its profile says that none of it is allowed."""

SPARED = (
    "socket",  # NETLINK_KOBJECT_UEVENT: devices that come and go
    "ioctl",  # F2FS_IOC_GET_FEATURES: SQLite asks whether its file lies on F2FS
)
"""What a browser is refused and does without."""

NATIVE = "" if shutil.which("chromium") else "needs Debian's `chromium`"
DOCKER = "" if "browser" in images.built(os.environ) else "needs `mcp-sandbox image build browser`"


class Pages(BaseHTTPRequestHandler):
    """The same page at every address."""

    def do_GET(self) -> None:
        """Answers with the page."""
        content = PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def served() -> Iterator[int]:
    """The port of this machine's loopback where the page is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def web(here: Path) -> Iterator[Mapping[str, str]]:
    """`{port}` is granted to every row, `{other}` is not; `{page}` is a file with the same page."""
    page = here / "page.html"
    page.write_text(PAGE)
    with ExitStack() as stack:
        port, other = (stack.enter_context(served()) for _ in range(2))
        yield {"port": str(port), "other": str(other), "page": str(page)}


GRANTED, OTHER = "http://localhost:{port}/", "http://localhost:{other}/"
FLAGS = "--allow-net localhost:{port}"
SANDBOX, SANDBOXED = "chrome://sandbox/", "You are adequately sandboxed"

PLAYWRIGHT = Served(
    "playwright",
    (
        Call("browser_navigate", {"url": GRANTED}, TITLE),
        Call("browser_evaluate", {"function": BODY}, SHOWN),
        Call("browser_take_screenshot", {"scale": "css"}, "<image>"),
        Call("browser_evaluate", {"function": "() => document.querySelector('button').click()"}),
        Call("browser_evaluate", {"function": "() => document.title"}, "pressed"),
        # Chromium's own sandbox is on in ours.
        Call("browser_navigate", {"url": SANDBOX}, "Sandbox Status"),
        Call("browser_evaluate", {"function": BODY}, SANDBOXED),
        Call("browser_close"),
    ),
    (Refused(Call("browser_navigate", {"url": OTHER}, TITLE), "--allow-net localhost:{other}"),),
    flags=FLAGS,
    ground=web,
    tries=OWN,
    spares=SPARED,
    native=NATIVE,
    docker=DOCKER,
)
CHROME_DEVTOOLS = Served(
    "chrome-devtools",
    (
        Call("new_page", {"url": GRANTED}, TITLE),
        Call("list_pages", {}, TITLE),
        Call("take_snapshot", {"pageId": 2}, SHOWN),
        Call("evaluate_script", {"pageId": 2, "function": BODY}, SHOWN),
        Call("list_network_requests", {"pageId": 2}, "200"),
        Call("take_screenshot", {"pageId": 2}, "<image>"),
        Call("close_page", {"pageId": 2}),
    ),
    (Refused(Call("new_page", {"url": OTHER}, TITLE), "--allow-net localhost:{other}", "ERR_"),),
    flags=FLAGS,
    ground=web,
    tries=OWN,
    spares=SPARED,
    native=NATIVE,
    docker=DOCKER,
)
PUPPETEER = Served(
    "puppeteer",
    (
        Call("puppeteer_navigate", {"url": GRANTED}, "Navigated"),
        Call("puppeteer_evaluate", {"script": "document.body.innerText"}, SHOWN),
        Call("puppeteer_click", {"selector": "button"}, "Clicked"),
        Call("puppeteer_evaluate", {"script": "document.title"}, "pressed"),
        Call("puppeteer_screenshot", {"name": "page"}, "<image>"),
        Call("puppeteer_navigate", {"url": SANDBOX}, "Navigated"),
        Call("puppeteer_evaluate", {"script": "document.body.innerText"}, SANDBOXED),
    ),
    (
        Refused(Call("puppeteer_navigate", {"url": OTHER}, "Navigated"), "--allow-net localhost:{other}"),
        # This one opens files too: those that it was granted.
        Refused(Call("puppeteer_navigate", {"url": "file://{page}"}, "Navigated"), "--allow-read {here}"),
    ),
    flags=FLAGS,
    ground=web,
    tries=OWN,
    spares=SPARED,
    native=NATIVE,
    docker=DOCKER,
)

SERVERS = (PLAYWRIGHT, CHROME_DEVTOOLS, PUPPETEER)
