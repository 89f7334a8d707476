"""Runs the processes of a search on the nodes of a Ray cluster.

Each does what a local process of the search does: it takes trials of the study in the shared folder. So a process that
dies loses its trial to the next one that looks, and a driver that dies loses nothing.
"""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textclf.errors import TextClfError, TrainingError
from textclf.ray_cluster import code_error, code_id, connected, process_count

# Processes that may die in one run. The study gives up a trial that kills its process ten times.
MAX_DEATHS = 20
# Seconds without a node that is large enough for a process, after which the search ends.
LOST_SECONDS = 180.0
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class RayOptions:
    """The cluster, and how many processes search on it; see process_count() for None."""

    address: str
    processes: int | None
    threads: int


def search_on_ray(
    options: RayOptions, search: Callable[[], None], on_poll: Callable[[], None], on_line: Callable[[str], None]
) -> None:
    """Run `search` in processes of a cluster until each of them ends.

    Args:
        options: the cluster.
        search: runs trials of the study until none is left; it must be picklable.
        on_poll: called about once per second, and at the end.
        on_line: receives a line about each process that dies.

    Raises:
        ConfigError: if the cluster can't be reached, or has too few CPUs.
        TrainingError: if a process ends with an error, too many die, or no node is large enough for a while.
    """
    with connected(options.address) as ray:
        count = process_count(ray.cluster_resources().get("CPU", 0), options.threads, options.processes)
        # Tasks keep the order of their calls; a process for each, because TensorFlow does not free all of its memory.
        task = ray.remote(_run).options(
            num_cpus=options.threads, max_retries=0, runtime_env={"env_vars": _environment(options.threads)}
        )

        def start() -> Any:
            return task.remote(search, code_id(), os.getcwd())

        running, deaths, seen_node = [start() for _ in range(count)], 0, time.monotonic()
        while running:
            done, running = ray.wait(running, num_returns=1, timeout=_POLL_SECONDS)
            for call in done:
                try:
                    error = ray.get(call)
                except ray.exceptions.RayTaskError as failure:
                    raise TrainingError(f"a process on the cluster failed: {failure.cause}") from failure
                except ray.exceptions.RayError as failure:  # The process or its node is gone.
                    deaths += 1
                    on_line(f"a process on the cluster died ({type(failure).__name__}); another one takes its trial")
                    if deaths > MAX_DEATHS:
                        raise TrainingError(
                            f"expected at most {MAX_DEATHS} deaths of processes, found one more; look at the memory of "
                            f"the nodes, then run the same command again"
                        ) from failure
                    running.append(start())
                else:
                    if error:
                        raise TrainingError(f"a process on the cluster: {error}")
            on_poll()
            if _largest_node(ray) >= options.threads:
                seen_node = time.monotonic()
            elif running and time.monotonic() - seen_node > LOST_SECONDS:
                raise TrainingError(
                    f"expected a node with {options.threads} CPUs for a process of as many threads, found none for "
                    f"{LOST_SECONDS:.0f} seconds; add a node, or pass fewer --threads, then run the same command again"
                )


def _largest_node(ray: Any) -> float:
    """CPUs of the largest node that is alive; Ray never starts a process that needs more."""
    return max((node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)


def _run(search: Callable[[], None], code: str, folder: str) -> str:
    """Run a search in a process of a node, in the folder of the driver; returns an error in words, or ""."""
    if error := code_error(code):
        return error
    logging.disable(logging.WARNING)
    try:
        os.chdir(folder)  # Paths may be relative.
        search()
    except (TextClfError, OSError) as failure:
        return str(failure)
    return ""


def _environment(threads: int) -> dict[str, str]:
    names = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**{name: str(threads) for name in names}, "TF_USE_LEGACY_KERAS": os.environ.get("TF_USE_LEGACY_KERAS", "1")}
