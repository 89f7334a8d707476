"""Texts to predictions with any backend: check, sort by length, batch, decide, restore the order.

A prediction has two parts. read() makes wordpieces and lets the linear stage of a cascade predict; after it the work of
the encoder is known. score() runs the encoder on the texts that need it, and decides.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.errors import ConfigError, ModelStoreError, TextTooLongError
from textclf.runtime.backend import Backend, EncodedBatch, ModelOutputs, Timings
from textclf.runtime.batching import batches_by_length, groups_by_size, rows_in_order
from textclf.runtime.cascade import ENCODER, LINEAR, Cascade, Stages
from textclf.runtime.checked_texts import check_texts
from textclf.runtime.encoder_speed import EncoderSpeed
from textclf.runtime.prediction import Prediction
from textclf.runtime.rule_hooks import Rewritten, RuleHooks
from textclf.runtime.turns import SHORT_CHARS, Turns
from textclf.runtime.unusual import UnusualTexts
from textclf.stats.calibration import decide, softmax
from textclf.stats.unsure import is_unsure

TOKENS_PER_BATCH = 4096


@dataclass(frozen=True, eq=False)
class PredictionBatch:
    """Predictions for n texts, and the values that they were computed from.

    Attributes:
        predictions: one per text, in the order of the texts.
        predicted: class ids that the model predicts, whatever the rules decide: int64 [n].
        encoded: the texts in the form that the backend read.
        outputs: model outputs in the order of the texts; with a cascade, the logits of both stages on one scale.
        stages: outputs of each cascade stage; None without a cascade.
    """

    predictions: list[Prediction]
    predicted: NDArray[np.int64]
    encoded: EncodedBatch
    outputs: ModelOutputs
    stages: Stages | None = None


@dataclass(frozen=True, eq=False)
class ReadTexts:
    """Texts after read(): what the encoder computes for them is known.

    Attributes:
        texts: the texts that the model reads.
        encoded: the texts in the form that the backend reads.
        stages: outputs of the linear stage; None without a cascade.
        unusual: for each text the reason why it is unusual, or None; None if the model can't tell.
        rewritten: the texts as given, with what the rules made of them; None without rules.
    """

    texts: list[str]
    encoded: EncodedBatch
    stages: Stages | None
    unusual: list[str | None] | None = None
    rewritten: list[Rewritten] | None = None

    @property
    def encoder_tokens(self) -> NDArray[np.int64]:
        """Wordpieces of each text that the encoder reads, without the padding of its batch: int64 [texts].

        It is 0 for a text that the linear stage predicts.
        """
        lengths = self.encoded.lengths
        return lengths if self.stages is None else np.where(self.stages.exits, 0, lengths)


class Predictor:
    """A loaded model: a backend, and the settings that turn its logits into predictions.

    Args:
        backend: computes logits.
        class_names: position is the class id.
        max_wordpieces: maximum wordpieces of a text that the model reads, in all windows together, with [CLS] and
            [SEP]; None if unknown.
        temperature: divides the logits before softmax (see textclf.stats.calibration).
        threshold: with two classes, the second is predicted from this probability on; ignored for more classes.
        tokens_per_batch: maximum tokens of a batch, padding included; a batch has at least one text.
        name, version_id: display name of the model, and id of its version; "" for a model without versions.
        cascade: linear stage that predicts the texts it is sure of; None sends every text to the encoder.
        other_names: class names by the names that the classes have in the training data, to compare with labels.
        unusual: recognises texts that are not of the kind of the training texts; None marks no text.
        golden_texts: texts on which rules are checked.
        unsure_below: threshold of each class (textclf.stats.unsure); none marks no prediction as unsure.

    Attributes:
        rules: the operator's rules, which are applied to every text and prediction; None: none
            (textclf.rules.loading sets them).

    Raises:
        ConfigError: if a number is out of its range, if the cascade has another number of classes, or if it is used
            with a backend that has no tokenizer.
    """

    def __init__(
        self,
        backend: Backend,
        class_names: Sequence[str],
        max_wordpieces: int | None = None,
        temperature: float = 1.0,
        threshold: float = 0.5,
        tokens_per_batch: int = TOKENS_PER_BATCH,
        name: str = "",
        version_id: str = "",
        cascade: Cascade | None = None,
        other_names: Mapping[str, str] | None = None,
        unusual: UnusualTexts | None = None,
        golden_texts: Sequence[str] = (),
        unsure_below: Sequence[float | None] = (),
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
        self.max_wordpieces = max_wordpieces
        self.temperature = temperature
        self.threshold = threshold
        self.tokens_per_batch = tokens_per_batch
        self.name = name
        self.version_id = version_id
        self.cascade = cascade
        self.other_names = dict(other_names or {})
        self.unusual = unusual
        self.golden_texts = tuple(golden_texts)
        self.unsure_below = tuple(unsure_below)
        self.rules: RuleHooks | None = None
        self.speed = EncoderSpeed()
        self._reading = Turns()

    @property
    def full_name(self) -> str:
        """Name and version id, as responses and logs contain it."""
        return f"{self.name} {self.version_id}".strip()

    def warm_up(self) -> None:
        """Prepare the backend, so that the first calls are not slow; a second call costs little."""
        self.backend.warm_up(self.tokens_per_batch)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """One Prediction per text, in the order of the texts; [] for no texts.

        Raises:
            InputError: if `texts` is not a list or tuple of well-formed str; names the first bad item.
            RuleError: if a rule fails.
            ModelStoreError: if the logits do not fit class_names or are not finite, or if the process was forked
                after the model was loaded.
        """
        return self.predict_batch(texts).predictions

    def predict_batch(
        self,
        texts: Sequence[str],
        timings: Timings | None = None,
        *,
        both_stages: bool = False,
        max_chars: int | None = None,
    ) -> PredictionBatch:
        """Predictions for the texts, with the ids and outputs that they were computed from.

        For the arguments see read() and score().

        Raises:
            InputError, RuleError, ModelStoreError: if predict() would raise it.
            TextTooLongError: if a text has more than `max_chars` characters.
        """
        return self.score(self.read(texts, timings, max_chars=max_chars), timings, both_stages=both_stages)

    def read(
        self,
        texts: Sequence[str],
        timings: Timings | None = None,
        *,
        max_chars: int | None = None,
        on_group: Callable[[int], None] | None = None,
    ) -> ReadTexts:
        """Turn texts into wordpieces, and run the linear stage of a cascade on them.

        Memory for the wordpieces of whole texts is bounded: texts are read in groups.

        Args:
            timings: the seconds spent are added to it.
            max_chars: maximum number of characters of a text after normalisation, without spaces; None: any number.
            on_group: called after each group with its number of wordpieces, and with 0 before the rules rewrite a
                text; an exception from it ends the call.

        Raises:
            InputError: if `texts` is not a list or tuple of well-formed str; names the first bad item.
            RuleError: if a rule fails.
            TextTooLongError: if a text has more than `max_chars` characters.
        """
        texts = check_texts(texts)
        rewritten = None
        if self.rules is not None:
            rewritten = self.rules.before(texts, _between(on_group))
            texts = [item.text for item in rewritten]
        timings = timings or Timings()
        parts = []
        for group in groups_by_size(texts):
            part = self._read_group(texts, group, timings, max_chars)
            parts.append(part)
            if on_group is not None:
                counts = part.encoded.token_counts
                on_group(int((part.encoded.lengths if counts is None else counts).sum()))
        if len(parts) == 1:
            return parts[0] if rewritten is None else dataclasses.replace(parts[0], rewritten=rewritten)
        stages = [part.stages for part in parts if part.stages is not None]
        encoded = EncodedBatch.joined([part.encoded for part in parts])
        reasons = [reason for part in parts for reason in part.unusual or ()]
        return ReadTexts(texts, encoded, Stages.joined(stages) if stages else None, reasons or None, rewritten)

    def score(
        self,
        read: ReadTexts,
        timings: Timings | None = None,
        *,
        both_stages: bool = False,
        on_batch: Callable[[int], None] | None = None,
    ) -> PredictionBatch:
        """Predictions for texts that were read.

        Args:
            timings: the seconds spent are added to it.
            both_stages: let the encoder read every text, also those that the linear stage of a cascade predicts. The
                predictions stay the same, but embeddings and logits of both stages are known for all texts.
            on_batch: see run(); also called with 0 before the rules decide on a text.

        Raises:
            RuleError, ModelStoreError: if predict() would raise it.
        """
        timings = timings or Timings()
        encoded, stages = read.encoded, read.stages
        if self.cascade is None or stages is None:
            outputs = self.run(encoded, timings, on_batch)
        else:
            outputs = self._run_encoder(self.cascade, encoded, stages, timings, both_stages, on_batch)
        is_exit = [False] * len(read.texts) if stages is None else stages.exits.tolist()
        probabilities = softmax(outputs.logits, self.temperature)  # [texts, classes]
        ids = decide(probabilities, self.threshold)  # [texts]
        unsure = is_unsure(ids, probabilities, self.unsure_below)
        counts = [None] * len(read.texts) if encoded.token_counts is None else encoded.token_counts.tolist()
        limit, reasons = self.max_wordpieces, read.unusual or [None] * len(read.texts)
        predictions = [
            Prediction(
                text=text,
                label=self.class_names[label_id],
                score=row[1] if len(row) == 2 else row[label_id],
                probabilities=dict(zip(self.class_names, row, strict=True)),
                truncated=None if count is None or limit is None else count > limit and not left,
                tokens=count,
                stage=None if stages is None else LINEAR if left else ENCODER,
                unusual_reason=reason,
                unsure=doubt,
            )
            for text, label_id, row, count, left, reason, doubt in zip(
                read.texts, ids.tolist(), probabilities.tolist(), counts, is_exit, reasons, unsure, strict=True
            )
        ]
        if self.rules is not None and read.rewritten is not None:
            predictions = self.rules.after(read.rewritten, predictions, _between(on_batch))
        return PredictionBatch(predictions, ids.astype(np.int64), encoded, outputs, stages)

    def encode(self, texts: list[str], timings: Timings | None = None, max_chars: int | None = None) -> EncodedBatch:
        """Encode well-formed texts (see check_texts) for run(); for `max_chars` see read()."""
        start = time.perf_counter()
        encoded = self.backend.encode(texts, max_chars)
        if timings is not None:
            timings.add("tokenise", start, time.perf_counter())
        return encoded

    def run(
        self, encoded: EncodedBatch, timings: Timings | None = None, on_batch: Callable[[int], None] | None = None
    ) -> ModelOutputs:
        """Encoder outputs of encoded texts, in their order; computed in batches of similar length.

        Each window of a long text is a row of a batch; the outputs of a text are the means over its windows.

        Args:
            timings: the seconds spent are added to it.
            on_batch: called between two batches with the wordpieces of the first, padding included; an exception from
                it ends the call.

        Raises:
            ModelStoreError: if predict() would raise it.
        """
        if encoded.windows is not None and self.backend.tokenizer is not None:
            rows = encoded.by_window(self.backend.tokenizer, encoded.windows)
            return self.run(rows, timings, on_batch).of_texts(encoded.windows)
        timings = timings or Timings()
        if len(encoded.inputs) == 1:  # As in most requests: there is nothing to sort, and nothing to join.
            outputs = self._run_batch(list(encoded.inputs), int(encoded.lengths[0]), timings)
            return ModelOutputs(np.asarray(outputs.logits, np.float32), outputs.embeddings)
        logits = np.empty((len(encoded.inputs), len(self.class_names)), np.float32)
        embeddings: list[tuple[NDArray[np.intp], NDArray[np.float32]]] = []
        tokens = 0
        for batch in batches_by_length(encoded.lengths, self.tokens_per_batch):
            if tokens and on_batch is not None:
                on_batch(tokens)
            longest = int(encoded.lengths[batch[0]])
            outputs = self._run_batch([encoded.inputs[index] for index in batch], longest, timings)
            tokens = len(batch) * longest
            logits[batch] = outputs.logits
            if outputs.embeddings is not None:
                embeddings.append((batch, outputs.embeddings))
        return ModelOutputs(logits, rows_in_order(embeddings, len(logits)))

    def _run_batch(self, inputs: list[Any], longest: int, timings: Timings) -> ModelOutputs:
        seconds = timings.infer
        outputs = self.backend.run(inputs, timings)
        self.speed.observe(len(inputs) * longest, timings.infer - seconds)
        expected = [len(inputs), len(self.class_names)]
        name = self.name or "the model"
        if list(outputs.logits.shape) != expected:
            raise ModelStoreError(
                f"{name}: expected logits of shape {expected} for the classes {', '.join(self.class_names)}, got "
                f"{list(outputs.logits.shape)}; the model and its class names do not belong together"
            )
        if not np.isfinite(outputs.logits).all():
            raise ModelStoreError(f"{name}: gave logits that are not finite numbers; its weights are damaged")
        return outputs

    def _read_group(self, texts: list[str], group: slice, timings: Timings, max_chars: int | None) -> ReadTexts:
        some = texts[group]
        is_short = sum(map(len, some)) <= SHORT_CHARS
        with contextlib.nullcontext() if is_short else self._reading.taken():
            try:
                encoded = self.encode(some, timings, max_chars)
            except TextTooLongError as error:
                raise TextTooLongError(group.start + error.position, error.max_chars) from None
            stages: Stages | None = None
            if self.cascade is not None:
                if encoded.wordpieces is None:
                    raise ModelStoreError(
                        f"{self.name or 'the model'}: expected the wordpieces of whole texts, got none"
                    )
                start = time.perf_counter()
                stages = self.cascade.first_stage(encoded.wordpieces)
                timings.add("linear", start, time.perf_counter())
            unusual: list[str | None] | None = None
            if self.unusual is not None and encoded.wordpieces is not None:
                start = time.perf_counter()
                unusual = list(map(self.unusual.reason, some, encoded.wordpieces))
                timings.add("tokenise", start, time.perf_counter())
        # The ids of whole texts are large and no longer needed.
        return ReadTexts(some, dataclasses.replace(encoded, wordpieces=None), stages, unusual)

    def _run_encoder(
        self,
        cascade: Cascade,
        encoded: EncodedBatch,
        stages: Stages,
        timings: Timings,
        both_stages: bool,
        on_batch: Callable[[int], None] | None,
    ) -> ModelOutputs:
        """Run the encoder on the texts that need it (see score), write its logits into `stages`, and combine."""
        embeddings: NDArray[np.float32] | None = None
        # Most requests have one text; avoid copies if the encoder reads all texts or none.
        if both_stages or not stages.exits.any():
            found = self.run(encoded, timings, on_batch)
            stages.encoder_logits[:] = found.logits
            embeddings = found.embeddings
        elif not stages.exits.all():
            rows = np.flatnonzero(~stages.exits)
            found = self.run(encoded.take(rows), timings, on_batch)
            stages.encoder_logits[rows] = found.logits
            if found.embeddings is not None:
                embeddings = rows_in_order([(rows, found.embeddings)], len(stages.exits))
        return ModelOutputs(cascade.final_logits(stages, self.temperature), embeddings)


def _between(call: Callable[[int], None] | None) -> Callable[[], None]:
    """The check that rules call between texts."""
    return lambda: None if call is None else call(0)
