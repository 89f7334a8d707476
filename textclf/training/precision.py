"""bfloat16 matrix products on CPUs that support them; weights stay float32, TensorFlow rewrites the graph."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from textclf.training.tf_setup import tf

_CPU_FLAGS = ("avx512_bf16", "amx_bf16")


def cpu_multiplies_bfloat16(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """True if this CPU has bfloat16 instructions; False if that is unknown."""
    try:
        lines = cpu_info.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return any(flag in flags for flag in _CPU_FLAGS)


def chosen_precision(precision: str) -> str:
    """ "bfloat16" or "float32" for an option that may be "auto"."""
    if precision == "auto":
        return "bfloat16" if cpu_multiplies_bfloat16() else "float32"
    return precision


@contextlib.contextmanager
def graph_precision(precision: str) -> Iterator[None]:
    """Graphs that run for the first time inside the block use and keep this precision."""
    option = "auto_mixed_precision_onednn_bfloat16"
    before = tf.config.optimizer.get_experimental_options().get(option, False)
    tf.config.optimizer.set_experimental_options({option: precision == "bfloat16"})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: before})
