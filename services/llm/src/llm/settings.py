"""The double's environment variables."""

from typing import Annotated

from chassis.settings import CommaList, ServiceSettings, prefixed
from pydantic import Field, SecretStr

MODELS = (
    "gpt-4-turbo",
    "gpt-4o",
    "gpt-4o-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
)


class Settings(ServiceSettings):
    """`key`: None lets everybody in. `models`: the ids that exist."""

    model_config = prefixed("LLM_DOUBLE_")

    key: SecretStr | None = None
    models: Annotated[tuple[Annotated[str, Field(pattern=r"^[!-~]{1,100}$")], ...], CommaList, Field(min_length=1)] = (
        MODELS
    )
