from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ephemera.host.branches import current_branch
from ephemera.model.errors import InputError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone on branch ``feature/x`` with one commit."""
    _git(tmp_path, "init", "-q", "-b", "feature/x")
    _git(tmp_path, "-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "--allow-empty", "-m", "first")
    return tmp_path


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_flag_wins_over_everything(repository: Path) -> None:
    variables = {"EPHEMERA_BRANCH": "variable", "GITHUB_HEAD_REF": "pull"}
    assert current_branch(repository, "flag", variables) == "flag"


def test_own_variable_wins_over_those_of_ci(repository: Path) -> None:
    variables = {"EPHEMERA_BRANCH": "variable", "GITHUB_HEAD_REF": "pull"}
    assert current_branch(repository, None, variables) == "variable"


@pytest.mark.parametrize(
    ("variables", "branch"),
    [
        ({"GITHUB_HEAD_REF": "pull", "GITHUB_REF_NAME": "12/merge"}, "pull"),
        ({"GITHUB_HEAD_REF": "", "GITHUB_REF_NAME": "main"}, "main"),
        ({"CI_COMMIT_REF_NAME": "gitlab"}, "gitlab"),
        ({"BUILDKITE_BRANCH": "buildkite"}, "buildkite"),
        ({"CIRCLE_BRANCH": "circle"}, "circle"),
        ({"BITBUCKET_BRANCH": "bitbucket"}, "bitbucket"),
        ({"BRANCH_NAME": "jenkins"}, "jenkins"),
    ],
)
def test_ci_tells_the_branch_of_its_detached_head(repository: Path, variables: dict[str, str], branch: str) -> None:
    assert current_branch(repository, None, variables) == branch


def test_git_tells_the_branch(repository: Path) -> None:
    assert current_branch(repository, None, {}) == "feature/x"
    inside = repository / "a"
    inside.mkdir()
    assert current_branch(inside, None, {}) == "feature/x"


def test_branch_without_a_commit_has_a_name_already(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q", "-b", "fresh")
    assert current_branch(tmp_path, None, {}) == "fresh"


def test_detached_head_is_named_after_its_commit(repository: Path) -> None:
    commit = _git(repository, "rev-parse", "--short", "HEAD")
    _git(repository, "checkout", "-q", "--detach")
    assert current_branch(repository, None, {}) == f"commit-{commit}"


@pytest.mark.parametrize(("given", "variables"), [("", {}), (" ", {}), (None, {"EPHEMERA_BRANCH": ""})])
def test_empty_branch_is_refused_though_git_has_one(
    repository: Path, given: str | None, variables: dict[str, str]
) -> None:
    with pytest.raises(InputError, match="branch name is empty"):
        current_branch(repository, given, variables)


def test_folder_that_is_no_clone_needs_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match="is on no branch: give one with --branch"):
        current_branch(tmp_path, None, {})


def test_machine_without_git_needs_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="is on no branch"):
        current_branch(tmp_path, None, {})
