"""``python build.py FOLDER [GO]``: build Pulumi's engine, its language host and the Docker plugin into a new folder.

All three come from one Go module, so that a package that several of them use is compiled once. It is built in a copy,
next to copies of some of its dependencies with changes (``_PATCHES``): a file of a module can be replaced in a copy of
the module only. A copy is made of files that ``go.sum`` vouches for, and a line that is not where it was in the pinned
version stops the build. The copies are named by relative paths, so that the same source gives the same programs
wherever it is built.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_PLUGIN, _HOST = "pulumi-resource-docker", "pulumi-language-python"
_MODULE = "github.com/ephemera-environments/ephemera/toolchain"
_SDK_MODULE, _ENGINE_MODULE = "github.com/pulumi/pulumi/sdk/v3", "github.com/pulumi/pulumi/pkg/v3"
# All that Go reads of these makes another program of the same source; what they are by default is Go's release's.
_FIXED = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "GOTOOLCHAIN": "local", "GOEXPERIMENT": ""}
_BY_DEFAULT = ("GOAMD64", "GOARM64", "GOFIPS140")


@dataclass(frozen=True, kw_only=True)
class _Patch:
    """A copy of a module's ``folder``, which ``replaces`` a module. ``version``: the one in ``go.mod`` unless given;
    ``edits``: in which of its files which lines become what, each of them there once; ``added``: the folder that a file
    of ``patches/`` is put into."""

    module: str
    copy: str
    replaces: str = ""
    version: str = ""
    folder: str = ""
    edits: Mapping[str, Mapping[str, str]]
    added: Mapping[str, str] = field(default_factory=dict)


_SDK = _Patch(
    module=_SDK_MODULE,
    replaces=_SDK_MODULE,
    copy="patched/sdk",
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
        # No `git status` before every run: an environment's history goes with it.
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
    module=_ENGINE_MODULE,
    replaces=_ENGINE_MODULE,
    copy="patched/pkg",
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
        # No copy of each checkpoint before the next takes its place, where backups are switched off.
        "backend/diy/state.go": {
            "\tbackupFile = backupTarget(ctx, b.bucket, file, true)\n": (
                "\tif !b.Env.GetBool(env.DIYBackendDisableCheckpointBackups) {\n"
                "\t\tbackupFile = backupTarget(ctx, b.bucket, file, true)\n\t}\n"
            ),
        },
    },
    added={"derived_key.go": "secrets/passphrase"},
)
# The language host calls today's SDK, some of whose interfaces have changed.
_LANGUAGE_HOST = _Patch(
    module=_SDK_MODULE,
    version="v3.79.0",  # the last release with the language host: its module of today is not published
    folder="python",
    copy="language-host",
    edits={
        f"cmd/{_HOST}/main.go": {
            f'"{_SDK_MODULE}/python"\n': f'"{_MODULE}/language-host"\n',
            "About(ctx context.Context, req *pbempty.Empty)": "About(ctx context.Context, req *pulumirpc.AboutRequest)",
            '\tif logging.V(5) {\n\t\tcommandStr := strings.Join(arg, " ")\n': (
                '\tif logging.V(5).Enabled() {\n\t\tcommandStr := strings.Join(arg, " ")\n'
            ),
            '\tif logging.V(5) {\n\t\tcommandStr := strings.Join(args, " ")\n': (
                '\tif logging.V(5).Enabled() {\n\t\tcommandStr := strings.Join(args, " ")\n'
            ),
            "\tif logging.V(9) {\n": "\tif logging.V(9).Enabled() {\n",
        },
    },
)
# No builders in Kubernetes, whose client is a sixth of all that would be compiled.
_UPSTREAM = _Patch(
    module="github.com/kreuzwerker/terraform-provider-docker",
    replaces="github.com/terraform-providers/terraform-provider-docker",
    copy="patched/upstream",
    edits={
        f"internal/provider/{file}.go": {'\t_ "github.com/docker/buildx/driver/kubernetes"\n': ""}
        for file in ("docker_buildx_build", "resource_docker_buildx_builder")
    },
)
_PATCHES = (_SDK, _ENGINE, _LANGUAGE_HOST, _UPSTREAM)


def main(target: Path, go: str = "go") -> None:
    """Make ``target``: engine and language host in ``bin/``, the plugin in ``home/``, which is a ``PULUMI_HOME``."""
    version = _stated(_HERE / "docker-plugin" / "provider.go", r'Version = "(.+)"')
    ldflags = f"-s -w -X {_SDK_MODULE}/go/common/version.Version={_pinned(_ENGINE_MODULE)}"
    programs = {
        f"{_ENGINE_MODULE}/cmd/pulumi": target / "bin" / "pulumi",
        f"./{_LANGUAGE_HOST.copy}/cmd/{_HOST}": target / "bin" / _HOST,
        f"./docker-plugin/cmd/{_PLUGIN}": target / "home" / "plugins" / f"resource-docker-v{version}" / _PLUGIN,
    }
    with tempfile.TemporaryDirectory(prefix="ephemera-toolchain-") as scratch:
        source, built = Path(scratch, "source"), Path(scratch, "built")
        _copy_sources(source, go)
        # -v: names each package as it is compiled, which is all the progress that Go has to show.
        flags = ["-v", "-trimpath", "-tags", "no_compose", "-ldflags", ldflags, "-o", f"{built}{os.sep}"]
        _run(source, go, "build", *flags, *programs)
        for place in programs.values():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(built / place.name, place)
        script = target / "bin" / f"{_HOST}-exec"
        shutil.copyfile(source / _SDK.copy / "python" / "cmd" / script.name, script)
        script.chmod(0o755)


def _copy_sources(folder: Path, go: str) -> None:
    """Copy our module, and the patched copies of others, to ``folder``."""
    shutil.copytree(_HERE, folder, ignore=shutil.ignore_patterns("compose", "*.py"))
    for patch in _PATCHES:
        version = patch.version or _pinned(patch.module)
        # Compares what is downloaded, or was, with go.sum.
        original = json.loads(_run(folder, go, "mod", "download", "-json", f"{patch.module}@{version}"))["Dir"]
        # Neither tests nor what they need: half of the engine's module.
        ignored = shutil.ignore_patterns("*_test.go", "testdata")
        copy = folder / patch.copy
        # Without modes: the module cache is read-only.
        shutil.copytree(Path(original, patch.folder), copy, ignore=ignored, copy_function=shutil.copyfile)
        for file, edits in patch.edits.items():
            _edit(copy / file, edits, patch.module)
        for file, where in patch.added.items():
            (copy / where).chmod(0o755)
            shutil.copyfile(_HERE / "patches" / file, copy / where / file)
        if patch.replaces:
            _run(folder, go, "mod", "edit", f"-replace={patch.replaces}=./{patch.copy}")


def _edit(file: Path, edits: Mapping[str, str], module: str) -> None:
    text = file.read_text()
    for old, new in edits.items():
        times = text.count(old)
        if times != 1:
            raise SystemExit(f"{file.name} of {module} is not what it was: {old.strip()!r} is there {times} times")
        text = text.replace(old, new)
    file.write_text(text)


def _pinned(module: str) -> str:
    return _stated(_HERE / "go.mod", rf"{re.escape(module)} (v\S+)")


def _stated(file: Path, pattern: str) -> str:
    if (found := re.search(pattern, file.read_text())) is None:
        raise SystemExit(f"{file} states no {pattern}")
    return found[1]


def _run(folder: Path, go: str, *arguments: str) -> str:
    variables = {name: value for name, value in os.environ.items() if name not in _BY_DEFAULT}
    done = subprocess.run(
        [go, *arguments], cwd=folder, env={**variables, **_FIXED}, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(done.stdout.strip() or f"`go {' '.join(arguments)}` ended with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
