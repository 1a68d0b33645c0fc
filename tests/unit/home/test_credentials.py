from __future__ import annotations

import re

from ephemera.home.credentials import credential
from ephemera.home.paths import state_dir


def test_credential_is_the_same_every_time() -> None:
    assert credential("shop-main", "db", "password") == credential("shop-main", "db", "password")


def test_credentials_differ_by_stack_service_and_purpose() -> None:
    asked = [
        ("shop-main", "db", "password"),
        ("shop-other", "db", "password"),
        ("shop-main", "cache", "password"),
        ("shop-main", "db", "admin"),
        ("shop-maindb", "", "password"),
        ("shop-main", "dbpassword", ""),
    ]
    assert len({credential(*names) for names in asked}) == len(asked)


def test_credential_is_32_characters_that_need_no_quoting() -> None:
    found = [credential("shop-main", "db", str(number)) for number in range(50)]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}", value) for value in found)


def test_another_user_has_other_credentials() -> None:
    before = credential("shop-main", "db", "password")
    (state_dir() / "key").unlink()
    assert credential("shop-main", "db", "password") != before


def test_no_credential_is_written_down() -> None:
    value = credential("shop-main", "db", "password")
    assert not [path for path in state_dir().rglob("*") if path.is_file() and value in path.read_text()]
