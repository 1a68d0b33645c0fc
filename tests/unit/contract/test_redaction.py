from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephemera.contract.outputs import EnvironmentOutputs
from ephemera.contract.redaction import Redactor
from ephemera.home.credentials import credential

_CHOSEN = "p@ss/w?rd +1"
_AWKWARD = "quo\"te'\\back<tag>"


def _redactor(*secrets: str) -> Redactor:
    redactor = Redactor()
    redactor.learn(secrets)
    return redactor


@pytest.mark.parametrize("secret", [_CHOSEN, _AWKWARD])
def test_credential_is_hidden_in_every_form_it_is_written_in(secret: str) -> None:
    forms = [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret),
        repr(secret),
        secret.encode().hex(),
        f"postgresql://app:{quote(secret, safe='')}@db/shop",
    ]
    for form in forms:
        hidden = _redactor(secret).text(f"before {form} after")
        assert hidden.startswith("before ")
        assert hidden.endswith(" after")
        assert "***" in hidden
        assert form.strip("\"'") not in hidden


@given(
    secret=st.binary(min_size=24, max_size=24).map(lambda raw: base64.urlsafe_b64encode(raw).decode()),
    user=st.text(alphabet="abcdefgh", max_size=9),
    rest=st.text(alphabet="abcdefgh", max_size=4),
)
def test_credential_within_what_is_encoded_as_base64_is_hidden(secret: str, user: str, rest: str) -> None:
    encoded = base64.b64encode(f"{user}:{secret}{rest}".encode()).decode()
    hidden = _redactor(secret).text(f"Authorization: Basic {encoded}")
    assert "***" in hidden
    remaining = hidden.removeprefix("Authorization: Basic ").replace("***", "")
    assert len(remaining) <= len(base64.b64encode(f"{user}:{rest}".encode())) + 4, "a character at each side at most"


def test_outputs_tell_credentials_and_what_is_none() -> None:
    secret = credential("shop-main", "db", "password")
    credentials = {"user": "shop", "database": "orders", "password": secret, "admin_password": "shop", "pin": "123"}
    services = {"db": {"container": "c", "image": "i", "credentials": credentials}}
    outputs = EnvironmentOutputs.parse({"stack": "s", "system": "s", "branch": "b", "services": services})
    redactor = Redactor()
    redactor.learn_outputs(outputs)
    assert redactor.text(f"shop {secret} orders 123") == "shop *** orders 123", "hiding a user's name hides all else"


@pytest.mark.parametrize(
    "config",
    [
        {"Env": [f"DATABASE_PASSWORD={_CHOSEN}"]},
        {"Env": [f"DATABASE_URL=postgresql://app:{quote(_CHOSEN, safe='')}@db:5432/shop"]},
        {"Cmd": ["serve", f"--api-token={_CHOSEN}"]},
        {"Entrypoint": ["serve", f"--secret={_CHOSEN}"]},
    ],
)
def test_containers_tell_credentials_by_name_and_in_urls(config: dict[str, list[str]]) -> None:
    redactor = Redactor()
    redactor.learn_container({"Name": "/shop-main-db", "Config": {"Labels": {}, **config}})
    assert redactor.text(f"login with {_CHOSEN}!") == "login with ***!"


@pytest.mark.parametrize("key", ["Cmd", "Entrypoint"])
def test_containers_tell_generated_credentials_by_their_form(key: str) -> None:
    secret = credential("shop-main", "db", "password")
    redactor = Redactor()
    redactor.learn_container({"Name": "/x", "Config": {"Labels": {}, key: ["redis", "--requirepass", secret]}})
    assert redactor.text(f"at {secret}") == "at ***"


def test_a_name_that_has_the_form_of_a_credential_is_none() -> None:
    stack = "shop-a-branch-with-a-long-name-x"
    assert len(stack) == 32
    redactor = Redactor()
    redactor.learn_container({"Name": f"/{stack}", "Config": {"Labels": {}, "Env": [f"HOST={stack}"]}})
    assert redactor.text(f"ready at {stack}") == f"ready at {stack}"


def test_documents_are_redacted_key_and_value() -> None:
    secret = credential("shop-main", "db", "password")
    document = {"a": [secret, 1, None, {"b": f"x{secret}"}], secret: True}
    assert _redactor(secret).document(document) == {"a": ["***", 1, None, {"b": "x***"}], "***": True}
