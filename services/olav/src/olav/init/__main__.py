"""`python -m olav.init`: exit 0 when everything is prepared, 1 when it cannot be, 2 for a bad environment."""

import asyncio
import os
import sys

from olav.settings import InitSettings, SettingsError, load


def main() -> int:
    try:
        settings = load(InitSettings, os.environ)
    except SettingsError as error:
        print(f"olav-init: {error}", file=sys.stderr)
        return 2
    # Only now: they take a second.
    from olav import logs
    from olav.init import program
    from olav.init.waiting import InitError

    logs.configure(settings.log_level, "olav-init")
    try:
        asyncio.run(program.run(settings))
    except InitError as error:
        print(f"olav-init: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
