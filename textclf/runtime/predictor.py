"""Texts to predictions, whatever computes the logits: check, sort by length, batch, decide, put back in order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ConfigError, InputError, ModelStoreError
from textclf.stats.calibration import softmax

TOKENS_PER_BATCH = 4096
# Bounds memory where lengths are only guessed: a foreign model may pad every text to its own maximum.
TEXTS_PER_BATCH = 64
# A tokenizer holds all wordpieces of what it counts at a time.
_TEXTS_PER_COUNT = 512
# English prose has about four characters a wordpiece; a guess only orders and sizes batches, it changes no answer.
_CHARS_PER_TOKEN = 4


class Backend(Protocol):
    """What computes: one model behind two methods, which several threads may call at a time."""

    def token_counts(self, texts: list[str]) -> NDArray[np.integer[Any]] | None:
        """Wordpieces of each text before truncation, [CLS] and [SEP] included: int [batch]; None if it cannot say."""
        ...

    def logits(self, texts: list[str]) -> NDArray[np.float32]:
        """The model's answers before softmax and temperature: float32 [batch, classes]."""
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
    """

    text: str
    label: str
    score: float
    probabilities: dict[str, float]
    truncated: bool | None
    logits: tuple[float, ...]


class Predictor:
    """A model ready to answer: a backend and how its logits are read.

    Args:
        backend: computes logits.
        class_names: position is the class id.
        max_length: wordpieces the model sees of a text, [CLS] and [SEP] included; None if not known.
        temperature: logits are divided by it before softmax (see textclf.stats.calibration).
        threshold: of two classes the second is the label from this probability on; more classes ignore it.
        tokens_per_batch: a batch holds at most so many tokens, padding included (but at least one text).
        name: of the model, for people and logs.

    Raises:
        ConfigError: a number is out of its range.
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
    ) -> None:
        if len(class_names) < 2:
            raise ConfigError(f"class_names: expected at least two classes, got {class_names!r}")
        if not temperature > 0:
            raise ConfigError(f"temperature: expected a number above 0, got {temperature!r}")
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold: expected a number in [0, 1], got {threshold!r}")
        if tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch: expected a whole number of at least 1, got {tokens_per_batch!r}")
        self.backend = backend
        self.class_names = tuple(class_names)
        self.max_length = max_length
        self.temperature = temperature
        self.threshold = threshold
        self.tokens_per_batch = tokens_per_batch
        self.name = name

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One Prediction a text, in the order of the texts; [] for no texts.

        Raises:
            InputError: `texts` is not a list (or tuple) of well-formed str; names the first bad item.
            ModelStoreError: the model's answer has another shape than class_names, or is not finite.
        """
        texts = check_texts(texts)
        if not texts:
            return []
        counts = self._token_counts(texts)
        logits = self._logits_by_length(texts, counts)  # [texts, classes]
        probabilities = softmax(logits, self.temperature)  # [texts, classes]
        ids = decide(probabilities, self.threshold)  # [texts]
        truncated: list[bool | None] = [None] * len(texts)
        if counts is not None and self.max_length is not None:
            truncated = (counts > self.max_length).tolist()
        return [
            Prediction(
                text=text,
                label=self.class_names[label_id],
                score=row[1] if len(row) == 2 else row[label_id],
                probabilities=dict(zip(self.class_names, row, strict=True)),
                truncated=cut,
                logits=tuple(values),
            )
            for text, label_id, row, values, cut in zip(
                texts, ids.tolist(), probabilities.tolist(), logits.tolist(), truncated, strict=True
            )
        ]

    def _token_counts(self, texts: list[str]) -> NDArray[np.integer[Any]] | None:
        parts = []
        for start in range(0, len(texts), _TEXTS_PER_COUNT):
            counts = self.backend.token_counts(texts[start : start + _TEXTS_PER_COUNT])
            if counts is None:
                return None
            parts.append(counts)
        return np.concatenate(parts)

    def _logits_by_length(self, texts: list[str], counts: NDArray[np.integer[Any]] | None) -> NDArray[np.float32]:
        logits = np.empty((len(texts), len(self.class_names)), np.float32)
        lengths = estimated_lengths(texts) if counts is None else counts
        if self.max_length is not None:
            lengths = np.minimum(lengths, self.max_length)
        for batch in batches_by_length(lengths, self.tokens_per_batch):
            answer = np.asarray(self.backend.logits([texts[index] for index in batch]))
            if answer.shape != (len(batch), len(self.class_names)):
                raise ModelStoreError(
                    f"{self.name or 'the model'}: expected logits of shape [{len(batch)}, {len(self.class_names)}] "
                    f"for the classes {', '.join(self.class_names)}, got {list(answer.shape)}; "
                    f"the model and its class names do not belong together"
                )
            logits[batch] = answer
        if not np.isfinite(logits).all():
            raise ModelStoreError(
                f"{self.name or 'the model'}: gave logits that are not finite numbers; its weights are damaged"
            )
        return logits


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

    Args:
        lengths: tokens of each text, [texts].
        tokens_per_batch: the longest length of a batch times its size stays within this, unless the batch is one text.
        texts_per_batch: and its size within this.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = min(texts_per_batch, max(1, tokens_per_batch // longest))
        yield order[start : start + size]
        start += size
