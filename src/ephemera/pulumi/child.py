"""One run of the engine, in a process of its own that the driver starts.

``python -m ephemera.pulumi.child PROJECT STACK [events]``, with manifests by system as JSON on standard input: runs the
project's ``__main__.py`` as an inline Automation API program, which then rehearses none of these systems, and writes
JSON lines to standard output: the program's events
(:mod:`ephemera.model.progress`), then ``{"type": "outputs", "document"}`` and ``{"type": "reads"}`` with what it is
made from (:mod:`ephemera.pulumi.reads`), or ``{"type": "engine_failed", "output"}``. What the program prints goes to
standard error. With ``events``, every event says when it was, and the engine's steps are among them
(:mod:`ephemera.pulumi.timeline`).
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import pulumi
from pulumi import automation
from pulumi.runtime.proto import resource_pb2
from semver import VersionInfo

from ephemera.model import progress
from ephemera.model.catalog import Catalog, from_document
from ephemera.model.outputs import EXPORT
from ephemera.model.text import lines
from ephemera.pulumi import timeline
from ephemera.pulumi.reads import Reads
from ephemera.resources.manifests import KNOWN
from ephemera.setup.toolchain import PLUGIN_VERSION

# For the evidence: a program's traceback, and the lines after it.
_KEPT_LINES = 400


def main(arguments: list[str]) -> int:
    """Run the engine once; exit code 0 when it succeeded."""
    project, stack, *wanted = arguments
    manifests = {name: from_document(each) for name, each in json.load(sys.stdin).items()}
    reads = Reads(project)
    channel = _Channel(timed=bool(wanted))
    _disable_debug_notes()
    output: deque[str] = deque(maxlen=_KEPT_LINES)
    progress.subscribe(channel.send)
    os.chdir(project)
    sys.path.insert(0, project)
    workspace = automation.LocalWorkspace(
        work_dir=project,
        program=lambda: _program(Path(project), channel, reads, manifests),
        pulumi_command=_PinnedCommand(),
    )
    try:
        _Stack(stack, workspace).up(
            on_output=output.append,
            on_error=output.append,
            on_event=channel.send_step if channel.timed else None,
            color="never",
        )
    except automation.CommandError as error:
        channel.send({"type": "engine_failed", "output": list(output) or lines(str(error))[-_KEPT_LINES:]})
        return 1
    channel.send({"type": "reads", **reads.document()})
    return 0


class _Channel:
    """Standard output, for events alone: everything else that is written there goes to standard error."""

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

    def send_step(self, event: automation.EngineEvent) -> None:
        """Send a step of the engine, timed by when it is heard of: the engine's own times have whole seconds only."""
        for state, found in (("begun", event.resource_pre_event), ("done", event.res_outputs_event)):
            if found is not None:
                step = found.metadata
                resource = step.new or step.old
                custom = bool(resource and resource.custom)
                self.send({"type": "resource", "state": state, "op": step.op, "urn": step.urn, "custom": custom})


class _PinnedCommand(automation.PulumiCommand):
    """The engine that the toolchain pins, without a process that asks it for its version first."""

    def __init__(self) -> None:
        self.command = "pulumi"
        # At least that: the first whose events are sent as they happen.
        self.version = VersionInfo(3, 206)


class _Stack(automation.Stack):
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


def _program(project: Path, channel: _Channel, reads: Reads, manifests: Catalog) -> None:
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
    """Drop debug notes of the SDK: each is a call that the program waits for, and the engine drops it."""
    pulumi.log.debug = lambda *_, **__: None


def _wake_plugin(monitor: Any) -> None:
    """Have the engine start the Docker plugin beside the program, which registers nothing until it has been run to its
    end. It does so for a question, whose answer is ignored."""
    # The version that the program's resources ask for: they are to find that plugin.
    name = "docker:index/getNetwork:getNetwork"
    question = resource_pb2.ResourceInvokeRequest(tok=name, version=PLUGIN_VERSION)
    question.args.update({"name": "none"})
    monitor.Invoke.future(question)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    # Not sys.exit: that waits for the program's threads, and one may be in the middle of a long build.
    os._exit(code)
