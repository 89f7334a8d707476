"""The model of a worker: loaded and warmed before it serves, and replaced when the store has a new current version."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from serving.api.errors import ApiError, ErrorCode
from textclf.errors import TextClfError
from textclf.runtime.predictor import Predictor
from textclf.store.model_store import ModelStore, is_model_store

# Pause between two tries to load the first model.
_RETRY_SECONDS = 5.0
# Pauses after a failed load of a new version; the last one repeats. Memory may become free, a damaged version be fixed.
_PAUSES = (60.0, 300.0, 1800.0)
_SMOKE_TEXT = "a text"
# Words of the text that measures the speed, with special tokens 128 wordpieces; a longer one would delay the start.
_LONG_TEXT = 126
_MEASURED_RUNS = 2

_LOG = logging.getLogger(__name__)


class ModelHolder:
    """Holds one predictor and replaces it when the store has a new current version; the constructor only stores.

    A request reads `predictor` once and keeps it, so a request in progress ends on the model it began with.

    Args:
        model_path: a model store, which is polled, or any other path that `load` accepts.
        load: loads a predictor from a path.
        on_loaded: called with the new predictor and the replaced one, or None.
        on_failed: called after each failed load of a new version, and each poll of a store whose current version is
            unknown. A counter of these calls grows as long as an outdated model may be serving.
        poll_seconds: seconds between two polls of the store; 0 never polls.
        on_swap: called after another predictor replaced the one that was served, which this object no longer holds.
    """

    def __init__(
        self,
        model_path: Path,
        load: Callable[[Path], Predictor],
        on_loaded: Callable[[Predictor, Predictor | None], None],
        on_failed: Callable[[], None],
        poll_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        on_swap: Callable[[], None] = lambda: None,
    ) -> None:
        self.model_path = model_path
        self.poll_seconds = poll_seconds
        self._load = load
        self._on_loaded = on_loaded
        self._on_failed = on_failed
        self._clock = clock
        self._on_swap = on_swap
        self._predictor: Predictor | None = None
        # Last reload error; logged once, not at every poll.
        self._failure = ""
        self._failed_id: str | None = None
        self._failures = 0
        self._next_try = 0.0
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    @property
    def predictor(self) -> Predictor:
        """The model that serves now.

        Raises:
            ApiError: if no model is loaded yet.
        """
        predictor = self._predictor
        if predictor is None:
            raise ApiError(ErrorCode.NOT_READY, "the model is not loaded yet; retry in a second", {"Retry-After": "1"})
        return predictor

    @property
    def is_ready(self) -> bool:
        """Whether a model is loaded."""
        return self._predictor is not None

    def set_model(self, predictor: Predictor) -> None:
        """Warm a predictor that was loaded elsewhere, then serve it.

        Raises:
            TextClfError: if it can't score a text.
        """
        self._serve(_warmed(predictor))

    def start(self) -> None:
        """Start the thread that loads the first model, if there is none, and polls the store for new versions."""
        if self._predictor is None or (self.poll_seconds > 0 and is_model_store(self.model_path)):
            self._thread = threading.Thread(target=self._run, name="model holder", daemon=True)
            self._thread.start()

    def stop(self, seconds: float = 0.0) -> None:
        """End the thread; wait up to `seconds` for it, because a process that ends during a load may crash."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def poll(self) -> None:
        """Serve the store's current version if it is a new one and can be loaded.

        A version that can't be loaded is tried again after growing pauses, and at once after a rollback.
        """
        serving = self.predictor.version_id
        store = ModelStore(self.model_path)
        try:
            # If no version is current, open() explains what to do.
            wanted = store.current_id() or store.open().id
        except (TextClfError, OSError) as error:
            self._on_failed()
            self._log_once(f"the current version of the model store is unknown, {serving} keeps serving: {error}")
            return
        if wanted == serving:
            self._failed_id = None
            self._failure = ""
        elif wanted != self._failed_id or self._clock() >= self._next_try:
            try:
                predictor = _warmed(self._load(store.open(wanted).path))
            except Exception as error:  # noqa: BLE001 whatever is wrong with the new model, the old one keeps serving
                self._failures = self._failures + 1 if wanted == self._failed_id else 1
                self._failed_id = wanted
                self._next_try = self._clock() + _PAUSES[min(self._failures, len(_PAUSES)) - 1]
                self._on_failed()
                self._log_once(f"version {wanted} can't be loaded, {serving} keeps serving: {_reason(error)}")
            else:
                self._serve(predictor)

    def _run(self) -> None:
        while self._predictor is None:
            try:
                self._serve(_warmed(self._load(self.model_path)))
            except Exception as error:  # noqa: BLE001 the process returns 503 and tries again, also after a bug
                self._log_once(f"the model can't be loaded, trying again: {_reason(error)}")
                self._ended.wait(_RETRY_SECONDS)
            if self._ended.is_set():
                return
        if self.poll_seconds > 0 and is_model_store(self.model_path):
            while not self._ended.wait(self.poll_seconds):
                self.poll()

    def _serve(self, predictor: Predictor) -> None:
        before, self._predictor = self._predictor, predictor
        self._failure = ""
        self._on_loaded(predictor, before)
        _LOG.info("serving %s", predictor.full_name)
        is_swap = before is not None
        del before
        if is_swap:
            self._on_swap()

    def _log_once(self, message: str) -> None:
        if message != self._failure:
            self._failure = message
            _LOG.error("%s", message)


def _warmed(predictor: Predictor) -> Predictor:
    predictor.warm_up()
    # Run both stages: a working linear stage does not prove that the encoder works.
    long_text = "a " * min(predictor.max_wordpieces or _LONG_TEXT, _LONG_TEXT)
    predictor.predict_batch([_SMOKE_TEXT, long_text], both_stages=True)
    if predictor.speed.best:  # Long enough to measure the speed; other processes may disturb a run.
        for _ in range(_MEASURED_RUNS):
            predictor.run(predictor.encode([long_text]))
    return predictor


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TextClfError) else f"{type(error).__name__}: {error}"
