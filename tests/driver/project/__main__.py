from shop import SYSTEMS

from ephemera import run

run(*SYSTEMS)
