"""Pulumi: a project's workspace, its stacks' state, runs of the engine, and what spares one."""
