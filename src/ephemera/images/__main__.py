"""``python -m ephemera.images ensure SYSTEM | list | prune | lock``, for the launcher and for scripts."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from ephemera.contract.catalog import find_project, find_system, load_catalog
from ephemera.contract.errors import EphemeraError, ImageError, InterruptedByUserError
from ephemera.images.locking import lock
from ephemera.images.making import ensure
from ephemera.images.modes import mode
from ephemera.images.store import StoredImage, prune, stored


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ephemera.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ensuring = commands.add_parser("ensure", help="have every image of a system of the project's catalog")
    ensuring.add_argument("system")
    for name, text in (("list", "what is there"), ("prune", "remove what no container uses")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--output", choices=("table", "json"), default="table")
    commands.add_parser("lock", help="write the digests of the engines' official images")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.command == "ensure":
            images = find_system(load_catalog(find_project(Path.cwd())), options.system).images
            ensure(images, mode(), lambda line: print(line, flush=True))
        elif options.command == "lock":
            print(lock(lambda line: print(line, file=sys.stderr)))
        else:
            _show(stored() if options.command == "list" else prune(), options.output)
    except KeyboardInterrupt:
        return InterruptedByUserError.exit_code
    except EphemeraError as error:
        for line in error.output if isinstance(error, ImageError) else ():
            print(line, file=sys.stderr)
        print(f"ephemera: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _show(images: Sequence[StoredImage], output: str) -> None:
    if output == "json":
        print(json.dumps([asdict(image) for image in images]))
        return
    for image in images:
        size = f"{image.size_bytes / 1e6:.0f} MB"
        owner = "" if image.ours else "another user's  "
        used = ", ".join(image.used_by)
        print(f"{image.reference or image.id[7:19]:<50} {image.name:<20} {size:>9}  {owner}{used}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
