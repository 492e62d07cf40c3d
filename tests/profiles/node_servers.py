"""Servers on Node that need no account: what each is asked under its shipped profile."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.servers import ADA, THOUGHT
from tests.profiles.grounds import repository
from tests.profiles.loopback import loopback
from tests.profiles.served import Call, Refused, Served

# --- what they work on ---------------------------------------------------------------------------------


@contextmanager
def workbook(here: Path) -> Iterator[Mapping[str, str]]:
    """The smallest book that Excel opens: one sheet, one cell."""
    spread = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{spread}" xmlns:r="{office}"><sheets>'
        '<sheet name="Figures" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{spread}"><dimension ref="A1"/><sheetData><row r="1">'
        '<c r="A1"><v>4711</v></c></row></sheetData></worksheet>',
    }  # fmt: skip
    with zipfile.ZipFile(here / "book.xlsx", "w") as book:
        for name, content in parts.items():
            book.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{content}')
    yield {"book": str(here / "book.xlsx")}


@contextmanager
def diagram(here: Path) -> Iterator[Mapping[str, str]]:
    """A file of draw.io with one page."""
    model = '<mxGraphModel><root><mxCell id="0"/><mxCell id="1" parent="0"/></root></mxGraphModel>'
    path = here / "plan.drawio"
    path.write_text(f'<mxfile><diagram id="p1" name="Overview">{model}</diagram></mxfile>')
    yield {"drawing": str(path)}


@contextmanager
def project(here: Path) -> Iterator[Mapping[str, str]]:
    """A project with one file, and something beside it that is none of the server's business."""
    (here / "main.py").write_text("print('a line of the project')\n")
    beside = here.parent / "beside"
    beside.mkdir(exist_ok=True)
    (beside / "diary.txt").write_text("what nobody else should read")
    with loopback(lambda _: b"a page of this machine's") as port:
        yield {"beside": str(beside), "port": str(port)}


@contextmanager
def checked(here: Path) -> Iterator[Mapping[str, str]]:
    """A project that ESLint finds one fault in, with rules that are a program, as they always are."""
    (here / "eslint.config.mjs").write_text('export default [{ rules: { "no-unused-vars": "error" } }];\n')
    (here / "a.js").write_text("const unused = 1;\n")
    yield {}


@contextmanager
def vault(here: Path) -> Iterator[Mapping[str, str]]:
    """A vault with one note."""
    (here / ".obsidian").mkdir()
    (here / "otter.md").write_text("The otter eats fish.\n")
    yield {}


# --- what each is asked --------------------------------------------------------------------------------

MODEL = '<mxGraphModel><root><mxCell id="0"/></root></mxGraphModel>'
WRITABLE = "--allow-write {here}"
FETCH = (
    "node -e \"fetch('http://localhost:{port}/').then((said) => said.text())"
    ".then(console.log, (error) => console.log('could not: ' + error.cause.code))\"; sleep 1"
)
"""What a model may have a shell do; the second is for the server, which forgets what is said last."""

SERVERS: tuple[Served, ...] = (
    Served(
        "everything",
        (
            Call("echo", {"message": "hällo\u2028wörld"}, "hällo"),
            Call("get-sum", {"a": 1, "b": 2}, "3"),
            Call("get-tiny-image", {}, "<image>"),
        ),
        oldest="2026.1.14",
        quick=True,
    ),
    Served(
        "filesystem",
        (
            Call("list_directory", {"path": "{here}"}, "main.py"),
            Call("read_text_file", {"path": "{here}/main.py"}, "a line of the project"),
            Call("search_files", {"path": "{here}", "pattern": "main.py"}, "main.py"),
            Call("list_allowed_directories", {}, "{here}"),
        ),
        (
            Refused(
                Call("write_file", {"path": "{here}/new.txt", "content": "a line"}, "Successfully"), WRITABLE
            ),
        ),
        ground=project,
        finds=("inputSchema/type` is missing",),  # in 2025, as every client forgave
        oldest="2025.7.29",
        quick=True,
    ),
    Served(
        "memory",
        (
            Call("create_entities", {"entities": [ADA]}, "ada"),
            Call("read_graph", {}, "wrote the first program"),
            Call("search_nodes", {"query": "ada"}, "ada"),
        ),
        oldest="2025.8.4",
        quick=True,
    ),
    Served("sequential-thinking", (Call("sequentialthinking", THOUGHT, "thoughtNumber"),), oldest="2025.7.1"),
    Served(
        "git-cyanheads",
        (
            Call("git_status", {"path": "{here}"}, "b.txt"),
            Call("git_log", {"path": "{here}"}, "the first commit"),
            Call("git_show", {"path": "{here}", "object": "HEAD"}, "a.txt"),
            Call("git_blame", {"path": "{here}", "filePath": "a.txt"}, "one"),
        ),
        (Refused(Call("git_add", {"path": "{here}", "paths": ["b.txt"]}, "b.txt"), WRITABLE),),
        ground=repository,
    ),
    Served(
        "excel-negokaz",
        (
            Call("excel_describe_sheets", {"fileAbsolutePath": "{book}"}, "Figures"),
            Call("excel_read_sheet", {"fileAbsolutePath": "{book}", "sheetName": "Figures"}, "4711"),
        ),
        (
            Refused(
                Call(
                    "excel_write_to_sheet",
                    {
                        "fileAbsolutePath": "{book}",
                        "sheetName": "Figures",
                        "newSheet": False,
                        "range": "A2:A2",
                        "values": [["0815"]],
                    },
                    "0815",
                ),
                WRITABLE,
            ),
        ),
        ground=workbook,
    ),
    Served(
        "drawio",
        (
            Call("open_drawio_xml", {"content": MODEL}, "https://app.diagrams.net/"),
            Call("open_drawio_mermaid", {"content": "graph TD; A-->B;"}, "https://app.diagrams.net/"),
            Call("list_pages", {"path": "{drawing}"}, "Overview"),
            Call("get_page", {"path": "{drawing}", "page": "Overview"}, "mxGraphModel"),
            Call("search_shapes", {"query": "router"}, dials="cdn.jsdelivr.net"),
        ),
        (
            Refused(
                Call("set_page", {"path": "{drawing}", "page": "Overview", "content": MODEL}, "Overview"),
                WRITABLE,
            ),
        ),
        ground=diagram,
    ),
    Served(
        "desktop-commander",
        (
            Call("list_directory", {"path": "{here}"}, "main.py"),
            Call("read_file", {"path": "{here}/main.py"}, "a line of the project"),
            Call("start_process", {"command": "echo $((6 * 7)); ls {here}", "timeout_ms": 5000}, "main.py"),
            Call("list_sessions"),
        ),
        (
            Refused(Call("write_file", {"path": "{here}/new.txt", "content": "a line"}, "wrote"), WRITABLE),
            Refused(
                Call("read_file", {"path": "{beside}/diary.txt"}, "nobody else"), "--allow-read {beside}"
            ),
            Refused(
                Call(
                    "start_process",
                    {"command": "cat {beside}/diary.txt; sleep 1", "timeout_ms": 9000},
                    "nobody else",
                ),
                "--allow-read {beside}",
                "No such file",
            ),
            Refused(
                Call("start_process", {"command": FETCH, "timeout_ms": 9000}, "a page of this machine's"),
                "--allow-net localhost:{port}",
                "could not: ",
            ),
        ),
        ground=project,
        tries=(
            "*.desktopcommander.app",
            "desktopcommander.app",
            "dc-telemetry-proxy-*.run.app",
            "googlechromelabs.github.io",  # a browser to draw PDF files with
            "www.google-analytics.com",  # where its older versions report to
        ),
        finds=("not listed, since a call would be denied: `give_feedback_to_desktop_commander`",),
        oldest="0.2.38",
    ),
    Served(
        "eslint",
        (Call("lint-files", {"filePaths": ["{here}/a.js"]}, "no-unused-vars"),),
        ground=checked,
        # It tells the model to show all of it "before doing anything else", which is labelled and passed on.
        finds=("the result wants to be called whatever the task",),
    ),
    Served(
        "obsidian-vault",
        (
            Call("search_notes", {"query": "otter"}, "otter.md"),
            Call("read_notes", {"paths": ["otter.md"]}, "eats fish"),
        ),
        ground=vault,
        finds=("inputSchema/type` is missing",),  # as every client forgives
    ),
    Served(
        "n8n",
        (
            Call("search_nodes", {"query": "webhook"}, "nodes-base.webhook"),
            Call("get_node", {"nodeType": "nodes-base.webhook"}, "Starts the workflow"),
        ),
    ),
)
