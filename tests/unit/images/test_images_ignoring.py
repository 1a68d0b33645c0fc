"""``.dockerignore``, as Docker reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ephemera.images.context import Ignored, files
from ephemera.model.errors import InputError

_FILES = (
    "Dockerfile",
    "README.md",
    "a/b/c.py",
    "a/b/keep.py",
    "a/c.pyc",
    "node_modules/x/keep.py",
    "node_modules/x/y.js",
    "x+y/(z).txt",
    "[odd]/f",
)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in _FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def _files(context: Path, text: str, name: str = ".dockerignore") -> set[str]:
    (context / name).write_text(text)
    return {path for path, source in files(context, "Dockerfile").items() if not source.is_dir()} - {name, "Dockerfile"}


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("", set()),
        ("# a/b\n\n   \n", set()),
        ("\ufeff/README.md", {"README.md"}),
        ("  ./a/../README.md/  \r\n", {"README.md"}),
        ("a/b/", {"a/b/c.py", "a/b/keep.py"}),
        ("*.py", set()),
        ("**/*.py", {"a/b/c.py", "a/b/keep.py", "node_modules/x/keep.py"}),
        ("**/README.md", {"README.md"}),
        ("a/**", {"a/b/c.py", "a/b/keep.py", "a/c.pyc"}),
        ("a/?.py[cod]", {"a/c.pyc"}),
        ("a/[^b].pyc", {"a/c.pyc"}),
        ("x+y/(z).txt", {"x+y/(z).txt"}),
        (r"\[odd\]", {"[odd]/f"}),
        (r"\README.md", {"README.md"}),
        ("a/*/keep.py", {"a/b/keep.py"}),
        ("a\n!a/b/keep.py", {"a/b/c.py", "a/c.pyc"}),
        ("!a/b/keep.py\na", {"a/b/c.py", "a/b/keep.py", "a/c.pyc"}),
        ("a\n! a/b", {"a/c.pyc"}),
        ("*\n!**/keep.py", {"README.md", "a/b/c.py", "a/c.pyc", "node_modules/x/y.js", "x+y/(z).txt", "[odd]/f"}),
        ("A/B", set()),
        (".", set()),
    ],
)
def test_patterns(context: Path, text: str, left_out: set[str]) -> None:
    assert set(_FILES) - {"Dockerfile"} - _files(context, text) == left_out


def test_file_of_the_dockerfiles_own_wins(context: Path) -> None:
    (context / ".dockerignore").write_text("*\n")
    assert _files(context, "a\n", "Dockerfile.dockerignore") == {
        ".dockerignore", "README.md", "node_modules/x/keep.py", "node_modules/x/y.js", "x+y/(z).txt", "[odd]/f",
    }  # fmt: skip


def test_ignored_folder_is_not_entered_where_no_exception_can_be_below(context: Path) -> None:
    (context / ".dockerignore").write_text("node_modules\na\n!a/b/keep.py\n")
    ignored = Ignored(context, "Dockerfile")
    assert ignored.all_below("node_modules")
    assert not ignored.all_below("a")
    assert not ignored.all_below("a/b")


@pytest.mark.parametrize("text", ["a[", "!"])
def test_pattern_that_is_none_is_refused(context: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"\.dockerignore: '.*' (is not a pattern|names nothing)"):
        _files(context, text)


@pytest.mark.parametrize("name", [".dockerignore", "Dockerfile.dockerignore"])
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_regular_file_is_refused_and_not_opened(context: Path, name: str, linked: bool) -> None:
    (context / "Dockerfile").write_text("FROM x\n")
    os.mkfifo(context / ("pipe" if linked else name))
    if linked:
        (context / name).symlink_to("pipe")
    with pytest.raises(InputError, match=rf"/{name} is not a regular file: make it one"):
        files(context, "Dockerfile")


def test_link_that_leads_nowhere_ignores_nothing(context: Path) -> None:
    (context / "Dockerfile").write_text("FROM x\n")
    (context / ".dockerignore").symlink_to("nowhere")
    assert "README.md" in files(context, "Dockerfile")
