"""Package specs of npm and PyPI in one canonical spelling; what no registry holds is refused."""

from __future__ import annotations

import re

from sandbox.errors import SandboxError
from sandbox.patterns import regex

_NPM = regex(r"((?:@[A-Za-z0-9._~-]+/)?[A-Za-z0-9_~][A-Za-z0-9._~-]*)(?:@(.*))?", re.DOTALL)
_NPM_SELECTOR = regex(r"[A-Za-z0-9.^~<>=*|+ -]+")
_NPM_EXACT = regex(r"[v=]?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)")
_ARCHIVE = (".tgz", ".tar", ".tar.gz", ".whl", ".zip")

_PYPI = regex(
    r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[([A-Za-z0-9._, -]*)\])?\s*(.*?)\s*", re.DOTALL
)
_CLAUSE = regex(r"(===|==|~=|!=|<=|>=|<|>)\s*([A-Za-z0-9.*+!_-]+)")
_PROGRAM = regex(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


def _not_registry(text: str) -> SandboxError:
    return SandboxError(
        "not-a-registry-package",
        f"`{text}` is not a package of a registry: a path, a URL, an archive and a repository "
        "have no version that can be frozen",
        hint="install it yourself and name its program as the command, for example `node server.js`",
    )


def npm(text: str) -> str:
    """`name@selector`; the selector is `latest` where none is given."""
    match = _NPM.fullmatch(text)
    name, selector = match.groups() if match else ("", None)
    selector = (selector or "latest").strip()
    if not name or len(name) > 214 or text.lower().endswith(_ARCHIVE):
        raise _not_registry(text)
    if not _NPM_SELECTOR.fullmatch(selector):
        raise _not_registry(text)
    exact = _NPM_EXACT.fullmatch(selector)
    return f"{name}@{exact[1] if exact else selector}"


def npm_name(canonical: str) -> str:
    """The package's name in a canonical npm spec."""
    return canonical[: canonical.index("@", 1)]


def npm_pinned(canonical: str) -> bool:
    """The spec is one exact version."""
    return bool(_NPM_EXACT.fullmatch(canonical[canonical.index("@", 1) + 1 :]))


def _pypi_parts(text: str) -> tuple[str, str | None, str]:
    match = _PYPI.fullmatch(text)
    if not match or "/" in text or text.lower().endswith(_ARCHIVE):
        raise _not_registry(text)
    return match[1], match[2], match[3]


def _clauses(text: str, versions: str) -> str:
    if versions.startswith("@"):  # uvx's own spelling of one version
        version = versions[1:].strip()
        versions = "" if version == "latest" else f"=={version}"
    clauses = []
    for clause in filter(None, (part.strip() for part in versions.split(","))):
        match = _CLAUSE.fullmatch(clause)
        if not match:
            raise _not_registry(text)
        clauses.append(match[1] + match[2])
    return ",".join(sorted(clauses))


def pypi(text: str) -> str:
    """`name[extras]specifiers` with the name as PEP 503 spells it, extras and specifiers sorted."""
    name, extras, versions = _pypi_parts(text)
    listed = sorted({extra.strip().lower() for extra in (extras or "").split(",") if extra.strip()})
    return normal(name) + (f"[{','.join(listed)}]" if listed else "") + _clauses(text, versions)


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pypi_name(text: str) -> str:
    """The name as written, which is also what uvx runs."""
    return _pypi_parts(text)[0]


def pypi_base(canonical: str) -> str:
    """The distribution's name in a canonical PyPI spec."""
    return re.split(r"[\[=<>!~]", canonical, maxsplit=1)[0]


def pypi_pinned(canonical: str) -> bool:
    """The spec is one exact version."""
    return any(
        clause[:2] == "==" and not clause.endswith("*")
        for clause in re.split(r"[,\]]", canonical[len(pypi_base(canonical)) :])
    )


def split_with(value: str) -> list[str]:
    """uv's `--with a,b`: a comma outside brackets parts packages unless a specifier follows it."""
    parts = re.split(r",(?![^\[]*\])(?!\s*[=<>!~])", value)
    return [part for part in (each.strip() for each in parts) if part]


def is_program(word: str) -> bool:
    """The word can be the name of an installed program: no path, no option."""
    return bool(_PROGRAM.fullmatch(word))


def name_of(canonical: str) -> str:
    """The package's name in a canonical spec of either kind."""
    return npm_name(canonical) if "@" in canonical else pypi_base(canonical)


def pinned(canonical: str) -> bool:
    """The spec of either kind is one exact version."""
    return npm_pinned(canonical) if "@" in canonical else pypi_pinned(canonical)


def pin(canonical: str, version: str) -> str:
    """The same package and extras at one exact version."""
    if "@" in canonical:
        return f"{npm_name(canonical)}@{version}"
    base = pypi_base(canonical)
    extras = canonical[len(base) : canonical.index("]") + 1] if "]" in canonical else ""
    return f"{base}{extras}=={version}"
