"""olav: a LangServe API platform. PostgreSQL, OpenSearch, Redis, a double of the model API, one-shot init, server."""

from __future__ import annotations

from functools import partial

import pulumi

from ephemera import Build, Environment, Option, Runner, Source, System
from ephemera.components import OneShot, OpenSearch, Postgres, Redis, WebService
from stacks.images import SERVICE, SERVICE_POSTGRES

_IMAGE = partial(Build, "services/olav", bases={"SERVICE_IMAGE": SERVICE_POSTGRES})
_SERVER = _IMAGE(target="server")
_PORTS = ("postgres.postgres", "opensearch.http", "redis.redis", "llm.http", "olav-server.http")

olav = System(
    "olav",
    description="LangServe API platform: LangGraph, OpenSearch, Redis, PostgreSQL, a double of the model API",
    suite="tests/e2e/olav",
    options={
        "log_level": Option("info", "log level of server and init: debug, info, …"),
        "environment": Option("production", "production or development"),
        "workers": Option(4, "processes of the server"),
    },
    fixed_ports={
        "manual": dict(zip(_PORTS, (55432, 9200, 6379, 8080, 8001), strict=True)),
        # Leaves room for `manual`, and for what a developer's machine runs anyway.
        "test": dict(zip(_PORTS, (15432, 19200, 16379, 18080, 18001), strict=True)),
    },
    runner=Runner(
        name="olav-tests",
        image=_IMAGE(target="tests"),
        coverage=("olav_client",),
    ),
)


@olav.program
def program(environment: Environment) -> None:
    """Declare the services."""
    database = Postgres("postgres", database="olav", user="olav")
    cache = Redis("redis", persistent=True)
    search = OpenSearch("opensearch")
    model_key = environment.credential("llm", "api_key")
    model = WebService(
        "llm",
        image=Build("services/llm", bases={"SERVICE_IMAGE": SERVICE}),
        package="chassis",
        port=8080,
        variables={"LLM_DOUBLE_KEY": model_key},
        credentials={"api_key": model_key},
        source=Source(folder="services/llm/src", target="/app/src"),
    )
    secrets = {
        name: environment.credential("olav-server", name)
        for name in ("admin_password", "operator_password", "viewer_password", "jwt_secret_key")
    }
    # Set only if both are part of the environment: with `--only olav-server`, sessions, roles and status work without
    # them. With one alone the orchestrator stays off: a model without an address would be the real one.
    graph = pulumi.Output.all(search.url, model.started)
    variables: dict[str, pulumi.Input[str | float | bool]] = {
        "DATABASE_URL": database.url,
        "POSTGRES_PASSWORD": environment.credential("postgres", "password"),
        "REDIS_URL": cache.url,
        "OPENSEARCH_URL": graph.apply(lambda known: str(known[0])),
        "LLM_BASE_URL": graph.apply(lambda _: "http://llm:8080/v1"),
        "LLM_PROVIDER": "openai",
        "LLM_MODEL_NAME": "gpt-4-turbo",
        "LLM_API_KEY": model_key,
        "JWT_SECRET_KEY": secrets["jwt_secret_key"],
        "ENVIRONMENT": str(environment.option("environment")),
        "LOG_LEVEL": str(environment.option("log_level")),
    }
    init = OneShot(
        "olav-init",
        image=_SERVER,
        command=["python", "-m", "olav.init"],
        variables={
            **variables,
            **{f"OLAV_{name.upper()}": value for name, value in secrets.items() if name.endswith("password")},
        },
        wants=[search, model],
        memory_mb=512,
    )
    WebService(
        "olav-server",
        image=_SERVER,
        package="chassis",
        port=8000,
        variables={**variables, "OLAV_WORKERS": str(environment.option("workers"))},
        needs=[init],
        wants=[search, model],
        start_period_seconds=20,
        memory_mb=1024,
        cpus=min(2.0, environment.cores()),
        stop_grace_seconds=5,
        credentials=secrets,
        # Forks a process that has imported the libraries, which takes seconds.
        source=Source(
            folder="services/olav/src",
            target="/app/src",
            reload="command",
            command=("env", "OLAV_RELOAD=1", "python", "-m", "olav.server"),
        ),
    )
