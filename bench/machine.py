"""The machine of a benchmark: which cores it may use, and what other processes did meanwhile."""

import os
import platform
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.errors import BenchError


def keep_to_cores(count: int) -> None:
    """Confine this process and its children to the first `count` of its cores (Linux).

    Raises:
        BenchError: if it has fewer cores.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < count:
        raise BenchError(f"--cores: expected at most the {len(cores)} that this process may use, got {count}")
    os.sched_setaffinity(0, cores[:count])


def describe_machine() -> str:
    """Return the processor, the number of cores, and the load average, which shows other work on the cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.2f} at the start"


@dataclass(frozen=True)
class CpuUse:
    """Counters of CPU time in seconds, at one moment.

    Attributes:
        now: time of a monotonic clock.
        busy: CPU time of all processes on the cores of this process, with `steal` on a virtual machine.
        own: CPU time of this process and of the children that it waited for.
    """

    now: float
    busy: float
    own: float

    @classmethod
    def read(cls, stat: Path = Path("/proc/stat")) -> Self:
        """Read the counters (Linux)."""
        wanted = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        ticks = 0
        for name, *fields in map(str.split, stat.read_text(encoding="ascii").splitlines()):
            if name in wanted:
                user, nice, system, _idle, _iowait, *rest = map(int, fields[:8])
                ticks += user + nice + system + sum(rest)
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return cls(
            now=time.perf_counter(),
            busy=ticks / os.sysconf("SC_CLK_TCK"),
            own=sum(each.ru_utime + each.ru_stime for each in used),
        )

    def others_since(self, before: Self) -> float:
        """Return the share of the cores' time that other processes took since `before`, in [0, 1]."""
        others = (self.busy - before.busy) - (self.own - before.own)
        return min(1.0, max(0.0, others / ((self.now - before.now) * len(os.sched_getaffinity(0)))))
