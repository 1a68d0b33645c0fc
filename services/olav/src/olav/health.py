"""The health document: what it is called here, and what the server can be without."""

from typing import Annotated

from chassis.health import Check, Health
from pydantic import Field

# Without the model, which is another's API, all but answers is as ever.
OPTIONAL = frozenset({"llm"})


class OlavHealth(Health):
    checks: Annotated[dict[str, Check], Field(serialization_alias="dependencies")]
