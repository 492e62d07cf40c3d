"""`differ.py SDK SECONDS SEED`: lines and results that we and the SDKs take otherwise, and why that is meant.

Where neither SDK takes what we pass on, a client would hang; where both take what we refuse, we would break
something. Each such difference has a row in a table here, or it is a finding.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from jsonschema import Draft202012Validator  # noqa: E402

from fuzzing.conversations import CONVERSATIONS, SEEDS, SERVER, TOOL  # noqa: E402 - beside this script
from fuzzing.inspectors import made  # noqa: E402
from fuzzing.mutate import changed, torn  # noqa: E402
from fuzzing.sdks import REFUSED, Npm, Reading, python_line, python_result  # noqa: E402
from fuzzing.shapes import dumped  # noqa: E402
from fuzzing.stage import Stage  # noqa: E402
from sandbox.wire.jsonrpc import Fault, Frame, FrameReader  # noqa: E402

STRICTER: dict[str, str] = {
    "frame-duplicate-key": "which of two members counts is up to the reader",
    "frame-depth": "a parser's stack is finite, and differs",
    "frame-values": "memory",
    "frame-size": "memory",
    "frame-number": "Infinity in one language, an error in another",
    "frame-nan": "Python alone reads it",
    "frame-surrogate": "JavaScript alone holds half a character",
    "frame-utf8": "JavaScript alone reads on, with another text",
    "frame-id": "`1.0` is a request to one SDK and a notification to the other; long or inexact ids",
    "frame-envelope": "a call that is also a response; `params: null`; a method of no character, or over 256",
}
"""By our rule: why we refuse what one SDK, or both, would take."""
_ENVELOPE = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})


def _extra(message: dict[str, Any]) -> bool:
    return not _ENVELOPE >= message.keys() or ("method" not in message and "params" in message)


def _strange_meta(message: dict[str, Any]) -> bool:
    """`_meta` that the npm SDK's schema of the envelope does not take."""
    meta = (message.get("params") or message.get("result") or {}).get("_meta", {})
    if not isinstance(meta, dict):
        return True
    related = meta.get("io.modelcontextprotocol/related-task", {"taskId": ""})
    token = meta.get("progressToken", 0)
    return not (
        isinstance(related, dict)
        and isinstance(related.get("taskId"), str)
        and (isinstance(token, str) or (isinstance(token, int | float) and _whole(token)))
        and not isinstance(token, bool)
    )


def _whole(number: float) -> bool:
    """As JavaScript counts: beyond 2**53 no two neighbours differ there."""
    return number == int(number) and abs(number) < 2**53


def _without_id(message: dict[str, Any]) -> bool:
    return "error" in message and "id" not in message


def _null_id(message: dict[str, Any]) -> bool:
    return "error" in message and "id" in message and message["id"] is None


def _large_code(message: dict[str, Any]) -> bool:
    return "error" in message and abs(message["error"]["code"]) > 2**53 - 1


LOOSER: dict[str, dict[str, Callable[[dict[str, Any]], bool]]] = {
    "npm": {
        "members of a later revision": _extra, "`_meta` of another shape": _strange_meta,
        "an error with the id null": _null_id, "an error code beyond 2**53": _large_code,
    },
    "python": {"an error without an id": _without_id},
}  # fmt: skip
"""By SDK: what we pass on though it does not read it; honest servers of another SDK may say it."""


class Tally:
    """How often each difference was seen, and those that no table explains."""

    def __init__(self) -> None:
        self.asked = 0
        self.seen: Counter[str] = Counter()
        self.unexplained: dict[str, str] = {}

    def difference(self, what: str, shown: bytes, *, meant: bool) -> None:
        """Count one."""
        self.seen[what] += 1
        if not meant:
            self.unexplained.setdefault(what, repr(shown[:600]))


# --- lines -----------------------------------------------------------------------------------------------


def lines(chance: random.Random) -> Iterator[bytes]:
    """Lines that are nearly messages."""
    spoken = [line for seed in SEEDS for line in seed.split(b"\n") if line]
    while True:
        line = chance.choice(spoken)[1:]
        if chance.random() < 0.6:
            line = dumped(changed(json.loads(line), chance)).rstrip(b"\n")
        yield torn(line, chance) if chance.random() < 0.5 else line


def hold_line(line: bytes, npm: Npm, tally: Tally) -> None:
    """Compare how a line is read by all three."""
    found = FrameReader(1 << 20).feed(line + b"\n")
    if len(found) != 1:
        return
    tally.asked += 1
    for name, reading in (("python", python_line(line)), ("npm", npm.line(line))):
        _compare(name, found[0], reading, line, tally)


def _compare(name: str, ours: Frame | Fault, theirs: Reading, line: bytes, tally: Tally) -> None:
    if isinstance(ours, Fault):
        if theirs.takes:
            tally.difference(f"{name} takes {ours.rule}", line, meant=ours.rule in STRICTER)
    elif theirs == REFUSED:
        why = next((why for why, is_so in LOOSER[name].items() if is_so(ours.message)), None)
        tally.difference(f"{name} refuses {why or 'what we pass on'}", line, meant=why is not None)
    elif (theirs.kind, theirs.id, theirs.method) != (ours.kind, ours.id, ours.method):
        tally.difference(f"{name} reads another message", line, meant=False)


# --- results ---------------------------------------------------------------------------------------------

OUTPUT = Draft202012Validator(TOOL["outputSchema"])
DANGEROUS: dict[str, str] = {}
"""By our rule under `protocol = "on"`: why we refuse a result that both SDKs would take."""


def hold_result(chance: random.Random, npm: Npm, tally: Tally) -> None:
    """Compare what becomes of a changed result: under the defaults honest servers of any SDK must pass."""
    said = CONVERSATIONS[chance.choice(sorted(CONVERSATIONS))]
    calls = {one["id"]: one for who, one in said if who != SERVER and "method" in one and "id" in one}
    answers = [one for who, one in said if who == SERVER and "result" in one and one["id"] in calls]
    if not answers:
        return
    honest = chance.choice(answers)
    method, version = calls[honest["id"]]["method"], _version(calls[honest["id"]])
    result = changed(honest["result"], chance)
    read = FrameReader(1 << 20).feed(dumped({**honest, "result": result}))
    if not (read and isinstance(read[0], Frame)):
        return
    tally.asked += 1
    rule = _refused(said[: said.index((SERVER, honest))], read[0])
    both = {
        python_result(method, version, result).takes,
        npm.result(method, result).takes,
        fits(method, result),
    }
    if rule and both <= {True, None} and True in both:
        tally.difference(f"both SDKs take {rule} in {method}", bytes(read[0].data), meant=rule in DANGEROUS)


def fits(method: str, result: dict[str, Any]) -> bool:
    """Whether structured content is what the tool's schema says: both SDKs' clients look at that too."""
    if method != "tools/call" or "structuredContent" not in result or result.get("isError"):
        return True
    return bool(OUTPUT.is_valid(result["structuredContent"]))


def _version(call: dict[str, Any]) -> str:
    meta = call.get("params", {}).get("_meta", {})
    return str(meta.get("io.modelcontextprotocol/protocolVersion", "2025-11-25"))


def _refused(before: list[Any], answer: Frame) -> str:
    """The rule by which the answer does not reach the client; empty where it does."""
    stage = Stage([one for one in made() if one.name == "protocol"])
    for who, message in before:
        for item in FrameReader(1 << 20).feed(dumped(message)):
            if isinstance(item, Frame):
                stage.say(who, item)
    if stage.say("server", answer) is not None or not stage.sent.events:
        return ""
    return stage.sent.events[-1].rule


def main() -> int:
    """1 where a difference has no row."""
    sdk, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    chance, npm, tally = random.Random(seed), Npm(sdk), Tally()  # noqa: S311 - a run can be had again
    until = time.monotonic() + seconds
    for line in lines(chance):
        hold_line(line, npm, tally)
        hold_result(chance, npm, tally)
        if time.monotonic() > until:
            break
    npm.close()
    for what, count in tally.seen.most_common():
        sys.stdout.write(json.dumps({"difference": what, "count": count}) + "\n")
    for what, shown in tally.unexplained.items():
        sys.stdout.write(json.dumps({"found": f"sdks: {what}: {shown}"}) + "\n")
    sys.stderr.write(f"stat::number_of_executed_units: {tally.asked}\n")
    return bool(tally.unexplained)


if __name__ == "__main__":
    sys.exit(main())
