"""``dev``: an environment whose services run the code of their source folders, reloaded on each save."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ephemera.cli import options
from ephemera.cli.commands_lifecycle import PytestCommand, bring_up
from ephemera.cli.console import Screen, write_line
from ephemera.model import labels
from ephemera.model.errors import Interrupt, NotReadyError
from ephemera.model.system import default_system

if TYPE_CHECKING:
    from ephemera.lifecycle.development import Reload, Reloader, Sources
    from ephemera.model.catalog import Manifest
    from ephemera.model.outputs import EnvironmentOutputs
    from ephemera.pulumi.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(cls=PytestCommand)(dev)


def dev(
    system: Annotated[str | None, typer.Argument(metavar="[SYSTEM]")] = None,
    pytest_arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- PYTEST…]", help="Passed on to pytest, with --test.")
    ] = None,
    branch: options.BranchOption = None,
    profile: options.ProfileOption = None,
    only: options.OnlyOption = None,
    expose: options.ExposeOption = None,
    port_table: options.PortTableOption = None,
    images: options.ImagesOption = None,
    config: options.ConfigOption = None,
    test: Annotated[
        bool, typer.Option("--test", help="Run the suite now and after every change; stop at the first failure.")
    ] = False,
    down: Annotated[bool, typer.Option("--down", help="Take the environment down at the end.")] = False,
) -> None:
    """Bring this branch's environment of SYSTEM up with its source folders mounted, reload what is edited, and follow
    the logs, until Ctrl-C. It keeps running then, unless --down is given."""
    from ephemera import lifecycle
    from ephemera.host.watching import watching
    from ephemera.lifecycle import suite
    from ephemera.lifecycle.development import Sources
    from ephemera.pulumi.workspace import Workspace

    screen = Screen()
    workspace = Workspace.find()
    given = options.settings_from(
        config=config, only=only, profile=profile, expose=expose, port_table=port_table, images=images
    )
    request = lifecycle.Request(
        system=system or default_system(workspace.project, workspace.catalog),
        branch=branch,
        config={**given, "development": "true"},
    )
    _, declared, settings = lifecycle.plan(workspace, request)
    sources = Sources.of(declared, settings, suite.suite_folder(workspace, declared) if test else None)
    news: queue.SimpleQueue[_News] = queue.SimpleQueue()
    with watching(sources.trees, sources.folders, news.put):
        _, ready = bring_up(workspace, request, screen)
        stack = ready.outputs.stack
        with suppress(Interrupt):  # Ctrl-C is the usual end
            _Session(
                screen=screen,
                workspace=workspace,
                system=declared,
                outputs=ready.outputs,
                sources=sources,
                news=news,
            ).attend(pytest_arguments or [])
    if down:
        gone = lifecycle.down(workspace, stack, screen.progress)
        screen.note(f"{gone.stack} is gone after {gone.seconds:.1f} s")
        lifecycle.proven(gone)
    else:
        screen.note(
            f"{stack} goes on running; `ephemera up` puts the images' code back, `ephemera down {stack}` ends it"
        )


@dataclass(frozen=True)
class _End:
    """Why the session is over."""

    reason: str


_News = frozenset[Path] | _End


@dataclass(kw_only=True)
class _Session:
    """Attends to one environment while its sources are edited."""

    screen: Screen
    workspace: Workspace
    system: Manifest
    outputs: EnvironmentOutputs
    sources: Sources
    news: queue.SimpleQueue[_News]
    unsettled: dict[str, list[str]] = field(default_factory=dict)

    def attend(self, pytest_arguments: Sequence[str]) -> None:
        """Follow the logs and reload what changes, until an interrupt. Raises :class:`NotReadyError` when the
        environment is taken down, or an ``up`` takes the mounts away."""
        from ephemera.cli.following import Following
        from ephemera.docker.connection import connected
        from ephemera.home import leases
        from ephemera.lifecycle.development import Reloader
        from ephemera.observe import hiding

        since, stack, sources = time.time(), self.outputs.stack, self.sources
        self._introduce()
        with leases.using(stack), connected() as client:
            width = max((len(service) for service in self.outputs.services), default=0)
            redactor = hiding.redactor_for(self.workspace, stack, self.outputs)
            stamp = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
            following = Following(
                client,
                stack,
                dict.fromkeys(self.outputs.services, stamp),
                show=lambda service, line: write_line(f"{service:<{width}} | {redactor.text(line.text)}"),
                started=self._started,
                gone=lambda: self.news.put(_End(f"{stack} was taken down, or the engine does not answer any more")),
            )
            reloader = Reloader(client, self.outputs, self.system, sources.mounts, lambda: not self.news.empty())
            test = sources.suite is not None
            while True:
                if test:
                    following.hold_back(True)
                    self._run_suite(pytest_arguments)
                    following.hold_back(False)
                files = self._next()
                live = self._reload(reloader, sources.changed(files))
                self._tell_builds(sources.to_build(files))
                test = sources.suite is not None and (live or sources.tests_changed(files))

    def _next(self) -> frozenset[Path]:
        """Wait for changes; return all since the last time."""
        from ephemera.cli.following import awaited

        found: frozenset[Path] = frozenset()
        while not found or not self.news.empty():
            news = awaited(self.news)
            if isinstance(news, _End):
                raise NotReadyError(news.reason, remedy="`ephemera dev` brings it up again")
            found |= news
        return found

    def _reload(self, reloader: Reloader, changed: Mapping[str, list[str]]) -> bool:
        """Return whether something came to life, and nothing failed."""
        wanted = {**self.unsettled, **changed}

        def tell(result: Reload) -> None:
            failed = f"NOT live, {result.problem}; the next save tries again"
            how = f"live after {result.seconds:.1f} s" if result.live else failed
            if not result.superseded:
                self.screen.note(f"{result.service}: {_named(wanted[result.service])} changed, {how}")

        results = reloader.reload(wanted, tell)
        self.unsettled = {result.service: wanted[result.service] for result in results if result.superseded}
        for service in wanted.keys() - {result.service for result in results}:
            how = f"a one-shot is not run again: `ephemera restart {service}` does it"
            self.screen.note(f"{service}: {_named(wanted[service])} changed, {how}")
        return bool(results) and all(result.live for result in results)

    def _run_suite(self, pytest_arguments: Sequence[str]) -> None:
        from ephemera.lifecycle import suite

        result = suite.run(self.workspace, self.system, self.outputs.stack, ["-x", *pytest_arguments], False)
        how = "passed" if result.exit_code == 0 else "FAILED"
        self.screen.note(f"tests {how} after {result.seconds:.1f} s; the next change runs them again")

    def _started(self, marks: Mapping[str, str]) -> None:
        service = marks.get(labels.SERVICE, "")
        if service in self.sources.mounts and labels.DEVELOPMENT not in marks:
            stack = self.outputs.stack
            self.news.put(_End(f"{service} of {stack} runs its image's code again: an `up` ended development mode"))

    def _introduce(self) -> None:
        from ephemera.cli.tables import outputs_table

        self.screen.table(outputs_table(self.outputs, show_secrets=False))
        for service, source in self.sources.mounts.items():
            self.screen.note(f"{service}: {_shown(source.path, self.workspace.project)} is mounted")
        self.screen.note(f"{self.outputs.stack} is ready, in development mode; Ctrl-C ends this")

    def _tell_builds(self, found: Mapping[str, list[str]]) -> None:
        files = sorted({name for names in found.values() for name in names})
        if files:
            again = f"end this and start it again to build {', '.join(sorted(found))}"
            self.screen.note(f"{_named(files)} changed, which no mount brings in: {again}")


def _named(files: Iterable[str]) -> str:
    first, *others = files
    return f"{first} and {len(others)} more" if others else first


def _shown(folder: Path, project: Path) -> str:
    return str(folder.relative_to(project)) if folder.is_relative_to(project) else str(folder)
