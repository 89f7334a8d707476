"""Features for drift detection (textclf.drift.features) from the ids and outputs of a version's engine."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import Stage, TextFeatures, TokenCounts
from textclf.drift.reference import MAX_TEXTS, EncoderOnlyOutputs, Projection, Reference, projection_of
from textclf.errors import ConfigError, InputError
from textclf.runtime.cascade import Stages
from textclf.runtime.prediction import MARKERS
from textclf.runtime.predictor import PredictionBatch, Predictor
from textclf.stats.calibration import decide, softmax

# A few hundred more texts than the encoder's width suffice for the projection; each costs one prediction.
_PROJECTION_TEXTS = 1000


@dataclass(frozen=True, eq=False)
class Wordpieces:
    """Properties of a model's vocabulary: the id of [UNK], and which wordpieces continue a word, bool [vocabulary]."""

    unknown_id: int
    continues: NDArray[np.bool_]


def wordpieces_of(predictor: Predictor) -> Wordpieces:
    """Vocabulary properties of a model; compute them once per model.

    Raises:
        ConfigError: if the model has no engine, and so no wordpiece ids.
    """
    tokenizer = predictor.backend.tokenizer
    if tokenizer is None:
        raise ConfigError(
            f"{predictor.full_name or 'the model'}: drift needs a version with an engine, but this is a SavedModel; "
            f"save it as a version where it was trained (textclf train)"
        )
    continues = np.array(tokenizer.continues())
    return Wordpieces(tokenizer.unknown_id, continues)


def text_features(predictor: Predictor, texts: Sequence[str], projection: Projection | None) -> TextFeatures:
    """Score texts and compute their features.

    Args:
        predictor: predictor of a version with an engine.
        texts: any number of texts.
        projection: projection in the version's reference; None leaves the embeddings out.

    Raises:
        ConfigError: if the model has no engine.
        InputError: if an item is not a text, or the projection belongs to another model.
        ModelStoreError: if the model's logits have the wrong shape or are not finite.
    """
    wordpieces = wordpieces_of(predictor)
    return features_of(predictor.predict_batch(texts, both_stages=True), wordpieces, projection)


def features_of(batch: PredictionBatch, wordpieces: Wordpieces, projection: Projection | None) -> TextFeatures:
    """Features of texts from their predictions, without tokenizing or computing again.

    A review of 1,300 characters takes 0.2 ms.

    For `projection` see text_features.

    Raises:
        InputError: if the projection belongs to another model, or the predictions do not come from an engine.
    """
    counts, pooled = batch.encoded.token_counts, batch.outputs.embeddings
    if counts is None:
        raise InputError("expected predictions of an engine, got predictions without wordpiece ids")
    words = TokenCounts.of_ids([ids[1:-1] for ids in batch.encoded.inputs])  # Without [CLS] and [SEP].
    return TextFeatures(
        # A cased encoder reads accents without a letter as a word, but such a text is blank all the same.
        lengths=np.where([prediction.is_empty for prediction in batch.predictions], MARKERS, counts),
        unknown_rates=_shares(words, words.ids == wordpieces.unknown_id),
        continuation_rates=_shares(words, wordpieces.continues[words.ids]),
        non_letter_rates=np.array(
            [_non_letter_rate(prediction.read_text) for prediction in batch.predictions], np.float32
        ),
        words=words,
        logits=batch.outputs.logits,
        predicted=batch.predicted,
        embeddings=None if projection is None or pooled is None else projection.apply(pooled),
        stages=None if batch.stages is None else np.where(batch.stages.exits, Stage.LINEAR, Stage.ENCODER),
        disagreements=None if batch.stages is None else _disagreements(batch.stages),
    )


def reference_of(
    predictor: Predictor,
    texts: Sequence[str],
    labels: Sequence[int] | NDArray[np.integer[Any]],
    max_texts: int = MAX_TEXTS,
    seed: int = 0,
    *,
    projection_texts: Sequence[str],
    held_out_logits: NDArray[np.float32] | None = None,
) -> Reference:
    """The drift reference of a version: held-out texts, scored by the engine that serves.

    Args:
        predictor: predictor of the version.
        texts: at least one text; the model was not fitted to them, or there are `held_out_logits`.
        labels: class ids, one per text.
        max_texts: a random sample of this size is used if there are more texts.
        projection_texts: other texts; the projection of the embeddings is fitted to up to 1,000 of them.
        held_out_logits: logits of `texts` by models that were not fitted to them, [n, K], of a version without a
            cascade; or those in an earlier reference of the same texts. None takes those of the version.

    Raises:
        ConfigError: if the model has no engine.
        InputError: if there are no texts, or the numbers of texts and labels differ.
        ModelStoreError: if the model's logits have the wrong shape or are not finite.
    """
    if len(texts) != len(labels):
        raise InputError(f"expected a label for each text, got {len(labels)} for {len(texts)} texts")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(texts))[:max_texts])
    # A random choice too, because data sets are often sorted by class.
    fitted_to = [projection_texts[i] for i in rng.permutation(len(projection_texts))[:_PROJECTION_TEXTS]]
    wordpieces = wordpieces_of(predictor)
    batch = predictor.predict_batch([texts[i] for i in chosen], both_stages=True)
    pooled = predictor.run(predictor.encode(fitted_to)).embeddings
    projection = None if pooled is None else projection_of(pooled)
    features = features_of(batch, wordpieces, projection)
    if held_out_logits is not None:
        logits = held_out_logits if len(held_out_logits) == len(chosen) else held_out_logits[chosen]
        predicted = decide(softmax(logits, predictor.temperature), predictor.threshold).astype(np.int64)
        features = dataclasses.replace(features, logits=logits, predicted=predicted)
    alone = None if batch.stages is None else _encoder_only(predictor, batch.stages.encoder_logits)
    return Reference(features, np.asarray(labels, np.int64)[chosen], projection, len(texts), alone)


def _encoder_only(predictor: Predictor, logits: NDArray[np.float32]) -> EncoderOnlyOutputs:
    predicted = decide(softmax(logits, predictor.temperature), predictor.threshold)
    return EncoderOnlyOutputs(logits, predicted.astype(np.int64))


def _disagreements(stages: Stages) -> NDArray[np.float32]:
    """TextFeatures.disagreements: 1 if the stages predict different classes, NaN if the encoder did not read it."""
    is_known = np.isfinite(stages.encoder_logits).all(axis=1)
    differ = stages.encoder_logits.argmax(axis=1) != stages.linear_logits.argmax(axis=1)
    return np.where(is_known, differ, np.nan).astype(np.float32)


def _shares(words: TokenCounts, is_selected: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Share of selected wordpieces, bool [entries of the counts], in each text: float32 [n]; 0 without wordpieces."""
    rows = np.repeat(np.arange(len(words)), np.diff(words.offsets))
    selected = np.bincount(rows, words.counts * is_selected, len(words))
    return (selected / np.maximum(np.bincount(rows, words.counts, len(words)), 1)).astype(np.float32)


def _non_letter_rate(text: str) -> float:
    characters = "".join(text.split())
    return 1 - sum(map(str.isalpha, characters)) / len(characters) if characters else 0.0
