"""``python patched.py FOLDER [GO]``: the engine's Go module as it is built, in an empty folder.

That is ``engine/``, and copies of some of its dependencies with changes (``_PATCHES``): a module's file can be replaced
in a copy of the module only. A copy is made from what ``go.sum`` vouches for, and a line that is not where it was in
the pinned version stops the build. Copies lie within the folder and are named by relative paths, so that the same
source gives the same program wherever it is built.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_COPIES = "patched"


@dataclass(frozen=True, kw_only=True)
class _Patch:
    """``package``: one of the module's, by which it is found; ``edits``: in which of its files which lines become what,
    each of them there once; ``added``: the folder that a file of ``patches/`` is put into."""

    module: str
    package: str
    edits: Mapping[str, Mapping[str, str]]
    added: Mapping[str, str] = field(default_factory=dict)


_SDK = _Patch(
    module="github.com/pulumi/pulumi/sdk/v3",
    package="go/common/resource/config",
    edits={
        # No debug log of a run, of the engine's and the plugins' words: neither its folder, nor the server for theirs.
        "go/common/workspace/paths.go": {
            "func GetPulumiPath(elem ...string) (string, error) {\n": (
                "func GetPulumiPath(elem ...string) (string, error) {\n"
                '\tif len(elem) == 1 && elem[0] == "logs" {\n'
                '\t\treturn "", fmt.Errorf("this engine keeps no logs")\n'
                "\t}\n"
            ),
        },
        # No `git status` before every run: nobody asks of an environment that goes again what the checkout was like.
        "go/common/util/gitutil/git.go": {
            "func GetGitRepository(dir string) (*git.Repository, error) {\n": (
                "func GetGitRepository(dir string) (*git.Repository, error) {\n\tif true {\n\t\treturn nil, nil\n\t}\n"
            ),
        },
        "go/common/util/cmdutil/trace.go": {
            '\tif endpoint == "" && logExporter == nil {\n': '\tif endpoint == "" {\n',
        },
    },
)
_ENGINE = _Patch(
    module="github.com/pulumi/pulumi/pkg/v3",
    package="backend",
    edits={
        # A key derived from our own passphrase is kept once it has decrypted the salt's verifier.
        "secrets/passphrase/manager.go": {
            "\tdecrypter := config.NewSymmetricCrypterFromPassphrase(phrase, salt)\n": (
                '\tif kept, ok := keptCrypter(phrase, salt, state[indexN(state, ":", 2)+1:]); ok {\n'
                "\t\treturn kept, nil\n\t}\n"
                "\tkey := derive(phrase, salt)\n\tdecrypter := config.NewSymmetricCrypter(key)\n"
            ),
            "\treturn decrypter, nil\n": "\tkeepKey(phrase, salt, key)\n\treturn decrypter, nil\n",
            "\tcrypter := config.NewSymmetricCrypterFromPassphrase(phrase, salt)\n": (
                "\tkey := derive(phrase, salt)\n\tkeepKey(phrase, salt, key)\n"
                "\tcrypter := config.NewSymmetricCrypter(key)\n"
            ),
        },
        # No copy of each checkpoint before the next, which takes its place in one step, where nobody wants backups.
        "backend/diy/state.go": {
            "\tbackupFile = backupTarget(ctx, b.bucket, file, true)\n": (
                "\tif !b.Env.GetBool(env.DIYBackendDisableCheckpointBackups) {\n"
                "\t\tbackupFile = backupTarget(ctx, b.bucket, file, true)\n\t}\n"
            ),
        },
    },
    added={"derived_key.go": "secrets/passphrase"},
)
_PATCHES = (_SDK, _ENGINE)


def main(folder: Path, go: str = "go") -> None:
    """Fill ``folder``, which is there and empty."""
    shutil.copytree(_HERE / "engine", folder, copy_function=_copy, dirs_exist_ok=True)
    for patch in _PATCHES:
        copy = Path(_COPIES, *patch.module.split("/")[1:])
        original = _run(folder, go, "list", "-f", "{{.Module.Dir}}", f"{patch.module}/{patch.package}")
        # Neither tests nor what they need: half of the engine's module.
        ignored = shutil.ignore_patterns("*_test.go", "testdata")
        shutil.copytree(original, folder / copy, ignore=ignored, copy_function=_copy)
        for file, edits in patch.edits.items():
            _edit(folder / copy / file, edits, patch.module)
        for file, where in patch.added.items():
            _copy(str(_HERE / "patches" / file), str(folder / copy / where / file))
        _run(folder, go, "mod", "edit", f"-replace={patch.module}=./{copy.as_posix()}")


def _edit(file: Path, edits: Mapping[str, str], module: str) -> None:
    text = file.read_text()
    for old, new in edits.items():
        times = text.count(old)
        if times != 1:
            raise SystemExit(f"{file.name} of {module} is not what it was: {old.strip()!r} is there {times} times")
        text = text.replace(old, new)
    file.write_text(text)


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)  # not its mode: the module cache is read-only


def _run(folder: Path, go: str, *arguments: str) -> str:
    done = subprocess.run([go, *arguments], cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stdout.strip() or f"`go {' '.join(arguments)}` ended with {done.returncode}")
    return done.stdout.strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
