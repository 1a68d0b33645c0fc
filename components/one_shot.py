"""One-shot: a container that does something once, such as migrations, and ends before others start."""

from __future__ import annotations

from ephemera import Container, ExitZero, component


@component
class OneShot(Container):
    """A container that is ready when it has ended with exit code 0.

    Type token ``ephemera:index:OneShot``; arguments as of ``Container``, ``timeout_seconds`` from its start to its end.
    One that ends otherwise, or not in time, fails the environment with its exit code and its last log lines. After exit
    code 0 it runs again only when its container is replaced: when its image, command or variables change, say, but not
    its memory. Containers that name it among their ``needs`` start after its end.
    """

    timeout_seconds: float = 120.0

    def prepare(self) -> None:
        self.complete(ready=ExitZero())
