"""What runs a suite in the network of an environment, in a container that has no ephemera installed.

Its sources and those of :mod:`ephemera.contract` are handed into the container with the suite, so they import nothing
but the standard library, pytest, pydantic and, when asked for, httpx and psycopg. What tests use on either side stands
here.
"""
