"""`python -m chassis.probe PORT`: a container's health check. Status 0 if `GET /health` on PORT answers 200, else 1."""

import http.client
import sys


def probe(port: int) -> str | None:
    """Return what is wrong, in one line; None if nothing is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except OSError as error:
        return f"port {port}: {error}"
    finally:
        connection.close()
    return None if answer.status == 200 else f"HTTP {answer.status} {body}"


if __name__ == "__main__":
    sys.exit(probe(int(sys.argv[1])))
