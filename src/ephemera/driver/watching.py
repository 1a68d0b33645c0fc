"""Changes of files in folders, as they are saved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from ephemera.contract.errors import MachineError

# An editor writes in several steps: a change counts when nothing has followed for as long as a step.
_STEP_MILLISECONDS = 40
_LONGEST_MILLISECONDS = 400
_TURN_MILLISECONDS = 100
_START_SECONDS = 30.0


@contextmanager
def watching(
    trees: Collection[Path], folders: Collection[Path], changed: Callable[[frozenset[Path]], None]
) -> Iterator[None]:
    """While the block runs, call ``changed`` with the files that were written, made, renamed or removed in ``trees``,
    or directly in ``folders``, from a thread. What editors and Python leave behind is no change.

    Raises :class:`MachineError` where the kernel does not let this user watch that many folders.
    """
    ended = threading.Event()
    # No file is watched twice: its second report would be taken for another change.
    roots = [tree for tree in set(trees) if not any(tree.is_relative_to(other) for other in {*trees} - {tree})]
    single = [folder for folder in set(folders) if not any(folder.is_relative_to(root) for root in roots)]
    threads = [
        _Watcher(sorted(paths), recursive, changed, ended)
        for paths, recursive in ((roots, True), (single, False))
        if paths
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.wait_begun()
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


class _Watcher(threading.Thread):
    def __init__(
        self, paths: list[Path], recursive: bool, changed: Callable[[frozenset[Path]], None], ended: threading.Event
    ) -> None:
        super().__init__(name="file-watcher", daemon=True)
        self._paths = paths
        self._recursive = recursive
        self._changed = changed
        self._ended = ended
        self._begun = threading.Event()
        self._error: Exception | None = None

    def wait_begun(self) -> None:
        """Return when nothing is missed any more."""
        begun = self._begun.wait(_START_SECONDS)
        if self._error is not None or not begun:
            raise MachineError(
                f"cannot watch {', '.join(str(path) for path in self._paths)}: {self._error or 'it takes too long'}",
                remedy="Linux: raise fs.inotify.max_user_watches and max_user_instances with sysctl",
            ) from self._error

    def run(self) -> None:
        from watchfiles import watch

        try:
            for found in watch(
                *self._paths,
                recursive=self._recursive,
                step=_STEP_MILLISECONDS,
                debounce=_LONGEST_MILLISECONDS,
                rust_timeout=_TURN_MILLISECONDS,
                yield_on_timeout=True,
                stop_event=self._ended,
                raise_interrupt=False,
            ):
                self._begun.set()
                if found:
                    self._changed(frozenset(Path(path) for _, path in found))
        except (OSError, RuntimeError) as error:  # the latter is what the library's own errors are
            self._error = error
            self._begun.set()
