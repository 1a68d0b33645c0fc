"""``exec``, ``cp``, ``shell``, ``restart``: getting into an environment's containers."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from ephemera.cli import options
from ephemera.cli.console import Output, Screen
from ephemera.contract.errors import InputError, Interrupt, MachineError, NotReadyError

_SHELLS = ("/bin/bash", "/bin/sh")
_WITH_VALUE = ("-s", "--stack", "--branch", "--output")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("exec", context_settings={"allow_interspersed_args": False})(execute)
    app.command("cp")(copy)
    app.command()(shell)
    app.command()(restart)


def execute(
    service: options.ServiceArgument,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="All that follows is its own.")],
    stack: options.StackOption = None,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Run a command in a service's container, as `docker exec -i` does: standard input goes to it, its output comes
    back byte by byte, its exit code is ours. Interrupted, it is ended. Options stand before SERVICE."""
    from ephemera.driver import streams

    screen = Screen(output)
    command = command[1:] if command[0] == "--" and len(command) > 1 else command
    said = {streams.STDOUT: bytearray(), streams.STDERR: bytearray()}
    show = (lambda kind, part: said[kind].extend(part)) if screen.machine else _write
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # a terminal that is closed ends it too
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    with (
        _handle(service, stack, branch, with_outputs=False) as handle,
        handle.executing(command, _standard_input(), marked=True) as execution,
    ):
        try:
            exit_code = execution.run(show)
        except Interrupt as stop:
            what = "was ended" if execution.end(stop.number, show) else "may go on: it could not be signalled there"
            raise Interrupt(stop.number, remedy=f"the command in {service!r} {what}") from None
        except BrokenPipeError:  # as a command of this machine would, it ends without a word
            execution.end(signal.SIGTERM, lambda *_: None)
            raise typer.Exit(128 + signal.SIGPIPE) from None
    if execution.refusal and not screen.machine:
        screen.error(NotReadyError(f"cannot run {command[0]!r} in {service!r}", remedy=execution.refusal))
    if screen.machine:
        # What is no UTF-8 stands there as \xNN.
        text = b"".join(said.values()).decode(errors="backslashreplace") + execution.refusal
        screen.document({"service": service, "exit_code": exit_code, "output": text})
    raise typer.Exit(exit_code)


def count_options(arguments: Sequence[str]) -> int:
    """How many arguments of ``exec`` are its options and their values: the service comes next, and then a command whose
    options are its own."""
    count = 0
    while count < len(arguments) and arguments[count].startswith("-") and arguments[count] != "--":
        count += 2 if arguments[count] in _WITH_VALUE else 1
    return count


def _write(kind: int, part: bytes) -> None:
    rest = memoryview(part)
    while rest:
        try:
            rest = rest[os.write(kind, rest) :]
        except BlockingIOError:  # a pipe that another program has set so
            select.select([], [kind], [])


def _standard_input() -> int | bytes:
    try:
        os.fstat(sys.__stdin__.fileno())  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        return b""  # it is closed
    return 0


def copy(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="SERVICE:PATH, a local path, or - for a tar archive.")
    ],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The same; one of both is a service's.")],
    stack: options.StackOption = None,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Copy files and folders from or to a service's container, as `docker cp` does, also from and to its tmpfs."""
    from pathlib import Path

    from ephemera.driver import copying

    screen = Screen(output)
    there, here = _in_container(source), _in_container(target)
    if (there is None) == (here is None):
        raise InputError("one of SOURCE and TARGET is a service's, and one is local", remedy="give it as SERVICE:PATH")
    service, path = there or here or ("", "")
    left_out: list[str] = []
    with _handle(service, stack, branch, with_outputs=False) as handle:
        if there and target == "-":
            with copying.archive_of(handle, path) as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
            return
        if there:
            left_out = copying.out(handle, path, Path(target))
        elif source == "-":
            copying.extract(handle, 0, path)
        else:
            copying.into(handle, Path(source), path, contents=source.endswith("/."))
    if screen.machine:
        screen.document({"service": service, "source": source, "target": target, "left_out": left_out})
    for name in left_out:
        screen.note(f"{name} was left out: it is no file, no folder, and no link within what is copied")


def _in_container(path: str) -> tuple[str, str] | None:
    service, colon, rest = path.partition(":")
    return (service, rest or "/") if colon and service and "/" not in service and service != "." else None


def shell(
    service: options.ServiceArgument, stack: options.StackOption = None, branch: options.BranchOption = None
) -> None:
    """Open a shell in a service's container."""
    docker = shutil.which("docker")
    if docker is None:
        raise MachineError("the `docker` command is not there", remedy="install it, or use `ephemera exec`")
    with _handle(service, stack, branch, with_outputs=False) as handle:
        container = handle.container
        available = next((path for path in _SHELLS if handle.exec(["test", "-x", path])[0] == 0), _SHELLS[-1])
        terminal = ["-it"] if sys.stdin.isatty() else ["-i"]
        exit_code = subprocess.run([docker, "exec", *terminal, container, available], check=False).returncode
    raise typer.Exit(exit_code)


def restart(
    service: options.ServiceArgument,
    stack: options.StackOption = None,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Restart a service and wait until it is ready."""
    import time

    screen = Screen(output)
    started = time.monotonic()
    with _handle(service, stack, branch, with_outputs=True) as handle:
        handle.restart()
        handle.wait_ready()
    seconds = round(time.monotonic() - started, 2)
    if screen.machine:
        screen.document({"service": service, "seconds": seconds})
    else:
        screen.note(f"{service} is ready after {seconds:.1f} s")


def _handle(service: str, stack: str | None, branch: str | None, *, with_outputs: bool) -> Any:
    from contextlib import contextmanager

    from ephemera.contract import labels
    from ephemera.contract.outputs import ServiceOutputs
    from ephemera.driver import lifecycle, placement, services
    from ephemera.driver.services import ServiceHandle
    from ephemera.driver.workspace import Workspace
    from ephemera.home import leases

    @contextmanager
    def opened() -> Any:
        workspace = Workspace.find()
        name = lifecycle.find_stack(workspace, stack, branch)
        # What did not become ready has no outputs, and is just what somebody wants to get into.
        known = (
            lifecycle.outputs(workspace, name).service(service)
            if with_outputs
            else ServiceOutputs(container="", image="")
        )
        with leases.using(name), placement.connected(workspace, name) as client:
            there = {item["Labels"].get(labels.SERVICE) for item in services.containers(client, name)}
            if service not in there and service in lifecycle.expected(workspace, name).services:
                raise services.missing(name, [service])
            yield ServiceHandle(client, name, service, known)

    return opened()
