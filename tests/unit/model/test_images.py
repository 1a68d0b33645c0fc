from __future__ import annotations

from pathlib import Path

from ephemera.model.images import AnyImage, EngineImage, PublicImage, ServiceImage


def test_images_are_keys_that_compare_by_what_they_are_made_from() -> None:
    def worker(version: str) -> ServiceImage:
        return ServiceImage(
            name="worker", context=Path("/src"), arguments={"V": version}, bases={"BASE": EngineImage(name="python")}
        )

    references: dict[AnyImage, str] = {
        worker("1"): "worker:1",
        worker("2"): "worker:2",
        EngineImage(name="python"): "python:3",
        PublicImage(reference="python"): "python:latest",
    }
    assert references[worker("1")] == "worker:1"
    assert references[worker("2")] == "worker:2"
    assert len(references) == 4
