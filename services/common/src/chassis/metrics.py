"""Prometheus metrics. With PROMETHEUS_MULTIPROC_DIR set before this is imported, summed over all worker processes."""

import os
from functools import cache
from typing import NamedTuple

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Http(NamedTuple):
    """What is counted of every service's requests and checks."""

    requests: Counter
    seconds: Histogram
    up: Gauge


@cache
def http(prefix: str) -> Http:
    """Return the metrics whose names begin with `prefix`."""
    return Http(
        Counter(f"{prefix}_http_requests", "Requests answered.", ("method", "route", "status")),
        Histogram(f"{prefix}_http_request_seconds", "Time to the end of the response.", ("method", "route")),
        Gauge(f"{prefix}_dependency_up", "As /health saw it last.", ("dependency",), multiprocess_mode="mostrecent"),
    )


def exposition() -> bytes:
    """Return all metrics in Prometheus's text format."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
