"""An image is what was locked: by the engine's word, by every byte that it gives out, by who signed it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import secrets
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from sandbox import image_locks, image_signatures
from sandbox.errors import SandboxNotBuilt
from sandbox.image_signatures import Repository, judged, signed
from sandbox.imaging import archive, tree
from sandbox.imaging.recipe import Settings
from sandbox.plan.image import Image
from sandbox.policy.model import Policy, Supply
from sandbox.records import replace
from sandbox.supply import cosign
from sandbox.supply.lock import ImageLock
from tests.images import test_own

registry, api, published = test_own.registry, test_own.api, test_own.published

# --- what the engine has -----------------------------------------------------------------------------


@pytest.fixture
def image(api: Any, tmp_path: Path) -> Iterator[Image]:
    """A small image of this test's own, with one program in it, on the engine's disk."""
    name = f"t-image-locks-{secrets.token_hex(4)}:1"
    layer = tree.layer(_files(secrets.token_bytes(16)), str(tmp_path / "layer.tar"), since=0, below={})
    configuration = archive.config(Settings("7:8", "/app", ("A=b",)), {}, [layer.digest], os.uname().machine)
    for _ in api.load_image(archive.stream(configuration, [layer], name), quiet=True):
        pass
    yield Image(name, api.inspect_image(name)["Id"])
    api.remove_image(name, force=True)


def _files(content: bytes) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        entry = tarfile.TarInfo("app/server")
        entry.mode, entry.size = 0o755, len(content)
        made.addfile(entry, io.BytesIO(content))
    out.seek(0)
    return out


def test_an_image_as_it_was_locked_starts_without_a_question(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = image_locks.of(image, os.environ)
    assert (locked.id, len(locked.layers)) == (image.id, 1)
    image_locks.deep(locked, os.environ)
    monkeypatch.setattr(image_locks, "of", lambda *_: pytest.fail("the engine was asked"))
    image_locks.check(locked, image, os.environ)


def test_another_image_under_its_name_is_refused_and_the_layer_named(image: Image) -> None:
    now = image_locks.of(image, os.environ)
    was = replace(now, id=f"sha256:{'0' * 64}", layers=(f"sha256:{'1' * 64}",))
    with pytest.raises(SandboxNotBuilt) as raised:
        image_locks.check(was, image, os.environ)
    assert raised.value.code == "image-changed"
    assert f"layer 1 is `{now.layers[0]}`" in raised.value.what


def test_an_image_that_was_removed_is_an_error(image: Image) -> None:
    locked = image_locks.of(image, os.environ)
    with pytest.raises(SandboxNotBuilt):
        image_locks.deep(replace(locked, id=f"sha256:{'0' * 64}"), os.environ)


def flip(program: Path) -> None:
    content = bytearray(program.read_bytes())
    content[3] ^= 1
    program.write_bytes(content)


def add(program: Path) -> None:
    (program.parent / "added").write_text("#!/bin/sh\n")


def setuid(program: Path) -> None:
    program.chmod(0o4755)


def link(program: Path) -> None:
    program.unlink()
    program.symlink_to("/bin/sh")


def remove(program: Path) -> None:
    program.unlink()


@pytest.mark.root
@pytest.mark.parametrize("change", [flip, add, setuid, link, remove])
def test_a_layer_changed_on_the_engines_disk_is_found_and_named(
    image: Image, api: Any, change: Callable[[Path], None]
) -> None:
    locked = image_locks.of(image, os.environ)
    place = _on_disk(image, api) / "app" / "server"
    image_locks.deep(locked, os.environ)
    change(place)
    assert image_locks.of(image, os.environ) == locked, "the engine itself has not seen it"
    with pytest.raises(SandboxNotBuilt) as raised:
        image_locks.deep(locked, os.environ)
    assert raised.value.code == "image-changed"
    assert image.name in raised.value.what
    assert not api.containers(all=True, filters={"name": f"mcp-sandbox-look-{os.getpid()}"})


def _on_disk(image: Image, api: Any) -> Path:
    driver = api.inspect_image(image.id)["GraphDriver"]
    place = Path(driver["Data"].get("UpperDir") or "/nonexistent")
    if driver["Name"] != "overlay2" or not place.is_dir():
        pytest.skip("the engine keeps its layers where this test cannot change one")
    return place


# --- who signed it -----------------------------------------------------------------------------------


class Signer(NamedTuple):
    """A key, and what it makes of a document."""

    public: bytes
    sign: Callable[[bytes], bytes]


def _ecdsa() -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    return Signer(_pem(key.public_key()), lambda data: key.sign(data, ec.ECDSA(hashes.SHA256())))


def _ed25519() -> Signer:
    key = ed25519.Ed25519PrivateKey.generate()
    return Signer(_pem(key.public_key()), key.sign)


def _rsa() -> Signer:
    key = rsa.generate_private_key(65537, 2048)
    return Signer(_pem(key.public_key()), lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256()))


def _pem(key: Any) -> bytes:
    return bytes(
        key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def payload(digest: str, **more: Any) -> bytes:
    critical = {
        "identity": {"docker-reference": ""},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": {**critical, **more}, "optional": None}).encode()


@pytest.mark.parametrize("make", [_ecdsa, _ed25519, _rsa])
def test_a_signature_is_its_keys_alone(make: Callable[[], Signer]) -> None:
    one, document = make(), payload("sha256:1")
    made = one.sign(document)
    assert cosign.signed_by(one.public, document, made)
    assert not cosign.signed_by(one.public, document + b" ", made)
    assert not cosign.signed_by(one.public, document, made[:-1] + bytes([made[-1] ^ 1]))
    assert not cosign.signed_by(make().public, document, made)


@pytest.mark.parametrize(
    ("document", "about"),
    [
        pytest.param(payload("sha256:1"), True, id="this image"),
        pytest.param(payload("sha256:2"), False, id="another image"),
        pytest.param(payload("sha256:1", type="atomic container signature"), False, id="another kind"),
        pytest.param(payload("sha256:1", image={}), False, id="no image"),
        pytest.param(b'{"critical": {"image": {}}, "critical": 1}', False, id="a name twice"),
        pytest.param(b"[" * 100_000, False, id="deep"),
        pytest.param(b"\xff", False, id="no text"),
    ],
)
def test_a_document_is_about_one_image(document: bytes, about: bool) -> None:
    assert cosign.names(document, "sha256:1") is about


@pytest.mark.parametrize("manifest", [b"", b"[]", b'{"layers": 3}', b'{"layers": [1]}', b"[" * 100_000])
def test_a_manifest_that_is_none_lists_no_signature(manifest: bytes) -> None:
    assert cosign.signatures(manifest) == ()


@pytest.mark.parametrize(
    ("name", "base"),
    [
        pytest.param("debian:12", "https://registry-1.docker.io/v2/library/debian", id="the default's own"),
        pytest.param("mcp/fetch", "https://registry-1.docker.io/v2/mcp/fetch", id="the default registry"),
        pytest.param("docker.io/debian", "https://registry-1.docker.io/v2/library/debian", id="spelt out"),
        pytest.param("ghcr.io/a/b:1@sha256:x", "https://ghcr.io/v2/a/b", id="another, with all there is"),
        pytest.param("localhost:5000/a", "http://localhost:5000/v2/a", id="this machine's"),
        pytest.param(
            "localhost.evil.example/a", "https://localhost.evil.example/v2/a", id="a look-alike of it"
        ),
    ],
)
def test_a_name_leads_to_its_registry(name: str, base: str) -> None:
    assert Repository.of(name).base == base


def upload(reference: str, signer: Signer, *, about: str = "", keyless: bool = False) -> None:
    """Puts a signature where cosign does."""
    digest = reference.partition("@")[2]
    document = payload(about or digest)
    base = Repository.of(reference).base
    said = {"dev.cosignproject.cosign/signature": base64.b64encode(signer.sign(document)).decode()}
    if keyless:
        said["dev.sigstore.cosign/certificate"] = "-----BEGIN CERTIFICATE-----"
    layer = {"mediaType": cosign.TYPE, "size": len(document), "digest": _push(base, document)}
    config = b"{}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "size": len(config),
            "digest": _push(base, config),
        },
        "layers": [{**layer, "annotations": said}],
    }
    _send(
        "PUT", f"{base}/manifests/{cosign.tag(digest)}", json.dumps(manifest).encode(), manifest["mediaType"]
    )


def _push(base: str, blob: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    place = _send("POST", f"{base}/blobs/uploads/", b"")
    _send("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", blob)
    return digest


def _send(method: str, url: str, data: bytes, kind: Any = "application/octet-stream") -> str:
    request = urllib.request.Request(url, data, {"Content-Type": str(kind)}, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - loopback
        return str(answer.headers.get("Location", ""))


@pytest.fixture
def locked(published: str) -> ImageLock:
    """An image that its registry has."""
    return ImageLock(published, f"sha256:{'0' * 64}", published.partition("@")[2], ())


@pytest.fixture
def signer(tmp_path: Path) -> tuple[Signer, str]:
    one = _ecdsa()
    (tmp_path / "cosign.pub").write_bytes(one.public)
    return one, str(tmp_path / "cosign.pub")


def test_an_image_signed_by_a_named_key_says_so(locked: ImageLock, signer: tuple[Signer, str]) -> None:
    one, key = signer
    upload(locked.name, one)
    assert signed(locked, (key,)).provenance == (f"cosign: signed by `{key}`",)
    assert signed(locked, (key,)).unchecked == ()
    (told,) = signed(locked, ()).unchecked
    assert "names no key" in told


@pytest.mark.parametrize(
    ("forge", "says"),
    [
        pytest.param(lambda name, one: None, "none of the 0", id="unsigned"),
        pytest.param(lambda name, one: upload(name, _ecdsa()), "none of the 1", id="by another key"),
        pytest.param(
            lambda name, one: upload(name, one, about=f"sha256:{'9' * 64}"),
            "none of the 1",
            id="of another image",
        ),
    ],
)
def test_an_image_that_no_named_key_signed_is_refused(
    locked: ImageLock, signer: tuple[Signer, str], forge: Callable[[str, Signer], None], says: str
) -> None:
    one, key = signer
    forge(locked.name, one)
    with pytest.raises(SandboxNotBuilt) as raised:
        signed(locked, (key,))
    assert raised.value.code == "image-not-signed"
    assert says in raised.value.what
    assert len(signed(locked, ()).unchecked) == 1, "without a key it is said, not refused"


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        pytest.param({"provenance": "require"}, True, id="required, and no key is named"),
        pytest.param(
            {"provenance": "require", "image_keys": ("cosign.pub",)}, False, id="required, by its key"
        ),
        pytest.param(
            {"provenance": "warn", "image_keys": ("cosign.pub",)}, False, id="a key beside the profile"
        ),
        pytest.param({"provenance": "off", "image_keys": ("no.pub",)}, False, id="not asked for"),
        pytest.param({"image_keys": ("no.pub",)}, True, id="a key that is not there"),
        pytest.param({"image_keys": ("$NOWHERE/x",)}, True, id="a variable that is not set"),
    ],
)
def test_a_profile_decides_what_a_signature_is_needed_for(
    locked: ImageLock, signer: tuple[Signer, str], said: dict[str, Any], refused: bool
) -> None:
    one, key = signer
    upload(locked.name, one)
    policy = Policy(name="t", supply=Supply(**said))
    cwd = str(Path(key).parent)
    if refused:
        with pytest.raises(SandboxNotBuilt):
            judged(locked, policy, os.environ, cwd)
    else:
        found = judged(locked, policy, os.environ, cwd)
        assert bool(found.provenance) is (said["provenance"] != "off")


def test_a_signature_for_an_identity_is_said_to_be_unchecked(locked: ImageLock) -> None:
    upload(locked.name, _ecdsa(), keyless=True)
    (told,) = signed(locked, ()).unchecked
    assert "keyless" in told


def test_a_registry_that_does_not_answer_is_said_and_refused_where_a_key_is_named(
    signer: tuple[Signer, str],
) -> None:
    nowhere = ImageLock("127.0.0.1:1/a", f"sha256:{'0' * 64}", f"sha256:{'1' * 64}", ())
    (told,) = signed(nowhere, ()).unchecked
    assert "cannot be asked" in told
    with pytest.raises(SandboxNotBuilt, match="cannot be asked"):
        signed(nowhere, (signer[1],))


def test_a_key_that_is_none_is_an_error_that_names_it(tmp_path: Path, locked: ImageLock) -> None:
    upload(locked.name, _ecdsa())
    (tmp_path / "no.pub").write_text("nothing")
    with pytest.raises(SandboxNotBuilt, match=r"no\.pub"):
        signed(locked, (str(tmp_path / "no.pub"),))


def test_an_image_of_no_registry_is_unsigned() -> None:
    own = ImageLock("base", f"sha256:{'0' * 64}", "", ())
    assert "of no registry" in signed(own, ()).unchecked[0]
    assert image_signatures.RULE
