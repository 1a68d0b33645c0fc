"""OpenSearch's part: the index template, the index, the documents that come with this program."""

import structlog
from chassis.errors import ApiError
from chassis.waiting import StartError, line, wait_for
from opensearchpy.exceptions import ConnectionError as Unreachable
from opensearchpy.exceptions import OpenSearchException

from olav import documents
from olav.model import Model
from olav.settings import Settings

log = structlog.get_logger("olav")

_NAME = "opensearch (OPENSEARCH_URL)"


async def prepare(url: str, settings: Settings, patience_seconds: float) -> None:
    """Raises StartError."""
    try:
        async with documents.Documents(url, timeout_seconds=30.0) as store, Model(settings) as model:
            await wait_for(_NAME, store.ping, (Unreachable,), patience_seconds=patience_seconds)
            await documents.prepare(store.client)
            log.info("index template is there", index=documents.INDEX)
            loaded = await documents.load(
                store.client, documents.shipped(), model.embed, model=settings.llm_embedding_model_name
            )
            log.info("sample documents are there", loaded=loaded)
    except OpenSearchException as error:
        raise StartError(f"{_NAME}: {line(error)}") from error
    except ApiError as error:
        raise StartError(f"embeddings of the sample documents (LLM_BASE_URL): {error.detail}") from error
