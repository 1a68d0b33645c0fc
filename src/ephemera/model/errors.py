"""Every error that is shown to a user.

Tree (exit code in brackets)::

    EphemeraError [1]
    ├── InputError [2]                 the input is wrong; nothing was created
    │   ├── UnknownNameError           a system, service, profile or option that is not declared
    │   ├── PortInUseError             a fixed port is in use
    │   ├── PolicyError                a resource breaks the policy without a reason
    │   ├── StackTakenError            the name is alive under another checkout, owner or backend
    │   ├── NameTakenError             a Docker object has a name that the environment needs
    │   ├── OtherEngineError           the environment is on another Docker engine
    │   └── NoSuchEnvironmentError     no such environment exists
    ├── NotReadyError [3]              an environment did not become ready
    │   ├── ServiceFailedError         a service exited, or was not ready in time
    │   ├── ImageError                 an image is missing or could not be built
    │   └── EngineError                a run of Pulumi failed
    ├── LeftoversError [4]             a destroy left objects behind
    ├── MachineError [5]               the machine is not ready: Pulumi, plugin, Docker
    ├── UnexpectedError [70]           a defect, whose traceback is kept
    └── InterruptedByUserError [130]   Ctrl-C or SIGTERM
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar


class EphemeraError(Exception):
    """Base of all errors. ``message``: what happened to what. ``remedy``: what to do about it. ``kind``: its name in
    JSON. ``exit_code``: of the command that it ends."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        # Input may be no valid Unicode, such as an argument of a command: an error has to be printable.
        self.message = _printable(message)
        self.remedy = _printable(remedy)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message

    def document(self) -> dict[str, Any]:
        """Return the error as one JSON document, ``{"error": {"kind", "message", "remedy", …}}``."""
        return {"error": {"kind": self.kind, "message": self.message, "remedy": self.remedy, **self.details()}}

    def details(self) -> Mapping[str, Any]:
        """Return further fields of the document."""
        return {}

    @property
    def last_lines(self) -> Sequence[str]:
        """Lines to show with the error, since they hold its cause."""
        return ()


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


class InputError(EphemeraError):
    """The input is wrong; nothing was created."""

    kind = "bad_input"
    exit_code = 2


class UnknownNameError(InputError):
    """A name is not declared; the remedy has the nearest one that is."""

    kind = "unknown_name"

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]!r}? " if near else ""
        listed = ", ".join(names) if names else "none"
        super().__init__(f"unknown {what} {name!r}", remedy=f"{remedy}known: {listed}")


class PortInUseError(InputError):
    """A fixed port is in use."""

    kind = "port_in_use"

    def __init__(self, address: str, port: int, holder: str, service: str) -> None:
        super().__init__(
            f"port {address}:{port} for service {service!r} is in use by {holder}",
            remedy="stop it, or use `expose: loopback`, which gives the environment an address of its own",
        )


class PolicyError(InputError):
    """Resources break the policy without a reason. ``violations``: one line each."""

    kind = "policy"

    def __init__(self, violations: Sequence[str]) -> None:
        super().__init__(
            f"policy: {'; '.join(violations)}",
            remedy="fix it, or give a reason: an argument of the Container, or `exceptions` of the System",
        )
        self.violations = tuple(violations)


class StackTakenError(InputError):
    """The name is alive under another checkout, owner or backend."""

    kind = "stack_taken"


class NameTakenError(InputError):
    """Objects that are not the environment's have names that it needs. ``taken``: one line each. ``removals``: the
    commands that would remove them."""

    kind = "name_taken"

    def __init__(self, taken: Sequence[str], removals: Sequence[str]) -> None:
        super().__init__(
            "; ".join(taken), remedy=f"rename it, or remove it ({'; '.join(removals)}), or choose another --branch"
        )
        self.taken = tuple(taken)


class OtherEngineError(InputError):
    """The environment is on another Docker engine than the one in use, out of reach."""

    kind = "other_engine"

    def __init__(self, stack: str, url: str, current: str) -> None:
        where = f" ({url})" if url else ""
        super().__init__(
            f"environment {stack!r} is on another Docker engine{where} than the one at {current}",
            remedy=f"set DOCKER_HOST{f'={url}' if url else ' to it'}; if that engine is gone for good, "
            f"`ephemera down {stack} --forget` drops what is recorded of it",
        )


class NoSuchEnvironmentError(InputError):
    """No environment of that name exists."""

    kind = "no_such_environment"

    def __init__(self, stack: str, alive: Iterable[str]) -> None:
        names = sorted(alive)
        super().__init__(
            f"no environment {stack!r} is running",
            remedy=f"running: {', '.join(names)}" if names else "start one with `ephemera up SYSTEM`",
        )


class NotReadyError(EphemeraError):
    """An environment did not become ready. ``output``: the last lines of what failed."""

    kind = "not_ready"
    exit_code = 3

    def __init__(self, message: str, *, remedy: str = "", output: Sequence[str] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.output = tuple(output)

    def details(self) -> Mapping[str, Any]:
        return {"log_tail": list(self.output)}

    @property
    def last_lines(self) -> Sequence[str]:
        return self.output


class ServiceFailedError(NotReadyError):
    """A service exited or was not ready in time. ``cause``: a predicate, ``exited before it was ready``."""

    kind = "service_failed"
    REMEDY: ClassVar[str] = "see its last lines below"

    def __init__(
        self,
        service: str,
        cause: str,
        *,
        container_exit_code: int | None = None,
        log_tail: Sequence[str] = (),
        remedy: str = REMEDY,
    ) -> None:
        super().__init__(f"service {service!r} {cause}", remedy=remedy, output=log_tail)
        self.service = service
        self.cause = cause
        self.container_exit_code = container_exit_code

    @property
    def log_tail(self) -> tuple[str, ...]:
        """The last lines of the service's log."""
        return self.output

    def details(self) -> Mapping[str, Any]:
        own = {"service": self.service, "cause": self.cause, "container_exit_code": self.container_exit_code}
        return {**own, **super().details()}


class ImageError(NotReadyError):
    """An image is missing or could not be built. ``output``: the build's last lines."""

    kind = "image"


class EngineError(NotReadyError):
    """A run of Pulumi failed. ``remedy`` begins with the cause; ``output``: the run's last lines, for evidence."""

    kind = "engine"

    @property
    def last_lines(self) -> Sequence[str]:
        # The message has the cause of a failed run; a more special error's output is the cause itself.
        return () if self.kind == EngineError.kind else self.output


class LeftoversError(EphemeraError):
    """A destroy left objects behind."""

    kind = "leftovers"
    exit_code = 4

    def __init__(self, stack: str, leftovers: Sequence[str]) -> None:
        super().__init__(
            f"{stack}: destroy left {len(leftovers)} objects behind, which have been removed: {', '.join(leftovers)}",
            remedy="this is a defect, please report it",
        )
        self.stack = stack
        self.leftovers = tuple(leftovers)

    def details(self) -> Mapping[str, Any]:
        return {"stack": self.stack, "leftovers": list(self.leftovers)}


class MachineError(EphemeraError):
    """The machine is not ready: Pulumi, plugin, Docker."""

    kind = "machine_not_ready"
    exit_code = 5


class UnexpectedError(EphemeraError):
    """A defect of ephemera."""

    kind = "unexpected"
    exit_code = 70


class InterruptedByUserError(EphemeraError):
    """Ctrl-C or SIGTERM ended the command, and what it created is gone. ``number``: of the signal."""

    kind = "interrupted"
    exit_code = 130


class Interrupt(BaseException):
    """Ctrl-C or SIGTERM, ``number``, while a command runs: told as :class:`InterruptedByUserError` when it has ended.

    As no ``Exception`` it ends also what goes on after errors.
    """

    def __init__(self, number: int, *, message: str = "interrupted", remedy: str) -> None:
        super().__init__(message)
        self.number = number
        self.message = message
        self.remedy = remedy
