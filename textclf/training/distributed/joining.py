"""Connects the hosts of a training: the chief to each worker, and each host to the next one of the ring."""

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from textclf import __version__
from textclf.cluster import Cluster, split_address
from textclf.errors import LostHostError, TrainingError
from textclf.training.distributed.frames import MAX_SILENCE_SECONDS, Connection
from textclf.training.distributed.ring import Ring

# Hosts of a job may start minutes apart; processes of one machine only import TensorFlow.
_WAIT_SECONDS = 600.0
_WAIT_SECONDS_HERE = 120.0
# A connection that says nothing for this time is none of a training.
_GREETING_SECONDS = 20.0
# Other connections may come first.
_RING_WAIT_SECONDS = 4 * _GREETING_SECONDS
_RETRY_SECONDS = 0.2
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Session:
    """The first message from the chief to each worker.

    Attributes:
        key: random string of this start, which the connections of the ring repeat.
        addresses: those of the cluster.
        version: version of textclf.
    """

    key: str
    addresses: list[str]
    version: str


@contextmanager
def listening(cluster: Cluster) -> Iterator[socket.socket]:
    """Yield a socket that listens at the address of this process.

    Raises:
        TrainingError: if the address can't be bound.
    """
    address = cluster.addresses[cluster.rank]
    host, port = split_address(address)
    try:
        listener = socket.create_server((host, port), backlog=16)
    except OSError as error:
        raise TrainingError(
            f"hosts: expected to listen at {address}, the address of this host, got {error.strerror or error}; "
            f"correct the address, or choose a free port"
        ) from error
    with listener:
        yield listener


def connect(address: str, name: str, has_ended: Callable[[], bool] = lambda: False) -> Connection:
    """A connection to `address`; tries again until a process listens there, or `has_ended` says that it never will.

    Raises:
        TrainingError: if there is none after some minutes, or its process has ended.
    """
    is_here = split_address(address)[0] in _LOOPBACK
    wait_seconds = _WAIT_SECONDS_HERE if is_here else _WAIT_SECONDS
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            channel = socket.create_connection(split_address(address), timeout=_GREETING_SECONDS)
            if not is_to_itself(channel):
                channel.settimeout(None)
                return Connection(channel, name)
            channel.close()  # It would keep the port from the process that is to listen there.
        except OSError as error:
            if has_ended():
                raise TrainingError(
                    f"{name}: expected it to listen, but its process has ended; correct what it reports above, and "
                    f"give the same command again"
                ) from error
            if time.monotonic() > deadline:
                raise TrainingError(
                    f"{name}: expected it to listen within {wait_seconds:g} s, got {error.strerror or error}; give the "
                    f"same command on each host"
                ) from error
        time.sleep(_RETRY_SECONDS)


def is_to_itself(channel: socket.socket) -> bool:
    """Whether both ends of a connection are one socket.

    A port that nothing listens at may be the one that the kernel chooses for the near end of a connection to it.
    """
    return bool(channel.getsockname() == channel.getpeername())


def accept(
    listener: socket.socket, is_wanted: Callable[[dict[str, Any]], bool], name: str, wait_seconds: float | None
) -> tuple[Connection, dict[str, Any]]:
    """The next connection whose first message is wanted, and this message; other connections are closed.

    Raises:
        TrainingError: if there is none after `wait_seconds`; None waits without end.
    """
    deadline = None if wait_seconds is None else time.monotonic() + wait_seconds
    while True:
        listener.settimeout(None if deadline is None else max(0.01, deadline - time.monotonic()))
        try:
            channel, _ = listener.accept()
        except TimeoutError as error:
            raise TrainingError(
                f"{name}: expected it to connect within {wait_seconds:g} s, got nothing; give the same command again "
                f"on all hosts"
            ) from error
        connection = Connection(channel, name)
        connection.set_timeout(_GREETING_SECONDS)
        try:
            fields, _ = connection.receive(may_have_arrays=False)
        except LostHostError:
            fields = {}
        if is_wanted(fields):
            connection.set_timeout(None)
            return connection, fields
        connection.close()


def join_ring(cluster: Cluster, key: str, listener: socket.socket) -> Ring:
    """Connect to the next host, and accept the one before.

    Raises:
        TrainingError: if one of them is not there.
    """
    before, after = (cluster.rank - 1) % cluster.size, (cluster.rank + 1) % cluster.size
    following = connect(cluster.addresses[after], name_of(cluster, after))
    following.send({"kind": "ring", "key": key})

    def is_neighbour(fields: dict[str, Any]) -> bool:
        return fields.get("kind") == "ring" and fields.get("key") == key

    previous, _ = accept(listener, is_neighbour, name_of(cluster, before), _RING_WAIT_SECONDS)
    for connection in (following, previous):
        connection.set_timeout(MAX_SILENCE_SECONDS)
    return Ring(cluster.rank, cluster.size, following, previous)


def new_session(cluster: Cluster) -> Session:
    """A session of a chief."""
    return Session(secrets.token_hex(16), list(cluster.addresses), __version__)


def name_of(cluster: Cluster, rank: int) -> str:
    """The name of a process in messages."""
    return f"{'worker ' if rank else 'the chief '}{cluster.addresses[rank]}"
