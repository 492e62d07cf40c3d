"""msgspec at half its cost: without its other formats, `typing_extensions`, and types that JSON has not."""

from __future__ import annotations

import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import msgspec as msgspec
else:
    # Only while it is imported: what stands here in their place is never asked for anything, and whoever
    # imports one of them later gets it. `typing_extensions` has nothing for it that `typing` has not.
    stand_ins = {f"msgspec.{name}": type(sys)(name) for name in ("inspect", "msgpack", "toml", "yaml")}
    schemas = stand_ins["msgspec._json_schema"] = type(sys)("_json_schema")
    schemas.schema = schemas.schema_components = None
    stand_ins["typing_extensions"] = None
    for name in ("uuid", "decimal"):
        kind = type(name, (), {"unknown": None})  # no value of ours is of that type
        stand_ins[name] = type(sys)(name)
        stand_ins[name].UUID = stand_ins[name].SafeUUID = stand_ins[name].Decimal = kind
    stand_ins = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(stand_ins)
    # Its C part swallows an interrupt that comes while it is made ready, and crashes later for what it lacks.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        import msgspec
    except (ImportError, AttributeError):  # a version that needs more than that
        whole = False
    else:
        whole = True
    for name in stand_ins:
        del sys.modules[name]
    if not whole:
        import msgspec
    signal.pthread_sigmask(signal.SIG_SETMASK, before)

__all__ = ["msgspec"]
