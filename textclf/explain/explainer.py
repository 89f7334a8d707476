"""Explains predictions: the value of each word for each class, computed by the stage that predicted."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ConfigError, InputError, UnknownLabelError
from textclf.explain.explanation import UNITS, Explanation
from textclf.explain.hierarchy import word_tree
from textclf.explain.linear_values import exactly_adding_up, linear_logit_values, probability_values
from textclf.explain.masked_text import BASELINES, DELETION, MaskedText, ReadPieces, in_unit
from textclf.explain.owen import owen_values
from textclf.explain.word_spans import TextWords, text_words
from textclf.listing import shortened
from textclf.runtime.cascade import LINEAR, Cascade
from textclf.runtime.checked_texts import check_texts
from textclf.runtime.predictor import Predictor
from textclf.tokenization.text_tokenizer import TextTokenizer
from textclf.tokenization.tokenizer import MAX_WORDPIECES

Floats = NDArray[np.float64]

DEFAULT_EVALUATIONS = 256
ABSENCE = "absence"


class ExplainArguments(TypedDict, total=False):
    """Optional arguments of Explainer.explain."""

    unit: str
    max_evaluations: int
    seconds: float | None
    on_batch: Callable[[], None] | None
    classes: Sequence[str] | None


@dataclass(frozen=True)
class _Request:
    """Arguments of Explainer.explain after their checks, and the model's tokenizer; `classes` are class ids."""

    tokenizer: TextTokenizer
    unit: str
    max_evaluations: int
    seconds: float | None
    on_batch: Callable[[], None]
    classes: NDArray[np.int64]


class Explainer:
    """Explains the predictions of a model; several threads may share one object.

    Args:
        predictor: the model.
        baseline: how words are taken away from the encoder: "deletion", "mask" or "attention".
        tokens_per_batch: maximum wordpieces of a batch, padding included; None is the predictor's. Predictions of
            other threads wait for one batch.

    Raises:
        ConfigError: if `baseline` is unknown, or `tokens_per_batch` is below 1.
    """

    def __init__(self, predictor: Predictor, baseline: str = DELETION, tokens_per_batch: int | None = None) -> None:
        if baseline not in BASELINES:
            raise ConfigError(f"baseline: expected one of {', '.join(BASELINES)}, got {baseline!r}")
        if tokens_per_batch is not None and tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch: expected a whole number of at least 1, got {tokens_per_batch!r}")
        self.predictor = predictor
        self.baseline = baseline
        self.tokens_per_batch = tokens_per_batch or predictor.tokens_per_batch

    def explain(
        self,
        texts: Sequence[str],
        unit: str = "probability",
        max_evaluations: int = DEFAULT_EVALUATIONS,
        seconds: float | None = None,
        on_batch: Callable[[], None] | None = None,
        classes: Sequence[str] | None = None,
    ) -> list[Explanation]:
        """One Explanation per text, in the order of the texts.

        Args:
            texts: the texts.
            unit: "probability", or "logit" (see Explanation).
            max_evaluations: maximum number of variants of each text that the encoder reads, at least 2.
            seconds: time for each text. After it only the text without words is still evaluated; None: any time.
            on_batch: called before each batch of the encoder; an exception from it ends the call.
            classes: classes that get values; None: all.

        Raises:
            InputError: if `texts` is not a list or tuple of well-formed str, if another argument is invalid, or if the
                model has no tokenizer of wordpieces.
            RuleError: if a rule fails.
            ModelStoreError: if predict() would raise it, or if the values do not add up to the prediction.
        """
        request = self._checked(unit, max_evaluations, seconds, on_batch, classes)
        return [self._explained(text, request) for text in check_texts(texts)]

    def _checked(
        self,
        unit: str,
        max_evaluations: int,
        seconds: float | None,
        on_batch: Callable[[], None] | None,
        classes: Sequence[str] | None,
    ) -> _Request:
        tokenizer = self.predictor.backend.tokenizer
        if tokenizer is None:
            raise InputError(
                "expected a model version with an engine, found a SavedModel, whose wordpieces are unknown; only "
                "versions with an engine can explain predictions"
            )
        if unit not in UNITS:
            raise InputError(f"unit: expected {' or '.join(UNITS)}, got {unit!r}")
        if isinstance(max_evaluations, bool) or not isinstance(max_evaluations, int) or max_evaluations < 2:
            raise InputError(f"max_evaluations: expected a whole number of at least 2, got {max_evaluations!r}")
        if seconds is not None and not seconds > 0:
            raise InputError(f"seconds: expected a number above 0, got {seconds!r}")
        names = self.predictor.class_names
        wanted = names if classes is None else tuple(classes)
        if isinstance(classes, str):
            raise InputError(f"classes: expected a list of class names, got the str {classes!r:.100}; put it in a list")
        check_classes(wanted, names)
        ids = np.array([names.index(name) for name in wanted], np.int64)
        return _Request(tokenizer, unit, max_evaluations, seconds, on_batch or _nothing, ids)

    def _explained(self, text: str, request: _Request) -> Explanation:
        predictor, tokenizer = self.predictor, request.tokenizer
        end = None if request.seconds is None else time.monotonic() + request.seconds
        predicted = predictor.predict_batch([text])
        prediction = predicted.predictions[0]
        text = prediction.read_text
        words = text_words(text, tokenizer)
        logits = predicted.outputs.logits[0].astype(np.float64) / predictor.temperature
        names = predictor.class_names
        if predictor.cascade is not None and prediction.of_model.stage == LINEAR:
            values, base = _linear_values(predictor.cascade, words, request.unit)
            evaluations, complete, baseline = 0, True, ABSENCE
            seen = np.flatnonzero(words.starts[:-1] < MAX_WORDPIECES)
        else:
            baseline = self.baseline
            read = ReadPieces.of(words, tokenizer)
            values, base, evaluations, complete = self._encoder_values(text, words, read, logits, request, end)
            seen = read.words
        total = in_unit(logits[None], request.unit)[0]
        if not len(seen):
            base = total
        values[seen] = exactly_adding_up(values[seen], total - base)
        unseen = _unseen(words, seen)
        return Explanation(
            text=text,
            class_names=tuple(names[i] for i in request.classes),
            label=prediction.label,
            probabilities=prediction.probabilities,
            words=tuple(text[start:end] for start, end in words.spans),
            spans=words.spans,
            values=values[:, request.classes],
            base_values=base[request.classes],
            unit=request.unit,
            stage=prediction.stage,
            baseline=baseline,
            evaluations=evaluations,
            complete=complete,
            unseen=unseen,
            truncated=prediction.truncated,
            rules=prediction.rules,
            model_probabilities=None if prediction.replaced is None else prediction.replaced.probabilities,
        )

    def _encoder_values(
        self, text: str, words: TextWords, read: ReadPieces, logits: Floats, request: _Request, end: float | None
    ) -> tuple[Floats, Floats, int, bool]:
        """Values of all words, base values, evaluations, and whether they are complete."""
        values = np.zeros((len(words), len(logits)))
        if not len(read.words):
            return values, np.zeros(len(logits)), 0, True
        function = MaskedText(
            self.predictor,
            request.tokenizer,
            words,
            read,
            logits,
            self.baseline,
            request.unit,
            self.tokens_per_batch,
            request.on_batch,
            lambda: end is not None and time.monotonic() >= end,
        )
        tree = word_tree(text, [words.spans[word] for word in read.words.tolist()])
        found = owen_values(function, tree, request.max_evaluations)
        values[read.words] = found.values
        return values, found.base, found.evaluations, found.complete


def check_classes(wanted: Sequence[str], names: Sequence[str]) -> None:
    """Check that classes to explain are classes of the model, each once.

    Args:
        wanted: the classes to explain.
        names: the classes of the model.

    Raises:
        UnknownLabelError: if the model has no such class.
        InputError: if there is none, or one is there twice.
    """
    if not wanted:
        raise InputError("classes: expected at least one class, got none; remove it for all")
    for position, name in enumerate(wanted):
        if name not in names:
            known = shortened(list(names), 20)
            raise UnknownLabelError(f"classes: expected some of {known}, got {str(name)[:100]!r}; correct the name")
        if name in wanted[:position]:
            raise InputError(f"classes: expected each class once, got {name[:100]!r} twice; remove one of them")


def _linear_values(cascade: Cascade, words: TextWords, unit: str) -> tuple[Floats, Floats]:
    values, base = linear_logit_values(cascade.linear, words)
    temperature = cascade.settings.linear_temperature
    values, base = values / temperature, base / temperature
    if unit == "probability":
        return probability_values(values, base)
    return values - values.mean(axis=1, keepdims=True), base - base.mean()


def _unseen(words: TextWords, seen: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Characters of consecutive words that were not read."""
    is_seen = np.zeros(len(words), np.bool_)
    is_seen[seen] = True
    spans: list[tuple[int, int]] = []
    last = -2
    for word in np.flatnonzero(~is_seen).tolist():
        start, end = words.spans[word]
        if word == last + 1:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
        last = word
    return tuple(spans)


def _nothing() -> None:
    """Called between batches if the caller has nothing to do there."""
