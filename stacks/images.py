"""The images that services of several systems are built on."""

from pathlib import Path

from ephemera import EngineImage, ServiceImage


def _common(name: str, target: str) -> ServiceImage:
    return ServiceImage(
        name=name,
        context=Path(__file__).resolve().parent.parent / "services" / "common",
        target=target,
        bases={"PYTHON_SERVICE_IMAGE": EngineImage("python-service")},
    )


SERVICE = _common("chassis", "service")
SERVICE_POSTGRES = _common("chassis-postgres", "service-postgres")
