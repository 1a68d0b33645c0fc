"""This machine: its Docker engine, its ports, its processes. Imports contract only."""
