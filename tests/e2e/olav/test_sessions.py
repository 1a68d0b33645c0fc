"""Tokens, sessions and users: what ends a session, what never was one, and who manages users."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import jwt
import pytest

if TYPE_CHECKING:
    from ephemera.pytest_plugin.environments import RunningEnvironment

pytestmark = pytest.mark.timeout(60, func_only=True)

SignIn = Callable[..., httpx.Client]
Forge = Callable[..., str]
PASSWORD = "a password of twelve or more"  # noqa: S105 - of users that tests make
# Enough requests for each of four workers to get some.
EVERY_WORKER = 24


@pytest.fixture
def forge(environment: RunningEnvironment, sign_in: SignIn) -> Forge:
    """``forge(exp=…)``: a token of a live session of the viewer, with other claims, key or algorithm."""
    secret = environment.outputs.service("olav-server").credentials["jwt_secret_key"].get_secret_value()
    token = sign_in(environment, "viewer").headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, secret, algorithms=["HS256"], issuer="olav")

    def make(key: str = secret, algorithm: str = "HS256", without: str = "", **changes: Any) -> str:
        given = {name: value for name, value in {**claims, **changes}.items() if name != without}
        return jwt.encode(given, key, algorithm=algorithm)

    return make


@pytest.fixture
def user(people: Mapping[str, httpx.Client]) -> Iterator[str]:
    """An operator that nobody else uses; disabled at the end."""
    name = f"u{uuid4().hex[:12]}"
    made = people["admin"].post("/users", json={"username": name, "password": PASSWORD, "role": "operator"})
    assert (made.status_code, made.headers["Location"]) == (201, f"/users/{name}")
    yield name
    assert people["admin"].patch(f"/users/{name}", json={"disabled": True}).status_code == 200


def test_the_token_says_who_and_how_long_and_nothing_else(forge: Forge) -> None:
    claims = jwt.decode(forge(), options={"verify_signature": False})
    assert set(claims) == {"iss", "sub", "role", "jti", "iat", "exp"}
    assert (claims["iss"], claims["sub"], claims["role"]) == ("olav", "viewer", "viewer")
    assert 0 < claims["exp"] - time.time() <= 3600


def test_a_token_that_is_not_the_servers_own_is_none(server: httpx.Client, forge: Forge) -> None:
    def status(token: str) -> int:
        answer = server.get("/me", headers={"Authorization": f"Bearer {token}"})
        if answer.status_code == 401:
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="olav", error="invalid_token"'
        return answer.status_code

    assert status(forge()) == 200, "what is forged here is right but for what each line changes"
    header, payload, signature = forge().split(".")
    swapped = base64.urlsafe_b64encode(json.dumps({"sub": "admin"}).encode()).decode().rstrip("=")
    unsigned = jwt.encode(jwt.decode(forge(), options={"verify_signature": False}), "", algorithm="none")
    refused = {
        "expired": forge(exp=int(time.time()) - 1),
        "signed with another key": forge(key="another key of thirty-two characters"),
        "signed in another way": forge(key="k" * 64, algorithm="HS512"),
        "not signed": unsigned,
        "signature cut": f"{header}.{payload}.{signature[:-4]}",
        "payload of another": f"{header}.{swapped}.{signature}",
        "of another issuer": forge(iss="somebody"),
        "of no session": forge(jti=str(uuid4())),
        **{f"without {claim}": forge(without=claim) for claim in ("iss", "sub", "role", "jti", "iat", "exp")},
    }
    assert {what: status(token) for what, token in refused.items()} == dict.fromkeys(refused, 401)
    # Even with the right key: who has the session, and what he may do, is not what the token says.
    claimed = {"Authorization": f"Bearer {forge(sub='admin', role='admin')}"}
    assert server.get("/me", headers=claimed).json()["role"] == "viewer"
    assert server.get("/users", headers=claimed).status_code == 403


def test_logout_ends_the_session_in_every_worker(
    environment: RunningEnvironment, people: Mapping[str, httpx.Client], sign_in: SignIn
) -> None:
    assert people["nobody"].post("/auth/logout").status_code == 401
    client, other = sign_in(environment, "viewer"), sign_in(environment, "viewer")
    assert client.post("/auth/logout").status_code == 204
    # A connection each: a worker is chosen when one is opened.
    answers = [client.get("/me", headers={"Connection": "close"}) for _ in range(EVERY_WORKER)]
    assert {answer.status_code for answer in answers} == {401}
    assert client.post("/auth/logout").status_code == 401
    assert other.get("/me").status_code == 200, "the user's other sessions go on"


def test_wrong_passwords_are_counted_and_then_refused(
    environment: RunningEnvironment, server: httpx.Client, user: str, sign_in: SignIn
) -> None:
    def login(secret: str, name: str = user) -> httpx.Response:
        return server.post("/auth/login", json={"username": name, "password": secret})

    sign_in(environment, user, PASSWORD)
    assert [login("a wrong password").status_code for _ in range(5)] == [401] * 5
    limited = [login("a wrong password"), login(PASSWORD)]
    assert [answer.status_code for answer in limited] == [429, 429]
    for answer in limited:
        assert answer.json()["error"]["code"] == "too_many_logins"
        assert 0 < int(answer.headers["Retry-After"]) <= 60
    sign_in(environment, "viewer")  # others are not concerned


def test_what_ends_every_session_of_a_user(
    environment: RunningEnvironment, people: Mapping[str, httpx.Client], user: str, sign_in: SignIn
) -> None:
    admin = people["admin"]
    client = sign_in(environment, user, PASSWORD)
    assert admin.patch(f"/users/{user}", json={"role": "viewer"}).json()["role"] == "viewer"
    assert client.get("/me").status_code == 401, "a new role needs a new login"
    client = sign_in(environment, user, PASSWORD)
    assert client.post("/orchestrator/invoke", json={"input": {"question": "May I?"}}).status_code == 403
    assert admin.patch(f"/users/{user}", json={"password": PASSWORD[::-1]}).status_code == 200
    assert client.get("/me").status_code == 401
    client = sign_in(environment, user, PASSWORD[::-1])
    assert admin.patch(f"/users/{user}", json={"disabled": True}).json()["disabled"] is True
    assert client.get("/me").status_code == 401
    again = people["nobody"].post("/auth/login", json={"username": user, "password": PASSWORD[::-1]})
    assert (again.status_code, again.json()["error"]["code"]) == (401, "invalid_credentials")


def test_users_are_managed_by_the_admin(people: Mapping[str, httpx.Client], user: str) -> None:
    admin = people["admin"]
    listed = admin.get("/users").json()["users"]
    assert {"admin", "operator", "viewer", user} <= {each["username"] for each in listed}
    assert [each["username"] for each in listed] == sorted(each["username"] for each in listed)
    assert all(set(each) == {"username", "role", "disabled", "created_at", "updated_at"} for each in listed)
    taken = admin.post("/users", json={"username": user, "password": PASSWORD, "role": "viewer"})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "user_exists")
    last = admin.patch("/users/admin", json={"role": "viewer"})
    assert (last.status_code, last.json()["error"]["code"]) == (409, "last_admin")
    refusals: tuple[dict[str, Any], ...] = (
        {"username": "Upper", "password": PASSWORD, "role": "viewer"},
        {"username": "short", "password": "short", "role": "viewer"},
        {"username": "strange", "password": PASSWORD, "role": "root"},
        {"username": "more", "password": PASSWORD, "role": "viewer", "disabled": False},
    )
    for wrong in refusals:
        refused = admin.post("/users", json=wrong)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request"), wrong
        assert wrong["password"] not in refused.text
    assert admin.get("/users/nobody-there").status_code == 404


def test_passwords_are_kept_as_argon2_hashes(
    environment: RunningEnvironment, password: Callable[[RunningEnvironment, str], str]
) -> None:
    with environment.postgres() as connection:
        hashes = dict(connection.execute("SELECT username, password_hash FROM users").fetchall())
    assert {"admin", "operator", "viewer"} <= set(hashes)
    assert all(value.startswith("$argon2id$") for value in hashes.values())
    assert not any(password(environment, role) in str(hashes) for role in ("admin", "operator", "viewer"))
