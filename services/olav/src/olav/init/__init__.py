"""Brings PostgreSQL and OpenSearch to what the server needs; any number of times."""
