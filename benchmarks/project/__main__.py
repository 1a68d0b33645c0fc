from measured import SYSTEMS

from ephemera import run

run(*SYSTEMS)
