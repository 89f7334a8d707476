"""The code of the workers, imported once before they are forked: they share its memory."""

import gc


def import_application() -> None:
    """Import the app, and leave what exists out of garbage collections, which would copy its memory in each worker.

    OpenVINO is not imported: it starts a thread, and threads do not survive a fork.
    """
    # Not at the top: this module is read before the environment is complete, and prometheus_client reads that.
    import serving.app
    import serving.wsgi  # noqa: F401

    gc.collect()
    gc.freeze()
