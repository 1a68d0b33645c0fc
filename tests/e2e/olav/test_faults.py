"""What happens when a part is down or fails, and that nothing is shared: in an environment of the module's own.

Every test finds all services ready and the model as it is normally, and leaves whatever it broke behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import EnvironmentFactory, RunningEnvironment

pytestmark = [
    pytest.mark.timeout(90, func_only=True),
    # Some tests need the run's environment too. Pytest orders tests by their session-wide fixtures: when all of the
    # module have it, they stay together, and `own` is made once.
    pytest.mark.usefixtures("environment"),
]

Ask = Callable[..., dict[str, Any]]
Eventually = Callable[..., Any]
SignIn = Callable[..., httpx.Client]
Stream = Callable[..., list[tuple[str, Any]]]

QUESTION = "Why was OpenSearch killed with exit code 137?"
SERVICES = ("postgres", "opensearch", "redis", "llm", "olav-server")


@pytest.fixture(scope="module")
def own(module_environment_factory: EnvironmentFactory) -> RunningEnvironment:
    return module_environment_factory()


@pytest.fixture(scope="module")
def model(own: RunningEnvironment) -> httpx.Client:
    """A client of the model's double, with its key."""
    key = own.outputs.service("llm").credentials["api_key"].get_secret_value()
    return own.http("llm", headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def operator(own: RunningEnvironment, sign_in: SignIn) -> httpx.Client:
    return sign_in(own, "operator")


@pytest.fixture(autouse=True)
def whole(own: RunningEnvironment, model: httpx.Client) -> None:
    """Whatever the test before has broken is whole again."""
    for name in SERVICES:
        service = own.service(name)
        if service.state() == "paused":
            service.unpause()
        service.start()
        service.wait_ready()
    assert model.delete("/admin/behaviour").status_code == 200


@contextmanager
def without(own: RunningEnvironment, service: str) -> Iterator[None]:
    """Around what happens while the service is killed; it is ready again afterwards."""
    own.service(service).kill()
    yield
    own.service(service).start()
    own.service(service).wait_ready()


def failed(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, which says who is to blame and nothing of the inside."""
    error = answer.json()["error"]
    assert error["request_id"] == answer.headers["X-Request-ID"]
    for inside in ("Traceback", 'File "', "Error(", "postgresql://", "redis://"):
        assert inside not in answer.text
    return answer.status_code, error["code"]


def asked(client: httpx.Client, question: str = QUESTION) -> httpx.Response:
    return client.post("/orchestrator/invoke", json={"input": {"question": question}}, timeout=30)


def healthy(client: httpx.Client) -> bool:
    return client.get("/health").status_code == 200


def test_without_opensearch_the_server_says_so_and_recovers(
    own: RunningEnvironment, operator: httpx.Client, ask: Ask, stream: Stream, eventually: Eventually
) -> None:
    # At once: each may wait for a moment whether it comes back.
    with without(own, "opensearch"), ThreadPoolExecutor() as pool:
        invoked, streamed = pool.submit(asked, operator), pool.submit(stream, operator, QUESTION)
        health = operator.get("/health")
        assert health.status_code == 503
        found = health.json()["dependencies"]
        assert {name for name, each in found.items() if each["status"] == "down"} == {"opensearch"}
        assert found["opensearch"]["error"]
        assert found["opensearch"]["latency_ms"] is None
        assert operator.get("/me").status_code == 200, "what does not need it goes on"
        refused = invoked.result()
        assert failed(refused) == (503, "opensearch_unavailable")
        assert "opensearch" in refused.json()["error"]["message"]
        assert refused.headers["Retry-After"] == "1"
        name, error = streamed.result()[-1]
        assert (name, error["status_code"], error["code"]) == ("error", 503, "opensearch_unavailable")
    eventually("healthy again", lambda: healthy(operator))
    assert ask(operator, QUESTION)["documents"], "its documents have outlived it"
    assert own.service("olav-server").state() == "running"


@pytest.mark.parametrize(("service", "code"), [("postgres", "postgres_unavailable"), ("redis", "redis_unavailable")])
def test_without_a_store_the_server_says_so_and_recovers(
    own: RunningEnvironment, operator: httpx.Client, ask: Ask, eventually: Eventually, service: str, code: str
) -> None:
    wrong = {"username": "viewer", "password": "some password or other"}
    # At once: each may wait for a moment whether the store comes back.
    with without(own, service), ThreadPoolExecutor() as pool:
        login, invoked = pool.submit(operator.post, "/auth/login", json=wrong), pool.submit(asked, operator)
        health = operator.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "unhealthy")
        assert health.json()["dependencies"][service]["status"] == "down"
        assert failed(invoked.result()) == (503, code)
        assert failed(login.result()) == (503, code)
    eventually("healthy again", lambda: healthy(operator))
    ask(operator, QUESTION)


@pytest.mark.parametrize("status", [429, 500])
def test_a_model_that_fails_for_a_moment_is_asked_again(
    operator: httpx.Client, model: httpx.Client, ask: Ask, status: int
) -> None:
    before = model.get("/admin/requests").json()["seen"]
    assert model.put("/admin/behaviour", json={"fail_status": status, "times": 2}).status_code == 200
    assert QUESTION in ask(operator, QUESTION)["answer"]
    seen = model.get("/admin/requests", params={"after": before}).json()["requests"]
    assert [each["status"] for each in seen].count(status) == 2


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_model_that_goes_on_failing_is_a_clear_error(
    operator: httpx.Client, model: httpx.Client, status: int
) -> None:
    model.put("/admin/behaviour", json={"fail_status": status, "retry_after_ms": 10})
    before = model.get("/admin/requests").json()["seen"]
    refused = asked(operator)
    assert failed(refused) == (502, "model_failed")
    attempts = model.get("/admin/requests", params={"after": before}).json()["requests"]
    assert len(attempts) > 1 if status != 401 else len(attempts) == 1, "a wrong key does not become right"


def test_a_stream_without_an_answer_ends_with_an_error(
    operator: httpx.Client, model: httpx.Client, stream: Stream
) -> None:
    model.put("/admin/behaviour", json={"fail_status": 401})
    name, error = stream(operator, QUESTION)[-1]
    assert (name, error["status_code"], error["code"]) == ("error", 502, "model_failed")
    assert error["message"] == asked(operator).json()["error"]["message"]


def test_a_stream_that_the_model_cuts_ends_with_an_error(
    operator: httpx.Client, model: httpx.Client, stream: Stream
) -> None:
    model.put("/admin/behaviour", json={"cut_after": 4})
    events = stream(operator, QUESTION)
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "model_failed"
    assert "final" not in [data.get("type") for name, data in events if name == "data"]


def test_an_answer_is_streamed_while_the_model_is_at_it(operator: httpx.Client, model: httpx.Client) -> None:
    model.put("/admin/behaviour", json={"chunk_delay_ms": 50, "endpoint": "chat"})
    seen = model.get("/admin/requests").json()["seen"]
    asking = {"input": {"question": QUESTION}}
    with operator.stream("POST", "/orchestrator/stream", json=asking) as response:
        first = next(line for line in response.iter_lines() if '"token"' in line)
        requests = model.get("/admin/requests", params={"after": seen}).json()["requests"]
        # Health checks ask the model, too.
        *_, running = (request for request in requests if request["path"] == "/v1/chat/completions")
        assert (first != "", running["outcome"]) == (True, "running")
    # Who goes away is not answered any more.
    assert model.delete("/admin/behaviour").status_code == 200


def test_a_thread_is_remembered_after_a_restart_of_the_server(
    own: RunningEnvironment, operator: httpx.Client, ask: Ask, thread: str
) -> None:
    assert ask(operator, QUESTION, thread)["turn"] == 1
    before = own.service("olav-server").inspect()["State"]["StartedAt"]
    own.service("olav-server").restart()
    own.service("olav-server").wait_ready()
    assert own.service("olav-server").inspect()["State"]["StartedAt"] != before
    # The session has outlived it too.
    again = ask(operator, "And how are passwords stored?", thread)
    assert again["turn"] == 2
    assert f'Earlier you asked: "{QUESTION}"' in again["answer"]


def test_a_defect_is_told_without_its_inside(
    own: RunningEnvironment, operator: httpx.Client, eventually: Eventually
) -> None:
    with own.postgres() as connection:
        connection.execute("ALTER TABLE users RENAME TO mislaid")
        try:
            login = {"username": "viewer", "password": "some password or other"}
            answer = operator.post("/auth/login", json=login, headers={"X-Request-ID": "of-this-test"})
        finally:
            connection.execute("ALTER TABLE mislaid RENAME TO users")
    assert failed(answer) == (500, "internal")
    assert answer.headers["X-Request-ID"] == "of-this-test"
    assert "users" not in answer.text

    def cause() -> list[str]:
        lines = own.service("olav-server").logs().splitlines()
        return [line for line in lines if "of-this-test" in line and "UndefinedTable" in line]

    (line,) = eventually("the cause in the log", cause)
    assert login["password"] not in line


def test_two_environments_share_nothing(
    environment: RunningEnvironment,
    own: RunningEnvironment,
    operator: httpx.Client,
    sign_in: SignIn,
    ask: Ask,
    thread: str,
) -> None:
    other = sign_in(environment, "operator")
    # Sessions: a token of one is none in the other.
    for mine, server in ((operator, environment.http("olav-server")), (other, own.http("olav-server"))):
        token = {"Authorization": mine.headers["Authorization"]}
        assert mine.get("/me").status_code == 200
        assert failed(server.get("/me", headers=token)) == (401, "unauthorized")
    # Threads: of the same name and user.
    assert ask(operator, "What is a checkpoint?", thread)["turn"] == 1
    assert ask(operator, "And what is a session?", thread)["turn"] == 2
    answer = ask(other, "What did I ask?", thread)
    assert answer["turn"] == 1
    assert "checkpoint?" not in answer["answer"]
    # Documents.
    search, others = own.http("opensearch"), environment.http("opensearch")
    index = "olav-documents"
    question = "Which colour has the zanzibar switch?"
    document = {"title": "Zanzibar", "category": "general", "text": "The zanzibar switch is turquoise."}
    added = search.post(f"/{index}/_doc?refresh=true", json=document)
    assert added.status_code == 201, added.text
    hits = {"query": {"match": {"text": "zanzibar"}}}
    assert search.post(f"/{index}/_search", json=hits).json()["hits"]["total"]["value"] == 1
    assert others.post(f"/{index}/_search", json=hits).json()["hits"]["total"]["value"] == 0
    assert "turquoise" not in ask(other, question)["answer"]
    # And credentials.
    for service, outputs in own.outputs.services.items():
        for purpose, secret in outputs.credentials.items():
            if purpose not in ("user", "database"):
                known = environment.outputs.service(service).credentials[purpose]
                assert known.get_secret_value() != secret.get_secret_value(), (service, purpose)


def test_services_go_on_after_a_reset(
    own: RunningEnvironment, operator: httpx.Client, ask: Ask, sign_in: SignIn
) -> None:
    started = {name: own.service(name).inspect()["State"]["StartedAt"] for name in SERVICES}
    admin = sign_in(own, "admin")
    made = {"username": "somebody", "password": "a password of twelve or more", "role": "viewer"}
    assert admin.post("/users", json=made).status_code == 201
    assert ask(operator, QUESTION, "before")["turn"] == 1
    documents = ask(operator, QUESTION)["documents"]
    own.reset()
    assert failed(operator.get("/me")) == (401, "unauthorized"), "sessions are data too"
    admin, again = sign_in(own, "admin"), sign_in(own, "operator")
    assert admin.get("/users/somebody").status_code == 404
    assert ask(again, QUESTION, "before")["turn"] == 1
    assert ask(again, QUESTION)["documents"] == documents
    assert {name: own.service(name).inspect()["State"]["StartedAt"] for name in SERVICES} == started
