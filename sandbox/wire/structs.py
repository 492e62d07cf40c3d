"""msgspec at half its cost: without `typing_extensions`, of which it needs nothing that `typing` has not."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import msgspec as msgspec
elif "typing_extensions" in sys.modules:
    import msgspec
else:
    # None in sys.modules makes the import of that name an ImportError, which msgspec expects and survives;
    # a version that does not is imported again with it.
    sys.modules["typing_extensions"] = None
    try:
        import msgspec
    except ImportError:
        del sys.modules["typing_extensions"]
        import msgspec
    else:
        del sys.modules["typing_extensions"]

__all__ = ["msgspec"]
