"""What a program's process reads while it runs, noted for whoever wants to know later whether it would read the same.

Python tells of every file that is opened and every folder that is listed, also on behalf of ``import``, and of whatever
reaches beyond files: processes, connections, databases. The latter is not followed; it is a *doubt*, if the program
itself asked for it. What libraries, the interpreter and ephemera's own machinery do is not the program's.
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

_LISTED = ("os.listdir", "os.scandir")
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
    """Notes what this process reads from its making on; nothing of it is kept but names."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._listed: set[str] = set()
        self._searched: set[str] = set()
        self._doubts: dict[str, None] = {}
        self._ours = (*libraries(), *_KERNEL, f"{state_dir()}{os.sep}", f"{cache_dir()}{os.sep}")
        sys.addaudithook(self._heard)

    def doubt(self, why: str) -> None:
        """What was read cannot be told for ``why``, a predicate of the program: "asks a provider"."""
        self._doubts[why] = None

    def watch_monitor(self, monitor: Any) -> None:
        """Take note of functions of providers, which look at what is outside the stack."""
        for name in ("Invoke", "Call"):
            setattr(monitor, name, self._doubting(getattr(monitor, name)))

    def check_secrets(self, secrets: Iterable[Any]) -> None:
        """A secret of the outputs that is not one of our generated credentials is nowhere to be had again."""
        derived = {credentials.credential(*made) for made in credentials.derived()}
        if not derived.issuperset(secrets):
            self.doubt("puts a secret of its own into the outputs")

    def document(self) -> dict[str, Any]:
        """All of it, as plain values: ``files`` and ``listed`` and ``searched`` folders by absolute path,
        ``credentials`` (service and purpose of each generated one), ``doubts``."""
        modules = [file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))]
        for file in modules:  # those that were there before anybody listened
            # Most of some thousand are libraries'. One that only seems to be, by a path with a detour, is looked at.
            if not file.startswith(self._ours) or os.pardir in file:
                self._note(self._files, file)
        for folder in list(sys.path_importer_cache):
            self._note(self._searched, folder)
        return {
            "files": sorted(file for file in self._files if "__pycache__" not in file),
            "listed": sorted(self._listed),
            "searched": sorted(self._searched - self._listed),
            "credentials": sorted({(service, purpose) for _, service, purpose in credentials.derived()}),
            "doubts": list(self._doubts),
        }

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            written = mode[:1] in ("w", "a", "x") if isinstance(mode, str) else flags & os.O_ACCMODE == os.O_WRONLY
            if not written:
                self._note(self._files, path)
        elif event in _LISTED:
            importing = sys._getframe(1).f_code.co_filename.startswith("<frozen importlib")
            self._note(self._searched if importing else self._listed, arguments[0])
        elif (why := _DOUBTFUL.get(event)) and _asked_by_program(sys._getframe(1)):
            self.doubt(why)

    def _note(self, notes: set[str], path: Any) -> None:
        if path is None:
            path = os.curdir
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a descriptor: it was opened by name before
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - in the middle of others' work: no links followed
        if not f"{name}{os.sep}".startswith(self._ours) and not _made_by_images(sys._getframe(1)):
            notes.add(name)

    def _doubting(self, function: Any) -> Any:
        def doubting(*arguments: Any, **named: Any) -> Any:
            self.doubt("asks a provider")
            return function(*arguments, **named)

        return doubting


@cache
def libraries() -> tuple[str, ...]:
    """Folders of the interpreter's and of installed packages' modules, each with a separator at its end."""
    paths = sysconfig.get_paths()
    standard = [paths["stdlib"], paths["platstdlib"]]
    return tuple(dict.fromkeys(f"{folder}{os.sep}" for folder in (*standard, *site_folders())))


@cache
def site_folders() -> tuple[str, ...]:
    """Folders that packages are installed to."""
    paths = sysconfig.get_paths()
    found = [paths["purelib"], paths["platlib"], *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    return tuple(dict.fromkeys(found))


def _frames(frame: Any) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def _asked_by_program(frame: Any) -> bool:
    """Whether the innermost code that is no library's is the program's, and not merely importing that library."""
    for file in _frames(frame):
        if file.startswith((_PACKAGE, "<frozen importlib")):
            return False
        if not file.startswith((*libraries(), "<frozen")):
            return True
    return False


def _made_by_images(frame: Any) -> bool:
    """Sources of images: they count by the references that images go by."""
    return any(file.startswith(_IMAGES) for file in _frames(frame))


def secrets_in(value: Any, outputs: type[Any]) -> Any:
    """An awaitable of every plain value in ``value`` (of a stack's outputs, as exported) that is marked secret.

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
