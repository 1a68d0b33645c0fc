"""Who gets in, as whom, and what they may do there."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from live.server.harness import KEY, PASSWORDS, Server
from redis import Redis

CHALLENGE = 'Bearer realm="olav"'
QUESTION = {"input": {"question": "What is a lease?"}}
NEW_USER = {"username": "carl", "password": "carls-password", "role": "viewer"}


@pytest.mark.parametrize("role", ["admin", "operator", "viewer"])
def test_login_says_who_one_is(server: Server, role: str) -> None:
    answer = server.login(role)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert (document["token_type"], document["expires_in"]) == ("bearer", 3600)
    assert document["user"] == {"username": role, "role": role}
    me = server.http.get("/me", headers={"Authorization": f"Bearer {document['access_token']}"}).json()
    assert (me["username"], me["role"]) == (role, role)
    times = [datetime.fromisoformat(me["session"][name]) for name in ("created_at", "expires_at")]
    assert times[1] - times[0] == timedelta(hours=1)


def test_unknown_user_and_wrong_password_look_the_same(server: Server) -> None:
    answers = [server.login(*given) for given in (("viewer", "wrong"), ("nobody", "wrong"), ("No\x00 name!", "wrong"))]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == CHALLENGE
        error = answer.json()["error"]
        del error["request_id"]
        assert error == {"code": "invalid_credentials", "message": "unknown user or wrong password"}


@pytest.mark.parametrize("body", [{}, {"username": "admin"}, {"username": "admin", "password": 1}, {"username": ""}])
def test_a_login_that_is_none(server: Server, body: dict[str, object]) -> None:
    assert server.http.post("/auth/login", json=body).status_code == 422


def test_without_a_token(server: Server) -> None:
    answer = server.http.get("/me")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == CHALLENGE


@pytest.mark.parametrize("kind", ["basic", "empty", "garbage", "expired", "another key", "no session"])
def test_tokens_that_do_not_count(server: Server, kind: str) -> None:
    now = datetime.now(UTC)
    claims = {"iss": "olav", "sub": "admin", "role": "admin", "jti": "made-up", "iat": now}
    later, earlier = now + timedelta(hours=1), now - timedelta(seconds=1)
    header = {
        "basic": "Basic YWRtaW46YWRtaW4=",
        "empty": "Bearer",
        "garbage": "Bearer not.a.token",
        "expired": f"Bearer {jwt.encode({**claims, 'exp': earlier}, KEY)}",
        "another key": f"Bearer {jwt.encode({**claims, 'exp': later}, KEY[::-1])}",
        "no session": f"Bearer {jwt.encode({**claims, 'exp': later}, KEY)}",
    }[kind]
    answer = server.http.get("/me", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == f'{CHALLENGE}, error="invalid_token"'


# What it may not do is 401 and 403; anything else is the endpoint's own answer.
MATRIX = [
    ("GET", "/health", None, (200, 200, 200, 200)),
    ("GET", "/metrics", None, (200, 200, 200, 200)),
    ("GET", "/docs", None, (200, 200, 200, 200)),
    ("GET", "/redoc", None, (200, 200, 200, 200)),
    ("GET", "/openapi.json", None, (200, 200, 200, 200)),
    ("GET", "/me", None, (401, 200, 200, 200)),
    ("GET", "/status", None, (401, 200, 200, 200)),
    ("GET", "/orchestrator/input_schema", None, (401, 200, 200, 200)),
    ("GET", "/orchestrator/output_schema", None, (401, 200, 200, 200)),
    ("GET", "/orchestrator/config_schema", None, (401, 200, 200, 200)),
    ("POST", "/orchestrator/invoke", QUESTION, (401, 403, 503, 503)),
    ("POST", "/orchestrator/batch", {"inputs": [QUESTION["input"]]}, (401, 403, 503, 503)),
    ("POST", "/orchestrator/stream", QUESTION, (401, 403, 200, 200)),
    ("POST", "/orchestrator/stream_log", QUESTION, (401, 403, 200, 200)),
    ("POST", "/orchestrator/invoke", {"nonsense": 1}, (401, 403, 422, 422)),
    ("GET", "/users", None, (401, 403, 403, 200)),
    ("GET", "/users/viewer", None, (401, 403, 403, 200)),
    ("POST", "/users", {**NEW_USER, "username": "admin"}, (401, 403, 403, 409)),
    ("POST", "/users", {}, (401, 403, 403, 422)),
    ("PATCH", "/users/nobody", {"disabled": True}, (401, 403, 403, 404)),
    ("POST", "/auth/logout", None, (401, 204, 204, 204)),
]


def test_every_role_at_every_endpoint(server: Server) -> None:
    tokens = [{}, *(server.token(role) for role in ("viewer", "operator", "admin"))]
    found = [
        (method, path, body, tuple(server.http.request(method, path, json=body, headers=t).status_code for t in tokens))
        for method, path, body, _ in MATRIX
    ]
    assert found == MATRIX


def test_no_endpoint_is_missing_from_the_matrix(server: Server) -> None:
    """One that is new must say who may use it."""
    paths = server.http.get("/openapi.json").json()["paths"]
    documented = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    listed = {(method, "/users/{username}" if path.startswith("/users/") else path) for method, path, *_ in MATRIX}
    assert documented - listed == {("POST", "/auth/login")}


def test_logout_ends_the_session_in_every_worker(server: Server) -> None:
    token, other = server.token("viewer"), server.token("viewer")
    assert server.http.post("/auth/logout", headers=token).status_code == 204
    for _ in range(12):
        # A connection each, so that other workers answer too.
        assert server.http.get("/me", headers={**token, "Connection": "close"}).status_code == 401
    assert server.http.get("/me", headers=other).status_code == 200


def test_sessions_and_their_index_expire(server: Server, redis: Redis) -> None:
    server.token("viewer")
    keys = set(redis.scan_iter("olav:*"))
    assert {key.rpartition(":")[0] for key in keys} == {"olav:session", "olav:sessions"}
    assert all(3500 < redis.ttl(key) <= 3600 for key in keys)


def test_a_user_is_made_changed_and_disabled(server: Server) -> None:
    admin = server.token("admin")
    made = server.http.post("/users", json=NEW_USER, headers=admin)
    assert (made.status_code, made.headers["location"]) == (201, "/users/carl")
    assert {name: made.json()[name] for name in ("username", "role", "disabled")} == {
        "username": "carl",
        "role": "viewer",
        "disabled": False,
    }
    assert "carls-password" not in made.text
    again = server.http.post("/users", json=NEW_USER, headers=admin)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "user_exists")
    assert "carl" in [user["username"] for user in server.http.get("/users", headers=admin).json()["users"]]

    carl = server.token("carl", "carls-password")
    assert server.http.get("/users", headers=carl).status_code == 403
    assert server.http.patch("/users/carl", json={"role": "admin"}, headers=admin).json()["role"] == "admin"
    assert server.http.get("/me", headers=carl).status_code == 401
    assert server.http.get("/users", headers=server.token("carl", "carls-password")).status_code == 200

    server.http.patch("/users/carl", json={"password": "carls-new-password"}, headers=admin).raise_for_status()
    assert server.login("carl", "carls-password").status_code == 401
    carl = server.token("carl", "carls-new-password")
    server.http.patch("/users/carl", json={"disabled": True}, headers=admin).raise_for_status()
    assert server.http.get("/me", headers=carl).status_code == 401
    assert server.login("carl", "carls-new-password").json()["error"]["code"] == "invalid_credentials"


@pytest.mark.parametrize(
    "changed",
    [{"username": "C"}, {"username": "carl\n"}, {"password": "short"}, {"role": "king"}, {"more": 1}],
)
def test_a_new_user_that_is_refused(server: Server, changed: dict[str, object]) -> None:
    answer = server.http.post("/users", json={**NEW_USER, **changed}, headers=server.token("admin"))
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, next(iter(changed)))


@pytest.mark.parametrize("change", [{"disabled": True}, {"role": "viewer"}])
def test_the_last_admin_stays(server: Server, change: dict[str, object]) -> None:
    admin = server.token("admin")
    answer = server.http.patch("/users/admin", json=change, headers=admin)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "last_admin")
    assert server.http.get("/users/admin", headers=admin).json()["role"] == "admin"


def test_too_many_wrong_passwords(server: Server, redis: Redis) -> None:
    statuses = [server.login("viewer", "wrong").status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    limited = server.login("viewer")
    assert (limited.status_code, limited.json()["error"]["code"]) == (429, "too_many_logins")
    assert 1 <= int(limited.headers["retry-after"]) <= 60
    assert server.login("operator").status_code == 200
    # The window is over.
    redis.delete("olav:logins:127.0.0.1:viewer")
    assert server.login("viewer").status_code == 200


def test_a_right_password_forgets_the_wrong_ones(server: Server) -> None:
    for _ in range(2):
        assert [server.login("viewer", "wrong").status_code for _ in range(4)] == [401] * 4
        assert server.login("viewer").status_code == 200


def test_one_address_may_not_try_every_username(server: Server) -> None:
    statuses = [server.login(f"user{number}", "wrong").status_code for number in range(52)]
    assert statuses == [401] * 50 + [429] * 2


def test_guesses_at_once_learn_no_more_than_one_after_the_other(server: Server) -> None:
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: server.login("viewer", "wrong").status_code, range(24)))
    assert sorted(set(statuses)) == [401, 429]
    assert statuses.count(401) == 5


def test_no_secret_is_in_the_log(server: Server) -> None:
    token = server.token("admin")["Authorization"].removeprefix("Bearer ")
    server.login("viewer", "a-wrong-password")
    server.login("a-password-in-the-wrong-field!", "x")
    server.http.post(
        "/users", json={**NEW_USER, "password": "tiny-secret"}, headers={"Authorization": f"Bearer {token}"}
    )
    log = server.log.read_text(encoding="utf-8")
    assert '"event": "logged in"' in log
    secrets = [*PASSWORDS.values(), KEY, token, "sk-test-key", "unused-password", "a-wrong-password", "tiny-secret"]
    for secret in [*secrets, "a-password-in-the-wrong-field!"]:
        assert secret not in log
