"""Runs a system's suite in a container of its own, in the network of an environment that is up.

The driver creates the container, not the program: it comes and goes beside the environment, whose outputs it needs.
:mod:`ephemera.inside` runs in it.
"""

from ephemera.in_network.suite_run import check, prepare, run

__all__ = ["check", "prepare", "run"]
