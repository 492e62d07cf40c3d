"""Which tools may be called, with which arguments, and which of them a person is asked about (P).

What a server says of its own tools (`readOnlyHint` and other annotations) is believed nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sandbox.inspect.excerpt import excerpt
from sandbox.inspect.judged import DROP, Asked, Edit, Finding, Judged, changed, denied
from sandbox.policy.arguments import Real
from sandbox.policy.model import Tools
from sandbox.policy.tools import decide, glob, judge
from sandbox.verdict import Action, Verdict
from sandbox.wire.jsonrpc import Frame

NAME: Final = "calls"
_PLACE: Final = "/params/name"
_NAMES: Final = frozenset({"name", "arguments"})
_KNOWN: Final = _NAMES | {"_meta", "task", "inputResponses", "requestState"}
LONGEST_NAME: Final = 1024
_REMEMBERED: Final = 4096
_NAMED: Final = 8
"""Tools that are named where they are taken out of a list; the others are counted."""
_NAME_CHARS: Final = 64


class Calls:
    """The tool policy of one session; `tainted` says whether anything was found in what the model has read.

    `tools` has the directories of `within` as they are inside, and `real` follows links there.
    """

    name = NAME

    def __init__(
        self,
        tools: Tools,
        cwd: str,
        real: Real = lambda path: path,
        tainted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tools = tools
        self._cwd = cwd
        self._real = real
        self._tainted = tainted
        self._known: dict[str, _Tool] = {}

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        """Of a call: whether it may be made, as it is, and whether somebody has to be asked first."""
        if frame.method != "tools/call":
            return None
        params = frame.message.get("params", {})
        name = params.get("name")
        if type(name) is not str:
            return denied(Finding(NAME, "tools.allow", _PLACE, "the call names no tool"))
        if not params.keys() <= _KNOWN and any(
            one.casefold() in _NAMES and one not in _NAMES for one in params
        ):
            # Go's decoder takes `Name` for `name`, and of several the last.
            return denied(Finding(NAME, "tools.allow", "/params", "the call has a member in two spellings"))
        tool = self._known.get(name) or self._learn(name)
        if not tool.plain:
            return self._judge(frame, name, tool, params.get("arguments"))
        if frame.kind != "request":
            return denied(_unanswerable())
        return None

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        """Of a list of tools: without those that may not be called, a model is not told of them."""
        if asked is None or asked.method != "tools/list":
            return None
        tools = frame.message.get("result", {}).get("tools")
        if type(tools) is not list:
            return None
        hidden = [(at, *found) for at, one in enumerate(tools) if (found := self._denied(one)) is not None]
        if not hidden:
            return None
        edits = [Edit(("result", "tools", at), DROP) for at, _, _ in hidden]
        words = _not_listed([name for _, name, _ in hidden])
        return changed(edits, Finding(NAME, hidden[0][2], "/result/tools", words))

    def _judge(self, frame: Frame, name: str, tool: _Tool, given: Any) -> Judged | None:
        verdict = tool.verdict
        if verdict.action is Action.DENY:
            return denied(Finding(NAME, verdict.rule, _PLACE, verdict.reason))
        if tool.has_rules and (fault := self._fault(name, given)) is not None:
            return denied(fault)
        if frame.kind != "request":
            return denied(_unanswerable())
        if verdict.action is not Action.ASK and not (tool.tainted and self._tainted()):
            return None
        if verdict.action is not Action.ASK:
            why = f"`{tool.tainted}` asks about the tool once something was found in what the model has read"
            verdict = Verdict(Action.ASK, "tools.ask_tainted", why)
        return Judged(verdict, (Finding(NAME, verdict.rule, _PLACE, verdict.reason),))

    def _fault(self, name: str, given: Any) -> Finding | None:
        if given is not None and type(given) is not dict:
            return Finding(NAME, "tools.arguments", "/params/arguments", "the arguments are no object")
        arguments = given or {}
        verdict = judge(self._tools, name, arguments, self._cwd, self._real)
        if verdict is None:
            return None
        return Finding(NAME, verdict.rule, "/params/arguments", verdict.reason)

    def _denied(self, tool: Any) -> tuple[str, str] | None:
        """Of a listed tool that may not be called its name and the rule."""
        name = tool.get("name") if type(tool) is dict else None
        if type(name) is not str:
            return None
        known = self._known.get(name) or self._learn(name)
        return (name, known.verdict.rule) if known.verdict.action is Action.DENY else None

    def _learn(self, name: str) -> _Tool:
        tool = _Tool(self._tools, name)
        if len(name) <= LONGEST_NAME:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[name] = tool
        return tool


class _Tool:
    """What the policy says of one name; `plain`: it may be called, however and whenever."""

    __slots__ = ("has_rules", "plain", "tainted", "verdict")

    def __init__(self, tools: Tools, name: str) -> None:
        if len(name) > LONGEST_NAME:
            self.verdict = Verdict.deny("tools.allow", f"the name has more than {LONGEST_NAME} characters")
            self.has_rules, self.tainted, self.plain = False, "", False
            return
        self.verdict = decide(tools, name)
        self.has_rules = any(glob(rule.tool, name) for rule in tools.arguments)
        self.tainted = next((one for one in tools.ask_tainted if glob(one, name)), "")
        self.plain = self.verdict.action is Action.ALLOW and not self.has_rules and not self.tainted


def _unanswerable() -> Finding:
    """A server may execute a call that wants no answer, and no refusal of it would reach anybody."""
    return Finding(NAME, "tools.allow", "/id", "a call without an id cannot be answered, nor asked about")


def _not_listed(names: list[str]) -> str:
    shown = ", ".join(f"`{excerpt(name, _NAME_CHARS)}`" for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"not listed, since a call would be denied: {shown}{more}"
