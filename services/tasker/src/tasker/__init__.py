"""Workflow orchestration: an orchestration API and workers around one PostgreSQL."""

__version__ = "1.0.0"
