"""An engine that several users share: each removes what is theirs, and uses what another one has built."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import docker
import pytest

from ephemera.docker.connection import docker_host
from ephemera.home import builds, identity
from ephemera.images import ImageTakenError, drop_abandoned, ensure, prune, resolve, stored
from ephemera.lifecycle import removal
from ephemera.model import labels
from ephemera.model.images import ServiceImage

_OTHER = "0123456789ab"


def _ids(client: docker.DockerClient, name: str) -> set[str]:
    return {item["Id"] for item in client.api.images(filters={"label": f"{labels.IMAGE}={name}"})}


def test_image_of_another_user_is_used_and_never_pruned(
    client: docker.DockerClient, context: Path, name: str, base: str, own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (context / "Dockerfile").open("a") as dockerfile:
        dockerfile.write(f"RUN echo stage > /stage\nFROM {base}\nCOPY --from=0 /stage /stage\n")
    image = ServiceImage(name=name, context=context)
    reference = ensure([image], "local")[image]
    made = _ids(client, name)
    assert len(made) == 2
    first = own_state / "ephemera" / "backend-id"
    marks = [client.api.inspect_image(each)["Config"]["Labels"] for each in made]
    assert marks == [labels.of_image(name, first.read_text())] * 2

    monkeypatch.setenv("XDG_STATE_HOME", str(own_state.parent / "another"))
    lines: list[str] = []
    assert ensure([image], "local", lines.append)[image] == reference
    assert lines == []
    assert [each.ours for each in stored() if each.name == name] == [False, False]
    assert prune() == []
    assert _ids(client, name) == made

    monkeypatch.setenv("XDG_STATE_HOME", str(own_state))
    assert {each.id for each in prune()} == made


def test_rests_of_an_abandoned_build_are_told_from_another_users_build(
    client: docker.DockerClient, context: Path, name: str, own_state: Path
) -> None:
    """A container by the id of an untagged image is how the builder runs a step."""
    image = ServiceImage(name=name, context=context)
    with (context / "Dockerfile").open("a") as dockerfile:
        dockerfile.write("RUN echo layer > /layer\n")
    reference = ensure([image], "local")[image]
    layer = client.api.history(reference)[1]["Id"]
    kept = client.api.create_container(layer, ["true"], labels={labels.IMAGE: name, labels.BACKEND: _OTHER})["Id"]
    by_hand = client.api.create_container(client.api.inspect_image(reference)["Id"], ["true"])["Id"]
    step = client.api.create_container(layer, ["true"])["Id"]
    try:
        with suppress(KeyboardInterrupt), builds.exclusive(f"ephemera/{name}:0") as begins:
            begins(name, docker_host())
            raise KeyboardInterrupt
        (build,) = [each for each in builds.abandoned(docker_host()) if each.image == name]
        assert build.backend == identity.backend_id()
        drop_abandoned(settle_seconds=0)  # or another process, which has the same cache, was faster
        with pytest.raises(docker.errors.NotFound):
            client.api.inspect_container(step)
        left = {item["Id"] for item in client.api.containers(all=True)}
        assert left >= {kept, by_hand}
        assert all(item.stack for item in removal.find(client)), "what runs our image by hand is none of an environment"
    finally:
        for container in (kept, by_hand, step):
            with suppress(docker.errors.NotFound):
                client.api.remove_container(container, force=True)


def test_tag_of_another_image_is_refused(client: docker.DockerClient, context: Path, name: str, base: str) -> None:
    image = ServiceImage(name=name, context=context)
    reference = resolve(image, "local")
    client.api.tag(base, *reference.split(":"))
    try:
        with pytest.raises(ImageTakenError, match=rf"{reference}.*is 'base'.*docker rmi {reference}"):
            ensure([image], "local")
    finally:
        client.api.remove_image(reference)
    assert ensure([image], "local")[image] == reference
