from measured import SYSTEMS

from ephemera.resources import run_project

run_project(SYSTEMS)
