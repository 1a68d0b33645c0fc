"""olav: a LangServe API platform. PostgreSQL, OpenSearch, Redis, a double of the model API, one-shot init, server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ephemera.contract.catalog import Option, Runner, Service, Source, System
from ephemera.contract.images import EngineImage, ServiceImage

if TYPE_CHECKING:
    import pulumi

    from ephemera.resources import Container, Environment

_SERVICES = Path(__file__).resolve().parent.parent / "services"
_SOURCES = _SERVICES / "olav"
_PYTHON = EngineImage(name="python")
_PORT = 8000
_MODEL_PORT = 8080
_ROLES = ("admin", "operator", "viewer")

SERVER = ServiceImage(name="olav-server", context=_SOURCES, target="server", bases={"PYTHON_IMAGE": _PYTHON})
TESTS = ServiceImage(name="olav-tests", context=_SOURCES, target="tests", bases={"PYTHON_IMAGE": _PYTHON})
LLM = ServiceImage(name="llm", context=_SERVICES / "llm", target="llm", bases={"PYTHON_IMAGE": _PYTHON})

SYSTEM = System(
    description="LangServe API platform: LangGraph, OpenSearch, Redis, PostgreSQL, a double of the model API",
    program="stacks.olav:program",
    suite="tests/e2e/olav",
    services={
        "postgres": Service(),
        "opensearch": Service(),
        "redis": Service(),
        "llm": Service(source=Source(folder=_SERVICES / "llm" / "src", target="/opt/llm")),
        # OpenSearch and the model are used where they are part of the environment, and not required: with
        # `--only olav-server`, sessions, roles and status work without them.
        "olav-init": Service(requires=("postgres", "redis"), source=_SOURCES),
        "olav-server": Service(
            requires=("postgres", "redis", "olav-init"),
            # A fork of a process that has imported the libraries: importing those anew would take seconds.
            source=Source(
                folder=_SOURCES / "src",
                target="/opt/olav",
                reload="command",
                command=("env", "OLAV_RELOAD=1", "python", "-m", "olav.server"),
            ),
        ),
        "olav-tests": Service(profile="testing", required=False, runner=Runner(image=TESTS, coverage=("olav_client",))),
    },
    images=(
        EngineImage(name="postgres"),
        EngineImage(name="opensearch"),
        EngineImage(name="redis"),
        LLM,
        SERVER,
    ),
    memory_mb=3072,
    cpus=2.0,
    options={
        "log_level": Option(type="string", default="info", help="log level of server and init: debug, info, …"),
        "environment": Option(type="string", default="production", help="production or development"),
        "workers": Option(type="integer", default=4, help="processes of the server"),
    },
    fixed_ports={
        "manual": {
            "postgres.postgres": 55432,
            "opensearch.http": 9200,
            "redis.redis": 6379,
            "llm.http": 8080,
            "olav-server.http": 8001,
        },
        # Beside `manual`, and beside what a developer's machine runs anyway.
        "test": {
            "postgres.postgres": 15432,
            "opensearch.http": 19200,
            "redis.redis": 16379,
            "llm.http": 18080,
            "olav-server.http": 18001,
        },
    },
)


def program(environment: Environment) -> None:
    """Register the services that are selected."""

    from components import OneShot, OpenSearch, Postgres, Redis, WebService

    selected = environment.selected
    used: list[Container] = []
    variables: dict[str, pulumi.Input[str]] = {}
    if "postgres" in selected:
        postgres = Postgres(
            "postgres",
            database="olav",
            user="olav",
        )
        variables |= {"DATABASE_URL": postgres.url, "POSTGRES_PASSWORD": environment.credential("postgres", "password")}
        used.append(postgres)
    if "redis" in selected:
        redis = Redis("redis", persistent=True)
        variables["REDIS_URL"] = redis.url
        used.append(redis)
    urls: dict[str, pulumi.Input[str]] = {}
    if "opensearch" in selected:
        opensearch = OpenSearch("opensearch")
        urls["OPENSEARCH_URL"] = opensearch.url
        used.append(opensearch)
    model_key = environment.credential("llm", "api_key")
    if "llm" in selected:
        urls["LLM_BASE_URL"] = f"http://llm:{_MODEL_PORT}/v1"
        model = WebService(
            "llm",
            image=LLM,
            package="llm",
            port=_MODEL_PORT,
            variables={"LLM_DOUBLE_KEY": model_key},
            credentials={"api_key": model_key},
        )
        used.append(model)
    if "olav-init" not in selected:
        return
    # The orchestrator needs both. With one alone it stays off: a model without an address would be the real one.
    if len(urls) == 2:
        variables |= urls
    jwt_secret_key = environment.credential("olav-server", "jwt_secret_key")
    variables |= {
        "LLM_PROVIDER": "openai",
        "LLM_MODEL_NAME": "gpt-4-turbo",
        "LLM_API_KEY": model_key,
        "JWT_SECRET_KEY": jwt_secret_key,
        "ENVIRONMENT": str(environment.option("environment")),
        "LOG_LEVEL": str(environment.option("log_level")),
    }
    passwords = {f"{role}_password": environment.credential("olav-server", f"{role}_password") for role in _ROLES}
    init = OneShot(
        "olav-init",
        image=SERVER,
        variables={**variables, **{f"OLAV_{name.upper()}": password for name, password in passwords.items()}},
        command=["python", "-m", "olav.init"],
        needs=used,
        memory_mb=512,
    )
    if "olav-server" not in selected:
        return
    WebService(
        "olav-server",
        image=SERVER,
        package="olav",
        port=_PORT,
        variables={**variables, "OLAV_WORKERS": str(environment.option("workers"))},
        needs=(*used, init),
        start_period_seconds=20,
        memory_mb=1024,
        cpus=min(2.0, environment.cores()),
        stop_grace_seconds=5,
        credentials={**passwords, "jwt_secret_key": jwt_secret_key},
    )
