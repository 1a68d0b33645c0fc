from __future__ import annotations

import base64
import html
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephemera.home.credentials import credential
from ephemera.model import labels
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.redaction import Redactor

_CHOSEN = "p@ss/w?rd +1"
_NOT_HIDDEN = ("true", "false", "none", "null")
_AWKWARD = "quo\"te'\\back<tag>"
_ALL_KINDS = "p@s/s:w%rd'\"$ x#?&=ü"


def _redactor(*secrets: str) -> Redactor:
    redactor = Redactor()
    redactor.learn(secrets)
    return redactor


@pytest.mark.parametrize("secret", [_CHOSEN, _AWKWARD, _ALL_KINDS])
def test_credential_is_hidden_in_every_form_it_is_written_in(secret: str) -> None:
    forms = [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret),
        repr(secret),
        ascii(secret),
        repr(secret.encode()),
        json.dumps(secret, ensure_ascii=False),
        json.dumps(json.dumps(secret)),
        quote(secret, safe="!'()*"),
        shlex.quote(secret),
        html.escape(secret),
        secret.replace("'", "''"),
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


def test_containers_tell_what_the_program_marked_as_secret() -> None:
    config = {
        "Env": ["DSN=host=db password=p4ss-word", "KEY=first line of it\nsecond line of it\n", "MODE=fast"],
        "Labels": {labels.SECRETS: '["DSN", "KEY", "GONE"]'},
    }
    redactor = Redactor()
    redactor.learn_container({"Name": "/x", "Config": config})
    assert redactor.text("p4ss-word, second line of it, fast") == "***, ***, fast"


@pytest.mark.parametrize(
    ("value", "inner"),
    [
        ('{"password": "correct-horse"}', "correct-horse"),
        ('{"db": {"password": "pa5s", "port": 5432}}', "pa5s"),
        ('{"pin": 1, "token": 90210}', "90210"),
        ('{"keys": ["first", "firstsecret"]}', "firstsecret"),
        ('{"inner": "{\\"password\\": \\"pa5s\\"}"}', "pa5s"),
        ('{"url": "amqp://app:pa5s@queue/"}', "pa5s"),
        ("firstsecret,b", "firstsecret"),
        ("a;firstsecret", "firstsecret"),
        ("a|firstsecret|b", "firstsecret"),
        ("Bearer firstsecret", "firstsecret"),
        ("one\nfirstsecret\n", "firstsecret"),
        ("admin:firstsecret", "firstsecret"),
        ("firstsecret:b", "firstsecret"),
        ("AccountKey=Zmlyc3RzZWNyZXQ=;x=1", "Zmlyc3RzZWNyZXQ="),
        ("Zmlyc3RzZWNyZXQx==,b", "Zmlyc3RzZWNyZXQx=="),
        ("user: shop\npassword: pa5s\n", "pa5s"),
        ("password: 'two words'", "two words"),
        ("https://ghp_0123456789abcdef@git/", "ghp_0123456789abcdef"),
        ("https://store/blob?signed=firstsecret&x=1", "firstsecret"),
    ],
)
def test_what_is_within_a_secret_is_hidden_by_itself(value: str, inner: str) -> None:
    redactor = Redactor()
    redactor.learn_secrets([value])
    assert redactor.text(f"login with {inner}!") == "login with ***!"


def test_everyday_words_within_a_secret_are_not_hidden() -> None:
    redactor = Redactor()
    redactor.learn_container({"Name": "/orders-db", "Config": {}})
    redactor.learn_secrets(
        [
            '{"username": "shop-user", "host": "db.internal", "port": 5432, "tls": true, "password": "correct-horse"}',
            "host=orders-db user=shop-user password=correct-horse sslmode=require",
            "postgres://shop-user:correct-horse@db.internal:5432/orders?sslmode=require",
            "orders-db,postgres,localhost",
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----\n",
        ]
    )
    said = "shop-user at orders-db db.internal:5432, postgres on localhost, tls true, require, PRIVATE KEY-----"
    assert redactor.text(said) == said
    assert redactor.text("correct-horse MIIEvQIBADANBgkq") == "*** ***"


def test_secret_that_is_nested_deeply_is_hidden_all_the_same() -> None:
    depth = 5000
    redactor = Redactor()
    for levels in (depth, 500):
        redactor.learn_secrets(["[" * levels + '"correct-horse"' + "]" * levels])
    assert redactor.text("correct-horse") == "***"


def test_containers_tell_what_is_within_secret_variables() -> None:
    config = {
        "Env": ['CONF={"password": "correct-horse"}', "CSV=firstsecret,b", 'APP_CREDENTIALS={"id": "secondsecret"}'],
        "Labels": {labels.SECRETS: '["CONF", "CSV"]'},
    }
    redactor = Redactor()
    redactor.learn_container({"Name": "/x", "Config": config})
    assert redactor.text("correct-horse, firstsecret, secondsecret") == "***, ***, ***"


@pytest.mark.parametrize("value", ["host=db password=p4ss-word", "Server=db;Password='p4ss-word'", "PWD=p4ss-word,x=1"])
def test_parts_of_a_variable_tell_credentials_by_name(value: str) -> None:
    redactor = Redactor()
    redactor.learn_settings({"CONNECTION": value})
    assert redactor.text("login with p4ss-word!") == "login with ***!"


def test_what_is_said_all_the_time_is_not_hidden() -> None:
    redactor = Redactor()
    redactor.learn_settings({"PWD": "/srv/app", "USE_TOKEN": "true", "OPTIONS": "bypass=false"})
    assert redactor.text("started in /srv/app: true, false") == "started in /srv/app: true, false"


def test_many_lines_are_redacted_as_each_is() -> None:
    lines = [f"line {number} {'s3cret' if number % 700 == 3 else ''}" for number in range(2000)]
    redactor = _redactor("s3cret")
    assert list(redactor.lines(enumerate(lines))) == [(at, redactor.text(line)) for at, line in enumerate(lines)]


def test_a_secret_of_several_lines_joins_no_lines() -> None:
    redactor = _redactor("one and two\nthree and four")
    assert list(redactor.lines([(1, "one and two"), (2, "three and four")])) == [(1, "***"), (2, "***")]


# Hypothesis also tries the literals of the code under test: words that are not hidden.
@given(
    secret=st.text(min_size=4, max_size=20).filter(
        lambda text: text.strip().lower() not in _NOT_HIDDEN and "-----" not in text
    )
)
def test_no_form_of_a_secret_hides_everything(secret: str) -> None:
    assert _redactor(secret).text("") == ""
    assert "***" in _redactor(secret).text(f"a {secret} b")


def test_secret_that_is_no_valid_unicode_is_hidden_too() -> None:
    assert _redactor("odd\ud800one").text("an odd\ud800one") == "an ***"


def test_documents_are_redacted_key_and_value() -> None:
    secret = credential("shop-main", "db", "password")
    document = {"a": [secret, 1, None, {"b": f"x{secret}"}], secret: True}
    assert _redactor(secret).document(document) == {"a": ["***", 1, None, {"b": "x***"}], "***": True}
