"""A double of an OpenAI-compatible API: answers made from the request alone, faults when asked for."""

__version__ = "1.0.0"
