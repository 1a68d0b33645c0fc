"""A project and the Pulumi state of its stacks: where they are, and the process environment that Pulumi runs in."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ephemera.docker import connection
from ephemera.home import documents, identity
from ephemera.home.documents import write_whole
from ephemera.home.paths import state_dir
from ephemera.host import surroundings
from ephemera.host.files import text_of
from ephemera.host.fingerprint import Files
from ephemera.model.catalog import Catalog
from ephemera.model.errors import InputError, MachineError
from ephemera.model.settings import LIST_KEYS, NAMESPACE, Ciphertext, refuse_secret
from ephemera.model.system import find_project
from ephemera.pulumi.project_catalog import ProjectCatalog
from ephemera.setup.toolchain import located, steers, unsteered

# Four times as fast, where the library was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

# Engine and plugin live for a second each: by the time a collection of theirs is done, so are they.
_COLLECT_LATE = {"GOGC": "off", "GOMEMLIMIT": "128MiB"}
_SECURE = "secure"


@dataclass(frozen=True)
class Workspace:
    """One project, by its folder. ``named``: its name, where the folder may be gone: a stack outlives its checkout."""

    project: Path
    named: str | None = None

    @staticmethod
    def find(start: Path | None = None) -> Workspace:
        """Return the project that ``start`` (the working directory) is in."""
        return Workspace(find_project((start or surroundings.folder()).resolve()))

    @cached_property
    def catalog(self) -> Catalog:
        """The project's systems."""
        return ProjectCatalog(self.project, self._any_config, self.files)

    @cached_property
    def files(self) -> Files:
        """Files that decide what is made, as they are when they are first looked at."""
        return Files()

    def _any_config(self) -> dict[str, str]:
        """Return config that programs may read: of the project, and of any stack. It reaches none of them."""
        found: dict[str, str] = {}
        for file in (self.project / "Pulumi.yaml", *sorted(self.project.glob("Pulumi.*.yaml"))):
            with suppress(InputError):  # commands of its own stack say so
                for key, value in _config(file, read_yaml(file)).items():
                    if isinstance(value, dict):
                        value = next((value[each] for each in ("value", "default", _SECURE) if each in value), "")
                    name = key if ":" in key else f"{self.name}:{key}"
                    if not name.startswith(f"{NAMESPACE}:"):
                        found[name] = value if isinstance(value, str) else json.dumps(value, default=str)
        return found

    @cached_property
    def name(self) -> str:
        """The project's name in Pulumi, from ``Pulumi.yaml``."""
        if self.named is not None:
            return self.named
        document = read_yaml(self.project / "Pulumi.yaml")
        name = document.get("name")
        if not isinstance(name, str):
            raise InputError(f"{self.project / 'Pulumi.yaml'} has no name", remedy="give the project one: `name: shop`")
        return name

    def environment(self) -> dict[str, str]:
        """Return variables that make ``pulumi`` use this machine's engine, plugin, state and passphrase, without the
        user's own that would steer it."""
        variables, inherited = self._pulumi(), unsteered(surroundings.variables())
        return {
            **_COLLECT_LATE,
            **inherited,
            **variables,
            **connection.variables(),
            "PATH": os.pathsep.join((variables["PATH"], inherited.get("PATH", ""))),
            "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
            **_no_proxy(inherited),
        }

    def exported(self) -> dict[str, str]:
        """Return the variables alone, for a shell; ``PATH`` holds only what goes in front."""
        return {**self._pulumi(), **connection.exported(), **_no_proxy(surroundings.variables())}

    def unset(self) -> list[str]:
        """Return variables of this process's environment that would steer ``pulumi``, for a shell to unset."""
        ours, found = self.exported(), surroundings.variables()
        # A shell knows of no variable with another name.
        return sorted(name for name in found if steers(name) and name not in ours and name.isidentifier())

    def _pulumi(self) -> dict[str, str]:
        toolchain = located()
        # The language host takes the interpreter from PATH: it must be the one that has ephemera.
        folders = [Path(sys.executable).parent, toolchain.bin_dir]
        return {
            **_person(),
            "PATH": os.pathsep.join(str(folder) for folder in folders),
            "PULUMI_HOME": str(toolchain.pulumi_home),
            "PULUMI_BACKEND_URL": identity.backend_url(),
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(identity.passphrase_file()),
            "EPHEMERA_DERIVED_KEYS": str(identity.derived_keys_dir()),
            "EPHEMERA_DERIVED_KEYS_PASSPHRASE": str(identity.passphrase_file()),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
        }

    def state_file(self, stack: str) -> Path:
        """Return the file of the stack's state, in the file backend."""
        return self._state / "stacks" / self.name / f"{stack}.json"

    def config_file(self, stack: str) -> Path:
        """Return the file of the stack's config, in the checkout."""
        return self.project / f"Pulumi.{stack}.yaml"

    def stacks(self) -> list[str]:
        """Return every stack of the project that has state."""
        return sorted(path.stem for path in (self._state / "stacks" / self.name).glob("*.json"))

    def exists(self, stack: str) -> bool:
        """Return whether the stack has state."""
        return self.state_file(stack).is_file()

    def create(self, stack: str) -> None:
        """Give the stack a state without resources, as ``pulumi stack init`` does in a process of its own."""
        if not self.exists(stack):
            document = {"version": 3, "checkpoint": {"stack": f"organization/{self.name}/{stack}"}}
            write_whole(self.state_file(stack), json.dumps(document))

    def prepare_backend(self) -> None:
        """Write the backend's own file, without which Pulumi takes its folder for one of before stacks had projects.

        One that Pulumi could not read would keep every stack from coming up: it is set aside.
        """
        path = self._state / "meta.yaml"
        try:
            version = read_yaml(path).get("version")
            why = f"its version is {version!r}"
        except InputError as error:
            version, why = None, str(error)
        if type(version) is int and version > 0:
            return
        documents.set_aside(path, why)
        write_whole(path, "version: 1\n")

    def share_salt(self, stack: str) -> None:
        """Have new stacks use the salt of this one, if the engine keeps its key already: our passphrase is random, and
        needs no salt of each stack's own."""
        salt = read_yaml(self.config_file(stack)).get("encryptionsalt")
        if isinstance(salt, str) and not identity.salt_file().exists() and identity.fits_passphrase(salt):
            write_whole(identity.salt_file(), salt)

    def read_config(self, stack: str) -> dict[str, str]:
        """Return the stack's config of this product: key without namespace → text, a :class:`Ciphertext` if secret."""
        path = self.config_file(stack)
        config = _config(path, read_yaml(path))
        prefix = f"{NAMESPACE}:"
        found = {key.removeprefix(prefix): _text(value) for key, value in config.items() if key.startswith(prefix)}
        refuse_secret(key for key, text in found.items() if isinstance(text, Ciphertext))
        return found

    def write_config(self, stack: str, values: Mapping[str, str]) -> None:
        """Set the stack's config of this product; everything else in the file (salt, other providers') stays."""
        path = self.config_file(stack)
        document = read_yaml(path)
        others = {key: value for key, value in _config(path, document).items() if not key.startswith(f"{NAMESPACE}:")}
        document["config"] = others | {f"{NAMESPACE}:{key}": _value(key, text) for key, text in values.items()}
        if not self.exists(stack) and identity.salt_file().exists():
            document.setdefault("encryptionsalt", identity.salt_file().read_text())
        write_whole(path, yaml.dump(document, Dumper=_DUMPER, sort_keys=True), mode=0o666)

    def forget(self, stack: str) -> None:
        """Remove all records of a stack whose objects are gone: state, locks, history, config."""
        folders = [self._state / folder / self.name for folder in ("stacks", "history", "backups")]
        folders.append(self._state / "locks" / "organization" / self.name)
        for folder in folders:
            _remove_all(folder, stack)
        documents.remove(self.config_file(stack))

    def locks(self, stack: str) -> list[Path]:
        """Return lock files that an engine holds, or left behind."""
        return sorted((self._state / "locks" / "organization" / self.name / stack).glob("*.json"))

    @property
    def _state(self) -> Path:
        return identity.backend_dir() / ".pulumi"


def _person() -> dict[str, str]:
    """Return the variables that name user and home, where they are not set: for a user without an entry in /etc/passwd
    the engine, which notes who runs it, starts with them alone."""
    try:
        home = str(surroundings.home())
    except MachineError:
        home = str(state_dir())
    return {
        name: value
        for name, value in (("USER", surroundings.user()), ("HOME", home))
        if not surroundings.variables().get(name)
    }


def _no_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables that keep 127.0.0.1, where engine, program and plugin talk to each other, off the proxy."""
    hosts = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    named = [host.strip() for host in hosts.split(",") if host.strip()]
    value = ",".join(dict.fromkeys((*named, "localhost", "127.0.0.1")))  # once each: shells take it over again
    return {"no_proxy": value, "NO_PROXY": value}


def _remove_all(folder: Path, stack: str) -> None:
    for path in folder.glob(f"{stack}.json*"):
        if (path.is_file() or path.is_symlink()) and not documents.is_aside(path):  # also a link that leads nowhere
            documents.remove(path)
    inside = folder / stack
    if inside.is_dir():
        shutil.rmtree(inside)
    else:
        documents.remove(inside)


def is_secret(value: Any) -> bool:
    """Return whether that value of a stack's config is one that ``pulumi config set --secret`` has encrypted."""
    return isinstance(value, dict) and list(value) == [_SECURE]


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in that file, empty where there is none; raise :class:`InputError` unless it is YAML."""
    try:
        document = yaml.load(text_of(path), _LOADER)  # noqa: S506 - a safe one, whose name the rule cannot see
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror})", remedy="correct its permissions, or remove it"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none is a ValueError
        raise InputError(f"{path} is not valid YAML", remedy=str(error).replace("\n", " ")) from error
    return document if isinstance(document, dict) else {}


def _config(path: Path, document: Mapping[str, Any]) -> dict[str, Any]:
    config = document.get("config") or {}
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise InputError(f"config in {path} does not map keys to values", remedy="correct it, or remove the file")
    return config


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if is_secret(value):
        return Ciphertext(value[_SECURE])
    return json.dumps(value) if isinstance(value, list) else str(value)


def _value(key: str, text: str) -> Any:
    # As `pulumi config set` writes it: text, whatever it looks like, lists, and secrets.
    if isinstance(text, Ciphertext):
        return {_SECURE: str(text)}
    return json.loads(text) if key in LIST_KEYS else text
