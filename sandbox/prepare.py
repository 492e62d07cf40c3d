"""From a command line to a spec: policy, host facts, a frozen package, the closure, the plan."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.choice import Choice, choose, unproven
from sandbox.errors import CannotEnforce, CommandNotFound, SandboxError
from sandbox.host import reach
from sandbox.host.closure import closure, closure_of_program
from sandbox.host.remembered import facts as remembered_facts
from sandbox.host.survey import survey
from sandbox.host.uvrun import is_uv_run
from sandbox.plan.enforceable import unenforceable
from sandbox.plan.facts import Closure, HostFacts
from sandbox.plan.plan import plan
from sandbox.plan.spec import Spec
from sandbox.policy.model import Policy
from sandbox.prepared import Prepared, Wish
from sandbox.records import dataclass, replace
from sandbox.supply.frozen import Frozen
from sandbox.supply.request import Request
from sandbox.waived import sentences

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.plan.facts import Container
    from sandbox.plan.image import Image
    from sandbox.prepared import Found
    from sandbox.supply.job import BuildJob, BuildOutcome
    from sandbox.supply.mcpb import Bundle


def prepare(
    wish: Wish, progress: Callable[[str], None], *, build: bool = True, lock: Found | None = None,
    later: Callable[[Callable[[], None]], None] | None = None,
) -> Prepared:  # fmt: skip
    """Decides everything and starts nothing but, where `build`, the build of a package never seen before.

    `lock`: what it is held to in place of the lock that was accepted for it. `later` is given what is to be
    called before anything of it runs and raises why nothing may; without, all of that is done at once.
    """
    chosen = choose(wish)
    for line in chosen.told:
        progress(line)
    held = lock if lock is not None else _lock(chosen, wish, progress)
    if held is not None and wish.refresh:
        progress(f"`--refresh` looks nothing up: `mcp-sandbox update {held.name}` shows what is newer")
    asked = Asked(wish, chosen, remembered_facts(wish.environ), progress, build, held, later or _now)
    prepared = _by_a_backend(asked)
    if build and chosen.hint:
        progress(chosen.hint)  # last: a server that cannot start needs no profile first
    return prepared


def _now(check: Callable[[], None]) -> None:
    check()


def _lock(chosen: Choice, wish: Wish, progress: Callable[[str], None]) -> Found | None:
    from sandbox.locked import lock_of
    from sandbox.locks import past

    found = lock_of(chosen, wish)
    if found is None and wish.locks == "use" and (line := past(chosen, wish)):
        progress(line)
    return found


def _by_a_backend(asked: Asked) -> Prepared:
    wish, policy = asked.wish, asked.policy
    if policy.server.url is not None:
        return _remotely(asked, policy.server.url)
    if wish.backend == "docker" or (wish.backend == "auto" and needs_engine(policy)):
        return _contained(asked)
    try:
        return _natively(asked)
    except CannotEnforce as refused:
        if wish.backend != "auto" or not asked.facts.docker.works or unenforceable(policy):
            raise  # nowhere else could it be enforced either
        return _instead(asked, refused)


@dataclass(frozen=True, slots=True)
class Asked:
    """A wish with what is known of it before a backend is chosen."""

    wish: Wish
    chosen: Choice
    facts: HostFacts
    progress: Callable[[str], None]
    build: bool
    lock: Found | None = None
    later: Callable[[Callable[[], None]], None] = _now

    @property
    def policy(self) -> Policy:
        """What the server may do."""
        return self.chosen.policy

    @property
    def command(self) -> tuple[str, ...]:
        """What is started; nothing where an image's own command is."""
        return self.chosen.command

    @property
    def request(self) -> Request | None:
        """The packages that the command asks for."""
        return self.chosen.request

    def planned(self, spec: Spec, needs: Closure, frozen: Frozen | None) -> Prepared:
        """The end of every preparation."""
        chosen = self.chosen
        waived = (*spec.waivers, *sentences(chosen.policy))
        named = replace(spec, server=chosen.name, waivers=waived)
        if chosen.matched is not None:
            line = unproven(chosen.matched, chosen.policy, frozen.resolved if frozen else ())
            if line:
                self.progress(line)
        return Prepared(
            self.wish,
            chosen.policy,
            self.facts,
            named,
            needs,
            chosen.request,
            frozen,
            chosen.matched,
            self.lock,
        )

    def hold(self, needs: Closure, frozen: Frozen | None, image: Image | None = None) -> None:
        """What is about to start is what its lock names."""
        if self.lock is not None:
            from sandbox.locked import hold

            hold(self.lock, self.wish, needs, frozen, image)


def _remotely(asked: Asked, url: str) -> Prepared:
    """A bridge in the native sandbox; an engine has nothing that it could start."""
    from sandbox.policy.remote import parse

    wish, policy = asked.wish, asked.policy
    if wish.backend == "docker":
        raise CannotEnforce(
            "cannot-enforce",
            "a server that runs elsewhere is reached by the native backend alone",
            rule="--backend docker",
            hint="leave `--backend docker` out",
        )
    needs = Closure((parse(url).shown,), why="a server that runs elsewhere", cwd="/")
    seen = survey(policy, needs, environ=wish.environ, cwd=wish.cwd)
    return asked.planned(plan(policy, asked.facts, seen), needs, None)


def needs_engine(policy: Policy) -> bool:
    """Whether the profile asks for what only a container engine has."""
    return policy.server.image is not None or policy.isolation.runtime != "default"


def _natively(asked: Asked) -> Prepared:
    asked = _reaching(asked)
    wish, policy = asked.wish, asked.policy
    frozen = _frozen(asked) if asked.request else None
    if asked.chosen.bundle is not None:
        frozen, needs = _unbundled(asked, asked.chosen.bundle, frozen, None)
    else:
        needs = _closure(asked, frozen)
    asked.hold(needs, frozen)
    seen = survey(policy, needs, environ=wish.environ, cwd=wish.cwd)
    return asked.planned(plan(policy, asked.facts, seen), needs, frozen)


def _unbundled(
    asked: Asked, bundle: Bundle, packages: Frozen | None, image: Image | None
) -> tuple[Frozen | None, Closure]:
    """A bundle's tree, and all that it needs to start."""
    from sandbox import bundles

    environ, progress = asked.wish.environ, asked.progress
    return bundles.closed(
        bundle, packages, environ=environ, progress=progress, build=asked.build, image=image
    )


def _reaching(asked: Asked) -> Asked:
    """The same with a PATH that leads to what is to be started: a desktop's clients have not the shell's."""
    wish, request = asked.wish, asked.request
    if request is not None:
        program = "node" if request.ecosystem == "npm" else "uv"
        found = reach.for_package(program, environ=wish.environ, runner=request.runner)
    elif is_uv_run(asked.command):
        return asked  # it is the environment's own program that starts
    else:
        found = reach.for_command(asked.command, environ=wish.environ, cwd=wish.cwd)
    for line in found.said():
        asked.progress(line)
    return replace(asked, wish=replace(wish, environ=found.environ))


def _contained(asked: Asked) -> Prepared:
    from sandbox import containers

    wish, policy = asked.wish, asked.policy
    if asked.request:
        _refuse_to_build(asked, asked.request)  # before an image of the profile's own is pulled
    bundle = asked.chosen.bundle
    if bundle is not None:
        _refuse_far(asked)
    needs = (
        containers.closure_inside(asked.command, policy, wish.environ, wish.cwd)
        if bundle is None
        else Closure(asked.command)
    )
    place = containers.container(policy, asked.facts, needs, asked.request, wish.environ)
    frozen = _frozen_inside(asked, place) if asked.request else None
    if bundle is not None:
        frozen, needs = _unbundled(asked, bundle, frozen, place.image)
    elif frozen is not None:
        needs = Closure(frozen.argv, ((frozen.tree, frozen.mount),), why="a frozen package")
    asked.hold(needs, frozen, place.image)
    policy = of_a_held_image(policy, asked.lock)
    seen = survey(policy, needs, environ=wish.environ, cwd=wish.cwd)
    return asked.planned(plan(policy, asked.facts, seen, container=place), needs, frozen)


def of_a_held_image(policy: Policy, lock: Found | None) -> Policy:
    """Without the waiver of a tag where a lock, checked by now, holds the image to its content."""
    if lock is None or lock.lock.image is None or not policy.server.unpinned:
        return policy
    return replace(policy, server=replace(policy.server, unpinned=False))


def _instead(asked: Asked, refused: CannotEnforce) -> Prepared:
    """The whole of it by an engine, where native cannot; else native's own refusal."""
    try:
        made = _contained(asked)
    except SandboxError as error:
        raise CannotEnforce(
            refused.code,
            f"{refused.what}\nand the Docker backend cannot take its place: {error.what}",
            rule=refused.rule,
            hint=refused.hint,
        ) from error
    asked.progress(f"by the Docker backend: {refused.what}")
    return made


def _frozen(asked: Asked) -> Frozen | None:
    def run(job: BuildJob) -> BuildOutcome:
        from sandbox.build import builder  # where there is something to build

        return builder(asked.facts, asked.wish.environ, asked.policy.supply.hosts, asked.progress)(job)

    return _supplied(asked, run, None)


def _refuse_to_build(asked: Asked, request: Request) -> None:
    from sandbox.containers import image_name
    from sandbox.host.engine import engine
    from sandbox.supply.inside import refuse_far, refuse_without_tools

    named = asked.policy.server.image
    refuse_without_tools(named or image_name(asked.policy, Closure(asked.command), request), request)
    refuse_far(engine(asked.wish.environ))


def _refuse_far(asked: Asked) -> None:
    from sandbox.host.engine import engine
    from sandbox.supply.inside import refuse_far

    refuse_far(engine(asked.wish.environ))


def _frozen_inside(asked: Asked, place: Container) -> Frozen | None:
    """The package as the image's own programs build and run it."""
    if asked.build and _peeked(asked, place.image) is None:
        from sandbox import leases

        leases.reap(asked.wish.environ)  # a build that was killed may still write where the next one clears

    def run(job: BuildJob) -> BuildOutcome:
        from sandbox.container_build import builder

        hosts = asked.policy.supply.hosts
        return builder(asked.facts, place, asked.wish.environ, hosts, asked.progress)(job)

    return _supplied(asked, run, place.image)


def _peeked(asked: Asked, image: Image | None) -> Frozen | None:
    from sandbox.supply.freeze import peek

    assert asked.request is not None  # noqa: S101 - asked of packages alone
    scripts = asked.policy.supply.scripts
    return peek(asked.request, environ=asked.wish.environ, scripts=scripts, image=image)


def _supplied(asked: Asked, run: Callable[[BuildJob], BuildOutcome], image: Image | None) -> Frozen | None:
    wish, request, supply = asked.wish, asked.request, asked.policy.supply
    assert request is not None  # noqa: S101 - asked of packages alone
    if asked.lock is not None:
        return _locked(asked, asked.lock, request, run, image)
    if not asked.build:
        return _peeked(asked, image)
    from sandbox.supply.freeze import freeze  # what is locked needs none of it

    return freeze(
        request,
        environ=wish.environ,
        cwd=wish.cwd,
        scripts=supply.scripts,
        refresh=wish.refresh,
        run_build=run,
        progress=asked.progress,
        image=image,
        age=supply.age if wish.locks == "make" else None,
        age_waive=(*supply.age_waive, *wish.age_waive),
    )


def _locked(
    asked: Asked,
    found: Found,
    request: Request,
    run: Callable[[BuildJob], BuildOutcome],
    image: Image | None,
) -> Frozen | None:
    from sandbox.locks import whole
    from sandbox.supply.locked import Start, frozen

    wish = asked.wish
    start = Start(
        found.lock,
        found.path,
        found.sha256,
        found.resolved,
        request,
        wish.environ,
        wish.cwd,
        lambda: whole(found),
        run,
        asked.progress,
        image,
        asked.later,
    )
    return frozen(start, build=asked.build)


def _unbuilt(asked: Asked) -> Closure:
    """What `plan` knows of a package that is not installed: its runner, where there is one."""
    try:
        return closure(asked.command, environ=asked.wish.environ, cwd=asked.wish.cwd)
    except CommandNotFound:
        if asked.request is None:
            raise
        return Closure(asked.command, why="a package that is not installed yet")


def _closure(asked: Asked, frozen: Frozen | None) -> Closure:
    if frozen is None:
        return _unbuilt(asked)
    wish = asked.wish
    tree = (frozen.tree, frozen.mount)
    if not frozen.interpreter:
        return Closure(frozen.argv, (tree,), why="a frozen package")
    found = closure_of_program(frozen.interpreter, environ=wish.environ)
    return replace(
        found, argv=frozen.argv, binds=(*found.binds, tree), why="a frozen package and its interpreter"
    )
