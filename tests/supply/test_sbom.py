"""A lock as a bill of materials: valid by the official schema, complete, and the same each time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from sandbox.records import replace
from sandbox.supply import cyclonedx, spdx
from sandbox.supply.lock import Allowed, ImageLock, Lock, Package, Place, Tree
from sandbox.supply.parts import needs, parts

SERIAL = "3e671687-395b-81f5-a30f-a58921a69b79"
SRI = "sha512-" + "A" * 86 + "=="
SHA512 = "0" * 128
HEX = "ab" * 32


def _package(name: str, place: str = "", **more: Any) -> Package:
    return Package(name, "1.2.3", (SRI,), place=place or f"node_modules/{name}", **more)


NPM = Lock(
    "everything",
    "npm",
    ("@scope/server@latest",),
    ("npx", "-y", "@scope/server@latest"),
    "2026-11-26T12:00:00Z",
    "nobody",
    packages=(
        _package(
            "@scope/server",
            source="https://registry.example/@scope/server/-/server-1.2.3.tgz",
            publisher="someone",
            published="2026-11-01T00:00:00Z",
            rest=(("license", "MIT"), ("dependencies", {"a": "^1", "b": "^1", "absent": "1"})),
        ),
        _package("a", scripts=True, rest=(("dependencies", {"b": "^2"}), ("license", "SEE LICENSE IN x"))),
        Package("b", "2.0.0", (SRI,), place="node_modules/a/node_modules/b"),
        _package("b"),
        _package("b", "node_modules/@scope/server/node_modules/b"),
    ),
    trees=(Tree("linux-x86_64 node-115", HEX, 3, 100, ()),),
    scripts=(Allowed("scripts a", "nobody"),),
    unchecked=("no provenance of `a` could be had",),
    profile="everything",
)
PYPI = Lock(
    "time",
    "pypi",
    ("mcp-server-time==1.2.3",),
    ("uvx", "mcp-server-time"),
    "2026-11-26T12:00:00Z",
    "nobody",
    packages=(
        Package("mcp_server_time", "1.2.3", (f"sha256:{HEX}",)),
        Package("pydantic-core", "2.0+local", (f"sha256:{HEX}", f"sha256:{'cd' * 32}")),
        Package("odd", "1", ("md5:0", "sha512-?", "", "sha256:zz")),
    ),
)
OCI = Lock(
    "image",
    "oci",
    ("registry.example:5000/team/server:1",),
    (),
    "2026-11-26T12:00:00Z",
    "nobody",
    image=ImageLock(
        "registry.example:5000/team/server:1", f"sha256:{HEX}", f"sha256:{HEX}", (f"sha256:{HEX}",)
    ),
)
MCPB = Lock("bundle", "mcpb", ("bundle",), (), "2026-11-26T12:00:00Z", "nobody", bundle=f"sha256:{HEX}")
PROGRAM = Lock(
    "own",
    "program",
    ("/opt/own",),
    ("/opt/own",),
    "2026-11-26T12:00:00Z",
    "nobody",
    places=(Place("/opt/own server", HEX, 1), Place("/srv/checkout", HEX, 20, "f" * 40)),
)
LOCKS = [pytest.param(lock, id=lock.kind) for lock in (NPM, PYPI, OCI, MCPB, PROGRAM)]
HOSTILE = Package(
    "\x1b[2K\n\u202e",
    "1\0",
    ("sha512-" + "A" * 9999,),
    source="x y",
    publisher="\x07",
    place="node_modules/x",
)


@pytest.mark.parametrize("lock", LOCKS)
def test_cyclonedx_is_valid_by_its_schema(lock: Lock) -> None:
    text = json.dumps(cyclonedx.document(lock, SERIAL, "1.0"))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_the_validator_finds_what_is_wrong() -> None:
    document = cyclonedx.document(NPM, SERIAL, "1.0")
    document["components"].append({"type": "unheard-of", "name": 1})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is not None


@pytest.mark.parametrize("lock", LOCKS)
def test_spdx_relates_only_what_is_there_and_names_it_once(lock: Lock) -> None:
    document = spdx.document(lock, SERIAL, "1.0")
    names = [one["SPDXID"] for one in document["packages"]]
    assert len(set(names)) == len(names)
    known = {*names, "SPDXRef-DOCUMENT"}
    for one in document["relationships"]:
        assert {one["spdxElementId"], one["relatedSpdxElement"]} <= known
    assert {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES"}.items() <= (
        document["relationships"][0].items()
    )


def _component(lock: Lock, name: str, version: str = "1.2.3") -> dict[str, Any]:
    (found,) = [
        one
        for one in cyclonedx.document(lock, SERIAL, "1.0")["components"]
        if (one["name"], one.get("version")) == (name, version)
    ]
    made: dict[str, Any] = found
    return made


def test_a_package_is_told_with_all_that_is_known_of_it() -> None:
    one = _component(NPM, "server")
    assert one["purl"] == "pkg:npm/%40scope/server@1.2.3"
    assert (one["group"], one["publisher"]) == ("@scope", "someone")
    assert one["hashes"] == [{"alg": "SHA-512", "content": SHA512}]
    assert one["licenses"] == [{"license": {"name": "MIT", "acknowledgement": "declared"}}]
    assert one["externalReferences"][0]["url"].endswith("server-1.2.3.tgz")


def test_a_package_in_two_places_is_one_component_that_says_both() -> None:
    places = [one["value"] for one in _component(NPM, "b")["properties"] if one["name"].endswith(":place")]
    assert places == ["node_modules/b", "node_modules/@scope/server/node_modules/b"]


def test_each_package_needs_the_one_that_node_would_find() -> None:
    graph = needs(NPM, parts(NPM))
    assert graph["lock:everything"] == ("pkg:npm/%40scope/server@1.2.3",)
    assert graph["pkg:npm/%40scope/server@1.2.3"] == ("pkg:npm/a@1.2.3", "pkg:npm/b@1.2.3")
    assert graph["pkg:npm/a@1.2.3"] == ("pkg:npm/b@2.0.0",)


def test_of_pypi_only_what_was_asked_for_is_known_to_be_needed() -> None:
    assert needs(PYPI, parts(PYPI)) == {"lock:time": ("pkg:pypi/mcp-server-time@1.2.3",)}
    document = cyclonedx.document(PYPI, SERIAL, "1.0")
    assert {"aggregate": "unknown", "dependencies": ["lock:time"]} in document["compositions"]


def test_of_several_files_no_hash_is_the_components_own() -> None:
    one = _component(PYPI, "pydantic-core", "2.0+local")
    assert "hashes" not in one
    assert [each["value"] for each in one["properties"]] == [HEX, "cd" * 32]
    assert one["purl"] == "pkg:pypi/pydantic-core@2.0%2Blocal"


def test_what_is_no_hash_is_left_out() -> None:
    assert "hashes" not in _component(PYPI, "odd", "1")


def test_an_image_is_told_by_its_digest_and_layers() -> None:
    one = _component(OCI, "registry.example:5000/team/server", "1")
    wanted = f"pkg:oci/server@sha256%3A{HEX}?repository_url=registry.example%3A5000/team/server"
    assert one["purl"] == wanted
    assert {"name": "mcp-sandbox:layer", "value": f"sha256:{HEX}"} in one["properties"]


def test_the_server_says_which_trees_scripts_and_gaps_it_has() -> None:
    server = cyclonedx.document(NPM, SERIAL, "1.0")["metadata"]["component"]
    said = {one["name"].removeprefix("mcp-sandbox:"): one["value"] for one in server["properties"]}
    assert said["tree:linux-x86_64 node-115"] == HEX
    assert said["install-scripts-ran"] == "scripts a"
    assert "provenance" in said["unchecked"]


@pytest.mark.parametrize("lock", LOCKS)
def test_the_same_lock_is_the_same_document(lock: Lock) -> None:
    for form in (cyclonedx.document, spdx.document):
        assert form(lock, SERIAL, "1.0") == form(lock, SERIAL, "1.0")


def test_hostile_words_are_data() -> None:
    lock = Lock("x", "npm", ("x",), (), "2026-11-26T12:00:00Z", "nobody", packages=(HOSTILE, HOSTILE))
    for form in (cyclonedx.document, spdx.document):
        assert json.dumps(form(lock, SERIAL, "1.0")).isprintable()


def test_what_a_source_was_built_with_and_into_is_told() -> None:
    built = (
        ("built-with", {"setuptools==80.0": [f"sha256:{HEX}"]}),
        ("built-into", "a-1-py3-none-any.whl x"),
    )
    lock = replace(PYPI, packages=tuple(replace(one, rest=built) for one in PYPI.packages))
    told = [
        (one["name"].rpartition(":")[2], one["value"])
        for one in _component(lock, "pydantic-core", "2.0+local")["properties"]
    ]
    assert ("built-with", "setuptools==80.0") in told
    assert ("built-into", "a-1-py3-none-any.whl x") in told
