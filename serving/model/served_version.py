"""The id of the version that a server's workers serve, in a file that they share: the fallback of a new worker."""

import logging
from collections.abc import Callable
from pathlib import Path

from inference import Inference
from textclf.files import atomic_file
from textclf.runtime.predictor import Predictor
from textclf.store.model_store import ModelStore

# Environment variable with the path of the file; serving/server/programs.py sets it for the workers.
VARIABLE = "TEXTCLF_SERVED_VERSION_FILE"

_LOG = logging.getLogger(__name__)


class ServedVersion:
    """Records the served version, so that a replaced worker can start although `current` is damaged.

    Every worker writes the id to `file` at each change, and reads it at its start.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def record(self, predictor: Predictor) -> None:
        """Write the id of the served version; a plain SavedModel has none."""
        if predictor.version_id:
            try:
                with atomic_file(self.file) as file:
                    file.write(predictor.version_id)
            except OSError as error:
                _LOG.warning("the served version can't be recorded for new workers: %s", error)

    def first_predictor(self, inference: Inference, load: Callable[[Path], Predictor]) -> Predictor:
        """Return the model of `inference`; if it can't be loaded, the version that the other workers serve.

        Raises:
            TextClfError, OSError: if the model can't be loaded, and no other worker serves a version that can.
        """
        try:
            return inference.predictor
        except Exception as error:  # noqa: BLE001 whatever is wrong with it, the other workers keep serving
            try:
                version_id = self.file.read_text(encoding="utf-8")
                predictor = load(ModelStore(inference.model_path).open(version_id).path)
            except Exception:  # noqa: BLE001 the first error helps more
                raise error from None
            _LOG.error("the current version can't be loaded, %s keeps serving: %s", version_id, error)
            return predictor
