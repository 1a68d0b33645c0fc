"""A registry of one image, on this machine's loopback: for whoever has its password, or for all."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER, PASSWORD = "somebody", "secret"
_TYPES = "application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.container.image.v1+json"
_LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@contextmanager
def private_registry(content: bytes) -> Iterator[str]:
    """Serve ``private:1``, which holds ``content`` in ``/file``; yields its reference."""
    blobs = {}

    def kept(blob: bytes, kind: str) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        blobs[digest] = blob
        return {"mediaType": kind, "size": len(blob), "digest": digest}

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    layer = packed.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": _TYPES[0],
            "config": kept(json.dumps(config).encode(), _TYPES[1]),
            "layers": [kept(gzip.compress(layer), _LAYER_TYPE)],
        }
    ).encode()
    blobs |= {"1": manifest, f"sha256:{hashlib.sha256(manifest).hexdigest()}": manifest}
    wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            if self.headers.get("Authorization") != wanted:
                self._answer(401, b"{}")
            elif not name:
                self._answer(200, b"{}")
            else:
                self._answer(200 if name in blobs else 404, blobs.get(name, b"{}"))

        do_HEAD = do_GET

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("WWW-Authenticate", 'Basic realm="tests"')
            self.send_header("Content-Type", _TYPES[0] if "/manifests/" in self.path else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(body).hexdigest()}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}/private:1"
        finally:
            server.shutdown()
            thread.join()
