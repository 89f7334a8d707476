"""The options of a training on several hosts: `--hosts` and `--host-rank`, or TensorFlow's variable TF_CONFIG."""

import ctypes
import functools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import click

from textclf.cluster import TF_CONFIG, Cluster, cluster_of_tf_config, starter_of, tf_config
from textclf.environment import usable_cores
from textclf.errors import ConfigError

# A worker whose chief ended ends by itself.
_END_SECONDS = 60
# This many processes may share fewer cores, so that a small machine can try it.
_PROCESSES_WITHOUT_CORES = 4
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def hosts_options(work: Callable[[Cluster], object]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a click command: the chief gets its Cluster as the argument `cluster`, or None without several hosts.

    On another host than the chief, `work` runs instead of the command.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--hosts",
            default="",
            metavar="N|HOST:PORT,…",
            help="Share each step between processes: start N of them here, or name the address of each, with the "
            "chief first, and give the command on each host.",
            show_default="(TF_CONFIG)",
        )
        @click.option(
            "--host-rank",
            default=0,
            type=int,
            help="Position of this host among the addresses of --hosts.",
        )
        @functools.wraps(command)
        def with_cluster(*args: Any, hosts: str, host_rank: int, **kwargs: Any) -> Any:
            cluster = click.get_current_context().with_resource(joined_cluster(hosts, host_rank))
            if cluster is not None and not cluster.is_chief:
                return work(cluster)
            return command(*args, cluster=cluster, **kwargs)

        return with_cluster

    return decorate


@contextmanager
def joined_cluster(hosts: str, rank: int) -> Iterator[Cluster | None]:
    """Yield the cluster that the options or TF_CONFIG name; a number of processes is started here.

    Raises:
        ConfigError: if a value is invalid, or TF_CONFIG and --hosts contradict each other.
    """
    config = os.environ.get("TF_CONFIG", "")
    named = cluster_of_tf_config(config)
    if (starter := starter_of(config)) is not None:
        end_with(starter)
        yield named
        return
    _check_rank(hosts, rank)
    if not hosts:
        yield named
        return
    if named is not None:
        raise ConfigError(f"hosts: expected either --hosts or {TF_CONFIG}, got both; remove one of them")
    if not hosts.isdecimal():
        yield Cluster(tuple(hosts.split(",")), rank)
        return
    limit = max(_PROCESSES_WITHOUT_CORES, usable_cores())
    if not 1 <= int(hosts) <= limit:
        raise ConfigError(f"hosts: expected from 1 to {limit} processes on this machine, got {hosts:.20}; correct it")
    if int(hosts) == 1:
        yield None
        return
    with _started_here(int(hosts)) as cluster:
        yield cluster


def _check_rank(hosts: str, rank: int) -> None:
    if rank and (not hosts or hosts.isdecimal()):
        raise ConfigError(
            f"host_rank: expected the addresses of all hosts in --hosts next to it, got {hosts[:20] or 'none'}; name "
            f"them, or leave --host-rank out"
        )


@contextmanager
def _started_here(count: int) -> Iterator[Cluster]:
    """Start this command once more for each worker, on loopback, and share the cores among all processes."""
    cluster = Cluster(_free_addresses(count), 0)
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, usable_cores() // count)))
    workers: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(1, count):
            environment = {**os.environ, TF_CONFIG: tf_config(cluster, rank, os.getpid())}
            # Ctrl-C reaches the chief only, which ends its step with the workers and saves it.
            workers.append(subprocess.Popen(sys.orig_argv, env=environment, process_group=0))  # noqa: S603
        yield replace(cluster, children=tuple(worker.pid for worker in workers))
    except BaseException:
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for worker in workers:
            try:
                worker.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def end_with(starter: int) -> None:
    """Let the kernel send SIGTERM to this process when the one that started it ends, however it ends.

    Raises:
        SystemExit: if it has ended already.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != starter:
        try:
            os.kill(starter, 0)
        except ProcessLookupError:
            sys.exit(128 + signal.SIGTERM)


def _free_addresses(count: int) -> tuple[str, ...]:
    with ExitStack() as open_sockets:
        servers = [open_sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in servers)
