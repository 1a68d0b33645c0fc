"""Reads of a program while it runs: paths, for a fingerprint, and doubts, which no fingerprint covers.

Python reports every file that is opened and every folder that is listed. It also reports calls that reach beyond files:
processes, connections, databases. These are *doubts* if the program itself makes them, and not a library, the
interpreter or ephemera's own machinery.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from ephemera.home import credentials
from ephemera.home.paths import cache_dir, state_dir
from ephemera.host.fingerprint import apart

_DOUBTFUL = {
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"), "starts a process"),
    **dict.fromkeys(("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"), "asks another process"),
    "sqlite3.connect": "reads a database",
    "ctypes.dlopen": "loads a library",
}
_PACKAGE = f"{Path(__file__).resolve().parent.parent}{os.sep}"
_IMAGES = f"{_PACKAGE}images{os.sep}"
_KERNEL = ("/dev/", "/proc/", "/sys/")


class Reads:
    """Notes the reads of this process, which runs the program of ``project``, from now on."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._opened: set[str] = set()
        self._listed: set[str] = set()
        self._doubts: dict[str, None] = {}
        self._ours = (*libraries(), *_KERNEL, f"{state_dir()}{os.sep}", f"{cache_dir()}{os.sep}")
        sys.addaudithook(self._heard)

    def watch_monitor(self, monitor: Any) -> None:
        """Note calls of providers' functions, which look at things outside of the stack."""
        for name in ("Invoke", "Call"):
            setattr(monitor, name, partial(self._call, getattr(monitor, name)))

    def document(self) -> dict[str, Any]:
        """Return plain values: ``paths`` of the project, of the folders of modules, and of everything else that was
        read, for a fingerprint; ``credentials`` (service and purpose of each generated one); ``doubts``."""
        # Some modules were imported before this began to listen.
        files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        folders = {os.path.dirname(file) for file in files if isinstance(file, str)}  # noqa: PTH120
        read = {os.path.abspath(path) for path in (*sys.path, *folders, *self._opened)}  # noqa: PTH100 - no links followed
        return {
            "paths": [
                *apart([self._project, *(path for path in read if not f"{path}{os.sep}".startswith(self._ours))]),
                *sorted(path for path in self._listed if not path.startswith(self._ours)),
            ],
            "credentials": sorted({(service, purpose) for _, service, purpose in credentials.derived()}),
            "doubts": list(self._doubts),
        }

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            written = mode[:1] in ("w", "a", "x") if isinstance(mode, str) else flags & os.O_ACCMODE == os.O_WRONLY
            # Modules count by their folders, sources of images by the references of the images.
            of_image = any(file.startswith(_IMAGES) for file in _frames(sys._getframe(1)))
            if not written and not of_image and (name := _path(path)) and "__pycache__" not in name:
                self._opened.add(name)
        elif event in ("os.listdir", "os.scandir"):
            if (name := _path(arguments[0] or os.curdir)) and _is_asked_by_program(sys._getframe(1)):
                self._listed.add(f"{name}{os.sep}")
        elif (why := _DOUBTFUL.get(event)) and _is_asked_by_program(sys._getframe(1)):
            self._doubts[why] = None

    def _call(self, function: Any, *arguments: Any, **named: Any) -> Any:
        self._doubts["asks a provider"] = None
        return function(*arguments, **named)


@cache
def libraries() -> tuple[str, ...]:
    """Return the folders of the standard library and of installed packages, each with a separator at its end."""
    standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    return tuple(dict.fromkeys(f"{folder}{os.sep}" for folder in (*standard, *site_folders())))


@cache
def site_folders() -> tuple[str, ...]:
    """Return the folders of installed packages."""
    return tuple(path for path in sys.path if path.endswith("-packages"))


def _path(given: Any) -> str:
    """Return an absolute path; an empty text for a descriptor, which was opened by name before."""
    if not isinstance(given, str | bytes | os.PathLike):
        return ""
    return os.path.abspath(os.fsdecode(given))  # noqa: PTH100 - in the middle of others' work: no links followed


def _is_asked_by_program(frame: Any) -> bool:
    """Return whether the program asked for it, and not the import of a library or ephemera itself."""
    for file in _frames(frame):
        if file.startswith((_PACKAGE, "<frozen importlib")):
            return False
        if not file.startswith((*libraries(), "<frozen")):
            return True
    return False


def _frames(frame: Any) -> Iterator[str]:
    """Yield the source file of each frame, innermost first."""
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back
