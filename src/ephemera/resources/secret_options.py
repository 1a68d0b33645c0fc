"""Secret options: values derived from them are encrypted in Pulumi's state, though the program gets plain values.

``pulumi config set --secret ephemera:<option>`` makes an option secret. A program may build a variable, a command or a
URL with it, so it is found by its text: every input of a resource, and every part of the environment's outputs, that
contains it is marked secret. One of fewer than four characters is part of many texts by chance, so it is found only
where it is the whole value (ADR 0041).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pulumi

_SHORTEST = 4


class SecretOptions:
    """Marks values that contain one of ``values`` secret. A boolean cannot be told from others, and is left alone."""

    def __init__(self, values: Iterable[str | bool | int]) -> None:
        self.texts = tuple(str(value) for value in values if not isinstance(value, bool) and value != "")
        """The values as text, to be redacted."""

    def marked(self, value: Any) -> Any:
        """Return ``value`` with every part that contains a secret option marked secret."""
        if not self.texts or value is None:
            return value
        if isinstance(value, Mapping):
            return {key: self.marked(part) for key, part in value.items()}
        return pulumi.Output.from_input(value).apply(
            lambda known: pulumi.Output.secret(known) if self._in(known) else known
        )

    def _in(self, value: Any) -> bool:
        if isinstance(value, Mapping):
            return any(self._in(part) for part in value.values())
        if isinstance(value, list | tuple):
            return any(self._in(part) for part in value)
        if isinstance(value, str | int | float):
            return any(_contains(str(value), text) for text in self.texts)
        # An ``…Args`` object, or an asset; resources refer to each other in circles, and hold no options.
        return hasattr(value, "__dict__") and not isinstance(value, pulumi.Resource) and self._in(vars(value))


def _contains(value: str, text: str) -> bool:
    return text in value if len(text) >= _SHORTEST else text == value.rpartition("=")[2]  # of a variable, NAME=value
