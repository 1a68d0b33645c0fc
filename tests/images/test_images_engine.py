"""Images on the real engine: built once, labelled, listed, pruned; a failed build leaves nothing."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import docker
import psutil
import pytest
from docker.errors import ImageNotFound

from ephemera.home import identity
from ephemera.home.paths import cache_dir
from ephemera.images import ImageBuildError, ImageMissingError, ensure, prune, resolve, stored
from ephemera.model import labels
from ephemera.model.images import PublicImage, ServiceImage

DEADLINE_SECONDS = 120


def add(context: Path, *instructions: str) -> None:
    with (context / "Dockerfile").open("a") as dockerfile:
        dockerfile.writelines(f"{line}\n" for line in instructions)


def containers_of(client: docker.DockerClient, command: str) -> list[str]:
    return [each["Id"] for each in client.api.containers(all=True) if command in each["Command"]]


def processes_of(marker: str) -> list[str]:
    """Command lines of steps at work: the engine's machine is this one."""
    found = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [command[2] for command in found if command[:2] == ["/bin/sh", "-c"] and marker in command[2]]


def test_an_image_is_built_once_and_labelled(client: docker.DockerClient, context: Path, name: str) -> None:
    add(context, "RUN echo made > /made")
    image = ServiceImage(name=name, context=context)
    lines: list[str] = []
    reference = ensure([image], "local", lines.append)[image]
    assert any("echo made" in line for line in lines)
    assert client.api.inspect_image(reference)["Config"]["Labels"] == labels.of_image(name, identity.backend_id())
    lines.clear()
    assert ensure([image], "local", lines.append)[image] == reference
    assert lines == []
    assert list((cache_dir() / "locks").glob(f"*{name}*")) == []


def test_arguments_target_and_bases_reach_the_build(client: docker.DockerClient, context: Path, name: str) -> None:
    (context / "Dockerfile").write_text(
        (context / "Dockerfile").read_text().replace("\n", " AS first\n")
        + "ARG GREETING\nRUN echo $GREETING > /greeting\nFROM first AS second\nRUN exit 1\n"
    )
    lower = ServiceImage(name=name, context=context, target="first", arguments={"GREETING": "hello"})
    upper_context = context.parent / "upper"
    upper_context.mkdir()
    (upper_context / "Dockerfile").write_text("ARG LOWER\nFROM ${LOWER}\nRUN test $(cat /greeting) = hello\n")
    upper = ServiceImage(name=name, context=upper_context, bases={"LOWER": lower})
    reference = ensure([upper], "local")[upper]
    assert client.api.inspect_image(reference)
    assert client.api.inspect_image(resolve(lower, "local"))


def test_a_failed_build_names_step_and_output_and_leaves_nothing(
    client: docker.DockerClient, context: Path, name: str
) -> None:
    command = f"echo about to fail; exit {secrets.randbelow(100) + 2}"
    add(context, "RUN true", f"RUN {command}")
    image = ServiceImage(name=name, context=context)
    with pytest.raises(ImageBuildError) as caught:
        ensure([image], "local")
    assert command in caught.value.step
    assert "about to fail" in caught.value.output
    assert len(caught.value.output) <= 30
    with pytest.raises(ImageNotFound):
        client.api.inspect_image(resolve(image, "local"))
    assert containers_of(client, command) == []


def test_two_processes_build_once(context: Path, name: str, tmp_path: Path) -> None:
    """Both run the same build at the same time; its output is seen by one of them only."""
    add(context, "RUN echo being built; sleep 1")
    script = textwrap.dedent(
        f"""
        from pathlib import Path
        from ephemera.model.images import ServiceImage
        from ephemera.images import ensure
        ensure([ServiceImage(name={name!r}, context=Path({str(context)!r}))], "local", print)
        """
    )
    both = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=DEADLINE_SECONDS)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("being built" in output for output in outputs) == [False, True]


@pytest.mark.parametrize("run", ["RUN", "RUN --mount=type=cache,target=/cache"], ids=["classic", "BuildKit"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_no_tag_no_process_and_no_container(
    client: docker.DockerClient, context: Path, name: str, run: str, number: signal.Signals
) -> None:
    marker = secrets.token_hex(8)
    add(context, f"{run} echo {marker}; sleep 600; echo {marker}")
    image = ServiceImage(name=name, context=context)
    script = textwrap.dedent(
        f"""
        from pathlib import Path
        from ephemera.model.images import ServiceImage
        from ephemera.images import ensure
        say = lambda line: print(line, flush=True)
        ensure([ServiceImage(name={name!r}, context=Path({str(context)!r}))], "local", say)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=-1, stderr=subprocess.STDOUT, text=True)
    with process:
        assert process.stdout is not None
        said = []
        while (line := process.stdout.readline()) and line.strip() != f"{name}: {marker}":
            said.append(line)
        assert line, f"it ended by itself: {said}"
        assert processes_of(marker) != []
        process.send_signal(number)
    # The engine notices by itself that its client is gone.
    deadline = time.monotonic() + DEADLINE_SECONDS
    while left := [*processes_of(marker), *containers_of(client, marker)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    with pytest.raises(ImageNotFound):
        client.api.inspect_image(resolve(image, "local"))


def test_what_is_nowhere_is_said_with_its_name() -> None:
    reference = "localhost:1/nowhere/nothing:1"
    with pytest.raises(ImageMissingError, match=f"image {reference!r} is not available: .*check the name"):
        ensure([PublicImage(reference=reference)], "local")


def test_used_images_are_listed_with_their_users_and_kept(
    client: docker.DockerClient, context: Path, name: str, own_state: Path
) -> None:
    add(context, "RUN echo 1 > /one")
    used, unused = ServiceImage(name=name, context=context), ServiceImage(name=name, context=context, target="")
    kept = ensure([used], "local")[used]
    add(context, "RUN echo 2 > /two")
    dropped = ensure([unused], "local")[unused]
    container = client.api.create_container(kept, ["true"], name=name)
    try:
        ours = {image.reference: image for image in stored() if image.name == name}
        assert ours[kept].used_by == (name,)
        assert ours[dropped].used_by == ()
        assert ours[kept].size_bytes > 0
        assert [image.reference for image in prune()] == [dropped]
    finally:
        client.api.remove_container(container, force=True)
    assert client.api.inspect_image(kept)
    with pytest.raises(ImageNotFound):
        client.api.inspect_image(dropped)


def test_prune_takes_the_stages_of_a_build_along(
    client: docker.DockerClient, context: Path, name: str, base: str, own_state: Path
) -> None:
    add(context, "RUN echo stage > /stage", f"FROM {base}", "COPY --from=0 /stage /stage")
    image = ServiceImage(name=name, context=context)
    ensure([image], "local")
    assert len(client.api.images(filters={"label": f"ephemera.image={name}"})) == 2
    prune()
    assert client.api.images(filters={"label": f"ephemera.image={name}"}) == []
