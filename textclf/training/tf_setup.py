"""The one place where TensorFlow is configured and first imported.

Import this before anything else of TensorFlow: hub.KerasLayer and the model garden need Keras 2, which
TensorFlow gives only to a process that asked for it before the first import.
"""

import logging
import os
import sys
import warnings

if "tensorflow" in sys.modules and os.environ.get("TF_USE_LEGACY_KERAS") != "1":
    raise ImportError(
        "tensorflow was imported with Keras 3 before textclf.training; set TF_USE_LEGACY_KERAS=1 in the environment, "
        "or import textclf.training.tf_setup first"
    )
os.environ["TF_USE_LEGACY_KERAS"] = "1"
# 3: nothing but fatal errors. What goes wrong is also raised; the rest (no CUDA driver on a machine without a GPU,
# CPU features) says nothing that a user can act on. --verbose sets 0.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with warnings.catch_warnings():
    # tensorflow_hub imports pkg_resources, and dependencies of the model garden use deprecated names: not ours to mend.
    warnings.simplefilter("ignore")
    import tensorflow as tf
    import tensorflow_hub as hub
    import tensorflow_text  # noqa: F401  (registers the ops that preprocessing SavedModels use)
    import tf_keras

logging.getLogger("tensorflow").setLevel(logging.ERROR)
logging.getLogger("absl").setLevel(logging.ERROR)

__all__ = ["hub", "tf", "tf_keras"]
