"""`argparse` for `run`, without `gettext`: nothing of ours is translated, and to look for that takes 3 ms."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    import argparse as argparse
else:
    if "gettext" in sys.modules:
        import argparse
    else:
        # Only while it is imported: whoever asks for the module later gets the real one.
        untranslated = sys.modules["gettext"] = type(sys)("gettext")
        untranslated.gettext = str
        untranslated.ngettext = lambda one, many, number: one if number == 1 else many
        try:
            import argparse
        finally:
            del sys.modules["gettext"]
    argparse._ = str  # it may have been imported before us

__all__ = ["argparse"]
