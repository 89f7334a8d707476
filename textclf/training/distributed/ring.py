"""The sum of a vector over all hosts, by a ring all-reduce (Patarasu and Yuan 2009).

Each host sends to the next one and receives from the one before. With n hosts it sends 2 (n - 1) / n times the bytes of
the vector, however many hosts there are. Each part is summed in one place and then copied, so all hosts get equal bits.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from textclf.training.distributed.frames import Connection

FloatVector = npt.NDArray[np.float32]


class Ring:
    """The two connections of a host.

    Args:
        rank, size: position of this host, and number of hosts.
        following, previous: connections to the host after this one and to the one before.
    """

    def __init__(self, rank: int, size: int, following: Connection, previous: Connection) -> None:
        self._rank = rank
        self._size = size
        self._following = following
        self._previous = previous
        # Both sides send at the same time; without a thread, full buffers would stop both.
        self._sender = ThreadPoolExecutor(1)

    def all_reduce(self, vector: FloatVector) -> None:
        """Replace the vector by the sum of the vectors of all hosts, float32 [P], the same P on all hosts.

        Raises:
            LostHostError: if a neighbour is lost.
        """
        parts = np.array_split(vector, self._size)
        received = np.empty_like(parts[0])
        for step in range(self._size - 1):
            target = parts[(self._rank - step - 1) % self._size]
            buffer = received[: len(target)]
            self._exchange(parts[(self._rank - step) % self._size], buffer)
            target += buffer
        for step in range(self._size - 1):
            target = parts[(self._rank - step) % self._size]
            self._exchange(parts[(self._rank - step + 1) % self._size], target)

    def close(self) -> None:
        """Close both connections."""
        self._following.close()
        self._previous.close()
        self._sender.shutdown(wait=False)

    def _exchange(self, sent: FloatVector, buffer: FloatVector) -> None:
        sending = self._sender.submit(self._following.send_bytes, _bytes(sent))
        self._previous.receive_into(_bytes(buffer))
        sending.result()


def _bytes(part: FloatVector) -> memoryview:
    return part.view(np.uint8).data
