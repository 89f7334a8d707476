"""Texts to predictions, whatever computes the logits: check, sort by length, batch, decide, put back in order.

With a cascade the linear stage looks first, and only what it is not sure of is batched to the encoder.
"""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ConfigError, InputError, ModelStoreError
from textclf.runtime.cascade import ENCODER, LINEAR, Cascade, Stages
from textclf.runtime.tokenizer import Tokenizer
from textclf.stats.calibration import softmax

TOKENS_PER_BATCH = 4096
# Bounds memory where lengths are only guessed: a foreign model may pad every text to its own maximum.
TEXTS_PER_BATCH = 64
# English prose has about four characters a wordpiece; a guess only orders and sizes batches, it changes no answer.
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True)
class EncodedBatch:
    """Texts in the form that a backend reads.

    Attributes:
        inputs: one a text, whatever the backend's run() takes.
        lengths: what each text costs, in tokens as the backend pads them: int64 [texts].
        token_counts: wordpieces before truncation, [CLS] and [SEP] included: int64 [texts]; None if not known.
        wordpieces: ids of all of these but [CLS] and [SEP], one list a text; None if not known, or no longer kept.
    """

    inputs: Sequence[Any]
    lengths: NDArray[np.int64]
    token_counts: NDArray[np.int64] | None
    wordpieces: Sequence[Sequence[int]] | None = None

    def take(self, rows: NDArray[np.integer[Any]]) -> "EncodedBatch":
        """The texts at these positions, in this order, without their wordpieces."""
        counts = None if self.token_counts is None else self.token_counts[rows]
        return EncodedBatch([self.inputs[row] for row in rows.tolist()], self.lengths[rows], counts)


@dataclass(frozen=True)
class ModelOutputs:
    """What a backend computes for a batch.

    Attributes:
        logits: before softmax and temperature, float32 [batch, classes].
        embeddings: the pooled output of the encoder, float32 [batch, width], NaN for texts that it did not read; None
            if the backend does not give it, or read none.
    """

    logits: NDArray[np.float32]
    embeddings: NDArray[np.float32] | None = None


@dataclass
class Timings:
    """Where the time of a call went, in seconds; each call adds to it.

    Attributes:
        tokenise: texts to wordpieces.
        linear: the linear stage.
        queue: waiting for the engine, which other calls hold.
        infer: computing.
    """

    tokenise: float = 0.0
    linear: float = 0.0
    queue: float = 0.0
    infer: float = 0.0


class Backend(Protocol):
    """What computes: one model behind three methods, which several threads may call at a time."""

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Makes the ids that become EncodedBatch.inputs; None where these are something else."""
        ...

    def encode(self, texts: list[str]) -> EncodedBatch:
        """The texts as run() takes them."""
        ...

    def run(self, inputs: Sequence[Any], timings: Timings) -> ModelOutputs:
        """Outputs for a batch of EncodedBatch.inputs; adds to `timings`."""
        ...

    def warm_up(self, tokens_per_batch: int) -> None:
        """Prepare every shape of batch that may come, so that no call waits for it."""
        ...


@dataclass(frozen=True)
class Prediction:
    """What the model says of one text.

    Attributes:
        text: the text, as given.
        label: the predicted class.
        score: probability of the second class for two classes, of `label` for more.
        probabilities: class name -> probability, in the order of the class ids.
        truncated: whether the model saw only a part of the text; None if that can't be known.
        logits: before the temperature, in the order of the class ids.
        tokens: wordpieces of the whole text, [CLS] and [SEP] included; None if that can't be known.
        stage: "linear" or "encoder", which of a cascade answered; None without a cascade. The linear stage reads
            the whole text, so that nothing of what it answers is truncated.
    """

    text: str
    label: str
    score: float
    probabilities: dict[str, float]
    truncated: bool | None
    logits: tuple[float, ...]
    tokens: int | None = None
    stage: str | None = None


@dataclass(frozen=True, eq=False)
class PredictionBatch:
    """All that one call computes for n texts.

    Attributes:
        predictions: one a text, in the order of the texts.
        predicted: class ids, int64 [n].
        encoded: the texts as the backend read them.
        outputs: what was computed, in the order of the texts; with a cascade the logits of both stages on one scale.
        stages: what each stage of a cascade said; None without one.
    """

    predictions: list[Prediction]
    predicted: NDArray[np.int64]
    encoded: EncodedBatch
    outputs: ModelOutputs
    stages: Stages | None = None


class Predictor:
    """A model ready to answer: a backend and how its logits are read.

    Args:
        backend: computes logits.
        class_names: position is the class id.
        max_length: wordpieces the model sees of a text, [CLS] and [SEP] included; None if not known.
        temperature: logits are divided by it before softmax (see textclf.stats.calibration).
        threshold: of two classes the second is the label from this probability on; more classes ignore it.
        tokens_per_batch: a batch holds at most so many tokens, padding included (but at least one text).
        name: of the model, for people.
        version_id: of the model version; "" for a model that is none.
        cascade: a linear stage that answers what it is sure of; None: the encoder answers all.

    Raises:
        ConfigError: a number is out of its range, or the cascade is of another number of classes or goes with a
            backend that has no wordpieces.
    """

    def __init__(
        self,
        backend: Backend,
        class_names: Sequence[str],
        max_length: int | None = None,
        temperature: float = 1.0,
        threshold: float = 0.5,
        tokens_per_batch: int = TOKENS_PER_BATCH,
        name: str = "",
        version_id: str = "",
        cascade: Cascade | None = None,
    ) -> None:
        if len(class_names) < 2:
            raise ConfigError(f"class_names: expected at least two classes, got {class_names!r}")
        if not temperature > 0:
            raise ConfigError(f"temperature: expected a number above 0, got {temperature!r}")
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold: expected a number in [0, 1], got {threshold!r}")
        if tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch: expected a whole number of at least 1, got {tokens_per_batch!r}")
        if cascade is not None and cascade.linear.classes != len(class_names):
            raise ConfigError(
                f"cascade: expected a linear stage of {len(class_names)} classes, got one of {cascade.linear.classes}"
            )
        if cascade is not None and backend.tokenizer is None:
            raise ConfigError("cascade: expected a backend with a tokenizer of wordpieces, got one without")
        self.backend = backend
        self.class_names = tuple(class_names)
        self.max_length = max_length
        self.temperature = temperature
        self.threshold = threshold
        self.tokens_per_batch = tokens_per_batch
        self.name = name
        self.version_id = version_id
        self.cascade = cascade

    @property
    def full_name(self) -> str:
        """Name and version id, as answers and logs say it."""
        return f"{self.name} {self.version_id}".strip()

    def warm_up(self) -> None:
        """Prepare what would otherwise make the first calls slow; calling it again costs little."""
        self.backend.warm_up(self.tokens_per_batch)

    def predict(self, texts: Sequence[str], timings: Timings | None = None) -> list[Prediction]:
        """One Prediction a text, in the order of the texts; [] for no texts.

        Args:
            texts: what to score.
            timings: gets the seconds spent.

        Raises:
            InputError: `texts` is not a list (or tuple) of well-formed str; names the first bad item.
            ModelStoreError: the model's answer has another shape than class_names, or is not finite; or this
                process was forked off the one that loaded the model.
        """
        return self.answer(texts, timings).predictions

    def answer(
        self, texts: Sequence[str], timings: Timings | None = None, *, both_stages: bool = False
    ) -> PredictionBatch:
        """What predict gives, and the ids and outputs that it comes from.

        Args:
            texts: what to score.
            timings: gets the seconds spent.
            both_stages: let the encoder read every text, also those that the linear stage of a cascade answers. The
                answers are the same, but embeddings and both stages' logits are there for all.

        Raises:
            InputError, ModelStoreError: as for predict.
        """
        texts = check_texts(texts)
        timings = timings or Timings()
        encoded = self.encode(texts, timings)
        stages: Stages | None = None
        if self.cascade is None:
            outputs = self.run(encoded, timings)
        else:
            outputs, stages = self._run_cascade(self.cascade, encoded, timings, both_stages)
        # Whole texts as ids are large, and needed no more.
        encoded = dataclasses.replace(encoded, wordpieces=None)
        is_exit = [False] * len(texts) if stages is None else stages.exits.tolist()
        probabilities = softmax(outputs.logits, self.temperature)  # [texts, classes]
        ids = decide(probabilities, self.threshold)  # [texts]
        counts: list[int] | list[None] = [None] * len(texts)
        if encoded.token_counts is not None:
            counts = encoded.token_counts.tolist()
        predictions = [
            Prediction(
                text=text,
                label=self.class_names[label_id],
                score=row[1] if len(row) == 2 else row[label_id],
                probabilities=dict(zip(self.class_names, row, strict=True)),
                truncated=None if count is None or self.max_length is None else count > self.max_length and not left,
                logits=tuple(values),
                tokens=count,
                stage=None if stages is None else LINEAR if left else ENCODER,
            )
            for text, label_id, row, values, count, left in zip(
                texts, ids.tolist(), probabilities.tolist(), outputs.logits.tolist(), counts, is_exit, strict=True
            )
        ]
        return PredictionBatch(predictions, ids.astype(np.int64), encoded, outputs, stages)

    def encode(self, texts: list[str], timings: Timings | None = None) -> EncodedBatch:
        """The texts as run() takes them; they must be well-formed (check_texts)."""
        start = time.perf_counter()
        encoded = self.backend.encode(texts)
        if timings is not None:
            timings.tokenise += time.perf_counter() - start
        return encoded

    def run(self, encoded: EncodedBatch, timings: Timings | None = None) -> ModelOutputs:
        """The encoder's logits and embeddings of encoded texts, in their order, computed in batches of similar length.

        Raises:
            ModelStoreError: as for predict.
        """
        timings = timings or Timings()
        classes = len(self.class_names)
        logits = np.empty((len(encoded.inputs), classes), np.float32)
        embeddings: list[tuple[NDArray[np.intp], NDArray[np.float32]]] = []
        for batch in batches_by_length(encoded.lengths, self.tokens_per_batch):
            answer = self.backend.run([encoded.inputs[index] for index in batch], timings)
            if answer.logits.shape != (len(batch), classes):
                raise ModelStoreError(
                    f"{self.name or 'the model'}: expected logits of shape [{len(batch)}, {classes}] "
                    f"for the classes {', '.join(self.class_names)}, got {list(answer.logits.shape)}; "
                    f"the model and its class names do not belong together"
                )
            logits[batch] = answer.logits
            if answer.embeddings is not None:
                embeddings.append((batch, answer.embeddings))
        if not np.isfinite(logits).all():
            raise ModelStoreError(
                f"{self.name or 'the model'}: gave logits that are not finite numbers; its weights are damaged"
            )
        return ModelOutputs(logits, _in_order(embeddings, len(logits)))

    def _run_cascade(
        self, cascade: Cascade, encoded: EncodedBatch, timings: Timings, both_stages: bool
    ) -> tuple[ModelOutputs, Stages]:
        """The linear stage on all texts, the encoder on those that need it; see answer."""
        if encoded.wordpieces is None:
            raise ModelStoreError(f"{self.name or 'the model'}: expected the wordpieces of whole texts, got none")
        start = time.perf_counter()
        stages = cascade.first_stage(encoded.wordpieces)
        timings.linear += time.perf_counter() - start
        embeddings: NDArray[np.float32] | None = None
        # Most requests have one text: nothing is taken apart where the encoder reads none, or all.
        if both_stages or not stages.exits.any():
            found = self.run(encoded, timings)
            stages.encoder_logits[:] = found.logits
            embeddings = found.embeddings
        elif not stages.exits.all():
            rows = np.flatnonzero(~stages.exits)
            found = self.run(encoded.take(rows), timings)
            stages.encoder_logits[rows] = found.logits
            if found.embeddings is not None:
                embeddings = _in_order([(rows, found.embeddings)], len(stages.exits))
        return ModelOutputs(cascade.final_logits(stages, self.temperature), embeddings), stages


def _in_order(parts: list[tuple[NDArray[np.intp], NDArray[np.float32]]], count: int) -> NDArray[np.float32] | None:
    """Rows of the batches at their places, NaN elsewhere: float32 [count, width]; None without any."""
    if not parts:
        return None
    rows = np.full((count, parts[0][1].shape[1]), np.nan, np.float32)
    for positions, part in parts:
        rows[positions] = part
    return rows


def check_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list.

    Raises:
        InputError: not a list or tuple, or an item is not a well-formed str.
    """
    if not isinstance(texts, list | tuple):
        raise InputError(f"expected a list of texts, got {type(texts).__name__}; for one text pass [text]")
    for index, text in enumerate(texts):
        try:
            check_text(text)
        except InputError as error:
            raise InputError(f"text {index} (counted from 0): {error}") from None
    return list(texts)


def check_text(text: object) -> str:
    """`text`, if it is a str that UTF-8 can encode.

    Raises:
        InputError: it is something else, or holds half of a surrogate pair (as broken JSON escapes do).
    """
    if not isinstance(text, str):
        raise InputError(f"expected a str, got {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"expected well-formed Unicode, got the lone surrogate {text[error.start]!r} at character {error.start}; "
            f"decode the text with its right encoding"
        ) from None
    return text


def decide(probabilities: NDArray[np.floating[Any]], threshold: float) -> NDArray[np.intp]:
    """The class id of each row: int [batch].

    Args:
        probabilities: [batch, classes].
        threshold: of two classes the second is chosen from this probability on; more classes take the largest.
    """
    if probabilities.shape[1] == 2:
        return (probabilities[:, 1] >= threshold).astype(np.intp)
    return np.asarray(np.argmax(probabilities, axis=1))


def estimated_lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    """A guess of each text's wordpieces, [CLS] and [SEP] included: int64 [batch]."""
    return np.array([len(text) // _CHARS_PER_TOKEN + 2 for text in texts], np.int64)


def batches_by_length(
    lengths: NDArray[np.integer[Any]], tokens_per_batch: int, texts_per_batch: int = TEXTS_PER_BATCH
) -> Iterator[NDArray[np.intp]]:
    """Positions of texts of similar length, longest first, each position once.

    The size of a batch is a power of two: an engine prepares each shape once, and these are few.

    Args:
        lengths: tokens of each text, [texts].
        tokens_per_batch: the longest length of a batch times its size stays within this, unless the batch is one text.
        texts_per_batch: and its size within this.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        most = max(1, min(texts_per_batch, tokens_per_batch // longest, len(order) - start))
        size = 1 << (most.bit_length() - 1)
        yield order[start : start + size]
        start += size
