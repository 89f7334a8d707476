"""The model that a worker serves: loaded and warmed before it answers, and replaced when the store has a new one."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from serving.api.errors import ApiError, ErrorCode
from textclf.errors import TextClfError
from textclf.runtime.predictor import Predictor
from textclf.store.manifest import MANIFEST_FILE
from textclf.store.model_store import ModelStore

# A worker that has no model yet looks again so soon, whatever it does about new versions.
_RETRY_SECONDS = 5.0
# From a failed try to load a new version to the next; the last pause comes again and again. What failed for want of
# memory may succeed later, and a damaged version be mended.
_PAUSES = (60.0, 300.0, 1800.0)
_SMOKE_TEXT = "a text"

_LOG = logging.getLogger(__name__)


class ModelHolder:
    """Holds one predictor, and swaps it for that of the store's new current version; the constructor only stores.

    A request takes `predictor` once and keeps it: what is in flight ends on the model it began with.

    Args:
        model_path: a model store, which is looked at again and again, or anything else that `load` takes.
        load: makes a predictor of a path.
        on_loaded: called with the new predictor and the one it replaces, or None.
        on_failed: called at each try to load a new version that fails, and at each look at a store that does not say
            which version is wanted: what counts them grows as long as what is served may be another one.
        poll_seconds: time between two looks at the store; 0 never looks.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        model_path: Path,
        load: Callable[[Path], Predictor],
        on_loaded: Callable[[Predictor, Predictor | None], None],
        on_failed: Callable[[], None],
        poll_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model_path = model_path
        self.poll_seconds = poll_seconds
        self._load = load
        self._on_loaded = on_loaded
        self._on_failed = on_failed
        self._clock = clock
        self._predictor: Predictor | None = None
        # Why the last look came to nothing: said once, not at every look.
        self._failure = ""
        self._failed_id: str | None = None
        self._failures = 0
        self._next_try = 0.0
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    @property
    def predictor(self) -> Predictor:
        """The model of now.

        Raises:
            ApiError: there is none yet.
        """
        predictor = self._predictor
        if predictor is None:
            raise ApiError(
                ErrorCode.NOT_READY, "the model is not loaded yet; come again in a second", {"Retry-After": "1"}
            )
        return predictor

    @property
    def is_ready(self) -> bool:
        """Whether there is a model."""
        return self._predictor is not None

    def take(self, predictor: Predictor) -> None:
        """Serve a predictor that was loaded elsewhere, once it is warm.

        Raises:
            TextClfError: it can't score a text.
        """
        self._serve(_warmed(predictor))

    def start(self) -> None:
        """Load the first model, if there is none, and look for new ones, in a thread that ends with the process."""
        if self._predictor is None or (self.poll_seconds > 0 and self._is_store()):
            self._thread = threading.Thread(target=self._run, name="model holder", daemon=True)
            self._thread.start()

    def stop(self, seconds: float = 0.0) -> None:
        """Let the thread end, and wait so long for it: a process that ends while it loads a model may crash."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def look(self) -> None:
        """Take the store's current version, if it is another one than is served and can be loaded.

        One that can't be is tried again after growing pauses, and at once after a way back.
        """
        serving = self.predictor.version_id
        store = ModelStore(self.model_path)
        try:
            # Where several versions are here and none is current, or none is left, open() says what to do.
            wanted = store.current_id() or store.open().id
        except (TextClfError, OSError) as error:
            self._on_failed()
            self._say(f"the model store does not say which version to serve, {serving} goes on serving: {error}")
            return
        if wanted == serving:
            self._failed_id = None
            self._failure = ""
        elif wanted != self._failed_id or self._clock() >= self._next_try:
            try:
                predictor = _warmed(self._load(store.open(wanted).path))
            except Exception as error:  # noqa: BLE001 whatever is wrong with the new model, the old one goes on serving
                self._failures = self._failures + 1 if wanted == self._failed_id else 1
                self._failed_id = wanted
                self._next_try = self._clock() + _PAUSES[min(self._failures, len(_PAUSES)) - 1]
                self._on_failed()
                self._say(f"version {wanted} can't be loaded, {serving} goes on serving: {_reason(error)}")
            else:
                self._serve(predictor)

    def _run(self) -> None:
        while self._predictor is None:
            try:
                self._serve(_warmed(self._load(self.model_path)))
            except Exception as error:  # noqa: BLE001 the process answers 503 and tries again, also after a bug
                self._say(f"the model can't be loaded, trying again: {_reason(error)}")
                self._ended.wait(_RETRY_SECONDS)
            if self._ended.is_set():
                return
        if self.poll_seconds > 0 and self._is_store():
            while not self._ended.wait(self.poll_seconds):
                self.look()

    def _serve(self, predictor: Predictor) -> None:
        before, self._predictor = self._predictor, predictor
        self._failure = ""
        self._on_loaded(predictor, before)
        _LOG.info("serving %s", predictor.full_name)

    def _is_store(self) -> bool:
        return not (self.model_path / MANIFEST_FILE).is_file() and (
            (self.model_path / "versions").is_dir() or (self.model_path / "current").exists()
        )

    def _say(self, message: str) -> None:
        if message != self._failure:
            self._failure = message
            _LOG.error("%s", message)


def _warmed(predictor: Predictor) -> Predictor:
    predictor.warm_up()
    # By both stages of a cascade: that one can answer this text says nothing of the other.
    predictor.predict_batch([_SMOKE_TEXT], both_stages=True)
    return predictor


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TextClfError) else f"{type(error).__name__}: {error}"
