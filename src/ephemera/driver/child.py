"""The process that drives one run of the engine; the driver starts it in a process group of its own.

``python -m ephemera.driver.child PROJECT STACK [events]``, with manifests by system as JSON on standard input: runs the
project's ``__main__.py`` as an inline Automation API program, which then rehearses none of these systems, and writes
JSON lines to standard output: the program's events
(:mod:`ephemera.contract.progress`), then ``{"type": "outputs", "document"}`` and ``{"type": "reads"}`` with what it is
made from (:mod:`ephemera.driver.reads`), or ``{"type": "engine_failed", "output"}``. What the program prints goes to
standard error. With ``events``, every event says when it was, and the engine's steps are among them
(:mod:`ephemera.driver.timeline`).
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ephemera.contract import progress
from ephemera.contract.catalog import Catalog, from_document
from ephemera.contract.outputs import EXPORT
from ephemera.contract.text import lines
from ephemera.driver import timeline
from ephemera.driver.reads import Reads
from ephemera.machine.toolchain import PLUGIN_VERSION
from ephemera.resources.manifests import KNOWN

if TYPE_CHECKING:
    from pulumi import automation


# For the evidence: a program's traceback, and what comes after it.
_KEPT_LINES = 400


def main(arguments: list[str]) -> int:
    """Run the engine once; exit code 0 when it succeeded."""
    project, stack, *wanted = arguments
    manifests = {name: from_document(each) for name, each in json.load(sys.stdin).items()}
    reads = Reads(project)
    channel = _Channel(timed=bool(wanted))
    from pulumi import automation

    _disable_debug_notes()
    output: deque[str] = deque(maxlen=_KEPT_LINES)
    progress.subscribe(channel.send)
    os.chdir(project)
    sys.path.insert(0, project)
    workspace = automation.LocalWorkspace(
        work_dir=project,
        program=lambda: _program(Path(project), channel, reads, manifests),
        pulumi_command=_command(),
    )
    try:
        told = _step_teller(channel) if channel.timed else None
        _stack_class()(stack, workspace).up(
            on_output=output.append, on_error=output.append, on_event=told, color="never"
        )
    except automation.CommandError as error:
        channel.send({"type": "engine_failed", "output": list(output) or lines(str(error))[-_KEPT_LINES:]})
        return 1
    channel.send({"type": "reads", **reads.document()})
    return 0


class _Channel:
    """Standard output, kept for events: everything else that is written there goes to standard error."""

    def __init__(self, *, timed: bool) -> None:
        self.timed = timed
        self._file: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._lock = threading.Lock()
        os.dup2(2, 1)

    def send(self, event: dict[str, Any]) -> None:
        if self.timed:
            event = {**event, "at": time.monotonic()}
        with self._lock:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()


def _program(project: Path, channel: _Channel, reads: Reads, manifests: Catalog) -> None:
    import pulumi

    KNOWN.set(manifests)
    if channel.timed:
        channel.send(timeline.phase(timeline.PROGRAM))
    monitor = pulumi.runtime.settings.get_monitor()
    _wake_plugin(monitor)
    reads.watch_monitor(monitor)
    runpy.run_path(str(project / "__main__.py"), run_name="__main__")
    # The program knows its outputs: no need to ask the engine for them afterwards.
    root: Any = pulumi.runtime.get_root_resource()
    document = root.outputs.get(EXPORT)
    if document is not None:
        pulumi.Output.from_input(document).apply(lambda known: channel.send({"type": "outputs", "document": known}))


def _disable_debug_notes() -> None:
    """Have the SDK not note its steps: the program waits for each note, a call of the engine, which drops it."""
    import pulumi

    pulumi.log.debug = lambda *_, **__: None


def _wake_plugin(monitor: Any) -> None:
    """Have the engine start the Docker plugin beside the program, which registers nothing until it has been run to its
    end: by a question that nobody waits for the answer of."""
    from pulumi.runtime.proto import resource_pb2

    # The version that the program's resources ask for: they are to find that plugin.
    name = "docker:index/getNetwork:getNetwork"
    question = resource_pb2.ResourceInvokeRequest(tok=name, version=PLUGIN_VERSION)
    question.args.update({"name": "none"})
    monitor.Invoke.future(question)


def _step_teller(channel: _Channel) -> Callable[[automation.EngineEvent], None]:
    """Sends the engine's steps, by the time at which they are heard of: the engine's own has whole seconds only."""

    def tell(event: automation.EngineEvent) -> None:
        for state, found in (("begun", event.resource_pre_event), ("done", event.res_outputs_event)):
            if found is not None:
                step = found.metadata
                resource = step.new or step.old
                custom = bool(resource and resource.custom)
                channel.send({"type": "resource", "state": state, "op": step.op, "urn": step.urn, "custom": custom})

    return tell


def _command() -> Any:
    from pulumi import automation
    from semver import VersionInfo

    class Known(automation.PulumiCommand):
        """The engine that the toolchain pins, without a process that asks it for its version first."""

        def __init__(self) -> None:
            self.command = "pulumi"
            # At least that: the first whose events are sent as they happen.
            self.version = VersionInfo(3, 206)

    return Known()


def _stack_class() -> type[Any]:
    from pulumi import automation

    class Direct(automation.Stack):
        """A stack without the calls of the CLI that the Automation API adds around a run (select, output, history):
        the stack is named in every call, and its outputs are known from the program."""

        def __init__(self, name: str, workspace: automation.Workspace) -> None:
            self.name = name
            self.workspace = workspace

        def outputs(self) -> automation.OutputMap:
            return {}

        def info(self, show_secrets: bool = True) -> automation.UpdateSummary:  # noqa: ARG002
            return automation.UpdateSummary(
                kind="update", start_time=datetime.now(UTC), message="", environment={}, config={}, result="succeeded"
            )

    return Direct


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    # Not sys.exit: that waits for the program's threads, and one may be in the middle of a long build.
    os._exit(code)
