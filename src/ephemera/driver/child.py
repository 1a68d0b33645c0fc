"""The process that drives one run of the engine; the driver starts it in a process group of its own.

``python -m ephemera.driver.child PROJECT STACK create|update``: runs the project's ``__main__.py`` as an inline
Automation API program and writes JSON lines to standard output: the program's events
(:mod:`ephemera.contract.progress`), then ``{"type": "outputs", "document"}`` or
``{"type": "engine_failed", "output"}``. What the program prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from ephemera.contract import progress
from ephemera.contract.outputs import EXPORT

_KEPT_LINES = 40


def main(arguments: list[str]) -> int:
    """Run the engine once; exit code 0 when it succeeded."""
    project, stack, mode = arguments
    channel = _Channel()
    from pulumi import automation

    output: deque[str] = deque(maxlen=_KEPT_LINES)
    progress.subscribe(channel.send)
    os.chdir(project)
    sys.path.insert(0, project)
    workspace = automation.LocalWorkspace(
        work_dir=project,
        program=lambda: _program(Path(project), channel),
        pulumi_command=automation.PulumiCommand(skip_version_check=True),
    )
    try:
        if mode == "create":
            workspace.create_stack(stack)
        _stack_class()(stack, workspace).up(on_output=output.append, on_error=output.append, color="never")
    except automation.CommandError as error:
        channel.send({"type": "engine_failed", "output": list(output) or str(error).splitlines()[-_KEPT_LINES:]})
        return 1
    return 0


class _Channel:
    """Standard output, kept for events: everything else that is written there goes to standard error."""

    def __init__(self) -> None:
        self._file: TextIO = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._lock = threading.Lock()
        os.dup2(2, 1)

    def send(self, event: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()


def _program(project: Path, channel: _Channel) -> None:
    import pulumi

    runpy.run_path(str(project / "__main__.py"), run_name="__main__")
    # The program knows its outputs: no need to ask the engine for them afterwards.
    root: Any = pulumi.runtime.get_root_resource()
    document = root.outputs.get(EXPORT)
    if document is not None:
        pulumi.Output.from_input(document).apply(lambda known: channel.send({"type": "outputs", "document": known}))


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
