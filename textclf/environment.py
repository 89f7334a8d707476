"""The process and its machine: usable cores, and settings before the import of OpenVINO or TensorFlow."""

import math
import os
import sys
from pathlib import Path
from typing import Any

from textclf.signal_stack import kept_signal_stack

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = _CGROUPS) -> int:
    """Cores in the affinity mask, or in the container's CPU quota if that is lower; at least 1.

    `cgroups` is the mount point of the control groups, with `cpu.max` (version 2) or `cpu/` (version 1).
    """
    cores = len(os.sched_getaffinity(0))
    quota = _quota(cgroups)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(cgroups: Path) -> float | None:
    """CPU quota of the container in cores; None without a limit."""
    try:
        quota, period = (cgroups / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            quota = (cgroups / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (cgroups / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
    try:
        return float(quota) / float(period) if float(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None  # "max": no limit.


def import_openvino() -> Any:
    """Import openvino without telemetry. Call this before anything else imports openvino or nncf.

    On import, both send telemetry if the package openvino_telemetry is installed and the user has not declined. They
    work without that package.

    Raises:
        ImportError: if OpenVINO is not installed, or does not run on this machine.
    """
    # None makes the import statement raise ImportError (https://docs.python.org/3/reference/import.html#the-module-cache).
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def openvino_core() -> Any:
    """A new openvino.Core for the CPU, which leaves this thread's stack for signal handlers as it is.

    Raises:
        ImportError: if OpenVINO is not installed, or does not run on this machine.
    """
    core = import_openvino().Core()
    with kept_signal_stack():
        core.get_property("CPU", "FULL_DEVICE_NAME")  # Loads the CPU plugin.
    return core


def prepare_tensorflow_import() -> None:
    """Set TensorFlow's environment variables before its first import.

    hub.KerasLayer and the model garden need Keras 2, which must be chosen before the first import. This also applies
    to scoring, because the same process may train later. Other variables that the user has set stay unchanged.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # 3 logs fatal errors only. Errors are raised as exceptions, too; the other messages (no CUDA driver, CPU features)
    # do not help a user. --verbose sets 0 (textclf.cli.commands).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
