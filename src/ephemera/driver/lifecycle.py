"""The life of an environment: up, use, down, proof. What the CLI and the pytest plugin are made of.

Whatever goes wrong after the first side effect, what a command created is gone when it returns; an environment that was
there before is unlocked and left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from docker import DockerClient

from ephemera.contract import labels
from ephemera.contract.catalog import Manifest, find_system
from ephemera.contract.errors import (
    EngineError,
    InputError,
    LeftoversError,
    MachineError,
    NoSuchEnvironmentError,
    OtherEngineError,
    StackTakenError,
)
from ephemera.contract.names import check_stack_name, split_stack_name, stack_name
from ephemera.contract.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.contract.progress import Event
from ephemera.contract.settings import Settings, from_environment, read_settings
from ephemera.driver import (
    encryption,
    engine,
    evidence,
    holding,
    locks,
    mending,
    placement,
    pool,
    reaper,
    recording,
    removal,
    resetting,
    services,
)
from ephemera.driver.branches import current_branch
from ephemera.driver.holding import let_go
from ephemera.driver.known import remembering, unchanged
from ephemera.driver.preflight import check_development, check_ports
from ephemera.driver.state import StateError
from ephemera.driver.timeline import phase
from ephemera.driver.workspace import Workspace
from ephemera.home import addresses, identity, leases
from ephemera.host import clock, surroundings
from ephemera.host.engine import connected

__all__ = [
    "Gone",
    "Ready",
    "Request",
    "alive",
    "called",
    "down",
    "expected",
    "find_stack",
    "forget",
    "hand_over",
    "let_go",
    "outputs",
    "outputs_or_containers",
    "plan",
    "proven",
    "up",
    "wrong_system",
]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which environment is wanted. ``config``: settings given as flags, key → text as in Pulumi config.

    ``suffix``: sets a test run's environment apart. ``phase``: ``kept`` stays until it is taken down, ``disposable``
    goes with whoever asked for it, ``pooled`` waits for a branch. ``stack``: a name that is not the branch's.
    ``keep_on_failure``: leave what did not become ready, to be looked at. ``force``: run the engine even if nothing is
    known to have changed, and claim nothing from a pool. ``timed``: report what a timeline is made of.
    """

    system: str
    branch: str | None = None
    suffix: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    phase: Literal["kept", "disposable", "pooled"] = "kept"
    stack: str | None = None
    keep_on_failure: bool = False
    force: bool = False
    timed: bool = False


@dataclass(frozen=True, kw_only=True)
class Ready:
    """An environment that is up. ``created``: by this request; ``unchanged``: it was ready as it is, and no engine ran;
    ``claimed``: it was ready in a pool, and is given to nobody else; ``seconds``: until it was ready."""

    outputs: EnvironmentOutputs
    created: bool
    unchanged: bool = False
    claimed: bool = False
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Gone:
    """An environment that was taken down; ``leftovers`` were found by the proof, and removed."""

    stack: str
    seconds: float
    leftovers: tuple[str, ...]


def plan(workspace: Workspace, request: Request) -> tuple[str, Manifest, Settings]:
    """The stack's name and settings, everything checked; nothing is created."""
    system = find_system(workspace.catalog, request.system)
    branch = current_branch(workspace.project, request.branch)
    stack = request.stack or _stack_of(workspace, request.system, branch, request.suffix)
    known = workspace.read_config(stack)
    if known.get("system", request.system) != request.system:
        raise StackTakenError(
            f"environment {stack!r} is one of system {known['system']!r}, branch {known.get('branch', '')!r}",
            remedy="choose another --branch: the two names come to the same",
        )
    inherited = {key: value for key, value in known.items() if key != "development"}
    wanted = {
        "owner": identity.owner(),
        **inherited,
        **from_environment(system, surroundings.variables()),
        **request.config,
    }
    # Branch and owner are labels: what a living stack was made with stays.
    named = {"branch": branch, "owner": wanted["owner"]}
    wanted |= {"system": request.system, **{key: known.get(key, value) for key, value in named.items()}}
    if known and "only" in wanted:
        # Without any, all of it is there: a part of it adds nothing.
        wanted["only"] = _added(known["only"], wanted["only"]) if "only" in known else "[]"
    if known and "profiles" in wanted:
        wanted["profiles"] = _added(known.get("profiles", ""), wanted["profiles"])
    settings = read_settings(workspace.catalog, stack, wanted)
    check_development(system, settings, request.phase)
    return stack, system, settings


def up(workspace: Workspace, request: Request, report: Callable[[Event], None]) -> Ready:
    """Create or update the environment and wait until it is ready.

    Raises :class:`InputError` before anything is created, :class:`NotReadyError` after what was created is gone.
    """
    started = clock.monotonic()
    while (ready := _up(workspace, request, report, started)) is None:
        pass  # meanwhile the branch has got an environment of another name
    if request.phase != "pooled":
        pool.start_if_due()
    return ready


def _up(workspace: Workspace, request: Request, report: Callable[[Event], None], started: float) -> Ready | None:
    stack, system, settings = plan(workspace, request)
    workspace.environment()  # a machine that is not ready is found out before anything is written
    reaper.start_if_due()
    with leases.exclusive(stack):
        holding.end_what_a_dead_holder_left(stack)
        created = not workspace.exists(stack)
        if created and not request.stack and plan(workspace, request)[0] != stack:
            return None
        if not request.force and (same := _unchanged(workspace, stack, system, settings)):
            return Ready(outputs=same, created=False, unchanged=True, seconds=clock.monotonic() - started)
        if created and (claimed := _claimed(workspace, request, stack, system, settings)):
            return Ready(outputs=claimed, created=True, claimed=True, seconds=clock.monotonic() - started)
        report(phase("prepare"))
        docker = _refuse_taken(workspace, stack, created)
        check_ports(stack, system, settings)
        lease = holding.new_lease(workspace, stack, settings, phase="creating" if created else "kept", docker=docker)
        with holding.making(workspace, lease, created, request.keep_on_failure, report):
            workspace.write_config(stack, settings.to_config())
            workspace.prepare_backend()
            if created:
                workspace.create(stack)
            else:
                locks.release_dead(workspace, stack)
                mending.mend(workspace, stack, report)
            listener, ready = remembering(workspace, stack, system, settings, report)
            with recording.of(stack, "up"), resetting.remembering(workspace, report) as remember:
                report(phase("engine"))
                recorded = recording.reporting(stack, listener)
                catalog = {settings.system: system}
                outputs = encryption.up(
                    workspace, stack, recorded, catalog=catalog, timed=request.timed, ready=remember
                )
                report(phase("finish"))
                ready(outputs)
        if created:
            leases.change(stack, phase=request.phase)
            workspace.share_salt(stack)
        if request.phase != "disposable":
            let_go(stack, request.phase)
    return Ready(outputs=_as_leased(outputs), created=created, seconds=clock.monotonic() - started)


def down(workspace: Workspace, stack: str, report: Callable[[Event], None] = lambda _: None) -> Gone:
    """Destroy the environment and prove that it is gone: state, config, lock, lease, address, and all its objects.

    Raises :class:`NoSuchEnvironmentError`, and :class:`OtherEngineError` for one that is on another Docker engine; what
    the engine fails to destroy is removed by label and reported.
    """
    started = clock.monotonic()
    with leases.exclusive(stack), connected() as client:
        placement.refuse_other_engine(workspace, client, stack)
        _refuse_unknown(workspace, client, stack)
        holding.end_what_a_dead_holder_left(stack)
        known = leases.read(stack) is not None
        with holding.taking_down(workspace, stack, removal.identity_of(client, stack), report):
            removal.remove_runners(client, stack)
            if workspace.exists(stack):
                left = _destroy(workspace, client, stack, report)
            else:
                found = removal.remove(client, stack)
                left = [] if known else found  # of one that has lost its state, all is found by label
    return Gone(stack=stack, seconds=clock.monotonic() - started, leftovers=tuple(str(found) for found in left))


def forget(workspace: Workspace, stack: str) -> None:
    """Drop what is recorded of an environment whose Docker engine is gone for good; nothing is removed from any engine.

    Raises :class:`InputError` for one that is on the engine in use, or that holds no record of its engine. Where the
    engine in use does not answer either, whoever asks for this knows that it is gone.
    """
    with leases.exclusive(stack), ExitStack() as opened:
        try:
            client = opened.enter_context(connected())
        except MachineError:
            if not _is_recorded(workspace, stack):
                raise
            removal.forget(workspace, stack)
            return
        _refuse_unknown(workspace, client, stack)
        try:
            placement.refuse_other_engine(workspace, client, stack)
        except OtherEngineError:
            removal.forget(workspace, stack)
            return
    raise InputError(
        f"environment {stack!r} is on the Docker engine in use", remedy=f"`ephemera down {stack}` destroys it"
    )


def hand_over(workspace: Workspace, stack: str) -> None:
    """Leave it to the environment's guardian to take it down, which it begins with as soon as this process ends, and
    to prove that it is gone.

    Raises :class:`NoSuchEnvironmentError`, and :class:`EngineError` while somebody's engine is at work on it.
    """
    with leases.exclusive(stack), connected() as client:
        placement.refuse_other_engine(workspace, client, stack)
        _refuse_unknown(workspace, client, stack)
        holding.end_what_a_dead_holder_left(stack)
        if locks.release_dead(workspace, stack):
            raise EngineError(f"{stack} is locked: an engine is at work on it", remedy="try again when that has ended")
        holding.begin_to_take_down(workspace, stack, removal.identity_of(client, stack))


def proven(gone: Gone) -> Gone:
    """``gone`` itself, or :class:`LeftoversError` when the proof found something."""
    if gone.leftovers:
        raise LeftoversError(gone.stack, gone.leftovers)
    return gone


def wrong_system(found: EnvironmentOutputs, wanted: str) -> InputError:
    """The error for an environment that is not of the system that is wanted."""
    return InputError(
        f"environment {found.stack!r} is of system {found.system!r}, the suite is of {wanted!r}",
        remedy="name another one, or leave it out",
    )


def outputs(workspace: Workspace, stack: str) -> EnvironmentOutputs:
    """The outputs of a running environment; using it moves its expiry."""
    check_stack_name(stack)
    if not workspace.exists(stack):
        raise NoSuchEnvironmentError(stack, alive(workspace))
    leases.touch(stack)
    return _as_leased(engine.outputs(workspace, stack))


def outputs_or_containers(workspace: Workspace, stack: str) -> EnvironmentOutputs:
    """The outputs or, for one that never became ready and so has none, its containers without endpoints."""
    try:
        return outputs(workspace, stack)
    except EngineError:
        return _containers(workspace, stack)


def expected(workspace: Workspace, stack: str) -> EnvironmentOutputs:
    """What should be there: the outputs or, for one that never became ready and so has none, the services that the
    catalog and its settings name, and whatever containers it has besides."""
    try:
        return outputs(workspace, stack)
    except EngineError:
        found = _containers(workspace, stack)
        there = {name: ServiceOutputs(container=f"{stack}-{name}", image="") for name in _selected(workspace, found)}
        return found.model_copy(update={"services": {**there, **found.services}})


def _containers(workspace: Workspace, stack: str) -> EnvironmentOutputs:
    system, branch = split_stack_name(stack, workspace.catalog)
    with connected() as client:
        found = {
            item["Labels"].get(labels.SERVICE, ""): ServiceOutputs(
                container=item["Names"][0].lstrip("/"), image=item["ImageID"]
            )
            for item in services.containers(client, stack)
        }
    return EnvironmentOutputs(stack=stack, system=system, branch=branch, services=found)


def _selected(workspace: Workspace, found: EnvironmentOutputs) -> tuple[str, ...]:
    """Services that the environment's settings name; they are in the checkout that it is made from."""
    lease = leases.read(found.stack)
    checkout = Workspace(Path(lease.checkout), workspace.name) if lease else workspace
    known = {"branch": found.branch, **checkout.read_config(found.stack), "system": found.system}
    settings = read_settings(workspace.catalog, found.stack, known)
    return workspace.catalog[found.system].selected(only=settings.only, profiles=settings.profiles)


def alive(workspace: Workspace) -> list[str]:
    """Every stack of the project that has state, or objects on the engine; none that waits in a pool."""
    with connected() as client:
        objects = {found.stack for found in removal.find(client)}
    return sorted({*workspace.stacks(), *objects} - pool.waiting())


def find_stack(workspace: Workspace, name: str | None, branch: str | None) -> str:
    """The stack that is meant by a stack's name, by a system's name (this branch's), or by nothing: the only one,
    or this branch's only one."""
    if name is not None and name not in workspace.catalog:
        check_stack_name(name)
        split_stack_name(name, workspace.catalog)
        return called(workspace, name)
    if name is not None:
        return _stack_of(workspace, name, current_branch(workspace.project, branch))
    running = alive(workspace)
    if not running:
        raise InputError("no environment is running", remedy="start one with `ephemera up SYSTEM`")
    if len(running) == 1 and branch is None:
        return running[0]
    wanted = current_branch(workspace.project, branch)
    names = {_stack_of(workspace, system, wanted) for system in workspace.catalog}
    of_branch = [stack for stack in running if stack in names]
    if len(of_branch) == 1:
        return of_branch[0]
    found = "several environments are" if of_branch else "none of the environments of this project is"
    raise InputError(f"{found} of branch {wanted!r}", remedy=f"name one: {', '.join(running)}")


def _stack_of(workspace: Workspace, system: str, branch: str, suffix: str | None = None) -> str:
    """The stack that is named after the branch, or the one that the branch has claimed from a pool."""
    own = stack_name(system, branch, suffix=suffix)
    if suffix is not None or workspace.exists(own):
        return own
    return leases.claimed_as(own, system, str(workspace.project)) or own


def _as_leased(outputs: EnvironmentOutputs) -> EnvironmentOutputs:
    """With the branch that has claimed it, where the program knows but that it is a pool's."""
    lease = leases.read(outputs.stack)
    return outputs.model_copy(update={"branch": lease.branch}) if lease and lease.from_pool else outputs


def _claimed(
    workspace: Workspace, request: Request, stack: str, system: Manifest, settings: Settings
) -> EnvironmentOutputs | None:
    """The outputs of an environment of the pool that is the branch's, or the run's, from now on."""
    if request.force or request.phase == "pooled" or workspace.config_file(stack).exists():
        return None  # config that somebody has prepared may hold what no pool's has
    return pool.claim(workspace, system, settings, request.phase)


def called(workspace: Workspace, name: str) -> str:
    """The stack that is meant by a stack's name: itself, or the one that a branch with a stack of that name claimed."""
    if workspace.exists(name):
        return name
    claims = (leases.claimed_as(name, system, str(workspace.project)) for system in workspace.catalog)
    return next((stack for stack in claims if stack is not None), name)


def _added(known: str, wanted: str) -> str:
    names = [name.strip(" []'\"") for text in (known, wanted) for name in text.split(",")]
    return ",".join(dict.fromkeys(name for name in names if name))


def _unchanged(workspace: Workspace, stack: str, system: Manifest, settings: Settings) -> EnvironmentOutputs | None:
    """The outputs of an environment of this checkout that nobody holds and that is ready as it is."""
    lease = leases.read(stack)
    if lease is None or lease.phase != "kept" or lease.holder or lease.checkout != str(workspace.project):
        return None
    same = unchanged(workspace, stack, system, settings)
    if same is None:
        return None
    leases.touch(stack)
    return _as_leased(same)


def _refuse_taken(workspace: Workspace, stack: str, created: bool) -> str:
    """Return the id of the Docker engine in use, unless the stack is another's there, or is on another engine.

    Raises :class:`StateError` for one that would be ``created`` anew beside its own objects: it has lost its state.
    """
    lease = leases.read(stack)
    if lease is not None and lease.checkout != str(workspace.project):
        raise StackTakenError(
            f"environment {stack!r} belongs to checkout {lease.checkout}",
            remedy=f"take it down there (`ephemera down {stack}`), or choose another --branch",
        )
    with connected() as client:
        for item in client.api.networks(filters={"label": f"{labels.STACK}={stack}"}):
            owner = labels.Identity.of(item["Labels"])
            if owner.backend != identity.backend_id():
                raise StackTakenError(
                    f"environment {stack!r} belongs to {owner.owner} (backend {owner.backend})",
                    remedy="choose another --branch",
                )
        docker = placement.refuse_other_engine(workspace, client, stack)
        if created and (found := removal.find(client, stack)):
            raise StateError(
                f"the state of {stack} is gone, and {', '.join(map(str, found))} is there",
                remedy=f"put {workspace.state_file(stack)} back from a copy; or `ephemera down {stack}`, which "
                "finds by label what is there",
            )
        return docker


def _refuse_unknown(workspace: Workspace, client: DockerClient, stack: str) -> None:
    if not _is_recorded(workspace, stack) and not removal.find(client, stack):
        raise NoSuchEnvironmentError(stack, alive(workspace))


def _is_recorded(workspace: Workspace, stack: str) -> bool:
    # Plain `pulumi destroy` leaves what is ours alone to forget: an address, a lease.
    return workspace.exists(stack) or leases.read(stack) is not None or addresses.lookup(stack) is not None


def _destroy(
    workspace: Workspace, client: DockerClient, stack: str, report: Callable[[Event], None]
) -> list[removal.Found]:
    """Destroy what the stack's state names, and prove that all is gone; what else bore its label, and went with it."""
    locked = locks.release_dead(workspace, stack)
    recording.append(stack, "session", what="down")
    resources, found = removal.readable(workspace, stack), removal.find(client, stack)
    if resources is None:  # then nothing tells what else may bear its label
        removal.remove(client, stack)
        return []
    if not locked and removal.covered(client, resources, found):
        removal.remove(client, stack, resources=resources)
        return removal.unknown(resources, found)
    try:
        mending.disown(client, workspace, stack, resources, report)
        engine.destroy(workspace, stack)
    except EngineError as error:
        if locks.release_dead(workspace, stack) or removal.has_foreign_resources(workspace, stack):
            raise  # an engine that we did not start is at work on it, or labels do not cover all of it
        lease = leases.read(stack)
        run = (lease.run if lease else "") or evidence.new_run(stack)
        evidence.take(workspace, stack, run, error, report)
        report({"type": "notice", "message": f"{error.message}; removed by label instead"})
        removal.remove(client, stack, settle_seconds=removal.SETTLE_SECONDS)
    return removal.remove(client, stack)
