"""The command line of a service: options that every command has, one way to fail, tables.

cli = Cli("shop", prefix="SHOP_", options=[Option("url", ...)], session=lambda given: Session(**given), help="…")

@cli.command("buy")
def _buy(session: Session, item: Annotated[str, typer.Argument()]) -> int | None:
    "Buy something."
"""

import inspect
import math
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import typer
from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from chassis.client import ClientError, InvalidInputError, UnreachableError

if TYPE_CHECKING:

    class _UsageError(Exception):
        def format_message(self) -> str: ...
else:
    # Newer releases of typer carry a click of their own, older ones use the published one: the class of either.
    _UsageError = typer.BadParameter.__mro__[1]

EXIT_CODES = (
    "Exit codes: 0 done; 1 refused by the server, or unhealthy; 2 bad input, nothing was sent; 3 no answer;"
    " 130 interrupted."
)
# Wide enough for ids, names and times in one line where there is no terminal to measure.
_WIDTH_WITHOUT_TERMINAL = 160

T = TypeVar("T")
Command = Callable[..., int | None]


@dataclass(frozen=True, kw_only=True)
class Option:
    """A setting of every command: of its flag, before the command or after it, of its variable, or of the file.

    `name`: the key in the file; with the prefix of the Cli its variable. `parse`: raises InvalidInputError. `default`:
    as one would type it; None: there is none, and what is not given is None.
    """

    name: str
    help: str
    metavar: str
    parse: Callable[[str], Any]
    default: str | None = None
    flag: str | None = None

    @property
    def annotation(self) -> Any:
        flag = self.flag or f"--{self.name.replace('_', '-')}"
        return Annotated[str | None, typer.Option(flag, help=self.help, metavar=self.metavar)]


class Cli(Generic[T]):
    """`program`: its name. `session`: makes what each command is given first, from the options' values by name.

    `file`: a TOML file below the user's home with settings.
    """

    def __init__(
        self,
        program: str,
        *,
        prefix: str,
        options: Sequence[Option],
        session: Callable[[dict[str, Any]], T],
        help: str,
        version: str,
        file: str | None = None,
    ) -> None:
        self.program = program
        self._prefix = prefix
        self._options = {option.name: option for option in options}
        self._session = session
        self._file = file
        self._version = version
        self.app = typer.Typer(help=help, epilog=EXIT_CODES, add_completion=False, no_args_is_help=True)
        show_version = typer.Option(
            False, "--version", is_eager=True, callback=self._show_version, help="Show the version"
        )
        self.app.callback()(
            _signed(
                self._remember,
                [inspect.Parameter("version", inspect.Parameter.KEYWORD_ONLY, default=show_version, annotation=bool)],
                self._options,
            )
        )

    def group(self, name: str, help: str) -> typer.Typer:
        """Return a group of commands."""
        group = typer.Typer()
        self.app.add_typer(group, name=name, help=help)
        return group

    def command(self, name: str, group: typer.Typer | None = None) -> Callable[[Command], Command]:
        """Register a function of a session and its own options as a command that takes the shared options too."""

        def register(function: Command) -> Command:
            def invoke(ctx: typer.Context, **options: Any) -> int | None:
                flags = {
                    key: given if (given := options.pop(key)) is not None else ctx.obj[key] for key in self._options
                }
                try:
                    return function(self._session(self.settings(flags)), **options)
                except KeyboardInterrupt:
                    return self.failed("interrupted", 130)

            own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
            (group or self.app).command(name, help=function.__doc__)(_signed(invoke, own, self._options))
            return function

        return register

    def settings(
        self, flags: Mapping[str, str | None], environ: Mapping[str, str] = os.environ, home: Path | None = None
    ) -> dict[str, Any]:
        """Return the options' values: flag, variable, file, default; the first that is set wins.

        InvalidInputError names a bad value, the rule, and where it came from. An empty variable counts as not set.
        """
        file = None if self._file is None else (Path.home() if home is None else home) / self._file
        configured = {} if file is None else self._read(file)
        values: dict[str, Any] = {}
        for name, option in self._options.items():
            variable = f"{self._prefix}{name.upper()}"
            candidates = (
                (flags.get(name), "flag"),
                (environ.get(variable) or None, variable),
                (configured.get(name), str(file)),
                (option.default, "default"),
            )
            value, origin = next(((value, origin) for value, origin in candidates if value is not None), (None, ""))
            try:
                values[name] = None if value is None else option.parse(value)
            except InvalidInputError as error:
                raise InvalidInputError(f"{name} ({origin}): {error}") from error
        return values

    def run(self, arguments: Sequence[str]) -> int:
        """Run one command and return its exit code: see EXIT_CODES. Every failure is one line on stderr."""
        try:
            code = self.app(list(arguments), prog_name=self.program, standalone_mode=False)
        except _UsageError as error:
            message = error.format_message().rstrip(".")
            # Without a command the help was shown, and there is nothing to say.
            return self.failed(f"{message} (see {self.program} --help)", 2) if message else 2
        except InvalidInputError as error:
            return self.failed(str(error), 2)
        except UnreachableError as error:
            return self.failed(str(error), 3)
        except ClientError as error:
            return self.failed(str(error), 1)
        except typer.Abort:
            return self.failed("interrupted", 130)
        return int(code or 0)

    def main(self) -> None:
        """Entry point of the installed command."""
        sys.exit(self.run(sys.argv[1:]))

    def failed(self, reason: str, code: int = 1) -> int:
        """Say in one line on stderr why the command failed, and return the exit code."""
        print(f"{self.program}: {' '.join(reason.split())}", file=sys.stderr)
        return code

    def _remember(self, ctx: typer.Context, **flags: Any) -> None:
        ctx.obj = flags

    def _show_version(self, wanted: bool) -> None:
        if wanted:
            print(self._version)
            raise typer.Exit

    def _read(self, file: Path) -> dict[str, str]:
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InvalidInputError(f"{file} cannot be read: {error}") from error
        if unknown := sorted(set(document) - set(self._options)):
            raise InvalidInputError(f"{file}: unknown setting {unknown[0]!r}; there are {', '.join(self._options)}")
        return {name: str(value) for name, value in document.items()}


def seconds(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise InvalidInputError(f"{value!r}; must be a number of seconds, more than 0")
    return number


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise InvalidInputError(f"{value!r}; must be {' or '.join(choices)}")
        return value

    return parse


def usual_options(prefix: str, *, timeout: str, people: str) -> list[Option]:
    """Return the options that every command line of a service has: `timeout_seconds` and `output`.

    `timeout`: seconds, by default. `people`: the form of output that is not JSON, and the default.
    """
    return [
        Option(
            name="timeout_seconds",
            flag="--timeout",
            help=f"Seconds that the server may be silent (env: {prefix}TIMEOUT_SECONDS; {timeout})",
            metavar="SECONDS",
            parse=seconds,
            default=timeout,
        ),
        Option(
            name="output",
            help=f"Output format (env: {prefix}OUTPUT; {people})",
            metavar=f"json|{people}",
            parse=one_of("json", people),
            default=people,
        ),
    ]


def print_json(document: BaseModel) -> None:
    """Print a document to stdout, for machines."""
    print(document.model_dump_json(indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, header: bool = True) -> Table:
    """Return a table of values, for people."""
    made = Table(box=None, show_header=header, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        # Text, so that a server's brackets are not taken for markup.
        made.add_row(*(Text("-" if value is None else str(value)) for value in row))
    return made


def show(tables: RenderableType) -> None:
    """Print tables to stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    console.print(tables)


def _signed(
    function: Callable[..., Any], own: list[inspect.Parameter], options: Mapping[str, Option]
) -> Callable[..., Any]:
    """Return `function` with the signature that Typer shall read: the context, its own parameters, the options."""

    def called(*arguments: Any, **given: Any) -> Any:
        return function(*arguments, **given)

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
        *(parameter.replace(kind=kind) for parameter in own),
        *(inspect.Parameter(key, kind, default=None, annotation=option.annotation) for key, option in options.items()),
    ]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return called
