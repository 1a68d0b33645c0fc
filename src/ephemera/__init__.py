"""Ephemeral test environments as code: a whole application stack per branch, per test run, per night."""

__version__ = "0.1.0"
