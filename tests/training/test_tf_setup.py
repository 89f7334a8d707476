"""TensorFlow as this project sets it up: Keras 2, and a native log that does not write into the progress bar."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Reads absl's level, then makes graph rewriting (to bfloat16, where the CPU has it) log what it did.
PROGRAM = """
import ctypes, gc
from pathlib import Path

import pytest
from textclf.training.tf_setup import tf, tf_keras
assert gc.isenabled()
assert gc.get_freeze_count() > 100_000  # Of modules, which the collector passes over.
assert tf.keras.Model is tf_keras.Model
library = next(Path(tf.sysconfig.get_lib()).glob("libtensorflow_framework.*"))
print("absl level", ctypes.CDLL(str(library))._ZN4absl12lts_2025012711MinLogLevelEv())
tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
weights = tf.Variable(tf.ones([64, 64]))
product = tf.function(lambda x: tf.reduce_sum(tf.nn.gelu(tf.matmul(tf.matmul(x, weights), weights))))
print(product(tf.ones([8, 64])).shape)
"""


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=kept | environment,
        check=False,
        timeout=300,
    )


def test_notes_and_warnings_of_the_native_log_are_not_shown():
    result = run(PROGRAM)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == ["absl level 2", "()"]


@pytest.mark.slow
def test_who_asks_for_the_native_log_gets_it():
    """--verbose sets this."""
    result = run(PROGRAM, TF_CPP_MIN_LOG_LEVEL="0")
    assert result.returncode == 0
    assert result.stdout.splitlines() == ["absl level 0", "()"]
    assert result.stderr != ""


@pytest.mark.slow
def test_tensorflow_that_was_imported_before_is_taken_if_it_has_keras_2():
    program = "import tensorflow; from textclf.training.tf_setup import tf_keras; print(tf_keras.__version__[0])"
    assert run(program, TF_USE_LEGACY_KERAS="True").stdout == "2\n"


@pytest.mark.slow
def test_tensorflow_with_keras_3_is_refused():
    result = run("import tensorflow; import textclf.training.tf_setup")
    assert result.returncode == 1
    assert "set TF_USE_LEGACY_KERAS=1 in the environment, or import textclf.training.tf_setup first" in result.stderr
