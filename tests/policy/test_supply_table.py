"""The table `[supply]`: what it may hold, how it is inherited, and what its values become."""

from __future__ import annotations

import pytest

from sandbox.errors import ProfileError
from sandbox.policy.model import Supply


def _supply(world, text: str) -> Supply:
    world.file("p.toml", f"[supply]\n{text}")
    return world.load("./p.toml").supply


def test_a_profile_that_says_nothing_is_careful() -> None:
    assert Supply() == Supply(
        lock="use", age=3 * 86400.0, provenance="warn", advisories="require", lookalikes="warn"
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ('"3d"', 259200.0), ('"90s"', 90.0), ("3600", 3600.0), ("0.5", 0.5)],
)
def test_an_age_is_a_duration_or_none_at_all(world, text: str, seconds: float) -> None:
    found = _supply(world, f"age = {text}").age
    assert (found, type(found)) == (seconds, float)


@pytest.mark.parametrize(
    "text",
    [
        'age = "0d"',
        'age = "soon"',
        "age = -1",
        "age = false",
        "age = nan",
        'age = "400d"',
        'age_waive = [""]',
        'age_waive = ["a b"]',
        'age_waive = "left-pad"',
        'lock = "maybe"',
        "lock = true",
        'provenance = "strict"',
        'advisories = "yes"',
        'advisories_at = "https://osv.example/all.zip:/x"',
        'hosts = ["https://files.example/"]',
        'image_keys = ["/a:/b"]',
        "ages = 3",
    ],
)
def test_what_is_no_value_of_it_is_refused(world, text: str) -> None:
    with pytest.raises(ProfileError):
        _supply(world, text)


def test_names_and_hosts_are_added_to_the_parents_and_the_rest_replaces_it(world) -> None:
    world.file(
        "a.toml",
        '[supply]\nscripts = ["a"]\nage_waive = ["a"]\nhosts = ["a.example"]\nage = "1d"\nlock = "require"',
    )
    world.file(
        "b.toml",
        'extends = "a"\n[supply]\nage_waive = ["@s/b", "a"]\nhosts = ["b.example:8443"]\nage = "2d"\n'
        'advisories = "off"\nadvisories_at = "~/osv"',
    )
    found = world.load("./b.toml").supply
    assert found == Supply(
        scripts=("a",),
        hosts=("a.example", "b.example:8443"),
        lock="require",
        age=2 * 86400.0,
        age_waive=("a", "@s/b"),
        advisories="off",
        advisories_at="~/osv",
    )
