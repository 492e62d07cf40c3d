"""A profile's name, and the options of one run, to the policy: from the cache where nothing has changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from functools import partial

from sandbox.errors import ProfileError
from sandbox.policy import cache, search, trust
from sandbox.policy.cache import Source
from sandbox.policy.flags import Flags
from sandbox.policy.model import Policy
from sandbox.policy.search import Found

DEFAULT = "base"
DEEPEST = 8
LARGEST = 1 << 20


def load(
    name: str | None,
    *,
    environ: Mapping[str, str],
    cwd: str,
    flags: Flags = Flags(),  # noqa: B008 - frozen
) -> Policy:
    """The policy of the profile `name` (`base` where none is given) with the options on top.

    Along `extends`, tables merge key by key; `files.read`, `files.write`, `files.programs`,
    `files.expose`, `network.allow`, `network.opaque`, `network.private`, `env.pass`, `tools.deny`,
    `tools.ask`, `inspect.waive` and `supply.scripts` are added to the parent's, every other value
    replaces the parent's. Paths stay as written. ProfileError or UsageError says what is wrong, and a
    project's own profile is refused until it is trusted.
    """
    return under(read(name, environ=environ, cwd=cwd, trusted_only=True), flags)


def under(policy: Policy, flags: Flags) -> Policy:
    """The policy with the options on top."""
    if flags == Flags():
        return policy
    from sandbox.policy.flagged import add  # its parsers are not needed on a start without options

    return add(policy, flags)


def read(name: str | None, *, environ: Mapping[str, str], cwd: str, trusted_only: bool) -> Policy:
    """The policy without options; `trusted_only=False` is for commands that show and start nothing."""
    reader = _Reader(environ, cwd, trusted_only)
    found = search.find(DEFAULT if name is None else name, environ=environ, cwd=cwd)
    remembered = cache.recall(found, environ)
    if remembered and reader.unchanged(found, remembered[0]):
        return remembered[1]
    return reader.afresh(found)


class _Reader:
    """Reads files for one caller, each checked for trust as it is read."""

    def __init__(self, environ: Mapping[str, str], cwd: str, trusted_only: bool) -> None:
        self.environ = environ
        self.cwd = cwd
        self.trusted_only = trusted_only

    def unchanged(self, found: Found, sources: Sequence[Source]) -> bool:
        """True when every file of the chain is where and what it was."""
        if not sources or sources[0].found != found:
            return False
        searched = search.places(self.environ, self.cwd)
        for source, after in zip(sources, [*sources[1:], None], strict=True):
            if content_of(source.found.path) != source.text.encode():
                return False
            self.check(source.found, source.text)
            if source.extends is None:
                return after is None
            if after is None or search.parent(source.found, source.extends, searched) != after.found:
                return False
        return False

    def check(self, found: Found, text: str) -> None:
        if self.trusted_only and trust.needs_trust(found):
            trust.require(found, digest(text.encode()), self.environ)

    def afresh(self, found: Found) -> Policy:
        """Parses, validates and merges the chain, and remembers the result."""
        # pydantic and tomllib cost 200 ms: a warm start never comes here.
        from sandbox.policy.diagnose import parse
        from sandbox.policy.positions import nearest, positions
        from sandbox.policy.resolve import Layer, resolve

        sources, layers = [], []
        searched = search.places(self.environ, self.cwd)
        at: Found | None = found
        while at:
            text = text_of(at.path)
            self.check(at, text)
            profile = parse(at.path, text)
            lines = positions(text)
            values = profile.model_dump(by_alias=True, exclude_unset=True)
            sources.append(Source(at, text, digest(text.encode()), profile.extends))
            layers.append(Layer(at.path, sources[-1].digest, values, partial(nearest, lines)))
            at = search.parent(at, profile.extends, searched) if profile.extends else None
            _refuse_endless(at, sources)
        policy = resolve(found.name, layers)
        cache.keep(sources, policy, self.environ)
        return policy


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    from hashlib import sha256  # loads OpenSSL: 4 ms that a warm start without a project profile saves

    return sha256(content).hexdigest()


def _refuse_endless(parent: Found | None, sources: Sequence[Source]) -> None:
    if parent is None:
        return
    chain = [one.found.path for one in sources]
    told = " -> ".join(one.found.name for one in sources) + f" -> {parent.name}"
    if os.path.realpath(parent.path) in map(os.path.realpath, chain):
        raise ProfileError("invalid-profile", f"{chain[-1]}: `extends` goes round in a circle: {told}")
    if len(chain) >= DEEPEST:
        raise ProfileError(
            "invalid-profile", f"{chain[-1]}: more than {DEEPEST} profiles extend each other: {told}"
        )


def text_of(path: str) -> str:
    """The text of a profile file, or the ProfileError that says why it has none."""
    content = content_of(path)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ProfileError("invalid-profile", f"{path}:{line}: not UTF-8") from None


def content_of(path: str) -> bytes:
    """The content of a regular file, at most 1 MiB; ProfileError for anything else."""
    try:
        # O_NONBLOCK: a FIFO in a profile's place must not hang the start.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ProfileError("unreadable-profile", f"`{path}` is not a regular file")
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ProfileError("unreadable-profile", f"`{path}` cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise ProfileError("unreadable-profile", f"`{path}` is larger than 1 MiB")
    return content
