"""One-shot: a container that does something once, such as migrations, and must have ended well before others start."""

from __future__ import annotations

from ephemera import Container, ExitZero, component


@component
class OneShot(Container):
    """A container that is ready when it has ended with exit code 0.

    Type token ``ephemera:index:OneShot``; arguments as of ``Container``, ``timeout_seconds`` from its start to its end.
    One that ends otherwise, or does not end in time, fails the environment with its exit code and its last log lines.
    Once it has ended well it is run again only when what it is made of has changed: image, command, variables and the
    like, not its memory. What names it among its ``needs`` starts after that.
    """

    timeout_seconds: float = 120.0

    def prepare(self) -> None:
        self.complete(ready=ExitZero())
