"""Servers on Python: what each is asked under its shipped profile."""

from __future__ import annotations

from tests.profiles.grounds import documents, repository, sites, tables
from tests.profiles.served import Call, Refused, Served

FISH = "The otter eats fish."

SERVERS: tuple[Served, ...] = (
    Served(
        "git",
        (
            Call("git_status", {"repo_path": "{here}"}, "b.txt"),
            Call("git_log", {"repo_path": "{here}"}, "the first commit"),
            Call("git_show", {"repo_path": "{here}", "revision": "HEAD"}, "a.txt"),
            Call("git_branch", {"repo_path": "{here}", "branch_type": "local"}, "main"),
        ),
        (
            Refused(
                Call("git_create_branch", {"repo_path": "{here}", "branch_name": "other"}, "other"),
                "--allow-write {here}",
            ),
        ),
        ground=repository,
        quick=True,
        oldest="2026.8.18",
    ),
    Served(
        "time",
        (
            Call("get_current_time", {"timezone": "Asia/Tokyo"}, "+09:00"),
            Call(
                "convert_time",
                {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"},
                "21:00",
            ),
        ),
        oldest="2026.8.18",
    ),
    Served("calculator", (Call("calculate", {"expression": "2*21"}, "42"),)),
    Served(
        "fetch",
        (Call("fetch", {"url": "http://localhost:{port}/otter"}, FISH),),
        (
            Refused(
                Call("fetch", {"url": "http://localhost:{other}/otter"}, FISH),
                "--allow-net localhost:{other}",
            ),
        ),
        flags="--allow-net localhost:{port}",
        command="uvx mcp-server-fetch --allow-private-ips",  # its own guard refuses this machine's sites
        ground=sites,
    ),
    Served(
        "sqlite",
        (
            Call("create_table", {"query": "CREATE TABLE people (name TEXT)"}),
            Call("write_query", {"query": "INSERT INTO people VALUES ('Ada')"}),
            Call("read_query", {"query": "SELECT name FROM people"}, "Ada"),
            Call("list_tables", {}, "people"),
        ),
        (
            Refused(
                Call("write_query", {"query": "ATTACH DATABASE 'file:{beyond}/t.db' AS t"}, "[]"),
                "--allow-read {beyond}",
                "unable to open",
            ),
        ),
        ground=tables,
        oldest="2025.1.14",
    ),
    Served(
        "duckdb",
        (
            Call("query", {"query": "CREATE TABLE people (name TEXT)"}),
            Call("query", {"query": "INSERT INTO people VALUES ('Ada')"}),
            Call("query", {"query": "SELECT name FROM people"}, "Ada"),
        ),
        (
            Refused(
                Call("query", {"query": "SELECT name FROM read_csv('{beyond}/t.csv')"}, "lutra"),
                "--allow-read {beyond}",
                "No files found",
            ),
        ),
        ground=tables,
        oldest="1.0.0",
    ),
    Served(
        "excel",
        (
            Call("create_workbook", {"path": "{here}/o.xlsx", "sheets": ["fish"]}),
            Call(
                "write_range", {"path": "{here}/o.xlsx", "sheet": "fish", "at": "A1", "rows": [["pike", 3]]}
            ),
            Call("read_range", {"path": "{here}/o.xlsx", "sheet": "fish"}, "pike"),
        ),
        (Refused(Call("list_workbooks", {"directory": "{beyond}"}, "otter.xlsx"), "--allow-read {beyond}"),),
        command="uvx excel-mcp-server stdio",  # what it allows itself is not what is proven here
        ground=documents,
        oldest="2.0.0",
    ),
    Served(
        "office-word",
        (
            Call("create_document", {"filename": "{here}/o.docx", "title": "Otters"}, "created"),
            Call("add_heading", {"filename": "{here}/o.docx", "text": "Food", "level": 1}, "added"),
            Call("add_paragraph", {"filename": "{here}/o.docx", "text": FISH}, "added"),
            Call("get_document_text", {"filename": "{here}/o.docx"}, FISH),
        ),
        (
            Refused(
                Call("create_document", {"filename": "{beyond}/o.docx"}, "created successfully"),
                "--allow-write {beyond}",
                "Cannot create",
            ),
        ),
        ground=documents,
    ),
    Served(
        "office-powerpoint",
        (
            Call("create_presentation", {"id": "o"}),
            Call("add_slide", {"layout_index": 0, "title": "Otters", "presentation_id": "o"}),
            Call("extract_presentation_text", {"presentation_id": "o"}, "Otters"),
            Call("save_presentation", {"file_path": "{here}/o.pptx", "presentation_id": "o"}, "o.pptx"),
        ),
        (
            Refused(
                Call("open_presentation", {"file_path": "{beyond}/otter.pptx"}, "slide_count"),
                "--allow-read {beyond}",
                "File not found",
            ),
        ),
        ground=documents,
    ),
    Served(
        "pandoc",
        (
            Call("convert-contents", {"contents": "# Otters", "output_format": "html"}, "</h1>"),
            Call(
                "convert-contents",
                {"input_file": "{here}/otter.md", "output_format": "docx", "output_file": "{here}/o.docx"},
                "{here}/o.docx",
            ),
        ),
        (
            Refused(
                Call("convert-contents", {"input_file": "{beyond}/otter.md", "output_format": "html"}, FISH),
                "--allow-read {beyond}",
                "not found",
            ),
        ),
        ground=documents,
        oldest="0.10.0",
    ),
    Served(
        "markitdown",
        (
            Call("convert_to_markdown", {"uri": "file://{here}/otter.html"}, FISH),
            Call("convert_to_markdown", {"uri": "data:text/plain,otter"}, "otter"),
        ),
        (
            Refused(
                Call("convert_to_markdown", {"uri": "file://{beyond}/otter.html"}, FISH),
                "--allow-read {beyond}",
            ),
            Refused(
                Call("convert_to_markdown", {"uri": "http://localhost:{port}/otter"}, FISH),
                "--allow-net localhost:{port}",
            ),
        ),
        ground=sites,
    ),
    Served(
        "pymupdf4llm",
        (
            Call("convert_pdf_to_markdown", {"file_path": "{here}/otter.pdf"}, FISH),
            Call(
                "convert_pdf_to_markdown",
                {"file_path": "{here}/otter.pdf", "save_path": "{here}/o.md"},
                "{here}/o.md",
            ),
        ),
        (
            Refused(
                Call("convert_pdf_to_markdown", {"file_path": "{beyond}/otter.pdf"}, FISH),
                "--allow-read {beyond}",
                "File not found",
            ),
        ),
        ground=documents,
        oldest="1.27.2",
    ),
    Served(
        "chroma",
        (
            Call("chroma_create_collection", {"collection_name": "otters"}, "Successfully created"),
            Call("chroma_list_collections", {}, "otters"),
            Call("chroma_get_collection_count", {"collection_name": "otters"}, "0"),
            Call(
                "chroma_add_documents",
                {"collection_name": "otters", "documents": [FISH], "ids": ["1"]},
                dials="chroma-onnx-models.s3.amazonaws.com",
            ),
            Call("chroma_delete_collection", {"collection_name": "otters"}, "Successfully deleted"),
        ),
    ),
    Served(
        "motherduck",
        (
            Call("execute_query", {"sql": "CREATE TABLE people AS SELECT 'Ada' AS name"}),
            Call("execute_query", {"sql": "SELECT name FROM people"}, "Ada"),
            Call("list_tables", {}, "people"),
        ),
        (
            Refused(
                Call("execute_query", {"sql": "SELECT name FROM read_csv('{beyond}/t.csv')"}, "lutra"),
                "--allow-read {beyond}",
                "No files found",
            ),
        ),
        ground=tables,
    ),
    Served(
        "arxiv",
        (
            Call("list_papers"),
            Call("search_papers", {"query": "otters", "max_results": 1}, dials="export.arxiv.org"),
            Call("download_paper", {"paper_id": "1706.03762"}, dials="arxiv.org"),
        ),
    ),
    Served(
        "aws-documentation",
        (
            Call("search_documentation", {"search_phrase": "otters"}, dials="proxy.search.docs.aws.com"),
            Call(
                "read_documentation",
                {"url": "https://docs.aws.amazon.com/s3/latest/userguide/Welcome.html"},
                dials="docs.aws.amazon.com",
            ),
            Call(
                "recommend",
                {"url": "https://docs.aws.amazon.com/s3/latest/userguide/Welcome.html"},
                dials="api.contentrecs.docs.aws.com",
            ),
        ),
    ),
    Served("duckduckgo", (Call("search", {"query": "otters"}, dials="html.duckduckgo.com"),)),
    Served(
        "cli",
        (
            Call("run_command", {"command": "cat otter.md"}, FISH),
            Call("show_security_rules", {}, "{here}"),
        ),
        (
            Refused(
                Call("run_command", {"command": "touch otter.new"}, "return code: 0"),
                "--allow-write {here}",
                "Read-only file system",
            ),
        ),
        env={"ALLOWED_DIR": "{here}", "ALLOWED_COMMANDS": "ls,cat,pwd,touch"},
        ground=documents,
    ),
    Served(
        "atlassian",
        (Call("jira_get_issue", {"issue_key": "OTTER-1"}, dials="example.atlassian.net"),),
        flags="--allow-net example.atlassian.net",
        env={
            "JIRA_URL": "https://example.atlassian.net",
            "JIRA_USERNAME": "ada@example.org",
            "JIRA_API_TOKEN": "a-token-that-is-nobody-s",
        },
    ),
    Served("blender", (Call("get_scene_info", {}, dials="localhost"),)),
    Served(
        "obsidian",
        (Call("obsidian_list_files_in_vault", {}, dials="localhost"),),
        env={"OBSIDIAN_API_KEY": "a-key-that-is-nobody-s"},
    ),
)
