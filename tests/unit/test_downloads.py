"""What is downloaded is compared with a hash, or has a signature: docs/security.md names it, this finds the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("src", "images", "toolchain", "components", "stacks", "services", "benchmarks", ".github")
_FETCHING = re.compile(
    r"urlopen|urlretrieve|\bcurl +-|\bwget +|PulumiCommand\.install|plugin[\", ]+install|ADD +https?:"
)
_CHECKED = {"images/opensearch/fetch.py"}
"""It compares with its lock."""


def _files(*patterns: str) -> list[Path]:
    found = (path for folder in _SOURCES for pattern in patterns for path in (_ROOT / folder).rglob(pattern))
    return sorted(path for path in found if not {".ephemera", "node_modules", "tests"} & set(path.parts))


def _named(path: Path) -> str:
    return str(path.relative_to(_ROOT))


def _locks() -> list[Path]:
    return sorted([*_files("requirements*.txt"), *_ROOT.glob("requirements*.txt")])


def _workflows() -> list[Path]:
    return sorted((_ROOT / ".github" / "workflows").glob("*.yml"))


def _commands(dockerfile: str) -> Iterator[str]:
    """Each command of a Dockerfile's RUN lines, on one line."""
    for line in dockerfile.replace("\\\n", " ").splitlines():
        yield from line.split("&&")


def test_nothing_fetches_but_what_compares() -> None:
    found = {
        _named(path)
        for path in _files("*.py", "*.sh", "Dockerfile", "*.yml", "*.go")
        if _FETCHING.search(path.read_text())
    }
    assert found == _CHECKED
    assert "hashlib.sha256(content)" in (_ROOT / "images/opensearch/fetch.py").read_text()


@pytest.mark.parametrize("lock", _locks(), ids=_named)
def test_every_package_is_locked_with_a_hash(lock: Path) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n?", "", lock.read_text()).strip())
    assert [entry for entry in entries if not re.search(r"==.*--hash=sha256:[0-9a-f]{64}", entry, re.DOTALL)] == []


def test_pip_installs_by_hash_only() -> None:
    installs = [
        (_named(path), command)
        for path in _files("Dockerfile", "install-requirements")
        for command in _commands(path.read_text())
        if re.search(r"\bpip\b.* install\b", command)
    ]
    assert installs
    assert [install for install in installs if "--require-hashes" not in install[1]] == []


def test_every_jar_has_a_hash() -> None:
    lines = (_ROOT / "images" / "opensearch" / "jars.lock").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[0-9a-f]{64}  \S+\.jar", line)] == []


def test_every_module_that_is_built_has_its_sums() -> None:
    modules = sorted((_ROOT / "toolchain").glob("*/go.mod"))  # those beneath are theirs, and locked with them
    assert modules
    assert [_named(path) for path in modules if not path.with_name("go.sum").is_file()] == []


def test_workflows_name_actions_by_commit() -> None:
    used = [line for path in _workflows() for line in path.read_text().splitlines() if "uses:" in line]
    assert used
    assert [line for line in used if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)] == []


def test_workflows_keep_no_token_in_the_checkout() -> None:
    for path in _workflows():
        text = path.read_text()
        assert text.count("actions/checkout@") == text.count("persist-credentials: false"), path
        assert "\npermissions:\n  contents: read\n" in text
