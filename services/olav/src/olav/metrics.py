"""What is counted. With PROMETHEUS_MULTIPROC_DIR set before this is imported, over all workers."""

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

REQUESTS = Counter("olav_http_requests", "Requests answered.", ("method", "route", "status"))
REQUEST_SECONDS = Histogram("olav_http_request_seconds", "Time to the end of the response.", ("method", "route"))
LOGINS = Counter("olav_logins", "Logins by outcome: success, failure, limited.", ("outcome",))
DEPENDENCY_UP = Gauge("olav_dependency_up", "As /health saw it last.", ("dependency",), multiprocess_mode="mostrecent")
ORCHESTRATOR_RUNS = Counter("olav_orchestrator_runs", "Runs: answered, or the error's code.", ("outcome",))
ORCHESTRATOR_STEP_SECONDS = Histogram("olav_orchestrator_step_seconds", "Time of each step of the graph.", ("step",))
MODEL_RETRIES = Counter("olav_model_retries", "Requests to the model that were repeated, by cause.", ("reason",))


def exposition() -> bytes:
    """All of it in Prometheus's text format, summed over the workers where there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
