"""`python -m olav.server`: settings first, which costs nothing, then what takes seconds to import."""

import gc
import os
import sys
import tempfile

from chassis.settings import load_or_exit

from olav.settings import ServerSettings


def main() -> int:
    """Serve until SIGTERM or SIGINT; the process's exit status. A bad environment: 2, and one line on stderr."""
    settings = load_or_exit(ServerSettings, os.environ)
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
