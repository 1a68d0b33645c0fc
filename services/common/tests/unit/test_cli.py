"""A command line: where options come from, what is refused, and exit codes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from chassis.cli import Cli, Option, one_of, seconds, show, table
from chassis.client import ClientError, InvalidInputError, ResponseError, UnreachableError, checked_url


@dataclass(frozen=True)
class Session:
    url: str
    timeout: float
    output: str
    token: str | None


cli = Cli(
    "shop",
    prefix="SHOP_",
    options=[
        Option(name="url", help="The shop", metavar="URL", parse=checked_url, default="http://localhost:8080"),
        Option(name="timeout", help="Seconds", metavar="SECONDS", parse=seconds, default="10"),
        Option(name="output", help="Format", metavar="json|text", parse=one_of("json", "text"), default="text"),
        Option(name="token", help="Token", metavar="TOKEN", parse=str),
    ],
    session=lambda values: Session(**values),
    help="Buy things.",
    version="1.2.3",
    file=".shop.toml",
)
items = cli.group("items", "What there is.")
raised: list[BaseException] = []


@cli.command("buy", items)
def _buy(session: Session, item: Annotated[str, typer.Argument()], number: int = 1) -> int | None:
    """Buy something."""
    if raised:
        raise raised.pop()
    show(table(("item", "number", "url"), [(f"[{item}]", number, session.url), (None, 0, "")]))
    return cli.failed("sold\nout") if item == "nothing" else None


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("URL", "TIMEOUT", "OUTPUT", "TOKEN"):
        monkeypatch.delenv(f"SHOP_{name}", raising=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "http://flag", "items", "buy", "nut", "--number", "3"],
        ["items", "buy", "nut", "--number", "3", "--url", "http://flag"],
        ["--url", "http://other", "items", "buy", "nut", "--number", "3", "--url", "http://flag"],
    ],
)
def test_options_stand_before_the_command_or_after_it(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert cli.run(arguments) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["item", "number", "url"],
        ["[nut]", "3", "http://flag"],
        ["-", "0"],
    ]


def test_flag_beats_variable_beats_file_beats_default(tmp_path: Path) -> None:
    (tmp_path / ".shop.toml").write_text('url = "http://file"\ntimeout = 3\ntoken = "file"\n')
    environ = {"SHOP_URL": "http://env", "SHOP_TOKEN": "env", "SHOP_TIMEOUT": ""}
    values = cli.settings({"url": "http://flag", "token": None}, environ, tmp_path)
    assert values == {"url": "http://flag", "timeout": 3.0, "output": "text", "token": "env"}
    assert cli.settings({}, {}, tmp_path / "nowhere")["token"] is None


@pytest.mark.parametrize(
    ("flags", "environ", "file", "message"),
    [
        ({"url": "nope"}, {}, "", r"^url \(flag\): 'nope' is no base URL"),
        ({}, {"SHOP_URL": "ftp://x"}, "", r"^url \(SHOP_URL\): 'ftp://x'"),
        ({}, {}, "timeout = 0", r"^timeout \(.*\.shop\.toml\): '0'; must be a number of seconds"),
        ({"timeout": "nan"}, {}, "", "must be a number of seconds"),
        ({"timeout": "soon"}, {}, "", "must be a number of seconds"),
        ({}, {"SHOP_OUTPUT": "xml"}, "", r"^output \(SHOP_OUTPUT\): 'xml'; must be json or text"),
        ({}, {}, "uri = 1", r"shop\.toml: unknown setting 'uri'; there are url, timeout, output, token$"),
        ({}, {}, "= broken", r"shop\.toml cannot be read"),
    ],
)
def test_a_bad_value_is_refused_with_its_origin_and_the_rule(
    tmp_path: Path, flags: dict[str, str | None], environ: dict[str, str], file: str, message: str
) -> None:
    (tmp_path / ".shop.toml").write_text(file)
    with pytest.raises(InvalidInputError, match=message):
        cli.settings(flags, environ, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "error", "code", "told"),
    [
        (["items", "buy"], None, 2, "Missing argument 'item' (see shop --help)"),
        (["items", "sell"], None, 2, "No such command 'sell' (see shop --help)"),
        (["items", "buy", "nut", "--timeout", "-1"], None, 2, "timeout (flag): '-1'; must be a number of seconds"),
        (["items", "buy", "nothing"], None, 1, "sold out"),
        (["items", "buy", "nut"], InvalidInputError("no"), 2, "no"),
        (["items", "buy", "nut"], UnreachableError("gone"), 3, "gone"),
        (["items", "buy", "nut"], ResponseError("POST /", 409, "busy", "later"), 1, "POST / answered 409 busy: later"),
        (["items", "buy", "nut"], ClientError("odd"), 1, "odd"),
        (["items", "buy", "nut"], KeyboardInterrupt(), 130, "interrupted"),
        (["items", "buy", "nut"], typer.Abort(), 130, "interrupted"),
    ],
)
def test_a_failure_is_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], arguments: list[str], error: BaseException | None, code: int, told: str
) -> None:
    raised[:] = [error] if error else []
    assert cli.run(arguments) == code
    shown = capsys.readouterr().err
    assert shown.startswith(f"shop: {told}")
    assert shown.count("\n") == 1


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert (cli.run(["--version"]), capsys.readouterr().out) == (0, "1.2.3\n")
    for arguments, code in ((["--help"], 0), ([], 2)):
        assert cli.run(arguments) == code
        shown: Any = capsys.readouterr()
        assert ("Buy things." in shown.out, shown.err) == (True, "")
