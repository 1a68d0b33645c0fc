"""``exec``, ``cp``, ``shell``, ``restart``, ``reset``: work in an environment's services, and with their data."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ephemera.cli import options
from ephemera.cli.console import Output, Screen
from ephemera.model.errors import InputError, Interrupt, MachineError, NotReadyError

if TYPE_CHECKING:
    from ephemera.docker.services import ServiceHandle

_SHELLS = ("/bin/bash", "/bin/sh")
_WITH_VALUE = ("-s", "--stack", "--branch", "--output")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("exec", context_settings={"allow_interspersed_args": False})(execute)
    app.command("cp")(copy)
    app.command()(shell)
    app.command()(restart)
    app.command()(reset)


def execute(
    service: options.ServiceArgument,
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="The rest of the line is the command.")],
    stack: options.StackOption = None,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Run a command in a service's container, as `docker exec -i` does: it reads standard input, its output
    is passed on byte by byte, and so is its exit code. Ctrl-C ends it. Give options before SERVICE."""
    from ephemera.docker import streams

    screen = Screen(output)
    command = command[1:] if command[0] == "--" and len(command) > 1 else command
    said = {streams.STDOUT: bytearray(), streams.STDERR: bytearray()}
    show = (lambda kind, part: said[kind].extend(part)) if screen.machine else _write
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # a terminal that is closed ends it too
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))
    with (
        _handle(service, stack, branch) as handle,
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
        # Bytes that are not UTF-8 are written as \xNN.
        text = b"".join(said.values()).decode(errors="backslashreplace") + execution.refusal
        screen.document({"service": service, "exit_code": exit_code, "output": text})
    raise typer.Exit(exit_code)


def count_options(arguments: Sequence[str]) -> int:
    """Return how many of the arguments of ``exec`` are its options and their values; the service and a command with
    options of its own follow."""
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
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The same; one of the two is a service's.")],
    stack: options.StackOption = None,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Copy files and folders from or to a service's container, as `docker cp` does, also from and to its tmpfs."""
    from ephemera.docker import copying

    screen = Screen(output)
    there, here = _in_container(source), _in_container(target)
    if (there is None) == (here is None):
        raise InputError("one of SOURCE and TARGET must be in a service", remedy="give that one as SERVICE:PATH")
    service, path = there or here or ("", "")
    left_out: list[str] = []
    with _handle(service, stack, branch) as handle:
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
        screen.note(f"{name} was left out: only files, folders and links within what is copied can be")


def _in_container(path: str) -> tuple[str, str] | None:
    service, colon, rest = path.partition(":")
    return (service, rest or "/") if colon and service and "/" not in service and service != "." else None


def shell(
    service: options.ServiceArgument, stack: options.StackOption = None, branch: options.BranchOption = None
) -> None:
    """Open a shell in a service's container."""
    docker = shutil.which("docker")
    if docker is None:
        raise MachineError("there is no `docker` command", remedy="install it, or use `ephemera exec`")
    with _handle(service, stack, branch) as handle:
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
    screen = Screen(output)
    started = time.monotonic()
    with _handle(service, stack, branch, with_outputs=True) as handle:
        handle.restart()
        handle.wait_ready()
    seconds = round(time.monotonic() - started, 2)
    screen.result({"service": service, "seconds": seconds}, f"{service} is ready after {seconds:.1f} s")


@contextmanager
def _handle(
    service: str, stack: str | None, branch: str | None, *, with_outputs: bool = False
) -> Iterator[ServiceHandle]:
    from ephemera import lifecycle
    from ephemera.docker import services
    from ephemera.home import leases
    from ephemera.lifecycle import placement
    from ephemera.model import labels
    from ephemera.model.outputs import ServiceOutputs
    from ephemera.pulumi.workspace import Workspace

    workspace = Workspace.find()
    name = lifecycle.find_stack(workspace, stack, branch)
    # An environment that did not become ready has no outputs, and is one to look into.
    known = (
        lifecycle.outputs(workspace, name).service(service) if with_outputs else ServiceOutputs(container="", image="")
    )
    with leases.using(name), placement.connected(workspace, name) as client:
        there = {item["Labels"].get(labels.SERVICE) for item in services.containers(client, name)}
        if service not in there and service in lifecycle.expected(workspace, name).services:
            raise services.missing(name, [service])
        yield services.ServiceHandle(client, name, service, known)


def reset(
    stack: options.StackArgument = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Reset only this service (repeatable).")] = None,
    remember: Annotated[bool, typer.Option("--remember", help="Save the current data as the reset point.")] = False,
    branch: options.BranchOption = None,
    output: options.OutputOption = Output.table,
) -> None:
    """Bring an environment's data back to the state it had when it became ready; its services keep running."""
    from ephemera import lifecycle
    from ephemera.home import leases
    from ephemera.lifecycle import resetting
    from ephemera.model.errors import InputError
    from ephemera.pulumi.workspace import Workspace

    if remember and only:
        raise InputError(
            "--remember and --only are both given", remedy="leave --only out: the whole environment is remembered"
        )
    screen = Screen(output)
    workspace = Workspace.find()
    name = lifecycle.find_stack(workspace, stack, branch)
    outputs = lifecycle.outputs(workspace, name)
    with leases.exclusive(name), leases.using(name), resetting.alone(name, wait=False):
        started = time.monotonic()
        done: list[tuple[str, float | None, str]]
        if remember:
            done = [(service, None, "remembered") for service in resetting.remember(workspace, outputs)]
        else:
            done = [(each.service, each.seconds, each.did) for each in resetting.reset(workspace, outputs, only or ())]
        seconds = time.monotonic() - started
    if screen.machine:
        services = [
            {"service": service, "seconds": None if took is None else round(took, 3), "did": did}
            for service, took, did in done
        ]
        screen.document({"stack": name, "seconds": round(seconds, 3), "services": services})
        return
    for service, took, did in done:
        screen.note(f"{service}: {did}" + ("" if took is None else f" ({took * 1000:.0f} ms)"))
    what = "remembered" if remember else "as it was when it became ready"
    screen.note(f"{name} is {what}, {seconds * 1000:.0f} ms" if done else f"{name} has no data to reset")
