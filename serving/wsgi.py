"""Entry point of a gunicorn worker: `serving.wsgi:make_application()`."""

import atexit
import logging
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask

from serving.hosting import read_settings
from serving.server.worker_files import DRAINING_VARIABLE
from serving.source.origin import origin_of
from textclf.errors import TextClfError

if TYPE_CHECKING:
    from serving.app import Service
    from serving.observability.trace_export import RequestTracer

# gunicorn's WORKER_BOOT_ERROR.
_BOOT_ERROR = 3
# With the process id, so that equal lines of several workers can be told apart.
_LOG_FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"
# Limit at the end of the process for loading a model, for writing to the prediction log, and for sending traces.
_STOP_SECONDS = 5.0


def make_application() -> Flask:
    """Create the app from the environment, with its model loaded and warm.

    Call it in the main thread of the process that serves: a model does not survive a fork. A TextClfError or OSError
    ends the process with one line and the status at which gunicorn gives up. serving/server/gunicorn_conf.py lets it
    retry while other workers serve.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=_LOG_FORMAT)
    # A worker that is still loading has no requests to finish; let SIGTERM end it at once.
    on_sigterm = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        # Load outside the main thread, which receives signals. With AMX (OpenVINO 2026.4, Linux 6.18 in a virtual
        # machine) a thread that has run inference can crash on its next signal after another thread loads a model.
        with ThreadPoolExecutor(1) as other_thread:
            return other_thread.submit(_application).result()
    except (TextClfError, OSError) as error:
        logging.getLogger(__name__).error("%s", " ".join(str(error).split()))
        sys.exit(_BOOT_ERROR)
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)
        signal.siginterrupt(signal.SIGTERM, False)  # As gunicorn sets it: system calls restart.


def _application() -> Flask:
    settings = read_settings(os.environ)
    if settings.prometheus_multiproc_dir:
        Path(settings.prometheus_multiproc_dir).mkdir(parents=True, exist_ok=True)
    # Imported here because prometheus_client reads PROMETHEUS_MULTIPROC_DIR at import.
    from serving.app import create_app, inference_of
    from serving.model.lasting_objects import leave_out_lasting_objects, return_memory_of_replaced_model
    from serving.model.served_version import VARIABLE, ServedVersion
    from serving.observability.tracing import tracer_of

    file = os.environ.get(VARIABLE)
    served = ServedVersion(Path(file)) if file else None
    draining = os.environ.get(DRAINING_VARIABLE)
    is_draining = Path(draining).exists if draining else lambda: False
    inference = inference_of(settings, settings.model_path)
    tracer = tracer_of(os.environ)
    app = create_app(
        settings, inference, served, is_draining, origin_of(os.environ), tracer, on_swap=return_memory_of_replaced_model
    )
    leave_out_lasting_objects()
    atexit.register(_end, app.extensions["textclf"], tracer)
    return app


def _end(service: "Service", tracer: "RequestTracer | None") -> None:
    """Stop the threads; end the process here if one goes on, such as a load: the engine's code would abort it."""
    service.stop(_STOP_SECONDS)
    if tracer is not None:
        tracer.stop(_STOP_SECONDS)
    if threading.active_count() > 1:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
