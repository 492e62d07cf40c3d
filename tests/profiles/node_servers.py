"""Servers on Node: what each is asked under its shipped profile."""

from __future__ import annotations

from tests.e2e.servers import ADA, THOUGHT
from tests.profiles.served import Call, Refused, Served

SERVERS = (
    Served(
        "everything",
        (
            Call("echo", {"message": "hällo\u2028wörld"}, "hällo"),
            Call("get-sum", {"a": 1, "b": 2}, "3"),
            Call("get-tiny-image"),
        ),
        quick=True,
    ),
    Served(
        "filesystem",
        (Call("list_directory", {"path": "{here}"}), Call("list_allowed_directories", {}, "{here}")),
        (
            Refused(
                Call("write_file", {"path": "{here}/new.txt", "content": "a line"}, "Successfully"),
                "--allow-write {here}",
            ),
        ),
        quick=True,
    ),
    Served(
        "memory",
        (Call("create_entities", {"entities": [ADA]}, "ada"), Call("read_graph", {}, "ada")),
        quick=True,
    ),
    Served("sequential-thinking", (Call("sequentialthinking", THOUGHT, "thoughtNumber"),)),
)
