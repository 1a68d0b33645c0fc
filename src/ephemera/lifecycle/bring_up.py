"""Bringing an environment up: plan, claim or make, wait until ready. On failure, what was created is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from docker.errors import DockerException

from ephemera.docker.address import configured
from ephemera.docker.connection import connected, docker_host
from ephemera.docker.exposure import refuse_unreachable
from ephemera.docker.fixed_ports import refuse_held
from ephemera.docker.mounts import refuse_unmountable
from ephemera.home import identity, leases
from ephemera.home.documents import DiskError
from ephemera.home.leases import Lease
from ephemera.host import clock, surroundings
from ephemera.host.branches import current_branch
from ephemera.host.processes import ProcessId
from ephemera.lifecycle import holding, mending, placement, pool, reaper, removal, resetting
from ephemera.lifecycle.finding import as_leased, stack_of
from ephemera.model import labels
from ephemera.model.catalog import Manifest, find_system
from ephemera.model.errors import EphemeraError, InputError, InterruptedByUserError, StackTakenError
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.progress import Event
from ephemera.model.settings import Settings, from_environment, read_settings
from ephemera.observe import evidence, recording
from ephemera.pulumi import encryption, engine_locks
from ephemera.pulumi.known import remembering, unchanged
from ephemera.pulumi.state import StateError
from ephemera.pulumi.timeline import phase
from ephemera.pulumi.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which environment is wanted. ``config``: settings given as flags, key → text as in Pulumi config.

    ``suffix``: sets a test run's environment apart. ``phase``: ``kept`` stays until it is taken down, ``disposable``
    ends with the process that asked for it, ``pooled`` waits for a branch. ``stack``: a name that is not the branch's.
    ``keep_on_failure``: keep an environment that did not become ready for inspection. ``force``: run Pulumi even if
    nothing is known to have changed, and claim nothing from a pool. ``timed``: report what a timeline is made of.
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
    """An environment that is up. ``created``: by this request; ``unchanged``: it was ready already, and Pulumi did not
    run; ``claimed``: from a pool; ``seconds``: until it was ready."""

    outputs: EnvironmentOutputs
    created: bool
    unchanged: bool = False
    claimed: bool = False
    seconds: float = 0.0


def plan(workspace: Workspace, request: Request) -> tuple[str, Manifest, Settings]:
    """Return the stack's name, its system and settings, all checked; nothing is created. Raises :class:`InputError`."""
    system = find_system(workspace.catalog, request.system)
    branch = current_branch(workspace.project, request.branch)
    stack = request.stack or stack_of(workspace, request.system, branch, request.suffix)
    known = workspace.read_config(stack)
    if known.get("system", request.system) != request.system:
        raise StackTakenError(
            f"environment {stack!r} is one of system {known['system']!r}, branch {known.get('branch', '')!r}",
            remedy=f"both map to stack {stack}: choose another --branch",
        )
    inherited = {key: value for key, value in known.items() if key != "development"}
    wanted = {
        "owner": identity.owner(),
        **inherited,
        **from_environment(system, surroundings.variables()),
        **request.config,
    }
    # Branch and owner are labels: a living stack keeps those that it was made with.
    named = {"branch": branch, "owner": wanted["owner"]}
    wanted |= {"system": request.system, **{key: known.get(key, value) for key, value in named.items()}}
    if known and "only" in wanted:
        # Without any, all of it is there: a part of it adds nothing.
        wanted["only"] = _added(known["only"], wanted["only"]) if "only" in known else "[]"
    if known and "profiles" in wanted:
        wanted["profiles"] = _added(known.get("profiles", ""), wanted["profiles"])
    settings = read_settings(workspace.catalog, stack, wanted)
    if settings.development:
        if request.phase != "kept":  # test runs and pools are of what images hold
            raise InputError(
                "development mode is of a branch's own environment, not of a test run's or a pool's",
                remedy="leave ephemera:development out; `ephemera dev` sets it where it belongs",
            )
        refuse_unmountable(settings, system, configured())
    return stack, system, settings


def up(workspace: Workspace, request: Request, report: Callable[[Event], None]) -> Ready:
    """Create or update the environment and wait until it is ready.

    Raises :class:`InputError` before anything is created, :class:`NotReadyError` after what was created is gone.
    """
    started = clock.monotonic()
    while (ready := _up(workspace, request, report)) is None:
        pass  # meanwhile the branch has claimed an environment of another name
    if request.phase != "pooled":
        pool.start_if_due()
    return replace(ready, seconds=clock.monotonic() - started)


def _up(workspace: Workspace, request: Request, report: Callable[[Event], None]) -> Ready | None:
    stack, system, settings = plan(workspace, request)
    workspace.environment()  # a machine that is not ready is found out before anything is written
    reaper.start_if_due()
    with leases.exclusive(stack):
        removal.end_what_a_dead_holder_left(stack)
        created = not workspace.exists(stack)
        if created and not request.stack and plan(workspace, request)[0] != stack:
            return None
        if not request.force and (same := _unchanged(workspace, stack, system, settings)):
            return Ready(outputs=same, created=False, unchanged=True)
        if created and (claimed := _claimed(workspace, request, stack, system, settings)):
            return Ready(outputs=claimed, created=True, claimed=True)
        report(phase("prepare"))
        docker = _refuse_taken(workspace, stack, created)
        _check_ports(stack, system, settings)
        lease = _lease(workspace, stack, settings, "creating" if created else "kept", docker)
        with _making(workspace, lease, created, request.keep_on_failure, report):
            workspace.write_config(stack, settings.to_config())
            workspace.prepare_backend()
            if created:
                workspace.create(stack)
            else:
                engine_locks.release_dead(workspace, stack)
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
            holding.let_go(stack, request.phase)
    return Ready(outputs=as_leased(outputs), created=created)


def _added(known: str, wanted: str) -> str:
    names = [name.strip(" []'\"") for text in (known, wanted) for name in text.split(",")]
    return ",".join(dict.fromkeys(name for name in names if name))


def _unchanged(workspace: Workspace, stack: str, system: Manifest, settings: Settings) -> EnvironmentOutputs | None:
    """Return the outputs of an environment of this checkout that has no holder, if it is ready and unchanged."""
    lease = leases.read(stack)
    if lease is None or lease.phase != "kept" or lease.holder or lease.checkout != str(workspace.project):
        return None
    same = unchanged(workspace, stack, system, settings)
    if same is None:
        return None
    leases.touch(stack)
    return as_leased(same)


def _claimed(
    workspace: Workspace, request: Request, stack: str, system: Manifest, settings: Settings
) -> EnvironmentOutputs | None:
    """Return the outputs of a pool's environment that belongs to the branch, or to the run, from now on."""
    if request.force or request.phase == "pooled" or workspace.config_file(stack).exists():
        return None  # config that was prepared by hand may hold what no pool's has
    return pool.claim(workspace, system, settings, request.phase)


def _refuse_taken(workspace: Workspace, stack: str, created: bool) -> str:
    """Return the id of the Docker engine in use.

    Raises :class:`StackTakenError` for a stack of another checkout or user, :class:`OtherEngineError`, and
    :class:`StateError` for one that would be ``created`` beside its own objects: it has lost its state.
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


def _check_ports(stack: str, system: Manifest, settings: Settings) -> None:
    """Refuse ports that could not be reached from here and, with ``expose: fixed``, those that are held; name the
    holder."""
    refuse_unreachable(settings, configured())
    if settings.expose != "fixed":
        return
    selected = system.selected(only=settings.only, profiles=settings.profiles)
    with connected() as client:
        for endpoint, port in system.fixed_ports[settings.port_table].items():
            service = endpoint.partition(".")[0]
            if service in selected:
                refuse_held(client, stack, service, port, "udp" if endpoint.endswith("/udp") else "tcp")


def _lease(workspace: Workspace, stack: str, settings: Settings, phase: leases.Phase, docker: str) -> Lease:
    """Return a lease of this process on the stack, which is on the engine ``docker``; it is not written yet."""
    branch = settings.branch
    whose = labels.Identity(
        project=workspace.name, stack=stack, system=settings.system, branch=branch, owner=settings.owner, backend=""
    )
    fresh = leases.new(stack, workspace.name, str(workspace.project), whose)
    known = leases.read(stack) or fresh
    return replace(
        known,
        system=settings.system,
        branch=known.branch if known.from_pool else branch,
        owner=settings.owner,
        run=evidence.new_run(stack),
        phase=phase,
        holder=ProcessId.of(),
        engine=None,
        suite=None,
        guardian=None,
        used_at=fresh.used_at,
        expires_at=max(known.expires_at, fresh.expires_at),
        docker=docker,
        docker_url=docker_host(),
    )


@contextmanager
def _making(
    workspace: Workspace, lease: Lease, created: bool, keep_on_failure: bool, report: Callable[[Event], None]
) -> Iterator[None]:
    """Hold the stack while the block changes it. On failure, collect evidence, then clean up."""
    before = leases.read(lease.stack)
    try:
        holding.keep(workspace.project, lease.stack, lambda guardian: leases.write(replace(lease, guardian=guardian)))
        yield
    except BaseException as error:
        if isinstance(error, DiskError) and leases.read(lease.stack) == before:
            raise  # its lease could not be written: nothing was begun
        failure = error if isinstance(error, EphemeraError) and not isinstance(error, InterruptedByUserError) else None
        try:
            # Bad input is told in one line: nothing was created that could tell more.
            if failure and not isinstance(failure, InputError):
                evidence.take(workspace, lease.stack, lease.run, failure, report)
        finally:
            if created and not (failure and keep_on_failure):
                _discard(workspace, lease, report)
            else:
                engine_locks.release_dead(workspace, lease.stack)
                if before is not None:
                    leases.note(lease.stack, run=before.run, expires_at=before.expires_at)
                holding.let_go(lease.stack)
            reaper.start_if_due()  # for a build that this has interrupted
        raise


def _discard(workspace: Workspace, lease: Lease, report: Callable[[Event], None]) -> None:
    held = leases.read(lease.stack) or lease
    try:
        removal.discard(workspace, lease.stack)
    except (EphemeraError, DockerException, OSError) as trouble:
        # Its lease and guardian stay: as soon as this process ends, it tries until Docker is back.
        report({"type": "notice", "message": f"{lease.stack} is cleaned up in the background, not yet: {trouble}"})
        return
    holding.dismiss(lease.stack, held)
