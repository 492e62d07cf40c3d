"""A secret cut over parts, thousands of times: each half goes, in time that grows with the message alone."""

from __future__ import annotations

import json
import time

from sandbox.inspect.judged import Asked
from sandbox.wire.splice import splice
from tests.inspect.secret_values import OWN, frame, inspector

MANY = 4_000
HALF = len(OWN) // 2


def test_thousands_of_cut_secrets_are_taken_out_in_bounded_time() -> None:
    parts = [{"type": "text", "text": text} for _ in range(MANY) for text in (OWN[:HALF], OWN[HALF:])]
    message = frame({"id": 1, "result": {"content": parts}})
    looking = inspector()
    began = time.process_time()
    judged = looking.to_client(message, Asked("tools/call", "t"))
    # Minutes, where each part is held against each find.
    assert time.process_time() - began < 8
    assert judged is not None
    left = json.loads(splice(message.data, judged.edits))["result"]["content"]
    assert len(left) == 2 * MANY
    assert OWN not in "".join(one["text"] for one in left)
    assert not any(HALF - 4 <= len(one["text"]) <= HALF + 4 and one["text"] in OWN for one in left)
