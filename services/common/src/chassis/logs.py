"""One JSON object a line on stdout, for our own events and for those of the libraries."""

import logging
import sys

import structlog

# At debug and info these write what they send: requests with their headers, questions, queries with their values.
_TALKATIVE = (
    "asyncio",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "openai",
    "opensearch",
    "psycopg",
    "urllib3",
    "uvicorn",
    "uvicorn.error",
)


def configure(level: str, service: str, package: str) -> None:
    """Log from `level` (debug, info, warning, error) up, each line with its `service`.

    `package`: whose loggers may log at debug. Libraries never do, since they would log what they send.
    """

    def name_service(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        return {"service": service, **event}

    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        name_service,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        )
    )
    threshold = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.INFO))
    for ours in (package, "chassis"):
        logging.getLogger(ours).setLevel(threshold)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
