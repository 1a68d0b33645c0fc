"""Downloads the jars of a lock file from a Maven repository: fetch.py LOCK REPOSITORY FOLDER.

A line of the lock is a SHA-256 and a path in the repository. A file with another content is refused. The proxies and
the authorities that Python knows (``HTTPS_PROXY``, ``SSL_CERT_FILE``) are used.
"""

from __future__ import annotations

import hashlib
import http.client
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_AT_ONCE = 8
_ATTEMPTS = 4
_SECONDS = 60


def main(lock: str, repository: str, folder: str) -> None:
    entries = [line.split() for line in Path(lock).read_text().splitlines()]
    Path(folder).mkdir(parents=True)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        sizes = list(pool.map(lambda entry: _fetch(repository.rstrip("/"), Path(folder), *entry), entries))
    print(f"{len(sizes)} jars, {sum(sizes) / 1e6:.1f} MB")


def _fetch(repository: str, folder: Path, wanted: str, path: str) -> int:
    content = _download(f"{repository}/{path}")
    found = hashlib.sha256(content).hexdigest()
    if found != wanted:
        sys.exit(f"{path} has SHA-256 {found}, the lock file says {wanted}: ask another repository")
    return (folder / path.rpartition("/")[2]).write_bytes(content)


def _download(url: str) -> bytes:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - what it answers is checked
                content: bytes = answer.read()
                return content
        except (OSError, http.client.HTTPException) as error:
            final = isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 429
            if final or attempt == _ATTEMPTS:
                sys.exit(f"cannot download {url}: {error}; a mirror is set with MAVEN_REPOSITORY")
            time.sleep(2**attempt)  # a repository that is busy asks for it
    raise AssertionError


if __name__ == "__main__":
    main(*sys.argv[1:])
