"""`python -m olav.server`: settings first, which costs nothing, then what takes seconds to import."""

import gc
import os
import sys
import tempfile

from olav.settings import ServerSettings, SettingsError, load


def main() -> int:
    """Serve until SIGTERM or SIGINT; the process's exit status. A bad environment: 2, and one line on stderr."""
    try:
        settings = load(ServerSettings, os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    # The imports make hundreds of thousands of objects that stay: looking through them again and again is in vain.
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="olav-metrics-") as folder:
        # prometheus_client reads it when it is imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        if settings.reload:
            from olav.serving.reload import serve_reloading

            return serve_reloading(settings)
        from olav.serving.prefork import serve

        return serve(settings)


if __name__ == "__main__":
    sys.exit(main())
