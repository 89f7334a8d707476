"""What drift is measured on (textclf.drift.features), of texts as a version's engine reads and answers them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.drift.features import Stage, TextFeatures, TokenCounts
from textclf.drift.reference import MAX_TEXTS, EncoderOnlyOutputs, Projection, Reference, projection_of
from textclf.errors import ConfigError, InputError
from textclf.runtime.cascade import Stages
from textclf.runtime.predictor import PredictionBatch, Predictor
from textclf.stats.calibration import decide, softmax

_CONTINUATION = "##"
# Some hundreds more than an encoder is wide tell its main directions; each costs as much as a prediction.
_PROJECTION_TEXTS = 1000


@dataclass(frozen=True, eq=False)
class Wordpieces:
    """What features need to know of a model's vocabulary.

    Attributes:
        unknown_id: of [UNK].
        continues: whether the wordpiece continues a word, bool [vocabulary].
    """

    unknown_id: int
    continues: NDArray[np.bool_]


def wordpieces_of(predictor: Predictor) -> Wordpieces:
    """To be asked for once a model.

    Raises:
        ConfigError: the model has no engine, and so no ids that could be counted.
    """
    tokenizer = predictor.backend.tokenizer
    if tokenizer is None:
        raise ConfigError(
            f"{predictor.full_name or 'the model'}: drift needs a version with an engine, and this is a SavedModel; "
            f"make a version of it where it was trained (train_model.py)"
        )
    continues = np.array([piece.startswith(_CONTINUATION) for piece in tokenizer.vocabulary])
    return Wordpieces(tokenizer.unknown_id, continues)


def text_features(predictor: Predictor, texts: Sequence[str], projection: Projection | None) -> TextFeatures:
    """Score texts, and take their features.

    Args:
        predictor: of a version with an engine.
        texts: any number of them.
        projection: of the version's reference; None leaves the embeddings out.

    Raises:
        ConfigError: the model has no engine.
        InputError: an item is no text, or the projection is of another model.
        ModelStoreError: the model gives no sensible answer.
    """
    wordpieces = wordpieces_of(predictor)
    return features_of(predictor.predict_batch(texts, both_stages=True), wordpieces, projection)


def features_of(answer: PredictionBatch, wordpieces: Wordpieces, projection: Projection | None) -> TextFeatures:
    """The features of texts that are answered already: nothing is tokenised or computed twice.

    A review of 1,300 characters takes a fifth of a millisecond.

    Args:
        answer: of the model whose wordpieces these are.
        wordpieces: see wordpieces_of.
        projection: see text_features.

    Raises:
        InputError: the projection is of another model, or the answer is not an engine's.
    """
    counts, pooled = answer.encoded.token_counts, answer.outputs.embeddings
    if counts is None:
        raise InputError("expected the answer of an engine, got one without ids of wordpieces")
    words = TokenCounts.of_ids([ids[1:-1] for ids in answer.encoded.inputs])  # Without [CLS] and [SEP].
    return TextFeatures(
        lengths=counts,
        unknown_rates=_shares(words, words.ids == wordpieces.unknown_id),
        continuation_rates=_shares(words, wordpieces.continues[words.ids]),
        non_letter_rates=np.array([_non_letter_rate(prediction.text) for prediction in answer.predictions], np.float32),
        words=words,
        logits=answer.outputs.logits,
        predicted=answer.predicted,
        embeddings=None if projection is None or pooled is None else projection.apply(pooled),
        stages=None if answer.stages is None else np.where(answer.stages.exits, Stage.LINEAR, Stage.ENCODER),
        disagreements=None if answer.stages is None else _disagreements(answer.stages),
    )


def reference_of(
    predictor: Predictor,
    texts: Sequence[str],
    labels: Sequence[int] | NDArray[np.integer[Any]],
    most: int = MAX_TEXTS,
    seed: int = 0,
    *,
    projection_texts: Sequence[str],
) -> Reference:
    """The reference of a version: held-out texts, scored by the engine that serves.

    Args:
        predictor: of the version.
        texts: that nothing was fitted to, one at least.
        labels: class ids, one a text.
        most: of more texts so many are chosen.
        seed: of the choices.
        projection_texts: none of `texts`; the directions of the embeddings are fitted to 1,000 of them, or all.

    Raises:
        ConfigError: the model has no engine.
        InputError: there are no texts, or not as many labels.
        ModelStoreError: the model gives no sensible answer.
    """
    if len(texts) != len(labels):
        raise InputError(f"expected a label for each text, got {len(labels)} for {len(texts)} texts")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(texts))[:most])
    # By chance too: data sets lie on disk class by class.
    fitted_to = [projection_texts[i] for i in rng.permutation(len(projection_texts))[:_PROJECTION_TEXTS]]
    wordpieces = wordpieces_of(predictor)
    answer = predictor.predict_batch([texts[i] for i in chosen], both_stages=True)
    pooled = predictor.run(predictor.encode(fitted_to)).embeddings
    projection = None if pooled is None else projection_of(pooled)
    features = features_of(answer, wordpieces, projection)
    alone = None if answer.stages is None else _answers_alone(predictor, answer.stages.encoder_logits)
    return Reference(features, np.asarray(labels, np.int64)[chosen], projection, len(texts), alone)


def _answers_alone(predictor: Predictor, logits: NDArray[np.float32]) -> EncoderOnlyOutputs:
    """What the encoder of a cascade says by itself."""
    predicted = decide(softmax(logits, predictor.temperature), predictor.threshold)
    return EncoderOnlyOutputs(logits, predicted.astype(np.int64))


def _disagreements(stages: Stages) -> NDArray[np.float32]:
    """TextFeatures.disagreements of n texts."""
    is_known = np.isfinite(stages.encoder_logits).all(axis=1)
    differ = stages.encoder_logits.argmax(axis=1) != stages.linear_logits.argmax(axis=1)
    return np.where(is_known, differ, np.nan).astype(np.float32)


def _shares(words: TokenCounts, is_meant: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Of each text, the share of those of its wordpieces that are meant: float32 [n]; 0 where it has no wordpiece.

    `is_meant` is of each entry of the counts.
    """
    rows = np.repeat(np.arange(len(words)), np.diff(words.offsets))
    meant, all_of_them = (np.bincount(rows, weights, len(words)) for weights in (words.counts * is_meant, words.counts))
    return (meant / np.maximum(all_of_them, 1)).astype(np.float32)


def _non_letter_rate(text: str) -> float:
    characters = "".join(text.split())
    return 1 - sum(map(str.isalpha, characters)) / len(characters) if characters else 0.0
