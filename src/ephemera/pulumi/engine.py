"""Runs of Pulumi's engine: one child process each, in a process group that can be ended as a whole."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from ephemera.home import identity, leases
from ephemera.home.scratch import scratch
from ephemera.host import surroundings
from ephemera.host.processes import ProcessId, end_group, end_marked
from ephemera.model.catalog import Catalog
from ephemera.model.errors import EngineError
from ephemera.model.outputs import EXPORT, EnvironmentOutputs
from ephemera.model.progress import Event
from ephemera.model.text import lines
from ephemera.pulumi import known, state
from ephemera.pulumi.diagnosis import diagnose
from ephemera.pulumi.failures import error_from_document
from ephemera.pulumi.workspace import Workspace
from ephemera.warm.client import Forked, piped

_KEPT_LINES = 40
_MARK = "EPHEMERA_ENGINE_OF"
_CHILD = "ephemera.pulumi.child"
_Process = TypeVar("_Process", bound="subprocess.Popen[str] | Forked")


def up(
    workspace: Workspace,
    stack: str,
    report: Callable[[Event], None],
    *,
    catalog: Catalog,
    timed: bool = False,
    ready: Callable[[EnvironmentOutputs], object] = lambda _: None,
) -> EnvironmentOutputs:
    """Run the project's program, and report every event as it comes.

    ``catalog``: the manifest of the stack's system, which the program then need not rehearse. ``timed``: also report
    what a timeline is made of (:mod:`ephemera.pulumi.timeline`). ``ready``: called with the outputs as soon as they are
    known, while the engine still writes its state.

    Raises what the program said stopped it (a :class:`ServiceFailedError` as soon as it is known: the engine is not
    waited for), or :class:`EngineError` with the engine's last lines.
    """
    arguments = [str(workspace.project), stack, *(["events"] if timed else [])]
    # What this run deletes is in the state before it alone.
    before = state.dependencies(state.resources(workspace, stack)) if timed else {}
    document: EnvironmentOutputs | None = None
    output: list[str] = []
    with _file() as request, _file() as noise:
        json.dump({name: each.document() for name, each in catalog.items()}, request)
        request.seek(0)

        def start(environment: Mapping[str, str]) -> subprocess.Popen[str] | Forked:
            folder = str(workspace.project)
            return piped(_CHILD, arguments, environment=environment, folder=folder, request=request, noise=noise)

        with _running(workspace, stack, start) as process:
            assert process.stdout is not None  # noqa: S101 - asked for as a pipe
            for line in process.stdout:
                event = json.loads(line)
                if event["type"] == "outputs":
                    document = EnvironmentOutputs.parse(event["document"])
                    ready(document)
                elif event["type"] == "engine_failed":
                    output = event["output"]
                elif event["type"] == "failed":
                    report(event)  # at once: what follows takes its time
                    raise error_from_document(event["error"])
                else:
                    report(event)
            if process.wait() != 0:
                noise.seek(0)
                raise _failed(f"the engine could not bring up {stack}", output or _last(noise.read()))
    if timed:
        after = state.dependencies(state.resources(workspace, stack))
        report({"type": "dependencies", "of": {**before, **after}})
    if document is None:
        raise EngineError(
            f"the program of {stack} exports no {EXPORT!r}", remedy="end __main__.py with ephemera.run(…)"
        )
    return document


def destroy(workspace: Workspace, stack: str) -> None:
    """Destroy the stack's resources and forget it; raises :class:`EngineError`."""
    run(workspace, stack, ["destroy", "--yes", "--skip-preview", "--remove"])


def end_all(stack: str) -> int:
    """End every process of every run of the engine on this stack, recorded or not; return how many there were."""
    return end_marked(_MARK, _mark(stack))


def _mark(stack: str) -> str:
    return f"{identity.backend_id()}/{stack}"


def outputs(workspace: Workspace, stack: str) -> EnvironmentOutputs:
    """Return the outputs document from the stack's state, or as remembered while the state is unchanged."""
    if (remembered := known.outputs(workspace, stack)) is not None:
        return remembered
    text = run(workspace, stack, ["stack", "output", "--json", "--show-secrets"])
    document = json.loads(text).get(EXPORT)
    if document is None:
        raise EngineError(
            f"{stack} has no outputs: it is not up",
            remedy="finish it with `ephemera up`, or end it with `ephemera down`",
        )
    return EnvironmentOutputs.parse(document)


def run(workspace: Workspace, stack: str, arguments: Sequence[str]) -> str:
    """Run the CLI on a stack; return its standard output. Raises :class:`EngineError`."""

    def start(environment: Mapping[str, str]) -> subprocess.Popen[str]:
        folder = workspace.project
        if not (folder / "Pulumi.yaml").is_file():  # the checkout is gone: a project of its name stands in
            folder = Path(environment["TMPDIR"])
            (folder / "Pulumi.yaml").write_text(f"name: {workspace.name}\nruntime: python\n")
        return subprocess.Popen(
            ["pulumi", *arguments, "--stack", stack, "--non-interactive", "--color", "never"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment,
            cwd=folder,
        )

    with _running(workspace, stack, start) as process:
        text, noise = process.communicate()
        if process.returncode != 0:
            raise _failed(f"`pulumi {' '.join(arguments)}` failed for {stack}", _last(text + noise))
    return text


@contextmanager
def _running(workspace: Workspace, stack: str, start: Callable[[Mapping[str, str]], _Process]) -> Iterator[_Process]:
    """Yield the process that ``start`` starts with these variables, in a session of its own; at the end, kill what is
    left of its group."""
    with scratch(stack) as temporary:
        environment = {**workspace.environment(), _MARK: _mark(stack), "TMPDIR": str(temporary)}
        process = start(environment)
        leader = ProcessId.of_started(process.pid)
        leases.note(stack, engine=leader)
        try:
            yield process
        finally:
            end_group(leader)
            if process.wait() != 0:
                # The plugin leads a group of its own, and outlives an engine that was killed. It is known by this run's
                # folder: another run on the stack, such as one that only reads, is none of this one's business.
                end_marked("TMPDIR", str(temporary))
            if process.stdout is not None:
                process.stdout.close()
            leases.note(stack, engine=None)


def _file() -> IO[str]:
    """Open a temporary file."""
    return tempfile.TemporaryFile("w+", dir=surroundings.temporary())


def _last(text: str) -> list[str]:
    return lines(text)[-_KEPT_LINES:]


def _failed(what: str, output: Sequence[str]) -> EngineError:
    return EngineError(what, remedy=": ".join(diagnose(output)), output=output)
