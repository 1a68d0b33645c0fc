"""Runs a suite in the network of an environment, in a container that has no ephemera installed.

These sources and those of :mod:`ephemera.model` are handed into the container with the suite, so they import only
the standard library, pytest, pydantic and, when asked for, httpx and psycopg.
"""
