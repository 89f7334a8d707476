"""What gunicorn calls in each worker: `serving.wsgi:make_application()`."""

import atexit
import logging
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flask import Flask

from serving.settings import Settings
from textclf.errors import TextClfError

# gunicorn's WORKER_BOOT_ERROR.
_BOOT_ERROR = 3
# With the process, so that as many like lines are seen to be of as many workers.
_LOG_FORMAT = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"
# To load the model that it is loading, and to write into the prediction log, when the process is told to end.
_STOP_SECONDS = 5.0


def make_application() -> Flask:
    """The app, by the environment, with its model loaded and warm.

    Call it in the main thread of the process that serves: a model survives no fork. What the user can mend ends the
    process, with one line and the status that tells gunicorn not to try again;
    serving/server/gunicorn_conf.py has it try again all the same where other workers serve.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=_LOG_FORMAT)
    # Who loads has nothing in hand to finish: the process ends at once when it is told to.
    on_sigterm = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        # Not in the main thread, which gets the signals: with AMX (OpenVINO 2026.4, Linux 6.18 in a virtual machine) a
        # thread that has computed may die of the next one, once another thread has loaded another model.
        with ThreadPoolExecutor(1) as other_thread:
            return other_thread.submit(_application).result()
    except (TextClfError, OSError) as error:
        logging.getLogger(__name__).error("%s", " ".join(str(error).split()))
        sys.exit(_BOOT_ERROR)
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)
        signal.siginterrupt(signal.SIGTERM, False)  # As gunicorn has it: system calls go on.


def _application() -> Flask:
    settings = Settings.from_environment(os.environ)
    if settings.prometheus_multiproc_dir:
        Path(settings.prometheus_multiproc_dir).mkdir(parents=True, exist_ok=True)
    # Imported here because prometheus_client looks at PROMETHEUS_MULTIPROC_DIR when it is imported.
    from serving.app import create_app, inference_of
    from serving.model.served_version import VARIABLE, ServedVersion

    file = os.environ.get(VARIABLE)
    served = ServedVersion(Path(file)) if file else None
    app = create_app(settings, inference_of(settings, settings.model_path), served)
    atexit.register(app.extensions["textclf"].stop, _STOP_SECONDS)
    return app
