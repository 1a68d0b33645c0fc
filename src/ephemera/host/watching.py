"""Changes of files in folders, as they are saved."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from ephemera.model.errors import MachineError

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
    or directly in ``folders``, from a thread. Files that editors and Python leave behind do not count.

    Raises :class:`MachineError` where the kernel does not let this user watch that many folders.
    """
    # No file is watched twice: its second report would be taken for another change.
    roots = [tree for tree in set(trees) if not any(tree.is_relative_to(other) for other in {*trees} - {tree})]
    single = [folder for folder in set(folders) if not any(folder.is_relative_to(root) for root in roots)]
    ended = threading.Event()
    threads = []
    try:
        for paths, recursive in ((sorted(roots), True), (sorted(single), False)):
            if paths:
                begun: Future[None] = Future()
                given = (paths, recursive, changed, begun, ended)
                threads.append(threading.Thread(target=_watch, args=given, name="file-watcher", daemon=True))
                threads[-1].start()
                _wait_begun(paths, begun)
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _wait_begun(paths: list[Path], begun: Future[None]) -> None:
    """Return as soon as no change is missed."""
    try:
        begun.result(_START_SECONDS)
    except (OSError, RuntimeError) as error:
        raise MachineError(
            f"cannot watch {', '.join(map(str, paths))}: {str(error) or 'it takes too long'}",
            remedy="Linux: raise fs.inotify.max_user_watches and max_user_instances with sysctl",
        ) from error


def _watch(
    paths: list[Path],
    recursive: bool,
    changed: Callable[[frozenset[Path]], None],
    begun: Future[None],
    ended: threading.Event,
) -> None:
    from watchfiles import watch

    try:
        for found in watch(
            *paths,
            recursive=recursive,
            step=_STEP_MILLISECONDS,
            debounce=_LONGEST_MILLISECONDS,
            rust_timeout=_TURN_MILLISECONDS,
            yield_on_timeout=True,
            stop_event=ended,
            raise_interrupt=False,
        ):
            if not begun.done():
                begun.set_result(None)
            if found:
                changed(frozenset(Path(path) for _, path in found))
    except (OSError, RuntimeError) as error:  # the library's own errors are RuntimeErrors
        if not begun.done():
            begun.set_exception(error)
