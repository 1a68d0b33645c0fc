"""The program of every stack: settings → manifest → images → environment → exports. One for both ways in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pulumi
from pulumi.runtime import config as runtime_config

from ephemera import images
from ephemera.docker.address import configured
from ephemera.docker.mounts import refuse_unmountable
from ephemera.home import identity
from ephemera.model import progress
from ephemera.model.catalog import Manifest, find_system
from ephemera.model.errors import EphemeraError
from ephemera.model.images import AnyImage
from ephemera.model.labels import Identity
from ephemera.model.outputs import EXPORT
from ephemera.model.redaction import Redactor
from ephemera.model.settings import NAMESPACE, Images, Settings, read_settings
from ephemera.model.system import System, collected
from ephemera.resources.environment import Environment
from ephemera.resources.manifests import Manifests


class ProgramError(pulumi.RunError):
    """The program failed. One line: Pulumi prints a RunError without a traceback."""


def run(*systems: System) -> None:
    """Run the current stack's system: the last line of ``__main__.py``. ``systems``: all that the project has.

    Exports the outputs document as ``environment``. Raises :class:`ProgramError` for bad input, before anything is
    registered.
    """
    if collected(systems):
        return
    progress.subscribe(_to_pulumi_log)
    redactor = Redactor()
    try:
        stack = pulumi.get_stack()
        # There is no public way to list keys, and a misspelt one must not pass silently.
        whole = runtime_config.CONFIG.get() or runtime_config.get_config_env()
        prefix = f"{NAMESPACE}:"
        config = {key.removeprefix(prefix): value for key, value in whole.items() if key.startswith(prefix)}
        secret = [key for key in config if runtime_config.is_config_secret(f"{prefix}{key}")]
        redactor.learn_secrets(config[key] for key in secret if config[key] not in ("true", "false"))
        known = Manifests(systems, whole)
        settings = read_settings(known, stack, config, secret)
        manifest = find_system(known, settings.system)
        refuse_unmountable(settings, manifest, configured())
        resolve = _resolver(manifest, settings.images)
        environment = Environment(
            identity=_identity(stack, settings),
            manifest=manifest,
            settings=settings,
            resolve=resolve,
            secret_options=frozenset(secret),
        )
        _declare(known.system(settings.system), environment, redactor)
    except EphemeraError as error:
        progress.emit({"type": "failed", "error": redactor.document(error.document()["error"])})
        raise ProgramError(redactor.text(str(error))) from error
    pulumi.export(EXPORT, environment.document())


def _declare(system: System, environment: Environment, redactor: Redactor) -> None:
    """Run the system's program; if it fails, create nothing of what it has declared."""
    try:
        system.declare(environment)
        environment.names.check()
    except BaseException as error:
        environment.refuse(ProgramError(redactor.text(str(error))))
        raise


def _resolver(manifest: Manifest, images_setting: Images) -> Callable[[AnyImage], str]:
    """Return a function that returns the reference of an image.

    Images of the manifest are pulled or built at once, side by side; one that only this run of the program uses, when
    it is asked for, which is before anything is registered, too.
    """
    mode = images_setting if images_setting != "auto" else images.mode()
    if pulumi.runtime.is_dry_run():
        return lambda image: images.resolve(image, mode)

    def ensured(*wanted: AnyImage) -> Mapping[AnyImage, str]:
        return images.ensure(wanted, mode, lambda line: progress.emit({"type": "building", "message": line}))

    known = ensured(*manifest.images)
    return lambda image: known[image] if image in known else ensured(image)[image]


def _identity(stack: str, settings: Settings) -> Identity:
    return Identity(
        project=pulumi.get_project(),
        stack=stack,
        system=settings.system,
        branch=settings.branch,
        owner=settings.owner or identity.owner(),
        backend=identity.backend_id(),
    )


def _to_pulumi_log(event: dict[str, Any]) -> None:
    # The driver has a better view of its own; under plain `pulumi up` this is the only one.
    if event["type"] == "notice":
        pulumi.log.info(event["message"])
    elif event["type"] == "building":
        pulumi.log.info(event["message"], ephemeral=True)
    elif event["type"] == "gate" and event["state"] == "ready":
        pulumi.log.info(f"{event['service']} is ready after {event['seconds']:.1f} s", ephemeral=True)
    elif event["type"] == "failed":
        for line in event["error"].get("log_tail", ()):
            pulumi.log.warn(f"{event['error'].get('service', '')} | {line}")
