"""Logins that meet something else on their way: other guesses, and a change of the user."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chassis.errors import ApiError
from olav.security.passwords import Passwords
from olav.security.roles import Role
from olav.security.routes import Logins
from olav.security.sessions import Session
from olav.security.users import User

NOW = datetime.now(UTC)
RIGHT = "right"


class Stores:
    """Users, passwords, sessions and the limit of logins, with what happens at each look."""

    def __init__(self, *, waits: list[int | None], changes: list[dict[str, Any] | None]) -> None:
        self.waits = waits
        self.changes = changes
        self.alive: list[Session] = []
        self.forgotten = 0

    async def match(self, password_hash: str | None, password: str) -> bool:
        return password_hash is not None and password == RIGHT

    async def find(self, username: str) -> User | None:
        changed = self.changes.pop(0)
        given = {"username": username, "password_hash": "h", "role": Role.VIEWER, "disabled": False}
        return None if changed is None else User(**{**given, "created_at": NOW, "updated_at": NOW, **changed})

    async def wait_seconds(self, *_: str) -> int | None:
        return self.waits.pop(0)

    async def failed(self, *_: str) -> int | None:
        return None

    async def forget(self, *_: str) -> None:
        self.forgotten += 1

    async def begin(self, username: str, role: Role) -> Session:
        session = Session(id="s", username=username, role=role, created_at=NOW, expires_at=NOW + timedelta(hours=1))
        self.alive.append(session)
        return session

    async def end(self, session: Session) -> None:
        self.alive.remove(session)


async def login(stores: Any, password: str = RIGHT) -> Session:
    return await Logins(stores, stores, stores, stores).login("10.0.0.1", "ann", password)


async def test_a_login() -> None:
    stores = Stores(waits=[None, None], changes=[{}, {}])
    assert await login(stores) in stores.alive
    assert stores.forgotten == 1


async def test_a_right_guess_after_too_many_wrong_ones_is_not_told() -> None:
    """Its hash was computed while others used up what was left."""
    stores = Stores(waits=[None, 30], changes=[{}, {}])
    with pytest.raises(ApiError) as caught:
        await login(stores)
    assert (caught.value.status_code, (caught.value.headers or {})["Retry-After"]) == (429, "30")
    assert (stores.alive, stores.forgotten) == ([], 0)


@pytest.mark.parametrize("changed", [None, {"disabled": True, "updated_at": NOW + timedelta(seconds=1)}])
async def test_a_user_who_changes_during_the_login_has_no_session(changed: dict[str, Any] | None) -> None:
    stores = Stores(waits=[None, None], changes=[{}, changed])
    with pytest.raises(ApiError) as caught:
        await login(stores)
    assert (caught.value.status_code, stores.alive) == (401, [])


@pytest.mark.parametrize(("user", "password"), [({}, "wrong"), (None, "right"), ({"disabled": True}, "right")])
async def test_refusals_are_one(user: dict[str, Any] | None, password: str) -> None:
    with pytest.raises(ApiError, match="unknown user or wrong password") as caught:
        await login(Stores(waits=[None], changes=[user]), password)
    assert caught.value.code == "invalid_credentials"


async def test_one_that_must_wait_costs_no_hash() -> None:
    class NoHash(Passwords):
        async def match(self, *_: object) -> bool:
            raise AssertionError("hashed")

    stores: Any = Stores(waits=[7], changes=[])
    with pytest.raises(ApiError) as caught:
        await Logins(stores, NoHash(), stores, stores).login("10.0.0.1", "ann", "right")
    assert caught.value.code == "too_many_logins"
