"""The table `[supply]` of a profile: how a package is built, and what has to be known of it to be locked."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from sandbox.policy.argument_table import STRICT
from sandbox.policy.fields import Age, Glob, Host, Place
from sandbox.policy.model import Judgement, LockUse

Named = Annotated[str, Field(min_length=1, max_length=214, pattern=r"^[!-~]+$")]


class SupplyTable(BaseModel):
    """How a package is built before it runs, and what a lock of it asks for."""

    model_config = STRICT

    scripts: list[Glob] = Field(default=[], description="Packages whose install scripts may run")
    hosts: list[Host] = Field(
        default=[], description="What a build may reach besides the configured registries"
    )
    lock: LockUse = Field(default="use", description="`require`: nothing starts that has no lock")
    age: Age = Field(
        default=259200, description="Time since a version was published before it is locked; 0: no matter"
    )
    age_waive: list[Named] = Field(default=[], description="Packages that may be younger (waivers)")
    provenance: Judgement = Field(
        default="warn",
        description="Signatures of the registry and attestations: `require` refuses what has none that holds",
    )
    image_keys: list[Place] = Field(
        default=[], description="Public keys (PEM files), by one of which an image has to be signed (cosign)"
    )
    advisories: Judgement = Field(
        default="require", description="`require` refuses what a database of advisories (OSV) names"
    )
    lookalikes: Judgement = Field(
        default="warn", description="`require` refuses names that pass for those of known packages"
    )
    advisories_at: Place | None = Field(
        default=None, description="The database: a directory, zip or file of OSV records, not a URL"
    )
