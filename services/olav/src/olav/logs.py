"""One JSON object a line on stdout, for our own events and for those of the libraries."""

import logging
import sys

import structlog


def configure(level: str, service: str) -> None:
    """Everything from `level` (debug, info, warning, error) up, each line with its `service`."""

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
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel("INFO")
    logging.getLogger("olav").setLevel(level.upper())
    # At debug and info these write what they send: requests with their headers, questions, queries with their values.
    for talkative in (
        "asyncio",
        "httpcore",
        "httpcore2",
        "httpx",
        "httpx2",
        "openai",
        "opensearch",
        "urllib3",
        "uvicorn",
    ):
        logging.getLogger(talkative).setLevel("WARNING")
