"""Build the plugin for other machines, as archives that ``pulumi plugin install`` takes, with their checksums.

    python release.py FOLDER [--platform linux/amd64 ...]

The same source gives the same archives to the byte, wherever it lies: what is released can be built again and compared.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

_MODULE = Path(__file__).resolve().parent
PLATFORMS = ("linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64")
EXECUTABLE = "pulumi-resource-docker"
CHECKSUMS = "SHA256SUMS"
# All that Go reads of these makes another program of the same source; what they may be by default is Go's release's.
_FIXED = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "local", "GOEXPERIMENT": ""}
_BY_DEFAULT = ("GOAMD64", "GOARM64", "GOFIPS140")


def version() -> str:
    """The version that the engine looks the plugin up by."""
    found = re.search(r'^\tVersion = "([^"]+)"', (_MODULE / "provider.go").read_text(), re.MULTILINE)
    if found is None:
        sys.exit("provider.go states no Version")
    return found[1]


def archive_name(platform: str) -> str:
    """The name that Pulumi downloads."""
    return f"{EXECUTABLE}-v{version()}-{platform.replace('/', '-')}.tar.gz"


def release(folder: Path, platforms: Sequence[str] = PLATFORMS, *, go: str = "go") -> None:
    """Write an archive per platform, and the file that ``sha256sum --check`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    sums = []
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch) / EXECUTABLE
        for platform in sorted(platforms):
            _build(binary, platform, go)
            archive = _archive(binary.read_bytes())
            name = archive_name(platform)
            (folder / name).write_bytes(archive)
            sums.append(f"{hashlib.sha256(archive).hexdigest()}  {name}\n")
    (folder / CHECKSUMS).write_text("".join(sums))


def _build(target: Path, platform: str, go: str) -> None:
    system, machine = platform.split("/")
    inherited = {name: value for name, value in os.environ.items() if name not in _BY_DEFAULT}
    subprocess.run(
        [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", target, f"./cmd/{EXECUTABLE}"],
        cwd=_MODULE,
        env={**inherited, **_FIXED, "GOOS": system, "GOARCH": machine},
        check=True,
    )


def _archive(binary: bytes) -> bytes:
    """The program alone, without whose and from when it is."""
    entry = tarfile.TarInfo(EXECUTABLE)
    entry.size, entry.mode = len(binary), 0o755
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w") as archive,
    ):
        archive.addfile(entry, io.BytesIO(binary))
    return packed.getvalue()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the plugin's release archives.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where archives and checksums go")
    parser.add_argument("--platform", action="append", choices=PLATFORMS, metavar="OS/ARCH", help="by default all")
    given = parser.parse_args()
    try:
        release(given.folder, given.platform or PLATFORMS)
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} cannot be run: Go is needed, as go.mod says which")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{shlex.join(map(str, error.cmd[:2]))} exited with {error.returncode}")


if __name__ == "__main__":
    main()
