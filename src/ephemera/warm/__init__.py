"""A process that has imported everything already, and forks programs on request.

An interpreter takes a second to import Pulumi's SDK and the other modules of a command. The first command starts the
warm process (:mod:`ephemera.warm.server`); the next ones, their engine runs and their guardians are forks of it. It
holds no data, runs nothing itself, and ends after a quarter of an hour without work. Nothing depends on it.
``EPHEMERA_WARM=off``: it is neither used nor started.
"""
