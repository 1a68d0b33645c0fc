from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from ephemera.model.errors import InputError
from ephemera.model.variables import dotenv_line, export_line, variable

_ODD = (
    "",
    " ",
    "  lead and trail  ",
    "$HOME ${HOME} $$ $(id) ${HOME:-x} ${ ${} $${HOME}",
    "100%s %d %(x)s %%",
    """it's "quoted" `tick` \\ back""",
    "ends in a backslash\\",
    "two\\\\",
    "\\'",
    "\\n is no line feed",
    "a=b=c",
    "first\nsecond\n",
    "carriage\rreturn\r\nand \\ \" ' ${HOME}\r",
    "# no comment",
    "a # no comment",
    "grüße 🎉 \u2028 \x85",
    "a\tb\x0b\x0c",
    "\ufeff",
    "export X=1",
    "\x1b[31mred\x1b[0m",
)
# All that a variable can hold; more often what means something to a reader.
_MEANINGFUL = st.sampled_from("'\"\\$`{}:-=# \t\n\r!&;aHOME")
_VALUES = st.text(alphabet=st.one_of(_MEANINGFUL, st.characters(codec="utf-8", exclude_characters="\0")))


def _from_file(folder: Path, values: dict[str, str]) -> dict[str, str | None]:
    path = folder / ".env"
    path.write_bytes("".join(f"{dotenv_line(*pair)}\n" for pair in values.items()).encode())
    return dotenv_values(path)


@pytest.mark.parametrize("value", _ODD)
def test_dotenv_reads_it_back(tmp_path: Path, value: str) -> None:
    values = {"BEFORE": "ends \\", "VALUE": value, "AFTER": "it's"}
    assert _from_file(tmp_path, values) == values


@given(st.lists(_VALUES, min_size=1, max_size=4))
def test_dotenv_reads_all_back(values: list[str]) -> None:
    named = {f"V{at}": value for at, value in enumerate(values)}
    written = "".join(f"{dotenv_line(*pair)}\n" for pair in named.items())
    # As from a file: there, a carriage return is read as a line feed.
    read = io.TextIOWrapper(io.BytesIO(written.encode()), encoding="utf-8")
    assert dotenv_values(stream=read) == named


def _by_shell(values: dict[str, str]) -> dict[str, str]:
    lines = "".join(f"{export_line(*pair)}\n" for pair in values.items())
    script = f'{lines}for name in {" ".join(values)}; do eval "printf \'%s\\\\000\' \\"\\$$name\\""; done'
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=10)
    return dict(zip(values, done.stdout.decode().split("\0"), strict=False))


def test_shell_reads_it_back() -> None:
    values = {f"V{at}": value for at, value in enumerate(_ODD)}
    assert _by_shell(values) == values


@given(st.lists(_VALUES, min_size=20, max_size=20))
def test_shell_reads_all_back(values: list[str]) -> None:
    named = {f"V{at}": value for at, value in enumerate(values)}
    assert _by_shell(named) == named


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_what_no_variable_can_hold_is_refused(value: str) -> None:
    for written in (dotenv_line, export_line):
        with pytest.raises(InputError, match=r"WEB_KEY .* cannot be a variable: use --format json"):
            written("WEB_KEY", value)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("web", "api.key"), "WEB_API_KEY"),
        (("web-2", "my pass"), "WEB_2_MY_PASS"),
        (("2fa", "token"), "_2FA_TOKEN"),
        (("web", "größe"), "WEB_GR_SSE"),
        (("web", "a\nb"), "WEB_A_B"),
        (("web", ""), "WEB_"),
    ],
)
def test_every_name_becomes_a_variables(words: tuple[str, ...], name: str) -> None:
    assert variable(*words) == name


@given(st.lists(st.text(max_size=5), min_size=1, max_size=20))
def test_names_are_a_variables_and_differ(words: list[str]) -> None:
    taken: set[str] = set()
    for word in words:
        name = variable(word, taken=taken)
        assert re.fullmatch(r"[A-Z_][A-Z0-9_]*", name)
        assert name not in taken
        taken.add(name)
