"""Every system that this project brings up."""

from stacks.olav import olav
from stacks.tasker import tasker

SYSTEMS = (tasker, olav)
