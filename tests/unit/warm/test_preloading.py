"""What the warm process has imported before it forks."""

from __future__ import annotations

import json
import subprocess
import sys

_PROGRAM = """
import json, sys
from ephemera.warm.server import import_all
import_all()
before = set(sys.modules)
import ephemera.lifecycle as lifecycle
for name in lifecycle.__all__:
    getattr(lifecycle, name)
import ephemera.lifecycle.guardian, ephemera.lifecycle.reaper, ephemera.pulumi.child
print(json.dumps(sorted(name for name in set(sys.modules) - before if name.startswith("ephemera."))))
"""


def test_what_forks_run_is_imported_already() -> None:
    # A guardian that cleans up hours later must not look for a module in a checkout that has changed meanwhile.
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
