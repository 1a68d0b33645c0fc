"""Writes ``images.lock``: the digest that each official reference has in its registry right now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ephemera.host.engine import connected
from ephemera.images.errors import ImageMissingError
from ephemera.images.recipes import recipes
from ephemera.machine.data import data_dir


def lock(report: Callable[[str], None]) -> Path:
    """Ask the registry of every official image and write the file; where one does not answer, it stays as it was."""
    from docker.errors import APIError

    digests = {}
    with connected() as client:
        for reference in sorted({each.official for each in recipes().values() if each.official}):
            report(reference)
            try:
                digests[reference] = client.api.inspect_distribution(reference)["Descriptor"]["digest"]
            except APIError as error:
                raise ImageMissingError(
                    reference, error.explanation or str(error), "run this where the registry answers"
                ) from error
    path = data_dir("images") / "images.lock"
    partial = path.with_suffix(".partial")
    lines = ["# Written by `python -m ephemera.images lock`; the digest of each official image."]
    partial.write_text("\n".join([*lines, *(f'"{name}" = "{digest}"' for name, digest in digests.items())]) + "\n")
    partial.replace(path)
    return path
