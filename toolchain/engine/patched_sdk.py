"""``python patched_sdk.py FOLDER [GO]``: what the engine is built with besides what lies here.

Makes Pulumi's Go SDK, with derived keys remembered (``_sdk/derived_key.go``) and without debug logs, and a
``go.mod`` and ``go.sum`` that put it in the place of the published one. A module's file can be replaced in a copy of
the module only. The copy is made from what ``go.sum`` vouches for, and a line that is not where it was in the pinned
version stops the build.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_SDK = "github.com/pulumi/pulumi/sdk/v3"
# In which file of the SDK which lines become what.
_EDITS = {
    "go/common/resource/config/crypt.go": {
        "\tkey := pbkdf2.Key([]byte(phrase), salt, 1000000, SymmetricCrypterKeyBytes, sha256.New)\n": (
            "\tkey := derivedKey(phrase, salt)\n"
        ),
        '\t"golang.org/x/crypto/pbkdf2"\n': "",
        '\t"crypto/sha256"\n': "",
    },
    # No debug log of every run, of the engine's and the plugins' words: neither its folder, nor the server for theirs.
    "go/common/workspace/paths.go": {
        "func GetPulumiPath(elem ...string) (string, error) {\n": (
            "func GetPulumiPath(elem ...string) (string, error) {\n"
            '\tif len(elem) == 1 && elem[0] == "logs" {\n'
            '\t\treturn "", fmt.Errorf("this engine keeps no logs")\n'
            "\t}\n"
        ),
    },
    # No `git status` before every run: what the checkout is like is nobody's to know of an environment that goes again.
    "go/common/util/gitutil/git.go": {
        "func GetGitRepository(dir string) (*git.Repository, error) {\n": (
            "func GetGitRepository(dir string) (*git.Repository, error) {\n\tif true {\n\t\treturn nil, nil\n\t}\n"
        ),
    },
    "go/common/util/cmdutil/trace.go": {
        '\tif endpoint == "" && logExporter == nil {\n': '\tif endpoint == "" {\n',
    },
}
_ADDED = "go/common/resource/config/derived_key.go"


def main(folder: Path, go: str = "go") -> None:
    """Make ``sdk/``, ``go.mod`` and ``go.sum`` in ``folder``."""
    listed = _run(go, "list", "-f", "{{.Module.Dir}}", f"{_SDK}/go/common/resource/config")
    copy = folder / "sdk"
    shutil.copytree(listed, copy, ignore=shutil.ignore_patterns("*_test.go"), copy_function=_copy)
    for name, edits in _EDITS.items():
        _edit(copy / name, edits)
    shutil.copyfile(_HERE / "_sdk" / Path(_ADDED).name, copy / _ADDED)
    for name in ("go.mod", "go.sum"):
        shutil.copyfile(_HERE / name, folder / name)
    replacements = [f"-replace={_SDK}={copy}"]
    for line in (_HERE / "go.mod").read_text().splitlines():
        old, arrow, new = line.strip().partition(" => ./")
        if arrow:  # relative to go.mod's folder, which is another one now
            replacements.append(f"-replace={old.removeprefix('replace ')}={_HERE / new}")
    _run(go, "mod", "edit", *replacements, str(folder / "go.mod"))


def _edit(file: Path, edits: dict[str, str]) -> None:
    text = file.read_text()
    for old, new in edits.items():
        times = text.count(old)
        if times != 1:
            raise SystemExit(f"{file.name} of {_SDK} is not what it was: {old.strip()!r} is there {times} times")
        text = text.replace(old, new)
    file.write_text(text)


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)  # not its mode: the module cache is read-only


def _run(go: str, *arguments: str) -> str:
    done = subprocess.run([go, *arguments], cwd=_HERE, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stdout.strip() or f"`go {' '.join(arguments)}` ended with {done.returncode}")
    return done.stdout.strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
