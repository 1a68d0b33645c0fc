"""Every error that a person is meant to read.

Tree (exit code in brackets)::

    EphemeraError [1]
    ├── InputError [2]                 something given is wrong; nothing was created
    │   ├── UnknownNameError           a system, service, profile or option that is not declared
    │   ├── PortInUseError             a fixed port is held by somebody else
    │   ├── PolicyError                a resource breaks the policy without a reason
    │   ├── StackTakenError            the name is alive under another checkout, owner or backend
    │   ├── NameTakenError             an object of Docker's has a name that the environment needs
    │   ├── OtherEngineError           the environment is on another Docker engine than the one in use
    │   └── NoSuchEnvironmentError     no environment of that name is there
    ├── NotReadyError [3]              an environment did not become ready
    │   ├── ServiceFailedError         a service exited, or was not ready in time
    │   ├── ImageError                 an image is missing or could not be built
    │   └── EngineError                the engine's run failed
    ├── LeftoversError [4]             something was left behind
    ├── MachineError [5]               the machine is not ready: engine, plugin, Docker
    ├── UnexpectedError [70]           a defect, whose traceback is kept
    └── InterruptedByUserError [130]   Ctrl-C or SIGTERM
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar


class EphemeraError(Exception):
    """Base of all. ``message`` says what happened to what, ``remedy`` what to do about it."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        # What was given may be no valid Unicode, an argument of a command say: an error has to be printable.
        self.message = _printable(message)
        self.remedy = _printable(remedy)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message

    def document(self) -> dict[str, Any]:
        """The error as one JSON document, ``{"error": {"kind", "message", "remedy", …}}``."""
        return {"error": {"kind": self.kind, "message": self.message, "remedy": self.remedy, **self.details()}}

    def details(self) -> Mapping[str, Any]:
        """Further fields of the document."""
        return {}

    @property
    def last_lines(self) -> Sequence[str]:
        """What people are shown with it: lines that are the cause."""
        return ()


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


class InputError(EphemeraError):
    """Something given is wrong; nothing was created."""

    kind = "bad_input"
    exit_code = 2


class UnknownNameError(InputError):
    """A name that is not declared, with the nearest one that is."""

    kind = "unknown_name"

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        import difflib  # a millisecond, which every command would pay

        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        remedy = f"did you mean {near[0]!r}? " if near else ""
        listed = ", ".join(names) if names else "none"
        super().__init__(f"unknown {what} {name!r}", remedy=f"{remedy}known: {listed}")


class PortInUseError(InputError):
    """A fixed port is held by somebody else."""

    kind = "port_in_use"

    def __init__(self, address: str, port: int, holder: str, service: str) -> None:
        super().__init__(
            f"port {address}:{port} for service {service!r} is in use by {holder}",
            remedy="stop it, or use `expose: loopback`, which gives the environment an address of its own",
        )


class PolicyError(InputError):
    """A resource of a system's program breaks the policy without a reason; ``violations``: by what, one line each."""

    kind = "policy"

    def __init__(self, violations: Sequence[str]) -> None:
        super().__init__(
            f"policy: {'; '.join(violations)}",
            remedy="mend it, or give a reason: an argument of the Container, or `exceptions` of the System",
        )
        self.violations = tuple(violations)


class StackTakenError(InputError):
    """The name is alive under another checkout, owner or backend."""

    kind = "stack_taken"


class NameTakenError(InputError):
    """Objects that are not the environment's have names that it needs. ``taken``: what is wrong with each, in a few
    words; ``removals``: commands that would remove them."""

    kind = "name_taken"

    def __init__(self, taken: Sequence[str], removals: Sequence[str]) -> None:
        super().__init__(
            "; ".join(taken), remedy=f"rename it, or remove it ({'; '.join(removals)}), or choose another --branch"
        )
        self.taken = tuple(taken)


class OtherEngineError(InputError):
    """The environment is on another Docker engine than the one in use: nothing can be said of it, or done to it."""

    kind = "other_engine"

    def __init__(self, stack: str, url: str, current: str) -> None:
        where = f" ({url})" if url else ""
        super().__init__(
            f"environment {stack!r} is on another Docker engine{where} than the one at {current}",
            remedy=f"set DOCKER_HOST{f'={url}' if url else ' to it'}; if that engine is gone for good, "
            f"`ephemera down {stack} --forget` drops what is recorded of it",
        )


class NoSuchEnvironmentError(InputError):
    """No environment of that name is there."""

    kind = "no_such_environment"

    def __init__(self, stack: str, alive: Iterable[str]) -> None:
        names = sorted(alive)
        super().__init__(
            f"no environment {stack!r} is running",
            remedy=f"running: {', '.join(names)}" if names else "start one with `ephemera up SYSTEM`",
        )


class NotReadyError(EphemeraError):
    """An environment did not become ready."""

    kind = "not_ready"
    exit_code = 3


class ServiceFailedError(NotReadyError):
    """A service exited or was not ready in time: cause, its exit code and its last log lines."""

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
        super().__init__(f"service {service!r} {cause}", remedy=remedy)
        self.service = service
        self.cause = cause
        self.container_exit_code = container_exit_code
        self.log_tail = tuple(log_tail)

    def details(self) -> Mapping[str, Any]:
        return {
            "service": self.service,
            "cause": self.cause,
            "container_exit_code": self.container_exit_code,
            "log_tail": list(self.log_tail),
        }

    @property
    def last_lines(self) -> Sequence[str]:
        return self.log_tail


class ImageError(NotReadyError):
    """An image is missing or could not be built; ``output`` holds the build's last lines."""

    kind = "image"

    def __init__(self, message: str, *, remedy: str = "", output: Sequence[str] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.output = tuple(output)

    def details(self) -> Mapping[str, Any]:
        return {"log_tail": list(self.output)}

    @property
    def last_lines(self) -> Sequence[str]:
        return self.output


class EngineError(NotReadyError):
    """The engine's run failed: ``remedy`` begins with the cause, ``output`` has its last lines, for evidence."""

    kind = "engine"

    def __init__(self, message: str, *, remedy: str = "", output: Sequence[str] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.output = tuple(output)

    def details(self) -> Mapping[str, Any]:
        return {"log_tail": list(self.output)}

    @property
    def last_lines(self) -> Sequence[str]:
        # Of an engine's run the cause is in the message; what a more special error has collected is the cause itself.
        return () if self.kind == EngineError.kind else self.output


class LeftoversError(EphemeraError):
    """Something was left behind after a destroy."""

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
    """The machine is not ready: engine, plugin, Docker."""

    kind = "machine_not_ready"
    exit_code = 5


class UnexpectedError(EphemeraError):
    """A defect of ephemera."""

    kind = "unexpected"
    exit_code = 70


class InterruptedByUserError(EphemeraError):
    """Ctrl-C or SIGTERM ended the command; what it created is gone."""

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
