"""The environment variables that TensorFlow reads when it is first imported, set in one place."""

import os


def prepare_tensorflow_import() -> None:
    """Call before anything imports TensorFlow. What the user has set stays, but for Keras.

    hub.KerasLayer and the model garden need Keras 2, which TensorFlow gives only to a process that
    asked for it before the first import; a process that scores first may train later.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # 3: nothing but fatal errors. What goes wrong is also raised; the rest (no CUDA driver on a machine without a
    # GPU, CPU features) says nothing that a user can act on. --verbose sets 0 (textclf.cli).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
