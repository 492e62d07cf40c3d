"""`[tools.arguments]` of the profile file, and how every table of it is read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic import model_validator as after_all

from sandbox.policy.fields import Host, Place, Regex, Text

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
"""Of every table of the profile: a key it does not know is an error, and so is a value of another type."""


class ArgumentTable(BaseModel):
    """What one argument must match: every key given has to hold."""

    model_config = STRICT

    pattern: Regex | None = Field(default=None, description="Regular expression (RE2) of the whole value")
    enum: list[Text] = []
    within: list[Place] = Field(default=[], description="Directories that a path must lie in")
    hosts: list[Host] = Field(default=[], description="Hosts that a URL or host name must lead to")
    minimum: float | None = Field(default=None, alias="min", allow_inf_nan=False)
    maximum: float | None = Field(default=None, alias="max", allow_inf_nan=False)
    min_length: int | None = Field(default=None, ge=0, description="Characters of the text, at least")
    max_length: int | None = Field(default=None, ge=0, description="Characters of the text, at most")
    optional: bool = Field(default=False, description="The argument may be absent")

    @after_all(mode="after")
    def _says_something(self) -> ArgumentTable:
        if not self.model_fields_set - {"optional"}:
            raise ValueError(
                "the rule is empty: give `pattern`, `enum`, `within`, `hosts`, `min`, `max`, `min_length` "
                "or `max_length`"
            )
        _refuse_empty_range("min", self.minimum, self.maximum)
        _refuse_empty_range("min_length", self.min_length, self.max_length)
        return self


def _refuse_empty_range(name: str, least: float | None, most: float | None) -> None:
    if least is not None and most is not None and least > most:
        raise ValueError(f"`{name}` is more than `{name.replace('min', 'max')}`")
