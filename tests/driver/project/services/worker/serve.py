import http.server

http.server.ThreadingHTTPServer(("", 8001), http.server.SimpleHTTPRequestHandler).serve_forever()
