from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pulumi
import pytest

from ephemera import Environment, Http
from ephemera.components import OpenSearch
from ephemera.components.opensearch_data import DATA
from ephemera.model.data import load_data
from ephemera.model.errors import InputError
from ephemera.model.images import PublicImage
from ephemera.model.outputs import EnvironmentOutputs
from tests.unit import programs
from tests.unit.programs import OpenGates, Registered

# The small system of the tests lists no OpenSearch: any image will do.
_IMAGE = PublicImage(reference="docker.io/library/nats:2")


def _opensearch(**given: Any) -> Registered:
    def program() -> None:
        environment = programs.environment()
        pulumi.export("url", OpenSearch("search", image=_IMAGE, **given).url)
        pulumi.export("environment", environment.document())

    return programs.run(program)


def _variables(registered: Registered) -> dict[str, str]:
    return dict(each.split("=", 1) for each in registered.container("search")["envs"])


def test_settings_reach_the_node_and_those_given_win(gates: OpenGates) -> None:
    settings = {"action.auto_create_index": "false", "node.store.allow_mmap": "true"}
    variables = _variables(_opensearch(settings=settings))
    assert variables["discovery.type"] == "single-node"
    assert variables["cluster.name"] == "shop-main"
    assert variables["action.auto_create_index"] == "false"
    assert variables["node.store.allow_mmap"] == "true"
    assert variables["DISABLE_SECURITY_PLUGIN"] == "true"


def test_heap_is_within_the_memory(gates: OpenGates) -> None:
    registered = _opensearch(heap_mb=600, memory_mb=800)
    assert _variables(registered)["OPENSEARCH_JAVA_OPTS"] == "-Xms600m -Xmx600m"
    assert registered.container("search")["memory"] == 800
    with pytest.raises(InputError, match="heap_mb of 'search' is 601, of 800 MiB of memory"):
        _opensearch(heap_mb=601, memory_mb=800)


@pytest.mark.parametrize(("cores", "given"), [(1, "1.0"), (8, "2.0")])
def test_it_gets_no_more_cores_than_there_are(
    gates: OpenGates, monkeypatch: pytest.MonkeyPatch, cores: int, given: str
) -> None:
    monkeypatch.setattr(Environment, "cores", lambda _: cores)
    assert _opensearch().container("search")["cpus"] == given


def test_data_is_on_a_volume_or_in_memory(gates: OpenGates) -> None:
    data = "/usr/share/opensearch/data"
    kept, lost = _opensearch().container("search"), _opensearch(persistent=False).container("search")
    assert {"containerPath": data, "volumeName": "shop-main-search-data"} in kept["volumes"]
    assert data not in kept["tmpfs"]
    assert data in lost["tmpfs"]
    assert data not in str(lost["volumes"])


def test_gate_asks_for_the_clusters_health(gates: OpenGates) -> None:
    registered = _opensearch()
    found = EnvironmentOutputs.parse(registered.exports["environment"]).service("search")
    probe = gates.asked[0][2]
    assert isinstance(probe, Http)
    assert probe.path.startswith("/_cluster/health?wait_for_status=yellow")
    assert (found.endpoint().scheme, found.endpoint().port) == ("http", 9200)
    assert load_data(found.data) is DATA
    assert registered.exports["url"] == "http://search:9200"


@pytest.mark.parametrize(
    ("config", "security", "knn"),
    [
        ({}, "disabled", "present"),
        ({"Labels": None}, "disabled", "present"),
        ({"Labels": {"ephemera.lacks": "security knn"}}, "absent", "absent"),
    ],
)
def test_capabilities_tell_what_an_image_lacks(
    gates: OpenGates, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], security: str, knn: str
) -> None:
    monkeypatch.setattr(Environment, "image_config", lambda *_: {"User": "1000", **config})
    found = EnvironmentOutputs.parse(_opensearch().exports["environment"]).service("search")
    assert found.capabilities == {"version": "2.16.0", "security": security, "knn": knn, "sql": "present"}


def test_what_brings_data_back_is_used_without_pulumi() -> None:
    script = (
        "import sys; from ephemera.model.data import load_data\n"
        "load_data('ephemera.components.opensearch_data:DATA')\n"
        "assert not {'pulumi', 'docker', 'httpx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).resolve().parents[3])
