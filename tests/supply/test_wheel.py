"""What a wheel that a package's own code has built may be: read without a file of it being written."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from sandbox.errors import SandboxNotBuilt
from sandbox.supply import wheel

FILE, INFO, DATA = "Some_Tool-1.0-py3-none-any.whl", "Some_Tool-1.0.dist-info", "Some_Tool-1.0.data"
METADATA = "Metadata-Version: 2.1\nName: Some.Tool\nVersion: 1.0\n"
POINTS = "[console_scripts]\nTool = some_tool:main\n"


def _row(path: str, text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(text)}\n"


def _made(more: Mapping[str, str | None] = {}, *, record: str | None = None) -> bytes:
    """A wheel with these files besides; one that is None is left out."""
    files = {
        "some_tool.py": "def main(): pass\n",
        f"{INFO}/METADATA": METADATA,
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
        f"{INFO}/entry_points.txt": POINTS,
        **more,
    }
    kept = {path: text for path, text in files.items() if text is not None}
    listed = "".join(_row(*each) for each in kept.items()) + f"{INFO}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in {**kept, f"{INFO}/RECORD": listed if record is None else record}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return buffer.getvalue()


def _looked(data: bytes, file: str = FILE) -> wheel.Wheel:
    return wheel.looked_at(file, data, "some-tool", "1.0")


def test_what_it_says_of_itself_and_where_it_goes() -> None:
    said = (
        METADATA + "Requires-Dist: b >=2 ; python_version > '3'\nProvides-Extra: x\nRequires-Python: >=3.9\n"
    )
    more = {f"{INFO}/METADATA": said, f"{DATA}/scripts/run": "x", f"{DATA}/headers/a.h": ""}
    found = _looked(_made({**more, f"{DATA}/purelib/pure.py": ""}))
    assert found.requires == ('b>=2; python_version > "3"',)
    assert (found.extras, found.python) == (("x",), ">=3.9")
    places = {place for place, _ in found.places}
    assert {"{site}/some_tool.py", "{site}/pure.py", "bin/run", "bin/Tool"} < places
    assert "include/{headers}/some-tool/a.h" in places


@pytest.mark.parametrize(
    ("more", "why"),
    [
        pytest.param({f"{INFO}/METADATA": None}, "no `METADATA`", id="no metadata"),
        pytest.param({f"{INFO}/WHEEL": None}, "no `WHEEL`", id="not a wheel"),
        pytest.param({f"{INFO}/METADATA": METADATA.replace("1.0", "1.1")}, "says that it", id="a version"),
        pytest.param({f"{INFO}/METADATA": METADATA.replace("Some", "Other")}, "says that it", id="a name"),
        pytest.param({f"{INFO}/METADATA": METADATA + "Requires-Dist: -r x\n"}, "no requirement", id="words"),
        pytest.param({"other-1.0.dist-info/METADATA": ""}, "holds", id="another's metadata"),
        pytest.param({"some_tool-1.0.DIST-INFO/METADATA": ""}, "there twice|holds", id="in capitals"),
        pytest.param({f"{DATA}/purelib/other-1.0.dist-info/RECORD": ""}, "holds", id="by purelib"),
        pytest.param({f"{DATA}/platlib/other.egg-info/PKG-INFO": ""}, "holds", id="by platlib"),
        pytest.param({"other-1.0.data/scripts/x": ""}, "holds", id="another's data"),
        pytest.param({f"{DATA}/elsewhere/x": ""}, "belongs nowhere", id="no scheme"),
        pytest.param({"other/__pycache__/m.cpython-311.pyc": ""}, "compiled", id="another's bytecode"),
        pytest.param({f"{INFO}/entry_points.txt": "[console_scripts]\n../x = a:b\n"}, "program", id="a path"),
        pytest.param({f"{INFO}/entry_points.txt": "[console_scripts\n"}, "cannot be read", id="no table"),
    ],
)
def test_another_package_or_none_is_refused(more: Mapping[str, str | None], why: str) -> None:
    assert _looked(_made()), "the control"
    with pytest.raises(SandboxNotBuilt, match=why) as refused:
        _looked(_made(more))
    assert refused.value.code == "wheel-refused"


@pytest.mark.parametrize(
    "file",
    ["other-1.0-py3-none-any.whl", "some_tool-2.0-py3-none-any.whl", "some_tool-1.0.whl", "../some_tool.whl"],
)
def test_the_name_of_another_file_is_refused(file: str) -> None:
    with pytest.raises(SandboxNotBuilt, match="name of another"):
        _looked(_made(), file)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        pytest.param("", "not true of", id="nothing"),
        pytest.param(f"gone.py,,\n{INFO}/RECORD,,\n", "not true of", id="what is not there"),
        pytest.param("some_tool.py,sha256=AAAA,1\n", "not true|another hash", id="another hash"),
        pytest.param("some_tool.py,md5=AAAA,1\n", "not true|another hash", id="a weak one"),
    ],
)
def test_a_record_that_is_not_true_is_refused(record: str, why: str) -> None:
    with pytest.raises(SandboxNotBuilt, match=why):
        _looked(_made(record=record))


@pytest.mark.parametrize("said", ["sha256=AAAA", "md5=AAAA", "sha256=+"])
def test_a_record_with_another_hash_is_refused(said: str) -> None:
    names = (
        "some_tool.py",
        *(f"{INFO}/{name}" for name in ("METADATA", "WHEEL", "entry_points.txt", "RECORD")),
    )
    bare = "".join(f"{name},,\n" for name in names)
    assert _looked(_made(record=bare)), "the control: without one it is nobody's lie"
    with pytest.raises(SandboxNotBuilt, match="another hash"):
        _looked(_made(record=bare.replace("some_tool.py,", f"some_tool.py,{said}")))


def test_what_is_no_archive_is_refused() -> None:
    for data in (b"", b"PK", _made()[:-30], _made() + b"x"):
        with pytest.raises(SandboxNotBuilt):
            _looked(data)


def test_only_equal_files_may_be_there_already(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    (site / "shared").mkdir(parents=True)
    (tmp_path / "lib64").symlink_to("lib")
    (site / "shared/__init__.py").write_text("# namespace\n")
    tree = str(tmp_path)

    def refuse(*more: dict[str, str | None]) -> None:
        wheel.refuse_overwriting(tree, [("some-tool", "1.0", _looked(_made(each))) for each in more])

    equal: dict[str, str | None] = {"shared/__init__.py": "# namespace\n"}
    refuse(equal)
    other: dict[str, str | None] = {"shared/__init__.py": "# other\n"}
    by_link: dict[str, str | None] = {f"{DATA}/data/lib64/python3.11/site-packages/shared/__init__.py": "x"}
    (tmp_path / "bin").mkdir()
    for each in (other, by_link):
        with pytest.raises(SandboxNotBuilt, match="overwrite"):
            refuse(each)
    (tmp_path / "bin/Tool").symlink_to("/bin/true")
    with pytest.raises(SandboxNotBuilt, match="overwrite `bin/Tool`"):
        refuse({})


def test_whatever_a_build_leaves_is_a_wheel_or_refused() -> None:
    """Bytes of a wheel that are changed, and files of it that are nonsense: no other error comes of it."""
    chance, whole = random.Random(7), _made()  # noqa: S311 - what bytes are changed is no secret
    texts = ("", "\0", "(" * 1900, "a" * 200_000, "[console_scripts]\n x\n\ty", "Name: \udcff", ',\n"', "\r")
    for name in ("METADATA", "WHEEL", "entry_points.txt"):
        for text in texts:
            _either(_made({f"{INFO}/{name}": text.encode("utf-8", "replace").decode()}))
    for text in texts:
        needs = METADATA + f"Requires-Dist: {text}\nRequires-Python: {text}\n"
        _either(_made({f"{INFO}/METADATA": needs.encode("utf-8", "replace").decode()}))
        _either(_made(record=text.encode("utf-8", "replace").decode()))
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        _either(bytes(data))


def _either(data: bytes) -> None:
    with suppress(SandboxNotBuilt):
        _looked(data)
