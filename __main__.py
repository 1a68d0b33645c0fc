"""The Pulumi program of every stack: `pulumi up` by hand and the driver run this same file."""

from ephemera import run
from stacks.catalog import SYSTEMS

run(*SYSTEMS)
