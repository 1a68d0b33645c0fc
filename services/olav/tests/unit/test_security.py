"""Tokens, passwords and roles, without a server."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from argon2 import extract_parameters
from olav.security import passwords
from olav.security.passwords import Passwords
from olav.security.roles import Role
from olav.security.sessions import BadTokenError, Session, Tokens

KEY = "0123456789abcdef0123456789abcdef"
NOW = datetime.now(UTC).replace(microsecond=0)
SESSION = Session(id="s1", username="ann", role=Role.OPERATOR, created_at=NOW, expires_at=NOW + timedelta(hours=1))


def claims(**changed: Any) -> dict[str, Any]:
    given = {"iss": "olav", "sub": "ann", "role": "viewer", "jti": "s1", "iat": NOW, "exp": NOW + timedelta(hours=1)}
    return {name: value for name, value in {**given, **changed}.items() if value is not None}


def test_a_token_names_its_session_and_nothing_secret() -> None:
    token = Tokens(KEY).issue(SESSION)
    assert Tokens(KEY).session_id(token) == "s1"
    assert set(jwt.decode(token, options={"verify_signature": False})) == {"iss", "sub", "role", "jti", "iat", "exp"}


def test_an_expired_token() -> None:
    expired = jwt.encode(claims(exp=NOW - timedelta(seconds=1)), KEY, algorithm="HS256")
    with pytest.raises(BadTokenError, match="expired"):
        Tokens(KEY).session_id(expired)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        jwt.encode(claims(), "another-key-another-key-another-key", algorithm="HS256"),
        jwt.encode(claims(), None, algorithm="none"),
        jwt.encode(claims(), KEY * 2, algorithm="HS512"),
        jwt.encode(claims(iss="other"), KEY, algorithm="HS256"),
        *(jwt.encode(claims(**{name: None}), KEY, algorithm="HS256") for name in claims()),
    ],
)
def test_tokens_that_are_not_ours(token: str) -> None:
    with pytest.raises(BadTokenError, match="not valid"):
        Tokens(KEY).session_id(token)


def test_a_tampered_token() -> None:
    head, _, signature = Tokens(KEY).issue(SESSION).split(".")
    _, body, _ = jwt.encode(claims(role="admin"), KEY, algorithm="HS256").split(".")
    with pytest.raises(BadTokenError):
        Tokens(KEY).session_id(f"{head}.{body}.{signature}")


async def test_passwords_match_their_hash_alone() -> None:
    made = Passwords()
    hashed = await made.hash("correct horse battery")
    assert hashed.startswith("$argon2id$")
    assert hashed != await made.hash("correct horse battery")
    assert await made.match(hashed, "correct horse battery")
    assert not await made.match(hashed, "correct horse batterz")
    assert not await made.match("no hash at all", "correct horse battery")


async def test_nobodys_password_takes_as_much_work_as_anybodys() -> None:
    made = Passwords()
    assert not await made.match(None, "correct horse battery")
    assert extract_parameters(passwords._NOBODY) == extract_parameters(await made.hash("x"))


def test_each_role_may_what_those_before_it_may() -> None:
    covers = {(role, needed) for role in Role for needed in Role if role.covers(needed)}
    assert covers == {
        (Role.VIEWER, Role.VIEWER),
        (Role.OPERATOR, Role.VIEWER),
        (Role.OPERATOR, Role.OPERATOR),
        (Role.ADMIN, Role.VIEWER),
        (Role.ADMIN, Role.OPERATOR),
        (Role.ADMIN, Role.ADMIN),
    }
