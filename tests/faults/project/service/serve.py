"""Answers on a port, after a while: ``serve.py PORT SECONDS``."""

import http.server
import sys
import time

port, seconds = int(sys.argv[1]), float(sys.argv[2])
print(f"ready in {seconds} s", flush=True)
time.sleep(seconds)
http.server.ThreadingHTTPServer(("", port), http.server.SimpleHTTPRequestHandler).serve_forever()
