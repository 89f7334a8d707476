"""The machine that figures come from: which cores they may use, and what else it was doing."""

import os
import platform
from pathlib import Path

from bench.errors import BenchError


def keep_to_cores(count: int) -> None:
    """Confine this process, and all that it starts, to the first `count` of its cores (Linux).

    Raises:
        BenchError: it has fewer.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < count:
        raise BenchError(f"--cores: expected at most the {len(cores)} that this process may use, got {count}")
    os.sched_setaffinity(0, cores[:count])


def describe_machine() -> str:
    """The processor, the cores in use, and the load average: other work on the same cores spoils the figures."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.2f} at the start"
