"""A process that has imported everything already, and forks whatever is asked of it.

An interpreter takes a second to import Pulumi's SDK and what else a command needs. The first command starts the warm
process (:mod:`ephemera.warm.server`); the next ones, their engine runs and their guardians are forks of it. It holds no
data and runs nothing itself, ends after a quarter of an hour without work, and is done without where it is not there.
``EPHEMERA_WARM=off``: it is neither used nor started.
"""
