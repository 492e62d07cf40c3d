"""Every error a person can meet: a code, what happened, the rule that says so, a hint to paste."""

from __future__ import annotations

USAGE = 2
BREACH = 124
NOT_BUILT = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127
LIMITS = "ulimit -n -u  # descriptors and processes that you may have"
"""The hint where the kernel gave no more of them."""


class SandboxError(Exception):
    """A failure with its exit status (docs/architecture.md) and, where one exists, a hint that helps."""

    exit_status = NOT_BUILT
    answerable = True
    """Whether a client may still wait for its first answer: no server ran that has given one."""

    def __init__(self, code: str, what: str, *, rule: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.rule = rule
        self.hint = hint

    def __str__(self) -> str:
        """The message as it is printed, without a final newline."""
        lines = [f"error: {self.code}", *(f"  {line}" for line in self.what.splitlines())]
        if self.rule:
            lines.append(f"  rule: {self.rule}")
        if self.hint:
            lines += ["", f"hint: {self.hint}"]
        return "\n".join(lines)

    def line(self) -> str:
        """The same in one line, for a client's log and for the answer to its request."""
        rule = f"; rule: {self.rule}" if self.rule else ""
        hint = f"; hint: {self.hint}" if self.hint else ""
        what = "; ".join(filter(None, (line.strip() for line in self.what.splitlines())))
        return f"{self.code}: {what}{rule}{hint}".replace("\n", " ")


class UsageError(SandboxError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_status = USAGE


class ProfileError(SandboxError):
    """A profile that cannot be read, parsed, validated or resolved."""

    exit_status = USAGE


class CannotEnforce(SandboxError):
    """The policy asks for a protection that this host or this version cannot give; nothing ran."""


class SandboxNotBuilt(SandboxError):
    """The sandbox could not be built; nothing ran."""


class AuditError(SandboxError):
    """The audit log cannot be written or does not verify."""


class CommandNotFound(SandboxError):
    """The server's command does not exist."""

    exit_status = NOT_FOUND


class CommandNotExecutable(SandboxError):
    """The server's command exists and cannot be executed."""

    exit_status = NOT_EXECUTABLE
