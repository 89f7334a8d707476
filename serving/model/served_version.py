"""The version that a server's workers serve, in a file that they share: what a new worker falls back to."""

import logging
from collections.abc import Callable
from pathlib import Path

from inference import Inference
from textclf.files import atomic_file
from textclf.runtime.predictor import Predictor
from textclf.store.model_store import ModelStore

# Names the file; serving/server/launcher.py sets it for its workers.
VARIABLE = "TEXTCLF_SERVED_VERSION_FILE"

_LOG = logging.getLogger(__name__)


class ServedVersion:
    """Remembers what is served, so that a worker that is replaced does not depend on a damaged `current`.

    Args:
        file: holds the id; written by every worker at every change, read by one that starts.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def record(self, predictor: Predictor) -> None:
        """Write down what is served now; a plain SavedModel has no id."""
        if predictor.version_id:
            try:
                with atomic_file(self.file) as file:
                    file.write(predictor.version_id)
            except OSError as error:
                _LOG.warning("what is served can't be written down for workers to come: %s", error)

    def first_predictor(self, inference: Inference, load: Callable[[Path], Predictor]) -> Predictor:
        """The model of `inference`; if that can't be loaded, the version that the other workers serve.

        Raises:
            TextClfError, OSError: why the model can't be loaded, and nothing else is served yet, or no longer there.
        """
        try:
            return inference.predictor
        except Exception as error:  # noqa: BLE001 whatever is wrong with it, the others go on serving what they have
            try:
                version_id = self.file.read_text(encoding="utf-8")
                predictor = load(ModelStore(inference.model_path).open(version_id).path)
            except Exception:  # noqa: BLE001 the reason that helps is the first
                raise error from None
            _LOG.error("the current version can't be loaded, %s goes on serving: %s", version_id, error)
            return predictor
