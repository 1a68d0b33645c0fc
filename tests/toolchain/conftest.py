"""Both plugins: ours as it is shipped, and upstream's, built with what it leaves out."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ephemera import images
from ephemera.model.images import EngineImage
from ephemera.setup import toolchain
from tests.toolchain.building import DEADLINE_SECONDS, TOOLCHAIN, VARIABLES, compiler
from tests.toolchain.plugin_stack import PluginStack, Variant, fresh_prefix


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Variant, Path]:
    """A ``PULUMI_HOME`` with each plugin. The first build compiles for minutes, later ones only link."""
    made: dict[Variant, Path] = {variant: tmp_path_factory.mktemp(variant) for variant in ("ours", "upstream")}
    assert toolchain.is_complete(toolchain.toolchain_dir()), "no toolchain was built: `./ephemera setup` builds it"
    plugin = Path(toolchain.PROGRAMS[-1]).relative_to("home")
    shutil.copytree(toolchain.toolchain_dir() / "home" / plugin.parent, made["ours"] / plugin.parent)
    flags = ["-trimpath", "-tags", "no_compose", "-ldflags", "-s -w", "-o", str(made["upstream"] / plugin)]
    subprocess.run(
        [compiler(), "build", *flags, "./docker-plugin/cmd/pulumi-resource-docker-upstream"],
        cwd=TOOLCHAIN,
        env={**os.environ, **VARIABLES},
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    return made


@pytest.fixture(scope="session")
def image() -> str:
    """Reference of an image that is on the machine, with a shell and without an entrypoint."""
    base = EngineImage(name="python")
    return images.ensure([base], images.mode())[base]


@pytest.fixture(scope="module")
def prefix() -> str:
    """The prefix of the module's stacks, so that their states are the same."""
    return fresh_prefix()


@pytest.fixture
def new_stack(
    tmp_path: Path, homes: Mapping[Variant, Path], image: str, prefix: str
) -> Iterator[Callable[[str], PluginStack]]:
    """Makes the test's one stack, of the program that is named; what a failed test leaves on the engine is removed."""
    made: list[PluginStack] = []

    def make(program: str) -> PluginStack:
        made.append(PluginStack(program, tmp_path, homes, image, prefix))
        return made[0]

    yield make
    for stack in made:
        stack.remove_leftovers()
