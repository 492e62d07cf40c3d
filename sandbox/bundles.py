"""A bundle (`.mcpb`, `.dxt`) as a server: its settings from the profile, its tree from the store."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence

from sandbox import wanted
from sandbox.errors import CannotEnforce, SandboxError, SandboxNotBuilt, UsageError
from sandbox.policy.model import Policy
from sandbox.records import replace
from sandbox.supply import mcpb, spec, unbundle, uv_project
from sandbox.supply.frozen import Frozen
from sandbox.supply.hostile_json import Malformed
from sandbox.supply.mcpb import Bundle, Setting, Start, Values, Word
from sandbox.supply.request import Request
from sandbox.wanted import Hidden, Wanted

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.plan.facts import Closure
    from sandbox.plan.image import Image

_PLACES = (("HOME", ""), ("DESKTOP", "Desktop"), ("DOCUMENTS", "Documents"), ("DOWNLOADS", "Downloads"))


def opened(command: Sequence[str], environ: Mapping[str, str], cwd: str, known: str = "") -> Bundle:
    """The bundle that a command's first word names, not unpacked yet; `known`: the one of that hash."""
    path = os.path.abspath(os.path.join(cwd, os.path.expanduser(command[0])))
    store = unbundle.environment_store(environ)
    found = unbundle.kept(known, store) if known else None
    found = found or unbundle.read(path, store)
    manifest = unbundle.manifest_of(found, path)
    project = _project(manifest, found, path)
    return Bundle(path, found.sha256, manifest, found.signed, found.unchecked, found.vouched, project)


def _project(manifest: mcpb.Manifest, found: unbundle.Read, path: str) -> uv_project.Project:
    if manifest.type != "uv":
        return uv_project.Project(python=manifest.python.replace(" ", ""))
    try:
        read = uv_project.read(found.project.encode())
    except Malformed as error:
        raise unbundle.refused(path, Malformed(f"it {error}")) from None
    return read if read.python else replace(read, python=manifest.python.replace(" ", ""))


def filled(
    bundle: Bundle, policy: Policy, environ: Mapping[str, str], more: Sequence[str] = ()
) -> tuple[Bundle, tuple[str, ...]]:
    """The bundle with its command filled in and `more` words behind it, and what a person is told."""
    values, told = _values(bundle, policy, environ)
    try:
        start = mcpb.start(bundle.manifest, values)
        if start.program == "uv":
            start, bundle = _without_uv(start, bundle)
    except Malformed as error:
        raise unbundle.refused(bundle.path, Malformed(f"its manifest {error}")) from None
    args = (*start.args, *((Word(word),) for word in more))
    # A variable that a person gives is that person's, whatever the manifest has for it.
    own = wanted.given(policy, environ)
    env = tuple(pair for pair in start.env if pair[0] not in own)
    return replace(bundle, start=replace(start, args=args, env=env)), told


def _without_uv(start: Start, bundle: Bundle) -> tuple[Start, Bundle]:
    """The same with the environment's own program in place of `uv run`."""
    # A secret among uv's own words would be a package's or a directory's name: neither is understood.
    words = ["" if len(arg) > 1 or arg[0].secret else arg[0].text for arg in start.args]
    entry = bundle.manifest.entry
    run = uv_project.run(words if bundle.manifest.args else (), mcpb.MOUNT, entry)
    args = (*((Word(word),) for word in run.words), *(start.args[run.skip :] if bundle.manifest.args else ()))
    project = replace(bundle.project, dependencies=(*bundle.project.dependencies, *run.extra))
    started = replace(start, program=run.program, args=args)
    return started, replace(bundle, project=project, cwd=run.cwd)


def request(bundle: Bundle) -> Request | None:
    """The packages of a bundle that leaves them to uv; None where it has them with it."""
    if bundle.manifest.type != "uv" or not bundle.project.dependencies:
        return None
    try:
        specs = tuple(spec.pypi(one) for one in bundle.project.dependencies)
    except SandboxError as error:
        raise unbundle.refused(bundle.path, Malformed(error.what)) from None
    assert bundle.start is not None  # noqa: S101 - filled before
    return Request(
        "pypi", specs, "uv", bin=bundle.start.program, python=bundle.project.python or None, no_project=True
    )


def unchecked(bundle: Bundle, policy: Policy) -> tuple[str, ...]:
    """What a lock says of its signature; one without a signer that somebody vouches for may be refused."""
    asked = policy.supply.provenance
    if asked == "off" or bundle.vouched:
        return ()
    said = bundle.unchecked or f"the bundle is {bundle.signed or 'signed by nobody'}"
    if asked == "require":
        raise SandboxNotBuilt(
            "bundle-not-signed",
            f"`{bundle.path}`: {said}",
            rule=f"{policy.origin('supply.provenance')} [supply] provenance",
            hint='`provenance = "warn"` locks it by its hash alone, and says so',
        )
    return (said,)


def words(bundle: Bundle) -> tuple[str, ...]:
    """What it starts inside, as a person reads it: each secret is the name of its variable."""
    assert bundle.start is not None  # noqa: S101 - filled before
    program = {"python": "python3"}.get(bundle.start.program, bundle.start.program)
    return (program, *("".join(map(_shown, arg)) for arg in bundle.start.args))


def _shown(word: Word) -> str:
    return f"${{{word.text}}}" if word.secret else word.text


def shown(bundle: Bundle) -> str:
    """Its file as a person can paste it."""
    return shlex.quote(bundle.path) if bundle.path.isprintable() else "FILE"


# --- its settings ----------------------------------------------------------------------------------


def _values(bundle: Bundle, policy: Policy, environ: Mapping[str, str]) -> tuple[Values, tuple[str, ...]]:
    """What each setting stands for; those that are needed and have no value stop the start, by name."""
    home = environ.get("HOME", "/")
    places = {name: os.path.join(home, below) if below else home for name, below in _PLACES}
    given, secrets, missing, told = dict[str, tuple[str, ...]](), dict[str, str](), list[Setting](), []
    sources = wanted.given(policy, environ)
    for setting in bundle.manifest.settings:
        value = sources.get(setting.variable)
        if value is None:
            default = tuple(_placed(one, places) for one in setting.default or ())
            if default and default != ("",):
                given[setting.key] = default
            elif setting.required:
                missing.append(setting)
        elif isinstance(value, Hidden):
            secrets[setting.key] = setting.variable
        else:
            given[setting.key] = _read(setting, value, home)
            if setting.sensitive:
                told.append(f"`{setting.variable}` is sensitive, and a plain variable: `--secret` keeps it")
        told += _unmounted(setting, given.get(setting.key, ()), policy)
    if missing:
        rule = "`required` in its `user_config`"
        raise wanted.missing(bundle.name, [*map(_wanted, missing)], shown(bundle), rule)
    return Values(given, secrets, places), tuple(told)


def _placed(text: str, places: Mapping[str, str]) -> str:
    for name, place in places.items():
        text = text.replace(f"${{{name}}}", place)
    return text


def _read(setting: Setting, text: str, home: str) -> tuple[str, ...]:
    try:
        values = mcpb.values_of(setting, text)
        if setting.kind in ("directory", "file"):
            values = tuple(home + one[1:] if one == "~" or one.startswith("~/") else one for one in values)
    except Malformed as error:
        raise UsageError("setting-malformed", str(error)) from None
    why = mcpb.wrong(setting, values)
    if why:
        raise UsageError(
            "setting-malformed", f"`{setting.variable}` {why}", rule="the bundle's `user_config`"
        )
    return values


def _wanted(setting: Setting) -> Wanted:
    kind = "paths" if setting.multiple and setting.kind in ("directory", "file") else setting.kind
    return Wanted(
        setting.variable, setting.title, "a secret" if setting.sensitive else kind, setting.sensitive
    )


def _unmounted(setting: Setting, values: Sequence[str], policy: Policy) -> list[str]:
    """A line for each path that it is told of and that nothing shows it."""
    if setting.kind not in ("directory", "file"):
        return []
    rules = [rule.target or rule.source for rule in (*policy.files.read, *policy.files.write)]
    lacking = [value for value in values if not any(_below(value, os.path.expanduser(one)) for one in rules)]
    quoted = [shlex.quote(value) for value in lacking if value.isprintable()]
    return [f"`{setting.variable}` names {one}, which is not mounted: `--allow-read {one}`" for one in quoted]


def _below(path: str, folder: str) -> bool:
    real, base = os.path.realpath(path), os.path.realpath(folder)
    return real == base or real.startswith(base.rstrip("/") + "/")


# --- its tree --------------------------------------------------------------------------------------


def closed(
    bundle: Bundle,
    packages: Frozen | None,
    *,
    environ: Mapping[str, str],
    progress: Callable[[str], None],
    build: bool,
    image: Image | None = None,
) -> tuple[Frozen | None, Closure]:
    """What starts, and all that it needs; `packages` are those that uv would have installed."""
    from sandbox.plan.facts import Closure

    store = unbundle.environment_store(environ)
    entry = store.lookup(unbundle.key_of(bundle.sha256))
    if entry is None and build:
        _say_signed(bundle, progress)
        title = f"{bundle.name}@{mcpb.plain_name(bundle.manifest.version)}"
        entry = unbundle.unpack(bundle.path, bundle.sha256, title, store, progress)
    if entry is None or (packages is None and request(bundle) is not None):
        return None, Closure(words(bundle), why="a bundle that is not unpacked yet")
    from sandbox.supply.verify import verify

    verify(store, entry.digest)
    tree = (store.tree(entry.digest), mcpb.MOUNT)
    program, found = _interpreted(bundle, tree[0], packages, environ, image)
    argv = started(bundle, program)
    if packages is not None:
        frozen = replace(packages, argv=argv)
        binds = (*found.binds, (packages.tree, packages.mount), tree)
    else:
        frozen = Frozen(
            argv, tree[0], found.argv[0] if found.argv else "", entry.resolved, entry.digest, True
        )
        frozen = replace(frozen, mount=mcpb.MOUNT)
        binds = (*found.binds, tree)
    env = (*found.env, *variables(bundle))
    cwd = bundle.cwd.replace(mcpb.MOUNT, tree[0], 1)
    return frozen, replace(found, argv=argv, binds=binds, env=env, why="a bundle", cwd=cwd)


def _say_signed(bundle: Bundle, progress: Callable[[str], None]) -> None:
    progress(f"`{bundle.name}` is {bundle.signed or bundle.unchecked or 'signed by nobody'}")


def _interpreted(
    bundle: Bundle, tree: str, packages: Frozen | None, environ: Mapping[str, str], image: Image | None
) -> tuple[tuple[str, ...], Closure]:
    """The words before its arguments, and the closure of the interpreter where the host's is needed."""
    from sandbox.plan.facts import Closure

    assert bundle.start is not None  # noqa: S101 - filled before
    program = bundle.start.program
    if packages is not None:
        found = Closure(())
        if packages.interpreter:
            from sandbox.host.closure import closure_of_program

            found = closure_of_program(packages.interpreter, environ=environ)
        return packages.argv, found
    if program.startswith("/"):
        program, inside = _by_its_first_line(bundle, tree, program)
        if not program:
            return (inside,), Closure(())
        before: tuple[str, ...] = (inside,)
    else:
        before = ()
    if image is not None:
        return (_of_image(bundle, program, image), *before), Closure(())
    from sandbox.host.closure import closure_of_program

    real = _interpreter(bundle, program, environ)
    return (real, *before), closure_of_program(real, environ=environ)


def _of_image(bundle: Bundle, program: str, image: Image) -> str:
    """The image's own interpreter; one of ours that has none is refused, one of the user's is looked into."""
    from sandbox.supply import inside

    if image.own:
        return {"python": "python3"}.get(program, program)
    ecosystem, path = ("npm", inside.NODE) if program == "node" else ("pypi", inside.PYTHON)
    if image.name not in inside.HAVE[ecosystem]:
        raise CannotEnforce(
            "bundle-in-this-image",
            f"`{bundle.name}` needs {program}, which the image `{image.name}` has not",
            rule="[server] image",
            hint="leave `image` out",
        )
    return path


def _by_its_first_line(bundle: Bundle, tree: str, path: str) -> tuple[str, str]:
    """A program of the bundle's own: the interpreter that its first line names, if any, and its place."""
    from sandbox.supply.tree import head, within

    real = within(tree, os.path.join(tree, path.removeprefix(mcpb.MOUNT + "/")))
    if real is None:
        what = f"its manifest starts `{path.removeprefix(mcpb.MOUNT + '/')}`, which is not in it"
        raise unbundle.refused(bundle.path, Malformed(what))
    first = head(os.path.join(tree, real)).split(b"\n")[0].decode("utf-8", "replace")
    if not first.startswith("#!"):
        _refuse_unexecutable(bundle, os.path.join(tree, real))
        return "", path
    named = {os.path.basename(word) for word in first[2:].split()}
    language = next((name for name in ("node", "python", "python3") if name in named), "")
    if not language:
        _refuse_unexecutable(bundle, os.path.join(tree, real))
    return language.removesuffix("3"), path


def _refuse_unexecutable(bundle: Bundle, path: str) -> None:
    if not os.access(path, os.X_OK):
        what = f"`{os.path.basename(path)}` in it is not executable: pack it with its mode"
        raise unbundle.refused(bundle.path, Malformed(what))


def _interpreter(bundle: Bundle, program: str, environ: Mapping[str, str]) -> str:
    """The real file of the host's node or python, known again without being asked."""
    from sandbox.supply.key import uv_path, which
    from sandbox.supply.store import Entry, fits, stamp_of

    path = which("node" if program == "node" else "python3", environ)
    versions = bundle.project.python if program == "python" else bundle.manifest.node
    store = unbundle.environment_store(environ)
    key = unbundle.key_of(f"{bundle.sha256} {program} {path} {versions}")
    entry = store.lookup(key)
    if entry is not None and fits(entry, None):
        return entry.interpreter
    from sandbox.supply import programs  # where it has to be asked

    if program == "node":
        found = programs.node(path, environ)
    else:
        uv = uv_path("", environ)
        found = programs.python(versions if uv and versions else None, uv, environ)
    _refuse_version(bundle, program, found.version, versions)
    tree = store.lookup(unbundle.key_of(bundle.sha256))
    stamp = stamp_of(found.path)
    if tree is not None and stamp is not None:
        store.remember(
            key, Entry(tree.digest, {}, None, found.path, stamp, found.abi, tree.resolved, tree.built)
        )
    return found.path


def _refuse_version(bundle: Bundle, program: str, version: str, versions: str) -> None:
    """What it says that it does not run with is not tried; a range that is not understood says nothing."""
    if not versions:
        return
    from sandbox.policy.versions import within

    if within(version.removeprefix("v"), versions) is False:
        what = f"`{bundle.name}` runs with {program} {versions}, and this is {version}"
        raise CannotEnforce("interpreter-does-not-fit", what, rule="`compatibility` in its manifest")


def started(bundle: Bundle, program: Sequence[str]) -> tuple[str, ...]:
    """The words that start it; a secret in one of them is put in by a shell inside, and known there alone."""
    start = bundle.start
    assert start is not None  # noqa: S101 - filled before
    hidden = [pair for pair in start.env if any(word.secret for word in pair[1])]
    if not hidden and not any(word.secret for arg in start.args for word in arg):
        return (*program, *(arg[0].text for arg in start.args))
    lines = [f"export {name}={_quoted(text)}" for name, text in hidden]
    command = [*map(shlex.quote, program), *map(_quoted, start.args)]
    return ("/bin/sh", "-c", "; ".join([*lines, f"exec {' '.join(command)}"]))


def _quoted(text: Sequence[Word]) -> str:
    return "".join(f'"${{{word.text}}}"' if word.secret else shlex.quote(word.text) for word in text)


def variables(bundle: Bundle) -> tuple[tuple[str, str], ...]:
    """The manifest's own variables, but for those with a secret in them."""
    assert bundle.start is not None  # noqa: S101 - filled before
    plain = [pair for pair in bundle.start.env if not any(word.secret for word in pair[1])]
    return tuple((name, "".join(word.text for word in text)) for name, text in plain)
