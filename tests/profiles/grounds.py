"""What servers on Python are given to work on: a repository, documents, two small web sites."""

from __future__ import annotations

import sqlite3
import subprocess
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from tests.profiles.loopback import loopback

PAGE = "<html><body><h1>Otters</h1><p>The otter eats fish.</p></body></html>"


def _beyond(here: Path) -> Path:
    """A directory beside the one that the client starts the server in."""
    made = here.parent / "beyond"
    made.mkdir(exist_ok=True)
    return made


@contextmanager
def repository(here: Path) -> Iterator[Mapping[str, str]]:
    """One commit, and one file that git does not know."""
    (here / "a.txt").write_text("one\n")
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "a.txt"],
        [*who, "commit", "-qm", "the first commit"],
    ):
        subprocess.run(["git", *words], cwd=here, check=True, timeout=20)
    (here / "b.txt").write_text("two\n")
    yield {}


@contextmanager
def tables(here: Path) -> Iterator[Mapping[str, str]]:
    """A table of each kind, which only a path leads to: `{beyond}/t.db`, `{beyond}/t.csv`."""
    beyond = _beyond(here)
    with sqlite3.connect(beyond / "t.db") as database:
        database.execute("CREATE TABLE otter (name TEXT)")
    database.close()
    (beyond / "t.csv").write_text("name\nlutra\n")
    yield {"beyond": str(beyond)}


@contextmanager
def documents(here: Path) -> Iterator[Mapping[str, str]]:
    """The same documents in the server's directory and in `{beyond}`, which it has not been given."""
    beyond = _beyond(here)
    for place in (here, beyond):
        (place / "otter.html").write_text(PAGE)
        (place / "otter.md").write_text("# Otters\n\nThe otter eats fish.\n")
        (place / "otter.xlsx").touch()
        deck(place / "otter.pptx")
        (place / "otter.pdf").write_bytes(pdf("The otter eats fish."))
    yield {"beyond": str(beyond)}


def deck(path: Path) -> None:
    """The smallest presentation that its readers open: no slide."""
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kind = "application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/ppt/presentation.xml" ContentType="{kind}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="ppt/presentation.xml"/></Relationships>',
        "ppt/presentation.xml": '<presentation xmlns="http://schemas.openxmlformats.org/presentationml/2006/main"/>',
    }
    with zipfile.ZipFile(path, "w") as book:
        for name, content in parts.items():
            book.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{content}')


def pdf(text: str) -> bytes:
    """A PDF of one page that says `text`."""
    page = f"BT /F1 24 Tf 72 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(page), page),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, offsets = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, one)
    table = b"".join(b"%010d 00000 n \n" % at for at in offsets)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    return out + head + table + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(out)


def _site() -> AbstractContextManager[int]:
    """A page, and a robots.txt that forbids nothing."""
    return loopback(
        lambda path: b"" if path == "/robots.txt" else PAGE.encode(), {"Content-Type": "text/html"}
    )


@contextmanager
def sites(here: Path) -> Iterator[Mapping[str, str]]:
    """Two sites of this machine, at `{port}` and `{other}`, and the documents too."""
    with ExitStack() as stack:
        words = stack.enter_context(documents(here))
        port, other = stack.enter_context(_site()), stack.enter_context(_site())
        yield {**words, "port": str(port), "other": str(other)}
