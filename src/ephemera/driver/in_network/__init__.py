"""A system's suite in a container of its own, in the network of an environment that is up.

Its container is made here and not by the program: it comes and goes beside the environment, whose outputs it needs.
What runs in it is :mod:`ephemera.inside`.
"""

from ephemera.driver.in_network.running import check, prepare, run

__all__ = ["check", "prepare", "run"]
