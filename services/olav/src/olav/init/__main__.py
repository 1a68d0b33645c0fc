"""`python -m olav.init`: exit 0 when everything is prepared, 1 when it cannot be, 2 for a bad environment."""

import asyncio
import os
import sys

from chassis.settings import load_or_exit

from olav.settings import InitSettings


def main() -> int:
    settings = load_or_exit(InitSettings, os.environ)
    # Only now: they take a second.
    from chassis import logs
    from chassis.waiting import StartError

    from olav.init import program

    logs.configure(settings.log_level, "olav-init", "olav")
    try:
        asyncio.run(program.run(settings))
    except StartError as error:
        print(f"olav-init: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
