"""Every system that this project brings up."""

from ephemera.contract.catalog import Catalog
from stacks import olav, tasker

SYSTEMS: Catalog = {"tasker": tasker.SYSTEM, "olav": olav.SYSTEM}
