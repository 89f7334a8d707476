"""Configures TensorFlow and imports it first.

Import this module before anything else of TensorFlow: hub.KerasLayer and the model garden need Keras 2, which a process
must request before it imports TensorFlow.
"""

import ctypes
import gc
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textclf.environment import prepare_tensorflow_import

if sys.modules.get("tensorflow") is not None and os.environ.get("TF_USE_LEGACY_KERAS") not in ("1", "true", "True"):
    raise ImportError(
        "tensorflow was imported with Keras 3 before textclf.training; set TF_USE_LEGACY_KERAS=1 in the environment, "
        "or import textclf.training.tf_setup first"
    )
prepare_tensorflow_import()


@contextmanager
def _kept_for_good() -> Iterator[None]:
    """Pause the garbage collector in the block; afterwards it ignores the many objects of modules that exist."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


with _kept_for_good(), warnings.catch_warnings():
    # tensorflow_hub imports pkg_resources, and dependencies of the model garden use deprecated names.
    warnings.simplefilter("ignore")
    import tensorflow as tf
    import tensorflow_hub as hub
    import tensorflow_text  # noqa: F401  (registers the ops that preprocessing SavedModels use)
    import tf_keras


def _quiet_native_log() -> None:
    """Hide notes and warnings of the native log, which spoil the progress bar; errors stay."""
    # Graph rewriting logs through absl, which neither an environment variable nor a Python function controls. So call
    # absl::SetMinLogLevel (absl/log/globals.h) by its mangled name. If absl has another name, the log stays as it is.
    for library in Path(tf.sysconfig.get_lib()).glob("libtensorflow_framework.*"):
        set_level = getattr(
            ctypes.CDLL(str(library)), "_ZN4absl12lts_2025012714SetMinLogLevelENS0_18LogSeverityAtLeastE", None
        )
        if set_level is not None:
            set_level(ctypes.c_int(2))  # LogSeverityAtLeast::kError


if os.environ["TF_CPP_MIN_LOG_LEVEL"] not in ("0", "1"):
    _quiet_native_log()
logging.getLogger("tensorflow").setLevel(logging.ERROR)
logging.getLogger("absl").setLevel(logging.ERROR)

__all__ = ["hub", "tf", "tf_keras"]
