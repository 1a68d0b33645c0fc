"""Processes: a parent that holds the port, and workers forked from it that serve."""
