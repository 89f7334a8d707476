"""From answers to rows of the prediction log: the features of many answers at a time, by the model that gave them."""

import functools
import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.api.tracebacks import redacted_traceback
from serving.prediction_logging.dual_scoring import DualScoringSampler, without_both_stages
from textclf.data.prediction_log.prediction_log import LoggedPrediction, logged_predictions
from textclf.drift.reference import REFERENCE_FILE, Projection, load_projection
from textclf.errors import ConfigError, TextClfError
from textclf.runtime.backend import EncodedBatch, ModelOutputs
from textclf.runtime.cascade import Stages
from textclf.runtime.feature_extraction import Wordpieces, features_of, wordpieces_of
from textclf.runtime.predictor import PredictionBatch, Predictor
from textclf.store.manifest import MANIFEST_FILE
from textclf.store.model_store import ModelStore, open_model

# Of what an answer holds in memory (CPython 3.11, measured): its objects and the heads of its arrays, with those of a
# cascade; of a text, its prediction; of a class, its logit and its entry among the probabilities; of an id, a number
# and its place in a list.
_ANSWER_BYTES = 2_000
_TEXT_BYTES = 1_000
_CLASS_BYTES = 120
_ID_BYTES = 40

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ServedBatch:
    """An answer and when it was given, in seconds since the epoch."""

    time: float
    predictor: Predictor
    answer: PredictionBatch

    @functools.cached_property
    def size(self) -> int:
        """Bytes that it takes in memory, rather too many than too few."""
        predictions, pooled, stages = self.answer.predictions, self.answer.outputs.embeddings, self.answer.stages
        # What a plain SavedModel reads is no ids, but the texts themselves.
        ids = sum(len(text) for text in self.answer.encoded.inputs if not isinstance(text, str))
        return (
            _ANSWER_BYTES
            + len(predictions) * (_TEXT_BYTES + _CLASS_BYTES * len(self.predictor.class_names))
            + sum(sys.getsizeof(prediction.text) for prediction in predictions)
            + _ID_BYTES * ids
            + (0 if pooled is None else pooled.nbytes)
            + (0 if stages is None else stages.encoder_logits.nbytes + stages.linear_logits.nbytes)
        )


@dataclass(frozen=True, eq=False)
class _ModelContext:
    """What taking the features of a model's answers needs; without wordpieces they can't be taken."""

    predictor: Predictor
    wordpieces: Wordpieces | None
    projection: Projection | None


class LogRowBuilder:
    """Makes rows, for one thread. What a model lacks for them is said once.

    Args:
        projection_of: the projection of a version's reference, by the version's id; None where it has none.
        keep_text: put the texts into the rows, too.
        sample: draws the texts of a cascade that go through both stages.
    """

    def __init__(
        self,
        projection_of: Callable[[str], Projection | None],
        keep_text: bool = False,
        sample: DualScoringSampler | None = None,
    ) -> None:
        self.keep_text = keep_text
        self.sample = DualScoringSampler() if sample is None else sample
        self._projection_of = projection_of
        self._view: _ModelContext | None = None
        self._is_stumped = False

    def prepare(self, predictor: Predictor) -> None:
        """Read what the answers of a model need, now instead of with its first answer."""
        self._view_for(predictor)

    def of(self, answered: Sequence[ServedBatch]) -> list[LoggedPrediction]:
        """The rows of answers, in their order; none of a model without an engine."""
        rows: list[LoggedPrediction] = []
        for _, some in itertools.groupby(answered, lambda item: id(item.predictor)):
            rows += self._of_one_model(list(some))
        return rows

    def _of_one_model(self, answered: list[ServedBatch]) -> list[LoggedPrediction]:
        predictor = answered[0].predictor
        view = self._view_for(predictor)
        if view.wordpieces is None:
            return []
        answer = self._sampled(predictor, _joined([item.answer for item in answered]))
        return logged_predictions(
            [item.time for item in answered for _ in item.answer.predictions],
            predictor.version_id,
            [prediction.label for prediction in answer.predictions],
            features_of(answer, view.wordpieces, view.projection),
            [prediction.text for prediction in answer.predictions] if self.keep_text else None,
        )

    def _sampled(self, predictor: Predictor, answer: PredictionBatch) -> PredictionBatch:
        """With both stages of a share of the texts; of none if that fails, which is no reason not to log the rest."""
        try:
            return self.sample.completed(predictor, answer)
        except Exception as error:  # noqa: BLE001 whatever is wrong with the encoder, the answers were given
            if not self._is_stumped:
                self._is_stumped = True
                _LOG.error("texts can't go through both stages\n%s", redacted_traceback(error))
            return without_both_stages(answer)

    def _view_for(self, predictor: Predictor) -> _ModelContext:
        """Of the model of now; answers of the one before come for a moment only."""
        if self._view is None or self._view.predictor is not predictor:
            self._view = self._view_of(predictor)
        return self._view

    def _view_of(self, predictor: Predictor) -> _ModelContext:
        try:
            wordpieces = wordpieces_of(predictor)
        except ConfigError as error:
            _LOG.warning("predictions are not logged: %s", error)
            return _ModelContext(predictor, None, None)
        try:
            projection = self._projection_of(predictor.version_id)
        except Exception as error:  # noqa: BLE001 whatever is wrong with the reference, the rest can be logged
            reason = str(error) if isinstance(error, TextClfError | OSError) else redacted_traceback(error)
            _LOG.error("predictions of %s are logged without embeddings: %s", predictor.full_name, reason)
            return _ModelContext(predictor, wordpieces, None)
        if projection is None:
            _LOG.warning(
                "predictions of %s are logged without embeddings: it has no reference with any", predictor.full_name
            )
        return _ModelContext(predictor, wordpieces, projection)


def projection_of_version(model_path: Path, version_id: str) -> Projection | None:
    """The projection of the reference of a version; None if it has none.

    Args:
        model_path: the store that the version is in, or its folder.
        version_id: of the version.

    Raises:
        ModelStoreError: the version is no longer there, or its reference is damaged.
    """
    is_version = (model_path / MANIFEST_FILE).is_file()
    version = open_model(model_path) if is_version else ModelStore(model_path).open(version_id)
    if not version.has(REFERENCE_FILE):
        return None
    version.verify([REFERENCE_FILE])
    return load_projection(version.part(REFERENCE_FILE))


def _joined(answers: Sequence[PredictionBatch]) -> PredictionBatch:
    """One answer of several by the same model, which costs less than each by itself."""
    if len(answers) == 1:
        return answers[0]
    encoded = [answer.encoded for answer in answers]
    counts = [item.token_counts for item in encoded if item.token_counts is not None]
    stages = [answer.stages for answer in answers if answer.stages is not None]
    return PredictionBatch(
        [prediction for answer in answers for prediction in answer.predictions],
        np.concatenate([answer.predicted for answer in answers]),
        EncodedBatch(
            [text for item in encoded for text in item.inputs],
            np.concatenate([item.lengths for item in encoded]),
            np.concatenate(counts) if len(counts) == len(answers) else None,
        ),
        ModelOutputs(
            np.concatenate([answer.outputs.logits for answer in answers]),
            _joined_embeddings(answers),
        ),
        Stages.joined(stages) if len(stages) == len(answers) else None,
    )


def _joined_embeddings(answers: Sequence[PredictionBatch]) -> NDArray[np.float32] | None:
    """[texts, width], NaN for answers without any; None where no answer has any."""
    width = max((pooled.shape[1] for answer in answers if (pooled := answer.outputs.embeddings) is not None), default=0)
    if not width:
        return None
    return np.concatenate(
        [
            np.full((len(answer.predictions), width), np.nan, np.float32) if pooled is None else pooled
            for answer in answers
            for pooled in [answer.outputs.embeddings]
        ]
    )
