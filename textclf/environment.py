"""The process and its machine: usable cores, and what must be set before OpenVINO or TensorFlow is imported."""

import math
import os
import sys
from pathlib import Path
from typing import Any

_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = _CGROUPS) -> int:
    """Cores of the affinity mask, or of the container's CPU quota if that is less; at least 1.

    Args:
        cgroups: where the control groups are mounted: `cpu.max` of version 2, or `cpu/` of version 1.
    """
    cores = len(os.sched_getaffinity(0))
    quota = _quota(cgroups)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(cgroups: Path) -> float | None:
    """The cores' worth of time that the container gets; None if it is not limited."""
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
    """The package openvino. Call it before anything else imports openvino or nncf.

    Both send a message to their makers as soon as they are imported, where the package openvino_telemetry is
    installed and the user has not declined; where it can't be imported, they do without.

    Raises:
        ImportError: OpenVINO is not installed, or does not run here.
    """
    # None makes the import statement raise ImportError (https://docs.python.org/3/reference/import.html#the-module-cache).
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def prepare_tensorflow_import() -> None:
    """Call before anything imports TensorFlow. What the user has set stays, but for Keras.

    hub.KerasLayer and the model garden need Keras 2, which TensorFlow gives only to a process that
    asked for it before the first import; a process that scores first may train later.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # 3: nothing but fatal errors. What goes wrong is also raised; the rest (no CUDA driver on a machine without a
    # GPU, CPU features) says nothing that a user can act on. --verbose sets 0 (textclf.cli.commands).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
