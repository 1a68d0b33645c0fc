from __future__ import annotations

import pulumi

from ephemera import Http
from ephemera.components import WebService
from ephemera.model.images import PublicImage
from ephemera.model.outputs import EnvironmentOutputs
from tests.unit import programs
from tests.unit.programs import OpenGates, Registered

_IMAGE = PublicImage(reference="docker.io/library/nats:2")


def _served(registered: Registered | None = None) -> Registered:
    def program() -> None:
        environment = programs.environment()
        first = WebService("api", image=_IMAGE, package="shop", port=8080)
        WebService(
            "worker",
            image=_IMAGE,
            package="shop",
            port=8081,
            variables={"API_URL": first.url},
            publish=False,
            start_period_seconds=20,
        )
        pulumi.export("environment", environment.document())

    return programs.run(program, registered=registered)


def test_it_is_gated_by_its_health_and_checked_by_a_means_of_its_own(gates: OpenGates) -> None:
    registered = _served()
    assert (gates.asked[0][0], *gates.asked[0][2:4]) == ("api", Http("/health"), 60)
    health = registered.container("api")["healthcheck"]
    assert health["tests"] == ["CMD", "python", "-m", "shop.probe", "8080"]
    assert (health["startPeriod"], registered.container("worker")["healthcheck"]["startPeriod"]) == ("15s", "20s")
    assert "API_URL=http://api:8080" in registered.container("worker")["envs"]
    found = EnvironmentOutputs.parse(registered.exports["environment"])
    assert found.service("api").endpoint("http").internal_url == "http://api:8080"
    assert found.service("worker").endpoint("http").host is None
