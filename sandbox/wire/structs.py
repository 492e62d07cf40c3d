"""msgspec at half its cost: without `typing_extensions`, of which it needs nothing that `typing` has not."""

from __future__ import annotations

import sys

# None in sys.modules makes an import of that name an ImportError, which msgspec expects and survives.
_HIDDEN = "typing_extensions"
_hide = _HIDDEN not in sys.modules
if _hide:
    sys.modules[_HIDDEN] = None  # type: ignore[assignment]  # what the import system calls absent
try:
    import msgspec as msgspec
finally:
    if _hide:
        del sys.modules[_HIDDEN]
