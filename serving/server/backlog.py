"""Requests that are queued on the socket of a worker that ended: nginx sends them to another worker.

A worker's socket belongs to gunicorn's arbiter, so connections wait in its queue until a successor is ready.
"""

import contextlib
import socket
import time

from serving.server.scgi_worker import read_request

# nginx does not send this response to the client. It repeats the request, which it has buffered, in that location.
_RESPONSE = b"Status: 200 OK\r\nX-Accel-Redirect: @another_worker\r\n\r\n"
# Limit for all requests; nginx sends each one at once. The others get 503 from nginx (`worker_lost`).
_SECONDS = 1.0


def hand_over(listener: socket.socket) -> int:
    """Respond to every queued request; return their number. The caller is the only process that accepts."""
    listener.setblocking(False)
    end = time.monotonic() + _SECONDS
    count = 0
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # The queue is empty, or there is no free file descriptor.
            return count
        with connection, contextlib.suppress(OSError, ValueError, KeyError):
            connection.settimeout(max(0.01, end - time.monotonic()))
            read_request(connection)
            connection.sendall(_RESPONSE)
            count += 1
