"""The sum over all hosts."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest

from textclf.errors import LostHostError
from textclf.training.distributed.frames import MAX_SILENCE_SECONDS, Connection
from textclf.training.distributed.ring import Ring


@contextmanager
def rings(size: int) -> Iterator[list[Ring]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        pairs = [(socket.create_connection(server.getsockname()), server.accept()[0]) for _ in range(size)]
    every = [
        Ring(rank, size, Connection(pairs[rank][0], "the next host"), Connection(pairs[rank - 1][1], "a neighbour"))
        for rank in range(size)
    ]
    yield every
    for ring in every:
        ring.close()


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("length", [1, 4, 1_000_003])
def test_all_hosts_get_the_same_sum(size, length):
    vectors = [np.random.default_rng(rank).normal(size=length).astype(np.float32) for rank in range(size)]
    expected = np.sum(vectors, axis=0, dtype=np.float64)
    with rings(size) as every, ThreadPoolExecutor(size) as hosts:
        list(hosts.map(Ring.all_reduce, every, vectors))
    assert vectors[0] == pytest.approx(expected, abs=1e-5)
    assert all(vector.tobytes() == vectors[0].tobytes() for vector in vectors)


def test_a_closed_ring_ends_a_transfer_that_nobody_receives():
    """A thread that goes on to send would hold up the end of the process."""
    with rings(2) as (first, _), ThreadPoolExecutor(1) as hosts:
        running = hosts.submit(first.all_reduce, np.ones(10_000_000, np.float32))
        time.sleep(0.2)  # Both buffers are full then.
        assert not running.done()
        first.close()
        assert isinstance(running.exception(10), LostHostError)


def test_a_slow_host_is_not_lost_before_a_silent_one():
    """The kernel ends a connection, too, if the other side does not read what it gets."""
    with rings(2) as (first, _):
        channel = first._following._socket
        seconds = channel.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) / 1000
        assert seconds >= MAX_SILENCE_SECONDS


def test_a_lost_neighbour_is_an_error():
    with rings(2) as (first, second):
        second.close()
        with pytest.raises(LostHostError, match=r"a neighbour is lost .*give the same command again on all hosts"):
            first.all_reduce(np.ones(1000, np.float32))
