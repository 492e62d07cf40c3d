"""A spec as rows a person can read: what is enforced, by which mechanism, and which line asked for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sandbox.plan import container_rows, http_inside, quota_rows, remote
from sandbox.plan.egress import waiver_key
from sandbox.plan.enforceable import key_origin
from sandbox.plan.facts import HostFacts
from sandbox.plan.message_rows import message_rows
from sandbox.plan.network_rows import network_rows
from sandbox.plan.rows import Row
from sandbox.plan.spec import (
    Bind,
    Device,
    Directory,
    File,
    Proc,
    Socket,
    Spec,
    Symlink,
    Tmpfs,
    ViewStep,
)
from sandbox.plan.syscall_rows import syscall_rows
from sandbox.policy.model import Policy
from sandbox.records import replace

ROOT = "part of the read-only root"


def rows(spec: Spec, facts: HostFacts, policy: Policy) -> tuple[Row, ...]:
    """Every step and limit of the spec, in the order in which a person asks for them."""
    contained = spec.backend == "docker"
    described = (
        *_view_rows(spec, contained=contained),
        *(container_rows.process(spec) if contained else _process(spec)),
        *_restart(policy),
        *http_inside.rows(policy),
        *remote.rows(policy),
        *network_rows(spec, policy),
        *syscall_rows(spec, policy),
        *quota_rows.rows(spec, facts, policy),
        *_environment(spec, policy),
        *_decoys(policy),
        *message_rows(spec, policy),
        *(
            Row("waivers", text, "none: the profile waives it", waiver_key(text, policy), enforced=False)
            for text in spec.waivers
        ),
        *(Row("notes", text, "", enforced=False) for text in spec.notes),
    )
    return tuple(_with_origin(row, policy) for row in described)


def _restart(policy: Policy) -> Iterator[Row]:
    server = policy.server
    if server.restart != "never":
        what = f"starts again after a crash, {server.restarts} times in a row"
        how = "a process in front of each session; never after a breach"
        yield Row("process", what, how, "server.restart")


def _decoys(policy: Policy) -> Iterator[Row]:
    """Each session plants its own, after the plan."""
    if policy.isolation.decoys:
        what = "credentials that are nobody's, in the home and the environment"
        how = "looked for in egress, names and answers; a sighting kills"
        yield Row("decoys", what, how, "isolation.decoys")


def summary(described: Iterable[Row]) -> tuple[Row, ...]:
    """The same rows with runs of files, links and devices in one directory written as one."""
    short: list[Row] = []
    for row in described:
        if short and _alike(short[-1], row):
            short[-1] = replace(short[-1], what=f"{short[-1].what}, {row.what.rpartition('/')[2]}")
        else:
            short.append(row)
    return tuple(short)


def _alike(before: Row, row: Row) -> bool:
    kind = row.what.rpartition(" ")[0]
    listed = kind in ("synthetic", "copy of", "device")
    first = before.what.partition(",")[0]
    same = first.rpartition("/")[0] == row.what.rpartition("/")[0]
    return listed and same and replace(before, what="") == replace(row, what="")


def _view_rows(spec: Spec, *, contained: bool) -> Iterator[Row]:
    for step in spec.view:
        if not contained:
            yield _native_row(step)
        elif container_rows.said(step):
            yield replace(_native_row(step), mechanism=container_rows.mechanism(step))


def _native_row(step: ViewStep) -> Row:
    if isinstance(step, Bind):
        return _bind_row(step)
    if isinstance(step, Tmpfs):
        keys = {"/tmp": "files.tmp", "/dev/shm": "quota.disk"}  # noqa: S108 - places inside the sandbox
        return Row(
            "files", step.describe(), "tmpfs with size and inode cap", keys.get(step.target, "files.home")
        )
    mechanism = {
        Directory: ROOT,
        File: ROOT,
        Symlink: ROOT,
        Device: "bind mount of the host's node",
        Proc: "new procfs of the pid namespace",
        Socket: "/dev/null over it",
    }
    return Row("files", step.describe(), mechanism[type(step)])


def _bind_row(step: Bind) -> Row:
    how = ["bind mount", *([] if step.writable else ["read-only"]), "nosuid, nodev"]
    how += ["idmapped"] if step.idmap else []
    how += ["not bounded by quota.disk"] if step.writable and step.why != "guard" else []
    what = step.describe()
    if step.why == "command":
        return Row("files", what, ", ".join(how), "", step.origin)
    if step.why == "guard":
        cause = "cannot be renamed" if step.writable else "programs outside run it"
        return Row("files", f"{what} ({cause})", ", ".join(how), "files.write", step.origin)
    key = "" if step.why == "system" else step.why
    return Row("files", what, ", ".join(how), key, step.origin)


def _process(spec: Spec) -> Iterator[Row]:
    identity = spec.identity
    who = "a uid of its own, never host uid 0" if identity.drop else f"uid {identity.uid}, gid {identity.gid}"
    yield Row("process", f"runs as {who}", "user namespace")
    yield Row("process", "sees no process but its own", "pid namespace, pid 1 reaps")
    yield Row(
        "process",
        "shares no mount, host name, semaphore or cgroup name",
        "mount, uts, ipc, cgroup namespaces",
    )
    yield Row("process", "has no capability and can gain none", "capability sets empty, no_new_privs")
    yield Row(
        "process", "inherits stdin, stdout and stderr only", "every other descriptor closed, new session"
    )
    yield Row("process", "dies with the wrapper", "PDEATHSIG, then the pid namespace")
    if spec.endpoint is None or not spec.endpoint.remote:
        yield Row("process", f"starts {' '.join(spec.argv)}", f"execve in {spec.cwd}")


def _environment(spec: Spec, policy: Policy) -> Iterator[Row]:
    """Names of what the caller or the profile gave, values only of what is ours: a value may be a token."""
    fixed = dict(policy.env.fixed)
    for name, value in spec.env:
        if name in fixed:
            yield Row("environment", name, "set by the profile", f"env.set.{name}")
        elif name in policy.env.passed:
            yield Row("environment", name, "taken from the caller", f"env.pass.{name}")
        else:
            yield Row("environment", f"{name}={value}", "ours")
    for name, source in spec.secrets:
        yield Row(
            "secrets", name, f"read from {source.partition(':')[0]} at start, in no log", f"secrets.{name}"
        )


def _with_origin(row: Row, policy: Policy) -> Row:
    if row.origin or not row.key:
        return row
    # A name in a list stands on the list's line; a quota beside written ones is still a default.
    listed = row.key.startswith(("env.", "secrets."))
    return replace(row, origin=str(key_origin(policy, row.key) if listed else policy.origin(row.key)))
