"""What is wrong with a token, in words that hold nothing of the token's."""

from __future__ import annotations


class Fault(Exception):
    """A token, or a proof, that counts for nothing: a stable code for the log, and why."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(f"{code}: {why}")
        self.code = code
        self.why = why
