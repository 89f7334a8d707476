"""The machine that figures come from: which cores they may use, and what else it was doing."""

import os
import platform
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

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


@dataclass(frozen=True)
class CpuUse:
    """Sums since some beginning, in seconds: of all on the cores that this process may use, and of what it waited for.

    Attributes:
        now: of a clock.
        busy: of the cores, for whomever; a virtual machine's, for its neighbours too (`steal`).
        own: CPU time of this process and of the processes that it started and waited for.
    """

    now: float
    busy: float
    own: float

    @classmethod
    def read(cls, stat: Path = Path("/proc/stat")) -> Self:
        """Up to now (Linux)."""
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
        """Share of the cores' time that went to others since then, in [0, 1]."""
        others = (self.busy - before.busy) - (self.own - before.own)
        return min(1.0, max(0.0, others / ((self.now - before.now) * len(os.sched_getaffinity(0)))))
