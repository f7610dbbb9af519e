"""A small TCP service for forwards. It answers an HTTP GET with a page and echoes everything else.

Usage: echo.py ADDRESS PORT  It prints {} when it listens, or {"error": TEXT} if it cannot.
"""

from __future__ import annotations

import json
import os
import socketserver
import sys

PAGE = b"hello from the laboratory\n"


class Handler(socketserver.BaseRequestHandler):
    """One connection. Its first bytes show whether the client speaks HTTP."""

    def handle(self) -> None:
        """Serve until the client leaves."""
        try:
            while data := self.request.recv(65536):
                if data.startswith(b"GET "):
                    head = (
                        f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(PAGE)}\r\n\r\n"
                    )
                    self.request.sendall(head.encode() + PAGE)
                    return
                self.request.sendall(data)
        except ConnectionError:  # a client may disappear with its network
            return


class Service(socketserver.ThreadingTCPServer):
    """A listener that can be restarted immediately and does not wait for its clients."""

    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """Listen and serve."""
    address, port = sys.argv[1], int(sys.argv[2])
    try:
        service = Service((address, port), Handler)
    except OSError as error:
        os.write(1, json.dumps({"error": str(error)}).encode() + b"\n")
        return
    os.write(1, b"{}\n")
    service.serve_forever()


if __name__ == "__main__":
    main()
