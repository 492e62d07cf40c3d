"""A cache as npm leaves it: an index of answers, and their content by its hash."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path


def cached(cache: Path, url: str, body: bytes, time: int = 1) -> Path:
    """Stores one answer as npm does; where its content is."""
    digest = hashlib.sha512(body).digest()
    sri = f"sha512-{base64.b64encode(digest).decode()}"
    record = {"key": f"make-fetch-happen:request-cache:{url}", "integrity": sri, "time": time}
    index = cache / "_cacache/index-v5/aa/bb" / hashlib.sha256(url.encode()).hexdigest()
    index.parent.mkdir(parents=True, exist_ok=True)
    with index.open("a") as opened:
        opened.write(f"\n0000\t{json.dumps(record)}")
    content = cache / "_cacache/content-v2/sha512" / digest.hex()[:2] / digest.hex()[2:4] / digest.hex()[4:]
    content.parent.mkdir(parents=True, exist_ok=True)
    content.write_bytes(body)
    return content
