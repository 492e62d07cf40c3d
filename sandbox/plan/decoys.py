"""Decoys: credentials that are nobody's, planted where a thief looks; each holds a canary of this session.

They look as the real ones do, down to the checksum of a token, and lead nowhere: their hosts are below
`.internal`, which no public name is (ICANN, 2024). A canary is only the random part of a credential, so
that nothing which all credentials of a kind share is ever taken for it.

An honest server may use of its own accord what it finds, such as `$GITHUB_TOKEN`, and is taken for a thief:
a profile that sets the variable, if only to an empty value, keeps the decoy away.
"""

from __future__ import annotations

import string
from base64 import b64encode
from binascii import crc32
from collections.abc import Collection, Iterable, Iterator

from sandbox.digest import sha256
from sandbox.plan.mounts import target_of
from sandbox.plan.spec import Directory, File, Spec, Tmpfs, ViewStep
from sandbox.policy.paths import below
from sandbox.records import dataclass, replace

SEED = 32
"""Random bytes that a session's decoys are made from, at least."""

_ALNUM = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BASE64 = string.ascii_letters + string.digits + "+/"
_BASE32 = string.ascii_uppercase + "234567"
_KEY_KIND = "OPENSSH PRIVATE KEY"
_KEY_LINE = 70
_COMMENT = b"deploy@build.internal"


@dataclass(frozen=True, slots=True)
class Decoys:
    """What is planted: steps that follow the home's, variables, and each canary in them by a telling name."""

    steps: tuple[ViewStep, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    canaries: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Decoy:
    """One file below the home or one variable, its text and its canaries by what follows its name."""

    place: str
    text: str
    canaries: tuple[tuple[str, str], ...]


def plant(spec: Spec, seed: bytes) -> tuple[Spec, Decoys]:
    """`spec` with decoys wherever it has nothing of its own; files only in a home that is not kept."""
    home = spec.identity.home
    names = [name for name, _ in (*spec.env, *spec.secrets)]
    places = [target_of(step) for step in spec.view]
    at = next(
        (at for at, step in enumerate(spec.view) if isinstance(step, Tmpfs) and step.target == home), None
    )
    made = decoys(seed, home, [*names, *places], at is not None)
    after = 0 if at is None else at + 1
    # Right after the home's own step: whatever the profile mounts in it comes later and covers what is there.
    view = (*spec.view[:after], *made.steps, *spec.view[after:])
    return replace(spec, view=view, env=tuple(sorted((*spec.env, *made.env)))), made


def decoys(seed: bytes, home: str, taken: Collection[str], plant_home: bool) -> Decoys:
    """The decoys of one session: the same for the same seed, unlike those of any other.

    `taken` names what the sandbox has already, variables and absolute places inside. Left out are those, what
    lies below or above such a place, and every variable that a program would use together with a taken one.
    """
    if len(seed) < SEED:
        raise ValueError(f"decoys are made from at least {SEED} random bytes")
    files, variables = _files(_Source(seed, b"files")), _variables(_Source(seed, b"variables"))
    taken_places = [path for path in taken if path != home and below(path, home)]
    planted = [one for one in files if plant_home and _free(f"{home}/{one.place}", taken_places)]
    env = [one for one in variables if not _in_use(one.place, taken, taken_places, home)]
    return Decoys(
        tuple(_steps(home, planted)),
        tuple((one.place, one.text) for one in env),
        (*_named("~/", planted), *_named("$", env)),
    )


def _named(prefix: str, made: Iterable[_Decoy]) -> Iterator[tuple[str, str]]:
    for one in made:
        for what, canary in one.canaries:
            yield f"{prefix}{one.place} {what}".rstrip(), canary


def _free(place: str, taken: Iterable[str]) -> bool:
    return not any(below(place, path) or below(path, place) for path in taken)


def _steps(home: str, planted: Iterable[_Decoy]) -> Iterator[ViewStep]:
    """Each file, and before it its directories: one that is only implied would be open to all."""
    made: set[str] = set()
    for one in planted:
        *parents, _ = one.place.split("/")
        for depth in range(len(parents)):
            directory = f"{home}/{'/'.join(parents[: depth + 1])}"
            if directory not in made:
                made.add(directory)
                yield Directory(directory, 0o700)
        yield File(f"{home}/{one.place}", one.text.encode(), 0o600)


# Of each variable: how those begin that go with it, and the places that a program prefers it to. One of ours
# beside the profile's own would break what the profile grants.
_FAMILIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "GITHUB_TOKEN": (("GITHUB_", "GH_"), (".config/gh",)),
    "AWS_ACCESS_KEY_ID": (("AWS_",), (".aws",)),
    "AWS_SECRET_ACCESS_KEY": (("AWS_",), (".aws",)),
    "OPENAI_API_KEY": (("OPENAI_",), ()),
}


def _in_use(variable: str, taken: Collection[str], taken_places: Collection[str], home: str) -> bool:
    prefixes, places = _FAMILIES[variable]
    alike = any(name.startswith(prefixes) for name in taken)
    return alike or not all(_free(f"{home}/{place}", taken_places) for place in places)


# --- what they look like -----------------------------------------------------------------------------


class _Source:
    """Characters and bytes drawn from a seed, for one purpose: none tells anything of another."""

    def __init__(self, seed: bytes, purpose: bytes) -> None:
        self._stem = seed + b"\0" + purpose
        self._count = 0

    def draw(self, count: int) -> bytes:
        drawn = b""
        while len(drawn) < count:
            drawn += sha256(self._stem + self._count.to_bytes(8, "big")).digest()
            self._count += 1
        return drawn[:count]

    def text(self, alphabet: str, count: int) -> str:
        """Every character of the alphabet is as likely as any other."""
        fair = 256 - 256 % len(alphabet)
        chosen = ""
        while len(chosen) < count:
            chosen += "".join(alphabet[byte % len(alphabet)] for byte in self.draw(32) if byte < fair)
        return chosen[:count]


def _files(source: _Source) -> tuple[_Decoy, ...]:
    aws_id, aws_secret = source.text(_BASE32, 16), source.text(_BASE64, 40)
    key, key_canary = _private_key(source)
    password, stripe = source.text(_ALNUM, 24), source.text(_ALNUM, 24)
    gitlab, github = source.text(_ALNUM, 20), _checked(source)
    return (
        _Decoy(
            ".aws/credentials",
            f"[default]\naws_access_key_id = AKIA{aws_id}\naws_secret_access_key = {aws_secret}\n",
            (("aws_access_key_id", aws_id), ("aws_secret_access_key", aws_secret)),
        ),
        _Decoy(".ssh/id_ed25519", key, (("", key_canary),)),
        _Decoy(
            ".env",
            f"DATABASE_URL=postgres://app:{password}@db.corp.internal:5432/app\n"
            f"STRIPE_SECRET_KEY=sk_live_{stripe}\n",
            (("DATABASE_URL", password), ("STRIPE_SECRET_KEY", stripe)),
        ),
        _Decoy(
            ".netrc",
            f"machine gitlab.corp.internal\n  login deploy\n  password glpat-{gitlab}\n",
            (("password", gitlab),),
        ),
        _Decoy(
            ".config/gh/hosts.yml",
            f"github.com:\n    user: deploy\n    oauth_token: gho_{github}\n    git_protocol: https\n",
            (("oauth_token", github),),
        ),
    )


def _variables(source: _Source) -> tuple[_Decoy, ...]:
    github, openai = _checked(source), source.text(_ALNUM, 40)
    aws_id, aws_secret = source.text(_BASE32, 16), source.text(_BASE64, 40)
    # Around the eight letters that stand in every one.
    rest = f"{source.text(_ALNUM, 34)}T3BlbkFJ{source.text(_ALNUM, 74)}"
    return (
        _Decoy("GITHUB_TOKEN", f"ghp_{github}", (("", github),)),
        _Decoy("AWS_ACCESS_KEY_ID", f"AKIA{aws_id}", (("", aws_id),)),
        _Decoy("AWS_SECRET_ACCESS_KEY", aws_secret, (("", aws_secret),)),
        _Decoy("OPENAI_API_KEY", f"sk-proj-{openai}{rest}", (("", openai),)),
    )


def _checked(source: _Source) -> str:
    """The 36 characters after the prefix of a GitHub token, the last six of which are a checksum.

    CRC-32 in base 62, as GitHub's announcement of the format says (2021).
    """
    drawn = source.text(_ALNUM, 30)
    value, digits = crc32(drawn.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = _ALNUM[digit] + digits
    return drawn + digits


def _private_key(source: _Source) -> tuple[str, str]:
    """An unencrypted key as `ssh-keygen` writes it (PROTOCOL.key), and 42 characters of its secret half.

    Each field is right but the public half, which does not belong to the secret one.
    """
    check, public, secret = source.draw(4), source.draw(32), source.draw(32)
    head = _strings(b"ssh-ed25519", public)
    private = check + check + head + _strings(secret + public, _COMMENT)
    private += bytes(range(1, 1 + -len(private) % 8))
    key = b"openssh-key-v1\0" + _strings(b"none", b"none", b"") + (1).to_bytes(4, "big")
    key += _strings(head, private)
    body = b64encode(key).decode()
    lines = [body[at : at + _KEY_LINE] for at in range(0, len(body), _KEY_LINE)]
    text = "\n".join((f"-----BEGIN {_KEY_KIND}-----", *lines, f"-----END {_KEY_KIND}-----", ""))
    # All before the secret is of fixed length: these characters, which it alone decides, share a line.
    start = -(-8 * key.index(secret) // 6)
    return text, body[start : start + 42]


def _strings(*fields: bytes) -> bytes:
    """Each field after its length in four bytes (RFC 4251 section 5)."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)
