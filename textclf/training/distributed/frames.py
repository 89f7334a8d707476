"""Messages between the hosts of a training: a JSON object and arrays, over a TCP connection.

A message has no code: its parts are numbers, strings and arrays of the types in _TYPES.
"""

import contextlib
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textclf.errors import LostHostError

Array = npt.NDArray[Any]
_LENGTH = struct.Struct(">I")
_MAX_HEADER = 1 << 20
_MAX_ARRAY = 1 << 33
_TYPES = frozenset({"float32", "int32", "int64", "uint32", "bool"})
# One step of the slowest host, or its load of the encoder: then it counts as lost. The kernel uses the same limit: it
# also ends a connection whose other side is alive and reads nothing, as a slower host does while it computes.
MAX_SILENCE_SECONDS = 300.0
_PROBE_AFTER_SECONDS = 30  # A host that lost its power sends no end of the connection.


class Connection:
    """A connection to another process.

    Args:
        channel: the socket, which close() closes.
        name: the other process, for messages.
    """

    def __init__(self, channel: socket.socket, name: str) -> None:
        self.name = name
        self._socket = channel
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER_SECONDS)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * MAX_SILENCE_SECONDS))

    def set_timeout(self, seconds: float | None) -> None:
        """Give up on a transfer without any progress after `seconds`; None waits for ever."""
        self._socket.settimeout(seconds)

    def send(self, fields: Mapping[str, Any], arrays: Sequence[Array] = ()) -> None:
        """Send a message.

        Raises:
            LostHostError: if the connection ended.
        """
        kinds = [[str(array.dtype), list(array.shape)] for array in arrays]
        header = json.dumps({"fields": dict(fields), "arrays": kinds}).encode()
        self.send_bytes(_LENGTH.pack(len(header)) + header)
        for array in arrays:
            self.send_bytes(_bytes_of(np.ascontiguousarray(array)))

    def receive(self, *, may_have_arrays: bool = True) -> tuple[dict[str, Any], list[Array]]:
        """The next message. Without `may_have_arrays`, one with arrays is refused before memory is reserved for them.

        Raises:
            LostHostError: if the connection ended, or the other side sends no such message.
        """
        size = bytearray(_LENGTH.size)
        self.receive_into(memoryview(size))
        (length,) = _LENGTH.unpack(size)
        if length > _MAX_HEADER:
            raise LostHostError(f"{self.name}: expected a message of textclf, got other bytes")
        header = bytearray(length)
        self.receive_into(memoryview(header))
        try:
            parsed = json.loads(header)
            fields, kinds = dict(parsed["fields"]), list(parsed["arrays"])
            if kinds and not may_have_arrays:
                raise ValueError("arrays")
            arrays = [_empty(*kind) for kind in kinds]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LostHostError(f"{self.name}: expected a message of textclf, got another one ({error})") from error
        for array in arrays:
            self.receive_into(_bytes_of(array))
        return fields, arrays

    def send_bytes(self, data: bytes | memoryview) -> None:
        """Send bytes without a header.

        Raises:
            LostHostError: if the connection ended.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def receive_into(self, buffer: memoryview) -> None:
        """Fill the buffer with the next bytes.

        Raises:
            LostHostError: if the connection ended.
        """
        while len(buffer):
            try:
                count = self._socket.recv_into(buffer)
            except OSError as error:
                raise self._lost(error) from error
            if not count:
                raise self._lost("the connection was closed")
            buffer = buffer[count:]

    def close(self) -> None:
        """Close the connection; a transfer in another thread ends."""
        with contextlib.suppress(OSError):  # It has ended already.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _lost(self, reason: object) -> LostHostError:
        return LostHostError(
            f"{self.name} is lost ({reason}); give the same command again on all hosts: the training continues"
        )


def _empty(kind: str, shape: list[int]) -> Array:
    if kind not in _TYPES or any(not isinstance(size, int) or size < 0 for size in shape):
        raise TypeError(f"an array {kind} {shape}")
    dtype = np.dtype(kind)
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > _MAX_ARRAY:
        raise ValueError(f"an array of shape {shape}")
    return np.empty(shape, dtype)


def _bytes_of(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
