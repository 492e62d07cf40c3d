"""For which kind of machine a tree was installed: its words in a lock (no I/O but uname's answer)."""

from __future__ import annotations

import os

from sandbox.plan.image import Image


def kind_of(abi: str, image: Image | None = None) -> str:
    """`linux-x86_64 node-115`, or `linux-x86_64 image node` in an image of ours, by whose id it is held."""
    return f"linux-{os.uname().machine} {f'image {image.name}' if image is not None else abi}"
