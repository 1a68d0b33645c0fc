"""What a program's process reads while it runs: paths, for a fingerprint, and what no fingerprint tells of.

Python tells of every file that is opened and every folder that is listed, and of what reaches beyond files: processes,
connections, databases. The latter are *doubts*, if the program itself asked for it. What libraries, the interpreter and
ephemera's own machinery do is not the program's.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ephemera.home import credentials
from ephemera.home.paths import cache_dir, state_dir
from ephemera.host.fingerprint import covered

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
    """Notes what this process, which runs the program of ``project``, reads from its making on."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._opened: set[str] = set()
        self._listed: set[str] = set()
        self._doubts: dict[str, None] = {}
        self._ours = (*libraries(), *_KERNEL, f"{state_dir()}{os.sep}", f"{cache_dir()}{os.sep}")
        sys.addaudithook(self._heard)

    def doubt(self, why: str) -> None:
        """Note why no fingerprint tells what was read, as a predicate of the program: "asks a provider"."""
        self._doubts[why] = None

    def watch_monitor(self, monitor: Any) -> None:
        """Take note of functions of providers, which look at what is outside the stack."""
        for name in ("Invoke", "Call"):
            setattr(monitor, name, self._doubting(getattr(monitor, name)))

    def check_secrets(self, secrets: Iterable[Any]) -> None:
        """Note a doubt unless all secrets of the outputs are generated credentials, which can be derived again."""
        derived = {credentials.credential(*made) for made in credentials.derived()}
        if not derived.issuperset(secrets):
            self.doubt("puts a secret of its own into the outputs")

    def document(self) -> dict[str, Any]:
        """Return plain values: ``paths`` of the project, of folders that modules come from, and of what else was read,
        as a fingerprint takes them; ``credentials`` (service and purpose of each generated one), ``doubts``."""
        # Those that were imported before anybody listened, too.
        modules = {os.path.dirname(file) for module in list(sys.modules.values()) if (file := _file(module))}  # noqa: PTH120
        paths = [self._project]
        for path in (*sys.path, *sorted(modules), *sorted(self._opened)):
            name = os.path.abspath(path)  # noqa: PTH100 - no links followed
            if not f"{name}{os.sep}".startswith(self._ours) and not covered(name, paths):
                paths.append(name)
        return {
            "paths": [*paths, *(name for name in sorted(self._listed) if not name.startswith(self._ours))],
            "credentials": sorted({(service, purpose) for _, service, purpose in credentials.derived()}),
            "doubts": list(self._doubts),
        }

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            written = mode[:1] in ("w", "a", "x") if isinstance(mode, str) else flags & os.O_ACCMODE == os.O_WRONLY
            if not written:
                self._note_opened(path, sys._getframe(1))
        elif event in ("os.listdir", "os.scandir"):
            if (name := _path(arguments[0] or os.curdir)) and _asked_by_program(sys._getframe(1)):
                self._listed.add(f"{name}{os.sep}")
        elif (why := _DOUBTFUL.get(event)) and _asked_by_program(sys._getframe(1)):
            self.doubt(why)

    def _note_opened(self, path: Any, frame: Any) -> None:
        # Modules count by the folders that they are in, sources of images by the references that images go by.
        importing = frame.f_code.co_filename.startswith("<frozen importlib")
        if not importing and (name := _path(path)) and not any(file.startswith(_IMAGES) for file in _frames(frame)):
            self._opened.add(name)

    def _doubting(self, function: Any) -> Any:
        def doubting(*arguments: Any, **named: Any) -> Any:
            self.doubt("asks a provider")
            return function(*arguments, **named)

        return doubting


@cache
def libraries() -> tuple[str, ...]:
    """Return the folders of the standard library and of installed packages, each with a separator at its end."""
    paths = sysconfig.get_paths()
    standard = [paths["stdlib"], paths["platstdlib"]]
    return tuple(dict.fromkeys(f"{folder}{os.sep}" for folder in (*standard, *site_folders())))


@cache
def site_folders() -> tuple[str, ...]:
    """Return the folders that packages are installed to."""
    paths = sysconfig.get_paths()
    found = [paths["purelib"], paths["platlib"], *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    return tuple(dict.fromkeys(found))


def _path(given: Any) -> str:
    """Return an absolute path; an empty text for a descriptor, which was opened by name before."""
    if not isinstance(given, str | bytes | os.PathLike):
        return ""
    return os.path.abspath(os.fsdecode(given))  # noqa: PTH100 - in the middle of others' work: no links followed


def _file(module: Any) -> str | None:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None


def _frames(frame: Any) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def _asked_by_program(frame: Any) -> bool:
    """Return whether the program asked for it, and not the import of a library or ephemera itself."""
    for file in _frames(frame):
        if file.startswith((_PACKAGE, "<frozen importlib")):
            return False
        if not file.startswith((*libraries(), "<frozen")):
            return True
    return False


def secrets_in(value: Any, outputs: type[Any]) -> Any:
    """Return an awaitable of all plain values in ``value`` (a stack's outputs, as exported) that are marked secret.

    ``outputs``: Pulumi's class of them, which is not imported here.
    """

    async def found(part: Any) -> list[Any]:
        if isinstance(part, outputs):
            known = await part.future()
            return _leaves(known) if await part.is_secret() else await found(known)
        parts = part.values() if isinstance(part, Mapping) else part if isinstance(part, list | tuple) else ()
        return [secret for inner in parts for secret in await found(inner)]

    return found(value)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping | list | tuple):
        parts = value.values() if isinstance(value, Mapping) else value
        return [leaf for part in parts for leaf in _leaves(part)]
    return [value]
