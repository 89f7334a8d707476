"""Turn served batches into rows of the prediction log; the features of many batches are computed together."""

import functools
import itertools
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.api.errors import redacted_traceback
from serving.prediction_logging.dual_scoring import DualScoringSampler, without_dual_scores
from textclf.data.prediction_log.log import LoggedPrediction, logged_predictions
from textclf.drift.reference import REFERENCE_FILE, Projection, load_projection
from textclf.errors import ConfigError, TextClfError
from textclf.runtime.backend import EncodedBatch, ModelOutputs
from textclf.runtime.cascade import Stages
from textclf.runtime.feature_extraction import Wordpieces, features_of, wordpieces_of
from textclf.runtime.prediction import Prediction
from textclf.runtime.predictor import PredictionBatch, Predictor
from textclf.store.manifest import MANIFEST_FILE
from textclf.store.model_store import ModelStore, open_model

# Memory that CPython 3.11 needs, measured: for a batch its objects and array headers, with those of a cascade; for a
# text its prediction; for a class its logit and its probability; for an id its number and its place in a list.
_BATCH_BYTES = 2_000
_TEXT_BYTES = 1_000
_CLASS_BYTES = 120
_ID_BYTES = 40

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ServedBatch:
    """A batch that was served, its model and its time in seconds since the epoch."""

    time: float
    predictor: Predictor
    batch: PredictionBatch

    @functools.cached_property
    def size(self) -> int:
        """Upper estimate of the memory it takes, in bytes."""
        predictions, pooled, stages = self.batch.predictions, self.batch.outputs.embeddings, self.batch.stages
        # The inputs of a plain SavedModel are texts and not ids.
        ids = sum(len(text) for text in self.batch.encoded.inputs if not isinstance(text, str))
        return (
            _BATCH_BYTES
            + len(predictions) * (_TEXT_BYTES + _CLASS_BYTES * len(self.predictor.class_names))
            + sum(map(_text_bytes, predictions))
            + sum(_TEXT_BYTES + _CLASS_BYTES * len(item.probabilities) for item in predictions if item.replaced)
            + _ID_BYTES * ids
            + (0 if pooled is None else pooled.nbytes)
            + (0 if stages is None else stages.encoder_logits.nbytes + stages.linear_logits.nbytes)
        )


@dataclass(frozen=True, eq=False)
class _ModelContext:
    """Parts of a model that its features need; without wordpieces there are no features."""

    predictor: Predictor
    wordpieces: Wordpieces | None
    projection: Projection | None


class LogRowBuilder:
    """Builds rows, for one thread. A missing part of a model is logged once.

    Args:
        projection_of: returns the projection of a version's reference by version id, or None.
        sampler: scores a share of a cascade's texts with both stages.
        keep_text: whether the rows contain the texts.
    """

    def __init__(
        self,
        projection_of: Callable[[str], Projection | None],
        sampler: DualScoringSampler,
        keep_text: bool = False,
    ) -> None:
        self.keep_text = keep_text
        self.sampler = sampler
        self._projection_of = projection_of
        self._context: _ModelContext | None = None
        self._has_failed = False

    def prepare(self, predictor: Predictor) -> None:
        """Read the parts of a model now instead of with its first batch."""
        self._context_of(predictor)

    def build(self, served: Sequence[ServedBatch]) -> list[LoggedPrediction]:
        """Return the rows of batches in their order; a model without an engine has none."""
        rows: list[LoggedPrediction] = []
        for _, some in itertools.groupby(served, lambda item: id(item.predictor)):
            rows += self._rows_of_one_model(list(some))
        return rows

    def _rows_of_one_model(self, served: list[ServedBatch]) -> list[LoggedPrediction]:
        predictor = served[0].predictor
        context = self._context_of(predictor)
        if context.wordpieces is None:
            return []
        batch = self._sampled(predictor, _joined([item.batch for item in served]))
        return logged_predictions(
            [item.time for item in served for _ in item.batch.predictions],
            predictor.version_id,
            [prediction.of_model.label for prediction in batch.predictions],
            features_of(batch, context.wordpieces, context.projection),
            [prediction.text for prediction in batch.predictions] if self.keep_text else None,
            list(map(_what_rules_did, batch.predictions)),
            [prediction.of_model.unsure for prediction in batch.predictions] if predictor.unsure_below else None,
        )

    def _sampled(self, predictor: Predictor, batch: PredictionBatch) -> PredictionBatch:
        """Score a share of the texts with both stages; if that fails, the rest is logged without."""
        try:
            return self.sampler.sample(predictor, batch)
        except Exception as error:  # noqa: BLE001 whatever is wrong with the encoder, the batch was served
            if not self._has_failed:
                self._has_failed = True
                _LOG.error("texts can't be scored by both stages\n%s", redacted_traceback(error))
            return without_dual_scores(batch)

    def _context_of(self, predictor: Predictor) -> _ModelContext:
        """Cached for one model: after a swap, batches of the old model come only for a moment."""
        if self._context is None or self._context.predictor is not predictor:
            self._context = self._read_context(predictor)
        return self._context

    def _read_context(self, predictor: Predictor) -> _ModelContext:
        try:
            wordpieces = wordpieces_of(predictor)
        except ConfigError as error:
            _LOG.warning("predictions are not logged: %s", error)
            return _ModelContext(predictor, None, None)
        try:
            projection = self._projection_of(predictor.version_id)
        except Exception as error:  # noqa: BLE001 whatever is wrong with the reference, other features can be logged
            reason = str(error) if isinstance(error, TextClfError | OSError) else redacted_traceback(error)
            _LOG.error("predictions of %s are logged without embeddings: %s", predictor.full_name, reason)
            return _ModelContext(predictor, wordpieces, None)
        if projection is None:
            _LOG.warning("predictions of %s are logged without embeddings: its reference has none", predictor.full_name)
        return _ModelContext(predictor, wordpieces, projection)


def projection_of_version(model_path: Path, version_id: str) -> Projection | None:
    """Return the projection of a version's reference; None if the version has no reference.

    `model_path` is the store of the version, or the version's folder.

    Raises:
        ModelStoreError: if the version was removed, or its reference is damaged.
    """
    is_version = (model_path / MANIFEST_FILE).is_file()
    version = open_model(model_path) if is_version else ModelStore(model_path).open(version_id)
    if not version.has(REFERENCE_FILE):
        return None
    version.verify([REFERENCE_FILE])
    return load_projection(version.part(REFERENCE_FILE))


def _text_bytes(prediction: Prediction) -> int:
    rewritten = prediction.rewritten
    return sys.getsizeof(prediction.text) + (0 if rewritten is None else sys.getsizeof(rewritten))


def _what_rules_did(prediction: Prediction) -> str | None:
    """LoggedPrediction.rules."""
    if not prediction.rules:
        return None
    decided = {} if prediction.replaced is None else {"label": prediction.label}
    return json.dumps({"names": prediction.rules, **decided}, ensure_ascii=False)


def _joined(batches: Sequence[PredictionBatch]) -> PredictionBatch:
    """Join batches of one model: the features of one batch cost less than those of several."""
    if len(batches) == 1:
        return batches[0]
    stages = [batch.stages for batch in batches if batch.stages is not None]
    return PredictionBatch(
        [prediction for batch in batches for prediction in batch.predictions],
        np.concatenate([batch.predicted for batch in batches]),
        EncodedBatch.joined([batch.encoded for batch in batches]),
        ModelOutputs(np.concatenate([batch.outputs.logits for batch in batches]), _joined_embeddings(batches)),
        Stages.joined(stages) if len(stages) == len(batches) else None,
    )


def _joined_embeddings(batches: Sequence[PredictionBatch]) -> NDArray[np.float32] | None:
    """[texts, width], NaN for batches without embeddings; None if no batch has any."""
    width = max((pooled.shape[1] for batch in batches if (pooled := batch.outputs.embeddings) is not None), default=0)
    if not width:
        return None
    return np.concatenate(
        [
            np.full((len(batch.predictions), width), np.nan, np.float32) if pooled is None else pooled
            for batch in batches
            for pooled in [batch.outputs.embeddings]
        ]
    )
