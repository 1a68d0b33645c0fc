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
from typing import Any

from ephemera.contract.catalog import find_project, find_system, load_catalog
from ephemera.contract.errors import EphemeraError, ImageError, InterruptedByUserError
from ephemera.contract.images import AnyImage, EngineImage, PublicImage
from ephemera.images.locking import lock
from ephemera.images.making import ensure
from ephemera.images.modes import mode
from ephemera.images.recipes import LOCK
from ephemera.images.references import CA_BUNDLE, as_built
from ephemera.images.store import StoredImage, prune, stored
from ephemera.machine.data import data_dir


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ephemera.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ensuring = commands.add_parser("ensure", help="have every image of a system of the project's catalog")
    ensuring.add_argument("system")
    ensuring.add_argument("--report", type=Path, help="write what was done, or the error, to this file as JSON")
    for name, text in (("list", "what is there"), ("prune", "remove what no container uses")):
        command = commands.add_parser(name, help=text)
        command.add_argument("--output", choices=("table", "json"), default="table")
    commands.add_parser("lock", help="write the digests of the engines' official images")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    report: Path | None = getattr(options, "report", None)
    try:
        if options.command == "ensure":
            _finish(report, _ensure(options.system))
        elif options.command == "lock":
            print(lock(lambda line: print(line, file=sys.stderr)))
        else:
            _show(stored() if options.command == "list" else prune(), options.output)
    except KeyboardInterrupt:
        return InterruptedByUserError.exit_code
    except EphemeraError as error:
        print(f"ephemera: {error}", file=sys.stderr)
        for line in error.output if isinstance(error, ImageError) else ():
            print(line, file=sys.stderr)
        _finish(report, error.document())
        return error.exit_code
    return 0


def _ensure(system: str) -> dict[str, Any]:
    project = find_project(Path.cwd())
    images = find_system(load_catalog(project), system).images
    references = ensure(images, mode(), lambda line: print(line, flush=True))
    watched = {project / "pyproject.toml", project / LOCK, CA_BUNDLE, data_dir("images"), *_modules_of(project)}
    for image in images:
        watched.update(_sources(image))
    return {"references": sorted(set(references.values())), "watched": sorted(str(path) for path in watched)}


def _modules_of(project: Path) -> set[Path]:
    """Files of the project that the catalog was imported from."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    installed = project / ".ephemera"
    return {
        Path(file) for file in files if file and project in Path(file).parents and installed not in Path(file).parents
    }


def _sources(image: AnyImage) -> set[Path]:
    # The engines' recipes are all watched as one folder.
    if isinstance(image, PublicImage | EngineImage):
        return set()
    build = as_built(image)
    return {build.context}.union(*(_sources(base) for base in build.bases.values()))


def _finish(report: Path | None, document: dict[str, Any]) -> None:
    if report is not None:
        report.write_text(json.dumps(document))


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
