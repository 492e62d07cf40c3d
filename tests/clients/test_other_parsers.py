"""Clients read what we read: VS Code's parser of JSON with comments, Continue's of YAML, another of TOML."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.clients import codec, shapes
from sandbox.clients.words import ConfigError
from tests.clients.configs import CONFIGS, Config
from tests.clients.real import installed
from tests.clients.test_codec_properties import ANY, client, read, wrapped
from tests.clients.written import Written

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
PARSERS = ("jsonc-parser@3.3.1", "smol-toml@1.9.1", "yaml@2.9.1")
SCRIPT = Path(__file__).with_name("other_parsers.mjs")
MANY = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))

Ask = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def ask(shared_cache: Path) -> Iterator[Ask]:
    """What another parser says of a text of a format."""
    modules = installed(shared_cache / "clients", "parsers", PARSERS)
    argv = ["node", str(SCRIPT), str(modules)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        to, back = process.stdin, process.stdout

        def asked(format: str, text: str) -> dict[str, Any]:
            to.write(json.dumps({"format": format, "text": text}) + "\n")
            to.flush()
            answer: dict[str, Any] = json.loads(back.readline())
            return answer

        yield asked
        to.close()


def comparable(value: Any) -> Any:
    """With numbers as JavaScript has them, and line breaks as one parser of TOML leaves them."""
    text = re.sub(r"\\r\\n", r"\\n", json.dumps(value))
    return json.loads(text, parse_int=float)


@pytest.mark.parametrize(
    "config", [pytest.param(one, id=one.id) for one in CONFIGS if not one.error and one.content]
)
def test_the_corpus(config: Config, ask: Ask) -> None:
    format = config.format.removesuffix("c")
    text = config.content.decode().removeprefix("\ufeff")
    document = codec.parse(config.content, format)
    assert comparable(document.data()) == comparable(ask(format, text)["value"])


@MANY
@given(written=ANY)
def test_written_and_edited(ask: Ask, written: Written) -> None:
    document = read(written)
    edits = [edit for entry in document.entries(client(written)) for edit in wrapped(entry)]
    for text in (written.text, document.edited(edits).decode()):
        ours = codec.parse(text.encode(), written.format).data()
        assert comparable(ours) == comparable(ask(written.format, text)["value"])


@MANY
@given(written=ANY, data=st.data())
def test_no_damage_hides_a_server(ask: Ask, written: Written, data: st.DataObject) -> None:
    text = damaged(written.text, data)
    theirs = ask(written.format, text)
    try:
        ours = codec.parse(text.encode(), written.format).entries(client(written))
    except ConfigError:
        return
    if isinstance(theirs.get("value"), dict):
        seen = shapes.entries(client(written), theirs["value"])
        assert [(one.name, one.command, one.args) for one in seen] == [
            (one.name, one.command, one.args) for one in ours
        ]


def damaged(text: str, data: st.DataObject) -> str:
    at = data.draw(st.integers(0, len(text)))
    pieces = [
        "",
        '"',
        "}",
        "]",
        "\n",
        "\r",
        " ",
        "-",
        ":",
        "#",
        "*a",
        "&a ",
        "|",
        "\t",
        ",",
        "//",
        "/*",
        "*/",
        "'",
    ]
    piece = data.draw(
        st.sampled_from([*pieces, "?", "!x ", "0", "[", "{", "<<: ", "\u2028", "\x85", "\\", "---\n"])
    )
    return text[:at] + piece + text[at + data.draw(st.integers(0, 2)) :]
