"""A connection to a Ray cluster, its CPUs, and whether its nodes have the same code."""

import contextlib
import functools
import hashlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textclf import __version__
from textclf.errors import ConfigError
from textclf.stages import STAGES

_CONNECT_SECONDS = 10.0


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module ray, connected to a cluster until the end of the block; usage statistics are off.

    Args:
        address: address of the cluster; "" starts one on this machine, unless RAY_ADDRESS names one.

    Raises:
        ConfigError: if Ray is not installed, or the cluster can't be reached.
    """
    # Ray reads it when it is imported, and passes it on to what it starts.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise ConfigError("--engine ray needs ray, found none; install textclf with its extra `ray`") from None
    is_own = not ray.is_initialized()
    if is_own:
        _check_address(address or os.environ.get("RAY_ADDRESS", ""))
        try:
            ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"--ray-address: expected a Ray cluster, found none ({str(error).splitlines()[0]}); "
                f"start one, or correct the address"
            ) from error
    try:
        yield ray
    finally:
        if is_own:
            ray.shutdown()


def _check_address(address: str) -> None:
    """Refuse HOST:PORT where nothing listens, for which Ray waits minutes.

    Raises:
        ConfigError: if no connection is possible.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return  # A name such as "auto"; Ray knows what is right.
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigError(
            f"--ray-address: expected a Ray cluster at {address}, found none ({error}); start one, or correct the "
            f"address"
        ) from error


def process_count(cpus: float, threads: int, wanted: int | None) -> int:
    """The number of processes on a cluster: those that leave one CPU free, for what else runs there.

    Args:
        cpus: CPUs of the cluster.
        threads: threads of a process.
        wanted: number that was asked for; None takes the largest.

    Raises:
        ConfigError: if there are fewer CPUs.
    """
    largest = int((cpus - 1) // threads)
    if largest < 1 or (wanted or 1) > largest:
        needed = (wanted or 1) * threads + 1
        raise ConfigError(
            f"--processes: expected a pool that leaves one CPU of the cluster free, found {cpus:g} CPUs, and {needed} "
            f"are needed for {wanted or 1} processes of {threads} threads; ask for at most {max(largest, 0)}, or "
            f"add nodes"
        )
    return largest if wanted is None else wanted


@functools.cache
def code_id() -> str:
    """Version and SHA-256 of textclf with its stage files: equal for equal code, wherever it is installed."""
    digest, package = hashlib.sha256(), Path(__file__).parent
    stages = [path for name in sorted(STAGES) if (path := package.with_name(f"{name}.py")).exists()]
    for path in [*stages, *sorted(package.rglob("*.py"))]:
        digest.update(f"{path.relative_to(package.parent).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return f"{__version__} {digest.hexdigest()[:16]}"


def code_error(expected: str) -> str:
    """An error in words if this node has other code than the driver, whose code_id() is expected; else ""."""
    if (found := code_id()) == expected:
        return ""
    return f"expected textclf {expected}, as on the driver, found {found}; install the same on all nodes"
