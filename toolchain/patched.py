"""``python patched.py NAME FOLDER [GO]``: the Go module of that name as it is built, in an empty folder.

That is the module's own folder (``engine``, ``docker-plugin``), and copies of some of its dependencies with changes
(``_PATCHES``): a module's file can be replaced in a copy of the module only. A copy is made from what ``go.sum``
vouches for, and a line that is not where it was in the pinned version stops the build. Copies lie within the folder and
are named by relative paths, so that the same source gives the same program wherever it is built.
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


def _analyser(function: str, language: str) -> Mapping[str, str]:
    """Edits by which a language of chroma's gets its analyser when ``function`` is called with the registry."""
    return {
        "func init() { // nolint: gochecknoinits\n": f"func {function}(reg *chroma.LexerRegistry) {{\n",
        f'\tGet("{language}").': f'\treg.Get("{language}").',
        '"\n)\n': '"\n\n\t"github.com/alecthomas/chroma/v2"\n)\n',
    }


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
        # What it reads of the schema itself is there once that is compiled.
        "go/common/workspace/project.go": {"\tcurr := ProjectSchema\n": "\tcurr := ProjectSchema.Compiled()\n"},
    },
)
_ENGINE = _Patch(
    module="github.com/pulumi/pulumi/pkg/v3",
    package="backend",
    edits={
        # One checkpoint for all that has happened since the last.
        "backend/snapshot.go": {
            "\t\t\tvar err error\n\t\t\tif request.mutator() {\n\t\t\t\terr = sm.saveSnapshot()\n"
            "\t\t\t\thasElidedWrites = false\n\t\t\t} else {\n\t\t\t\thasElidedWrites = true\n\t\t\t}\n"
            "\t\t\trequest.result <- err\n\t\tcase <-sm.cancel:\n\t\t\tbreak serviceLoop\n": (
                "\t\t\tvar err error\n\t\t\trequests, save := mutated(request, mutationRequests)\n\t\t\tif save {\n"
                "\t\t\t\terr = sm.saveSnapshot()\n\t\t\t}\n\t\t\thasElidedWrites = !save\n"
                "\t\t\tfor _, request := range requests {\n\t\t\t\trequest.result <- err\n\t\t\t}\n"
                "\t\tcase <-sm.cancel:\n\t\t\tbreak serviceLoop\n"
            ),
        },
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
    added={"group_commit.go": "backend", "derived_key.go": "secrets/passphrase"},
)
# Schemas that are compiled at every start, of which the engine uses one, once, and the plugin none.
_JSONSCHEMA = _Patch(
    module="github.com/santhosh-tekuri/jsonschema/v5",
    package="",
    edits={
        "compiler.go": {
            "// MustCompile is like Compile but panics if the url cannot be compiled to *Schema.\n"
            "// It simplifies safe initialization of global variables holding compiled Schemas.\n"
            "func (c *Compiler) MustCompile(url string) *Schema {\n\ts, err := c.Compile(url)\n\tif err != nil {\n"
            '\t\tpanic(fmt.Sprintf("jsonschema: %#v", err))\n\t}\n\treturn s\n}\n': "",
            "func (c *Compiler) Compile(url string) (*Schema, error) {\n": (
                "func (c *Compiler) Compile(url string) (*Schema, error) {\n\tcompiling.Lock()\n"
                "\tdefer compiling.Unlock()\n\treturn c.compileNow(url)\n}\n\n"
                "func (c *Compiler) compileNow(url string) (*Schema, error) {\n"
            ),
            "\tif d := findDraft(url); d != nil && d.meta != nil {\n\t\treturn d.meta, nil\n": (
                "\tif d := findDraft(url); d != nil && d.metaSchema() != nil {\n\t\treturn d.metaSchema(), nil\n"
            ),
            "\t\t\t\ts.meta = d.meta\n": "\t\t\t\ts.meta = d.metaSchema()\n",
            "validate(r.draft.meta)": "validate(r.draft.metaSchema())",
        },
        "draft.go": {
            "\tmeta         *Schema\n": "\tmeta         *Schema\n\tload         func()\n",
            "func (d *Draft) loadMeta(url, schema string) {\n": (
                "func (d *Draft) loadMeta(url, schema string) {\n\td.load = func() { d.loadNow(url, schema) }\n}\n\n"
                "func (d *Draft) loadNow(url, schema string) {\n"
            ),
            "\td.meta = c.MustCompile(url)\n": "\td.meta = c.mustCompile(url)\n",
        },
        "schema.go": {
            "type Schema struct {\n": "type Schema struct {\n\tlater *whenUsed\n\n",
            '\treturn s.validateValue(v, "")\n': '\treturn s.Compiled().validateValue(v, "")\n',
        },
    },
    added={"when_used.go": ""},
)
# 300 languages and 60 colour schemes that are read at every start, for Markdown on terminals.
_CHROMA = _Patch(
    module="github.com/alecthomas/chroma/v2",
    package="lexers",
    edits={
        "lexers/lexers.go": {
            'import (\n\t"embed"\n\t"io/fs"\n': 'import (\n\t"embed"\n\t"io/fs"\n\t"sync"\n',
            "var GlobalLexerRegistry = func() *chroma.LexerRegistry {\n\treg := chroma.NewLexerRegistry()\n": (
                "var GlobalLexerRegistry = chroma.NewLexerRegistry()\n\n"
                "var loaded = sync.OnceValue(func() *chroma.LexerRegistry {\n\treg := GlobalLexerRegistry\n"
                "\tregistered := reg.Lexers\n\t*reg = *chroma.NewLexerRegistry()\n"
            ),
            "\treturn reg\n}()\n": (
                "\tfor _, lexer := range registered {\n\t\treg.Register(lexer)\n\t}\n"
                "\tanalyseDNS(reg)\n\tanalyseMySQL(reg)\n\tanalyseZed(reg)\n\treturn reg\n})\n"
            ),
            "\treturn GlobalLexerRegistry.Names(withAliases)\n": "\treturn loaded().Names(withAliases)\n",
            "\treturn GlobalLexerRegistry.Get(name)\n": "\treturn loaded().Get(name)\n",
            "\treturn GlobalLexerRegistry.MatchMimeType(mimeType)\n": "\treturn loaded().MatchMimeType(mimeType)\n",
            "\treturn GlobalLexerRegistry.Match(filename)\n": "\treturn loaded().Match(filename)\n",
            "\treturn GlobalLexerRegistry.Analyse(text)\n": "\treturn loaded().Analyse(text)\n",
        },
        # Three that ask for theirs at every start.
        "lexers/dns.go": _analyser("analyseDNS", "dns"),
        "lexers/mysql.go": _analyser("analyseMySQL", "mysql"),
        "lexers/zed.go": _analyser("analyseZed", "Zed"),
        "styles/api.go": {
            '\t"io/fs"\n\t"sort"\n': '\t"io/fs"\n\t"sort"\n\t"sync"\n',
            "var Registry = func() map[string]*chroma.Style {\n\tregistry := map[string]*chroma.Style{}\n": (
                "var Registry = map[string]*chroma.Style{}\n\n"
                "var loaded = sync.OnceValue(func() map[string]*chroma.Style {\n\tregistry := Registry\n"
            ),
            "\treturn registry\n}()\n": "\treturn registry\n})\n",
            'var Fallback = Registry["swapoff"]\n': "var Fallback *chroma.Style\n",
            "\tRegistry[style.Name] = style\n": "\tloaded()[style.Name] = style\n",
            "\tfor name := range Registry {\n": "\tfor name := range loaded() {\n",
            "\tif style, ok := Registry[name]; ok {\n\t\treturn style\n\t}\n": (
                "\tif style, ok := loaded()[name]; ok {\n\t\treturn style\n\t}\n"
                '\tif Fallback == nil {\n\t\treturn loaded()["swapoff"]\n\t}\n'
            ),
        },
    },
)
_PATCHES = {"engine": (_SDK, _ENGINE, _JSONSCHEMA, _CHROMA), "docker-plugin": (_JSONSCHEMA,)}


def main(name: str, folder: Path, go: str = "go") -> None:
    """Fill ``folder``, which is there and empty."""
    shutil.copytree(_HERE / name, folder, copy_function=_copy, dirs_exist_ok=True)
    for patch in _PATCHES[name]:
        copy = Path(_COPIES, *patch.module.split("/")[1:])
        package = f"{patch.module}/{patch.package}".rstrip("/")
        original = _run(folder, go, "list", "-f", "{{.Module.Dir}}", package)
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
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
