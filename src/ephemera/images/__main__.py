"""``python -m ephemera.images``: write the digests of the engines' official images to their ``images.lock``."""

import sys

from ephemera.images.locking import lock

if __name__ == "__main__":
    print(lock(lambda line: print(line, file=sys.stderr)))
