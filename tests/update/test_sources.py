"""The server's own files, line by line: of the packages that were asked for, and never behind a link."""

from __future__ import annotations

from pathlib import Path

from sandbox.supply import manifest
from sandbox.supply.lock import Lock
from sandbox.update.sources import MOST_BYTES, MOST_IN_ALL, Side, Source, sources

NPM = Lock("mail", "npm", ("mail@latest", "@acme/more@1.0.0"), ("npx",), "", "")
PYPI = Lock("mail", "pypi", ("mail_server",), ("uvx",), "", "")
SITE = "lib/python3.11/site-packages"


def side(root: Path, lock: Lock, files: dict[str, str | bytes]) -> Side:
    """A tree with these files; the manifest says all of them."""
    records = []
    for name, content in files.items():
        raw = content if isinstance(content, bytes) else content.encode()
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        records.append((b"f", manifest.digest(raw).encode(), name.encode()))
    return Side(lock, str(root), manifest.spell(records))


def shown(
    tmp_path: Path, lock: Lock, old: dict[str, str | bytes], new: dict[str, str | bytes]
) -> list[Source]:
    return [*sources(side(tmp_path / "old", lock, old), side(tmp_path / "new", lock, new))]


def test_the_files_of_the_packages_that_were_asked_for(tmp_path: Path) -> None:
    found = shown(
        tmp_path,
        NPM,
        {
            "node_modules/mail/a.js": "a\n",
            "node_modules/other/b.js": "b\n",
            "node_modules/mail/gone.js": "g\n",
        },
        {
            "node_modules/mail/a.js": "A\n",
            "node_modules/other/b.js": "B\n",
            "node_modules/@acme/more/c.js": "c\n",
        },
    )
    assert found == [
        Source("node_modules/mail/a.js", "changed", (("-", "a"), ("+", "A"))),
        Source("node_modules/@acme/more/c.js", "added", (("+", "c"),)),
        Source("node_modules/mail/gone.js", "removed", ()),
    ]


def test_of_a_wheel_its_record_says_which_files_are_its_own(tmp_path: Path) -> None:
    def files(version: str, content: str) -> dict[str, str | bytes]:
        record = (
            "mail/__init__.py,,\nmail/x.py,,\n../../../bin/mail,,\nmail_server-1.dist-info/RECORD,,\n/etc,,\n"
        )
        return {
            f"{SITE}/mail/x.py": content,
            f"{SITE}/requests/x.py": content,
            f"{SITE}/mail_server-{version}.dist-info/RECORD": record,
            f"{SITE}/requests-{version}.dist-info/RECORD": "requests/x.py,,\n",
        }

    found = shown(tmp_path, PYPI, files("1", "a\n"), files("2", "b\n"))
    assert [one.path for one in found] == [f"{SITE}/mail/x.py"]


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    own = "node_modules/mail"
    long = b"x" * (MOST_BYTES + 1)
    found = shown(
        tmp_path,
        NPM,
        {f"{own}/a.node": b"\0a", f"{own}/b.js": "b", f"{own}/c.pyc": b"c", f"{own}/\x1b[2Jd": "d\n"},
        {f"{own}/a.node": b"\0b", f"{own}/b.js": long, f"{own}/c.pyc": b"C", f"{own}/\x1b[2Jd": "D\n"},
    )
    assert [(one.path.rpartition("/")[2], one.unread) for one in found] == [
        (r"\x1b[2Jd", ""),
        ("a.node", "it is no text, or too long a one"),
        ("b.js", "it is no text, or too long a one"),
        ("c.pyc", "it is made from another file"),
    ]


def test_a_link_in_a_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    name = "node_modules/mail/a.js"
    old, new = side(tmp_path / "old", NPM, {name: "a\n"}), side(tmp_path / "new", NPM, {name: "b\n"})
    (tmp_path / "new" / name).unlink()
    (tmp_path / "new" / name).symlink_to(tmp_path / "secret")
    (one,) = sources(old, new)
    assert one.unread.startswith("it cannot be read")
    assert not one.lines


def test_more_lines_than_anybody_reads_are_not_shown(tmp_path: Path) -> None:
    many = {f"node_modules/mail/{at:03}.js": f"{at}\n" * 100 for at in range(20)}
    found = shown(tmp_path, NPM, {}, {**many})
    assert sum(len(one.lines) for one in found) <= MOST_IN_ALL + 20
    assert found[-1].unread == "enough lines are shown already"
