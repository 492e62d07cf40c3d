"""Decoys look like credentials, are this session's alone, and never stand in the way of what is real."""

from __future__ import annotations

import base64
import configparser
import re
import struct
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.audit.redact import MARK, Redactor
from sandbox.egress.canary import LEAST, Needles
from sandbox.plan.decoys import SEED, Decoys, decoys, plant
from sandbox.plan.mounts import target_of
from sandbox.plan.plan import plan
from sandbox.plan.spec import Bind, Directory, File, Spec, Tmpfs
from sandbox.policy.paths import below
from tests.plan.world import HOME, facts, policy, survey

INSIDE = "/home/mcp"
ONE, TWO = bytes(range(SEED)), bytes(range(1, SEED + 1))
FILES = (".aws/credentials", ".ssh/id_ed25519", ".env", ".netrc", ".config/gh/hosts.yml")
VARIABLES = ("GITHUB_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY")
AWS = {"$AWS_ACCESS_KEY_ID", "$AWS_SECRET_ACCESS_KEY"}
seeds = st.binary(min_size=SEED, max_size=SEED)


def made(seed: bytes = ONE, taken: tuple[str, ...] = (), *, plant_home: bool = True) -> Decoys:
    return decoys(seed, INSIDE, taken, plant_home)


def texts(found: Decoys) -> dict[str, str]:
    """The text of every file and variable, by the first word of its canaries' names."""
    files = {
        step.target.replace(INSIDE, "~"): step.content.decode()
        for step in found.steps
        if isinstance(step, File)
    }
    return files | {f"${name}": value for name, value in found.env}


# --- values ------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_decoys() -> None:
    assert made(ONE) == made(ONE)


@given(seeds, seeds)
def test_two_sessions_share_nothing(one: bytes, two: bytes) -> None:
    first, second = dict(made(one).canaries), dict(made(two).canaries)
    assert list(first) == list(second)
    assert one == two or not set(first.values()) & set(second.values())


@pytest.mark.parametrize("seed", [b"", bytes(SEED - 1)])
def test_a_seed_that_could_be_guessed_is_refused(seed: bytes) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        made(seed)


@given(seeds)
def test_each_canary_is_in_its_decoy_and_in_no_other(seed: bytes) -> None:
    found = made(seed)
    places = texts(found)
    assert len(found.canaries) == len({value for _, value in found.canaries}) == 11
    for name, canary in found.canaries:
        assert [place for place, text in places.items() if canary in text] == [name.split()[0]]
        # Where a file is read line by line it is still whole.
        assert any(canary in line for line in places[name.split()[0]].splitlines())


@given(seeds)
def test_every_canary_can_be_looked_for(seed: bytes) -> None:
    found = made(seed)
    needles = Needles(dict(found.canaries))
    for place, text in texts(found).items():
        seen = needles.find(text.encode())
        assert seen is not None
        assert seen.name.split()[0] == place
    assert all(len(canary) >= LEAST for _, canary in found.canaries)


def test_canaries_have_telling_names() -> None:
    assert [name for name, _ in made().canaries] == [
        "~/.aws/credentials aws_access_key_id",
        "~/.aws/credentials aws_secret_access_key",
        "~/.ssh/id_ed25519",
        "~/.env DATABASE_URL",
        "~/.env STRIPE_SECRET_KEY",
        "~/.netrc password",
        "~/.config/gh/hosts.yml oauth_token",
        "$GITHUB_TOKEN",
        "$AWS_ACCESS_KEY_ID",
        "$AWS_SECRET_ACCESS_KEY",
        "$OPENAI_API_KEY",
    ]


# --- looks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "pattern"),
    [
        pytest.param("$GITHUB_TOKEN", r"ghp_[0-9A-Za-z]{36}", id="GitHub"),
        pytest.param("$AWS_ACCESS_KEY_ID", r"AKIA[A-Z2-7]{16}", id="AWS id"),
        pytest.param("$AWS_SECRET_ACCESS_KEY", r"[0-9A-Za-z+/]{40}", id="AWS secret"),
        pytest.param("$OPENAI_API_KEY", r"sk-proj-[0-9A-Za-z]{74}T3BlbkFJ[0-9A-Za-z]{74}", id="OpenAI"),
        pytest.param("~/.env", r"DATABASE_URL=postgres://app:\w{24}@db\.corp\.internal:5432/app\n"
                               r"STRIPE_SECRET_KEY=sk_live_\w{24}\n", id=".env"),
        pytest.param("~/.netrc", r"machine \S+\.internal\s+login \w+\s+password glpat-\w{20}\n", id=".netrc"),
        pytest.param("~/.config/gh/hosts.yml", r"github\.com:\n(    \w+: \w+\n){3}", id="gh"),
    ],
)  # fmt: skip
@given(seed=seeds)
def test_a_decoy_has_the_form_of_the_real_thing(place: str, pattern: str, seed: bytes) -> None:
    assert re.fullmatch(pattern, texts(made(seed))[place], re.ASCII)


def test_the_file_of_aws_is_read_as_its_tools_read_it() -> None:
    read = configparser.ConfigParser()
    read.read_string(texts(made())["~/.aws/credentials"])
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", read["default"]["aws_access_key_id"])
    assert re.fullmatch(r"[0-9A-Za-z+/]{40}", read["default"]["aws_secret_access_key"])


DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def checksum(token: str) -> int:
    value = 0
    for digit in token[-6:]:
        value = value * 62 + DIGITS.index(digit)
    return value


def test_the_checksum_is_githubs_own() -> None:
    # A published example of a token, in two parts for those who look for tokens.
    known = "ghp_" + "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"
    assert checksum(known) == crc32(known[4:-6].encode())


@given(seeds)
def test_a_github_token_has_the_right_checksum(seed: bytes) -> None:
    token = texts(made(seed))["$GITHUB_TOKEN"]
    assert checksum(token) == crc32(token[4:-6].encode())


def fields(data: bytes) -> Iterator[bytes]:
    while data:
        (size,) = struct.unpack(">I", data[:4])
        assert len(data) >= 4 + size
        yield data[4 : 4 + size]
        data = data[4 + size :]


@given(seeds)
def test_the_private_key_has_every_field_of_one(seed: bytes) -> None:
    first, *body, last = texts(made(seed))["~/.ssh/id_ed25519"].splitlines()
    assert (first, last) == ("-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----")
    assert {len(line) for line in body[:-1]} == {70}
    magic, _, key = base64.b64decode("".join(body), validate=True).partition(b"\0")
    assert magic == b"openssh-key-v1"
    cipher, derivation, options = list(fields(key[:20]))
    assert (cipher, derivation, options, key[20:24]) == (b"none", b"none", b"", b"\0\0\0\1")
    public, private = fields(key[24:])
    kind, point = fields(public)
    assert (kind, len(point), len(private) % 8) == (b"ssh-ed25519", 32, 0)
    assert private[:4] == private[4:8]
    padding = bytes(range(1, 1 + private[-1])) if private[-1] < 8 else b""
    assert private.endswith(padding)
    kind_again, point_again, secret, comment = fields(private[8 : len(private) - len(padding)])
    assert (kind_again, point_again, secret[32:]) == (kind, point, point)
    assert comment.decode().isascii()
    canary = dict(made(seed).canaries)["~/.ssh/id_ed25519"]
    assert canary in base64.b64encode(b"x" * (161 % 3) + secret[:32]).decode()


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, _ in made().canaries
        if not name.endswith(("AWS_SECRET_ACCESS_KEY", "_secret_access_key"))
    ],
)
def test_what_is_planted_looks_like_a_secret_to_the_log(name: str) -> None:
    text = texts(made())[name.split()[0]]
    clean = Redactor().text(text)
    assert MARK in clean
    assert dict(made().canaries)[name] not in clean


def test_what_has_no_form_of_its_own_is_known_to_the_log_by_its_value() -> None:
    found = made()
    redactor = Redactor(canary for _, canary in found.canaries)
    for text in texts(found).values():
        assert not [canary for _, canary in found.canaries if canary in redactor.text(text)]


# --- places ------------------------------------------------------------------------------------------


def test_files_are_the_owners_alone_and_so_is_every_directory_that_leads_to_them() -> None:
    found = made()
    files = [step for step in found.steps if isinstance(step, File)]
    assert [step.target for step in files] == [f"{INSIDE}/{name}" for name in FILES]
    assert {step.mode for step in files} == {0o600}
    directories = [step for step in found.steps if isinstance(step, Directory)]
    names = (".aws", ".ssh", ".config", ".config/gh")
    assert [step.target for step in directories] == [f"{INSIDE}/{name}" for name in names]
    assert {step.mode for step in directories} == {0o700}
    for file in files:
        above = [step for step in directories if below(file.target, step.target)]
        assert all(found.steps.index(step) < found.steps.index(file) for step in above)
        assert len(above) == file.target.removeprefix(INSIDE).count("/") - 1


def test_a_kept_home_is_not_planted() -> None:
    found = made(plant_home=False)
    assert found.steps == ()
    assert [name for name, _ in found.canaries] == [f"${name}" for name in VARIABLES]


@pytest.mark.parametrize(
    ("taken", "missing"),
    [
        pytest.param("GITHUB_TOKEN", {"$GITHUB_TOKEN"}, id="a variable"),
        pytest.param("GH_TOKEN", {"$GITHUB_TOKEN"}, id="one that gh would use instead"),
        pytest.param("AWS_SECRET_ACCESS_KEY", AWS, id="half a pair"),
        pytest.param("AWS_PROFILE", AWS, id="one we would override"),
        pytest.param("OPENAI_BASE_URL", {"$OPENAI_API_KEY"}, id="one that sends the key elsewhere"),
        pytest.param(f"{INSIDE}/.netrc", {"~/.netrc"}, id="a file"),
        pytest.param(f"{INSIDE}/.ssh", {"~/.ssh/id_ed25519"}, id="a directory"),
        pytest.param(f"{INSIDE}/.ssh/known_hosts", set(), id="a file beside a decoy"),
        pytest.param(f"{INSIDE}/.env/x", {"~/.env"}, id="a directory where we would have a file"),
        pytest.param(f"{INSIDE}/.aws", {"~/.aws/credentials", *AWS}, id="a directory we would override"),
        pytest.param(f"{INSIDE}/.config", {"~/.config/gh/hosts.yml", "$GITHUB_TOKEN"}, id="one above"),
        pytest.param(INSIDE, set(), id="the home itself"),
        pytest.param("/", set(), id="the root"),
        pytest.param("PATH", set(), id="another variable"),
    ],
)  # fmt: skip
def test_what_the_profile_grants_is_left_alone(taken: str, missing: set[str]) -> None:
    full, found = made(), made(taken=(taken,))
    assert set(texts(full)) - set(texts(found)) == missing
    left = [(name, canary) for name, canary in full.canaries if name.split()[0] not in missing]
    # The others are the same, whatever is left out.
    assert list(found.canaries) == left


# --- in a spec ---------------------------------------------------------------------------------------


def spec(table: dict[str, Any] | None = None, tree: dict[str, str] | None = None, **seen: Any) -> Spec:
    return plan(policy(table), facts(1000), survey(tree or {}, **seen))


def test_files_follow_the_home_and_come_before_what_is_mounted_in_it() -> None:
    table = {"files": {"read": [f"{HOME}/notes:{INSIDE}/.ssh/notes"]}}
    before = spec(table, {f"{HOME}/notes": "dir"})
    after, found = plant(before, ONE)
    at = next(at for at, step in enumerate(before.view) if isinstance(step, Tmpfs) and step.target == INSIDE)
    assert after.view == (*before.view[: at + 1], *found.steps, *before.view[at + 1 :])
    mounted = next(
        step for step in after.view if isinstance(step, Bind) and step.target == f"{INSIDE}/.ssh/notes"
    )
    assert all(after.view.index(step) < after.view.index(mounted) for step in found.steps)
    assert set(after.env) == {*before.env, *found.env}
    assert list(after.env) == sorted(after.env)


def test_no_place_is_planted_twice() -> None:
    table = {"files": {"read": [f"{HOME}/creds:{INSIDE}/.aws/credentials"]}}
    after, found = plant(spec(table, {f"{HOME}/creds": "file"}), ONE)
    assert "~/.aws/credentials" not in texts(found)
    targets = [target_of(step) for step in after.view]
    assert len(targets) == len(set(targets))


def test_variables_and_secrets_of_the_profile_win() -> None:
    table = {
        "env": {"set": {"GITHUB_TOKEN": ""}},
        "secrets": {"OPENAI_API_KEY": {"from": "env"}},
    }
    after, found = plant(spec(table, environ={"OPENAI_API_KEY": "x"}), ONE)
    assert [name for name, _ in found.env] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    assert dict(after.env)["GITHUB_TOKEN"] == ""
    assert "OPENAI_API_KEY" not in dict(after.env)


def test_a_persistent_home_of_the_hosts_gets_no_file_of_ours() -> None:
    before = spec({"files": {"persist": "kept"}})
    after, found = plant(before, ONE)
    assert after.view == before.view
    assert found.env
