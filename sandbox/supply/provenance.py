"""What a build fetches so that the origin of packages can be checked: keys of registries, attestations.

One more job of the build sandbox fetches them: it reaches what the installer reaches, and no more, and it
has no login.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from urllib.parse import SplitResult, urlsplit

from sandbox.policy import hosts
from sandbox.records import dataclass, field, replace
from sandbox.supply import public, registries, settings
from sandbox.supply.job import CONFIG, MOUNT, BuildJob
from sandbox.supply.lock import Package
from sandbox.supply.osv import Ecosystem
from sandbox.supply.resolved import Resolution, Said
from sandbox.supply.signatures import BUILT_IN

_MOST = 1000
_LARGEST = 4 << 20
_SECONDS = 120
_LIST, _SCRIPT = f"{CONFIG}/addresses.json", f"{CONFIG}/fetch.mjs"
_KEYS = "-/npm/v1/keys"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What registries answered: nothing of it is verified."""

    documents: Mapping[str, bytes] = field(default_factory=dict)
    """By URL."""
    none: frozenset[str] = frozenset()
    """URLs at which the registry says that there is nothing."""


_NODE = """
import { readFileSync, writeFileSync } from "node:fs";
const [list, folder, largest, seconds] = process.argv.slice(2);
const addresses = JSON.parse(readFileSync(list, "utf8")).entries();
const signal = AbortSignal.timeout(Number(seconds) * 1000);
async function work() {
  for (const [number, address] of addresses) {
    try {
      const answer = await fetch(address, { redirect: "error", signal });
      if (answer.status === 404) writeFileSync(`${folder}/${number}.none`, "");
      if (!answer.ok) { await answer.body?.cancel(); continue; }
      const parts = [];
      let size = 0;
      for await (const part of answer.body) {
        size += part.length;
        if (size > Number(largest)) break;
        parts.push(part);
      }
      if (size <= Number(largest)) writeFileSync(`${folder}/${number}`, Buffer.concat(parts));
    } catch { }
  }
}
await Promise.all(Array.from({ length: 8 }, work));
process.exit(0);
"""

_PYTHON = """
import concurrent.futures, json, os, sys, time, urllib.error, urllib.request
list_, folder, largest, seconds = sys.argv[1:]
end = time.monotonic() + int(seconds)
class NoOther(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None
dial = urllib.request.build_opener(NoOther, urllib.request.ProxyHandler({})).open
def fetch(pair):
    number, address = pair
    asked = urllib.request.Request(address, headers={"Accept": "application/vnd.pypi.integrity.v1+json"})
    try:
        with dial(asked, timeout=max(0.1, min(15, end - time.monotonic()))) as answer:
            body = answer.read(int(largest) + 1)
        if len(body) <= int(largest):
            with open(os.path.join(folder, str(number)), "wb") as file:
                file.write(body)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            open(os.path.join(folder, f"{number}.none"), "w").close()
    except Exception:
        pass
with open(list_) as file:
    pairs = list(enumerate(json.load(file)))
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    list(pool.map(fetch, pairs))
"""


def addresses(resolution: Resolution, ecosystem: Ecosystem, allowed: Sequence[str]) -> tuple[str, ...]:
    """What there is to fetch from the hosts that the installer may reach: keys first, then attestations."""
    own = {key.keyid for key in BUILT_IN}
    keys, others = [], []
    for package in resolution.packages:
        said = resolution.of(package.name, package.version)
        if ecosystem == "npm" and any(one.keyid not in own for one in said.signatures):
            keys.append(keys_at(package))
        others.append(attestations_at(package, said, ecosystem))
    wanted = dict.fromkeys(one for one in (*keys, *others) if _may_ask(one, allowed))
    return tuple(wanted)[:_MOST]


def keys_at(package: Package) -> str:
    """Where the registry that served a package has its keys; empty where its URL does not say."""
    registry, found, _ = package.source.partition(f"/{package.name}/-/")
    return f"{registry}/{_KEYS}" if found else ""


def attestations_at(package: Package, said: Said, ecosystem: Ecosystem) -> str:
    """Where the attestations of what was installed are served; empty where nobody says."""
    if said.attestations or ecosystem == "npm":
        return said.attestations
    parts = _split(package.source)
    if parts is None or parts.hostname != public.PYPI_FILES:
        return ""
    file = parts.path.rpartition("/")[2]
    # PyPI's Integrity API (PEP 740): no installer asks it, so that none says whether it has an answer.
    return f"https://{public.PYPI}/integrity/{package.name}/{package.version}/{file}/provenance"


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _may_ask(url: str, allowed: Sequence[str]) -> bool:
    """A document names any place it likes; only what the installer may reach is asked."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        if not parts.hostname or port is None or parts.username is not None or not url.isascii():
            return False
        return url.isprintable() and hosts.spelling(hosts.spelt(parts.hostname, port)) in allowed
    except ValueError:
        return False


def job(
    base: BuildJob, ecosystem: Ecosystem, interpreter: str, urls: Sequence[str], environ: Mapping[str, str]
) -> BuildJob:
    """The job that fetches `urls` into its staging directory, as `base` reaches its registries."""
    found = registries.without_proxies(settings.without_logins(environ))
    script = (_SCRIPT, (_NODE if ecosystem == "npm" else _PYTHON).encode())
    flags = () if ecosystem == "npm" else ("-I", "-S")
    words = (_LIST, MOUNT, str(_LARGEST), str(_SECONDS))
    return replace(
        base,
        title=f"where {base.title} comes from",
        steps=((interpreter, *flags, _SCRIPT, *words),),
        env=(*found.env, *_certificates(dict(found.env), environ)),
        mounts=found.mounts,
        files=(*found.files, script, (_LIST, json.dumps(list(urls)).encode())),
    )


def _certificates(env: Mapping[str, str], environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Python itself knows one of the names that a corporate CA goes by."""
    others = (environ.get(name, "") for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"))
    own = next((one for one in others if one.startswith("/")), "")
    return () if not own or env.get("SSL_CERT_FILE") else (("SSL_CERT_FILE", own),)


def collected(folder: str, urls: Sequence[str]) -> Evidence:
    """What the job left, by the URL that each answer came from."""
    places = {url: os.path.join(folder, str(number)) for number, url in enumerate(urls)}
    found = {url: _content(place) for url, place in places.items()}
    none = frozenset(url for url, place in places.items() if os.path.lexists(f"{place}.none"))
    return Evidence({url: body for url, body in found.items() if body is not None}, none)


def _content(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with open(fd, "rb") as file:
        content = file.read(_LARGEST + 1)
    return content if 0 < len(content) <= _LARGEST else None
