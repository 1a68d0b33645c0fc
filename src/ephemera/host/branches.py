"""Which branch an environment is for: flag, CI variables, git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ephemera.host import surroundings
from ephemera.model.errors import InputError

# The documented variables of the CI systems that check out a detached HEAD; pull requests before pushes.
_CI_VARIABLES = (
    "GITHUB_HEAD_REF",
    "GITHUB_REF_NAME",
    "CI_COMMIT_REF_NAME",
    "BUILDKITE_BRANCH",
    "CIRCLE_BRANCH",
    "BITBUCKET_BRANCH",
    "DRONE_BRANCH",
    "SEMAPHORE_GIT_BRANCH",
    "BRANCH_NAME",
)


def current_branch(project: Path, given: str | None, environment: Mapping[str, str] | None = None) -> str:
    """Return the branch: ``given``, ``EPHEMERA_BRANCH``, a CI variable, git's, or ``commit-<id>`` if HEAD is detached.

    Raises :class:`InputError` if it is empty, or there is none.
    """
    environment = surroundings.variables() if environment is None else environment
    chosen = given if given is not None else environment.get("EPHEMERA_BRANCH")
    if chosen is not None:
        if not chosen.strip():
            raise InputError("the branch name is empty", remedy="give one with --branch, or check out a branch")
        return chosen
    for variable in _CI_VARIABLES:
        if environment.get(variable):
            return environment[variable]
    if branch := _git(project, "symbolic-ref", "--short", "--quiet", "HEAD"):
        return branch
    if commit := _git(project, "rev-parse", "--short", "HEAD"):
        return f"commit-{commit}"
    raise InputError(f"{project} is on no branch", remedy="give one with --branch NAME")


def branch_variables() -> tuple[str, ...]:
    """Return the names of the variables that may name the branch."""
    return ("EPHEMERA_BRANCH", *_CI_VARIABLES)


def _git(project: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(project), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=surroundings.variables(),
            cwd=os.sep,  # git reads its own working directory first, which may be gone
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
