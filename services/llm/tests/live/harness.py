"""The double as a process, and what a test asks of it."""

from pathlib import Path
from typing import Any

from chassis.testing import Process
from openai import OpenAI

KEY = "sk-double-of-this-test"


class Double(Process):
    """`http` is authorized; `openai` is the official client, which does not retry."""

    def __init__(self, folder: Path, **environ: str) -> None:
        super().__init__("llm", folder, prefix="LLM_DOUBLE_", **{"LLM_DOUBLE_KEY": KEY, **environ})
        self.http.headers["authorization"] = f"Bearer {KEY}"
        self.openai = OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0, timeout=10)

    def behave(self, **behaviour: Any) -> None:
        answer = self.http.put("/admin/behaviour", json=behaviour)
        assert answer.is_success, answer.text

    def seen(self, after: int = 0) -> list[dict[str, Any]]:
        answer = self.http.get("/admin/requests", params={"after": after})
        assert answer.is_success, answer.text
        return list(answer.json()["requests"])
