"""The Pulumi program of every stack: `pulumi up` by hand and the driver run this same file."""

from ephemera.resources import run_project
from stacks.catalog import SYSTEMS

run_project(SYSTEMS)
