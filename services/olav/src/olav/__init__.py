"""olav: a LangServe API over a LangGraph orchestrator."""

__version__ = "1.0.0"
