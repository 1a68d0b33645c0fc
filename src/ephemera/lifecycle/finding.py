"""Finding an environment by what a user names, and its outputs."""

from __future__ import annotations

from pathlib import Path

from ephemera.docker import services
from ephemera.docker.connection import connected
from ephemera.home import leases
from ephemera.host.branches import current_branch
from ephemera.lifecycle import removal
from ephemera.model import labels
from ephemera.model.errors import EngineError, InputError, NoSuchEnvironmentError
from ephemera.model.names import check_stack_name, split_stack_name, stack_name
from ephemera.model.outputs import EnvironmentOutputs, ServiceOutputs
from ephemera.model.settings import read_settings
from ephemera.pulumi import engine
from ephemera.pulumi.workspace import Workspace


def find_stack(workspace: Workspace, name: str | None, branch: str | None) -> str:
    """Return the stack meant by a stack's name, by a system's name (this branch's), or by nothing: the only one, or
    this branch's only one. Raises :class:`InputError` where that is not one."""
    if name is not None and name not in workspace.catalog:
        check_stack_name(name)
        split_stack_name(name, workspace.catalog)
        return called(workspace, name)
    if name is not None:
        return stack_of(workspace, name, current_branch(workspace.project, branch))
    running = alive(workspace)
    if not running:
        raise InputError("no environment is running", remedy="start one with `ephemera up SYSTEM`")
    if len(running) == 1 and branch is None:
        return running[0]
    wanted = current_branch(workspace.project, branch)
    names = {stack_of(workspace, system, wanted) for system in workspace.catalog}
    of_branch = [stack for stack in running if stack in names]
    if len(of_branch) == 1:
        return of_branch[0]
    found = "several environments are" if of_branch else "none of the environments of this project is"
    raise InputError(f"{found} of branch {wanted!r}", remedy=f"name one: {', '.join(running)}")


def stack_of(workspace: Workspace, system: str, branch: str, suffix: str | None = None) -> str:
    """Return the stack that is named after the branch, or the one that the branch has claimed from a pool."""
    own = stack_name(system, branch, suffix=suffix)
    if suffix is not None or workspace.exists(own):
        return own
    return leases.claimed_as(own, system, str(workspace.project)) or own


def called(workspace: Workspace, name: str) -> str:
    """Return the stack of that name, or the pool's that was claimed by the branch whose own would have that name."""
    if workspace.exists(name):
        return name
    claims = (leases.claimed_as(name, system, str(workspace.project)) for system in workspace.catalog)
    return next((stack for stack in claims if stack is not None), name)


def alive(workspace: Workspace) -> list[str]:
    """Return every stack of the project that has state, or objects on the engine; none that waits in a pool."""
    with connected() as client:
        objects = {found.stack for found in removal.find(client)}
    waiting = {lease.stack for lease in leases.all_leases() if lease.unclaimed}
    return sorted({*workspace.stacks(), *objects} - waiting)


def outputs(workspace: Workspace, stack: str) -> EnvironmentOutputs:
    """Return the outputs of a running environment; using it moves its expiry.

    Raises :class:`NoSuchEnvironmentError`, and :class:`EngineError` for one that never became ready.
    """
    check_stack_name(stack)
    if not workspace.exists(stack):
        raise NoSuchEnvironmentError(stack, alive(workspace))
    leases.touch(stack)
    return as_leased(engine.outputs(workspace, stack))


def expected(workspace: Workspace, stack: str) -> EnvironmentOutputs:
    """Return the outputs or, for an environment that never became ready, the services that its settings select and any
    containers beside them."""
    try:
        return outputs(workspace, stack)
    except EngineError:
        system, branch = split_stack_name(stack, workspace.catalog)
    lease = leases.read(stack)
    checkout = Workspace(Path(lease.checkout), workspace.name) if lease else workspace
    known = {"branch": branch, **checkout.read_config(stack), "system": system}
    settings = read_settings(workspace.catalog, stack, known)
    selected = workspace.catalog[system].selected(only=settings.only, profiles=settings.profiles)
    found = {name: ServiceOutputs(container=f"{stack}-{name}", image="") for name in selected}
    with connected() as client:
        for item in services.containers(client, stack):
            name, container = item["Labels"].get(labels.SERVICE, ""), item["Names"][0].lstrip("/")
            found[name] = ServiceOutputs(container=container, image=item["ImageID"])
    return EnvironmentOutputs(stack=stack, system=system, branch=branch, services=found)


def as_leased(outputs: EnvironmentOutputs) -> EnvironmentOutputs:
    """Return the outputs with the branch that has claimed the environment; its program knows only the pool's."""
    lease = leases.read(outputs.stack)
    return outputs.model_copy(update={"branch": lease.branch}) if lease and lease.from_pool else outputs


def wrong_system(found: EnvironmentOutputs, wanted: str) -> InputError:
    """Return the error for an environment of another system than the suite's."""
    return InputError(
        f"environment {found.stack!r} is of system {found.system!r}, the suite is of {wanted!r}",
        remedy="name another one, or leave it out",
    )
