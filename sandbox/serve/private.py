"""What of the front no server behind it may see: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sandbox.errors import UsageError
from sandbox.plan.spec import Bind, ViewStep
from sandbox.policy.paths import below


def refuse_shown(view: Sequence[ViewStep], private: Iterable[tuple[str, str]]) -> None:
    """Raises where a server would see one of `private`: pairs of the option and its path, links resolved.

    Whoever reads the token file is every client; whoever reaches the socket or has the key is the front.
    """
    binds = [step for step in view if isinstance(step, Bind)]
    for option, path in private:
        bind = next((one for one in binds if below(path, one.source)), None)
        if bind is not None:
            what = f"the server would see `{path}`, which is the front's own: `{bind.source}` is mounted"
            hint = f"name another place for `{option}`, one that no profile mounts"
            raise UsageError("front-shown", what, rule=bind.origin or bind.why, hint=hint)
