from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from ephemera.model.errors import EngineError, UnknownNameError
from ephemera.model.outputs import EnvironmentOutputs

_SECRET = "s3cret-value"  # noqa: S105


def _endpoint(scheme: str, port: int | None, internal: int, host: str = "127.83.1.1") -> dict[str, Any]:
    return {
        "scheme": scheme,
        "host": host if port else None,
        "port": port,
        "url": f"{scheme}://{host}:{port}" if port else None,
        "internal_host": "inside",
        "internal_port": internal,
        "internal_url": f"{scheme}://inside:{internal}",
        "protocol": "tcp",
    }


def _document() -> dict[str, Any]:
    return {
        "schema_version": 1,
        "stack": "shop-main",
        "system": "shop",
        "branch": "main",
        "services": {
            "db": {
                "container": "shop-main-db",
                "image": "sha256:1",
                "endpoints": {"postgres": _endpoint("postgresql", 5432, 5432)},
                "credentials": {"user": "app", "password": _SECRET},
                "capabilities": {"version": "16"},
                "readiness": {"type": "tcp"},
                "data": "ephemera.components.postgres_data:DATA",
            },
            "my-api": {
                "container": "shop-main-my-api",
                "image": "sha256:2",
                "endpoints": {"http": _endpoint("http", 8080, 80), "admin-ui": _endpoint("http", 9000, 9000)},
            },
            "worker": {
                "container": "shop-main-worker",
                "image": "sha256:2",
                "endpoints": {"http": _endpoint("http", None, 81)},
            },
            "job": {"container": "shop-main-job", "image": "sha256:3"},
        },
    }


@pytest.fixture
def outputs() -> EnvironmentOutputs:
    return EnvironmentOutputs.parse(_document())


def test_document_with_secrets_is_what_was_parsed(outputs: EnvironmentOutputs) -> None:
    shown = outputs.document(show_secrets=True)
    assert EnvironmentOutputs.parse(shown) == outputs
    assert shown["services"]["db"] == _document()["services"]["db"]
    assert outputs.services["db"].credentials["password"].get_secret_value() == _SECRET


def test_protocol_of_an_endpoint_is_in_the_document() -> None:
    document = _document()
    document["services"]["db"]["endpoints"]["statsd"] = {**_endpoint("udp", 8125, 8125), "protocol": "udp"}
    outputs = EnvironmentOutputs.parse(document)
    endpoints = outputs.services["db"].endpoints
    assert [endpoint.protocol for endpoint in endpoints.values()] == ["tcp", "udp"]
    assert outputs.document(show_secrets=True)["services"]["db"] == document["services"]["db"]
    assert outputs.inside().services["db"].endpoints["statsd"].protocol == "udp"
    assert outputs.services["db"].asked == endpoints["postgres"]
    assert outputs.services["worker"].asked is None, "nothing of it is published"


def test_no_form_of_the_outputs_shows_a_credential_unasked(outputs: EnvironmentOutputs) -> None:
    forms = [
        repr(outputs),
        str(outputs),
        f"{outputs.services['db']!r}",
        outputs.model_dump_json(),
        str(outputs.model_dump()),
        str(outputs.model_dump(mode="json")),
        json.dumps(outputs.document()),
        str(dict(outputs.variables())),
    ]
    assert not [form for form in forms if _SECRET in form]
    assert outputs.document()["services"]["db"]["credentials"] == {"user": "***", "password": "***"}


def test_variables_name_the_first_endpoint_after_the_service(outputs: EnvironmentOutputs) -> None:
    variables = dict(outputs.variables(show_secrets=True))
    assert variables == {
        "EPHEMERA_STACK": "shop-main",
        "DB_URL": "postgresql://127.83.1.1:5432",
        "DB_HOST": "127.83.1.1",
        "DB_PORT": "5432",
        "DB_USER": "app",
        "DB_PASSWORD": _SECRET,
        "MY_API_URL": "http://127.83.1.1:8080",
        "MY_API_HOST": "127.83.1.1",
        "MY_API_PORT": "8080",
        "MY_API_ADMIN_UI_URL": "http://127.83.1.1:9000",
        "MY_API_ADMIN_UI_HOST": "127.83.1.1",
        "MY_API_ADMIN_UI_PORT": "9000",
    }
    assert dict(outputs.variables())["DB_PASSWORD"] == "***"  # noqa: S105


def test_endpoint_by_name_or_the_first(outputs: EnvironmentOutputs) -> None:
    api = outputs.service("my-api")
    assert api.endpoint().port == 8080
    assert api.endpoint("admin-ui").port == 9000
    with pytest.raises(UnknownNameError, match="did you mean 'admin-ui'"):
        api.endpoint("admin")
    with pytest.raises(UnknownNameError, match=r"endpoint of shop-main-job ''.*known: none"):
        outputs.service("job").endpoint()


def test_unknown_service_is_refused_with_the_nearest(outputs: EnvironmentOutputs) -> None:
    with pytest.raises(UnknownNameError, match="unknown service in shop-main 'wokrer': did you mean 'worker'"):
        outputs.service("wokrer")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"services": {"db": {"image": "x"}}}, "services.db.container"),
        ({"services": None}, "services"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_document_of_another_shape_is_refused_with_the_place(change: dict[str, Any], where: str) -> None:
    with pytest.raises(EngineError, match=rf"schema 1: {where}") as caught:
        EnvironmentOutputs.parse({**_document(), **change})
    assert caught.value.remedy == "bring it up again with this version"


@pytest.mark.parametrize("document", [None, "text", 3, []])
def test_what_is_no_document_is_refused(document: Any) -> None:
    with pytest.raises(EngineError, match="not a document of schema 1"):
        EnvironmentOutputs.parse(document)


def test_outputs_cannot_be_changed(outputs: EnvironmentOutputs) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        outputs.stack = "other"  # type: ignore[misc]


def test_two_outputs_of_one_name_are_both_there() -> None:
    credentials = {"host": "elsewhere", "api.key": "one", "api-key": "two"}
    document = _document()
    service = next(iter(document["services"]))
    document["services"][service]["credentials"] = credentials
    found = list(EnvironmentOutputs.parse(document).variables(show_secrets=True))
    assert len(dict(found)) == len(found)
    values = dict(found)
    assert {"elsewhere", "one", "two"} <= set(values.values())
    assert values[f"{service.upper()}_API_KEY"] == "one"
    assert values[f"{service.upper()}_API_KEY_2"] == "two"
