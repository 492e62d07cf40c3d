"""SHA-256 for short texts before the fork: the interpreter's own, since `hashlib` loads OpenSSL for 3 ms.

What is long (packages, frames) is hashed by `hashlib`, which is several times as fast.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256 as sha256
else:
    try:
        from _sha2 import sha256  # 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256  # 3.11
        except ImportError:  # an interpreter built to use OpenSSL alone
            from hashlib import sha256

__all__ = ["sha256"]
