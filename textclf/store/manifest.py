"""manifest.json: the description of a model version, as a frozen, checked record."""

import dataclasses
import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Self

from textclf.config import TRUNCATIONS
from textclf.errors import ModelStoreError
from textclf.labels import is_class_name
from textclf.tokenization.tokenizer import SPECIAL_TOKENS

FORMAT = 1
MANIFEST_FILE = "manifest.json"
ENCODER_KEYS = ("model_name", "name_to_handle", "model_to_handle")

_VERSION_ID = re.compile(r"[0-9]{8}T[0-9]{9}Z-[0-9a-f]{6}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# An innermost list of numbers, which json.dumps(indent=…) spreads over many lines.
# JSON strings contain no raw line break, so no part of one matches.
_LIST_OF_NUMBERS = re.compile(r"\[\n[^\[\]{}\"]*\]")


def is_version_id(text: str) -> bool:
    """True if `text` has the form of a version id (UTC time, six hex digits), which is safe as a path."""
    return _VERSION_ID.fullmatch(text) is not None


@dataclass(frozen=True)
class Manifest:
    """The description of one model version; to_json() and from_json() are inverses.

    The store fills in `id`, `created` and `files`; a writer leaves them empty.

    Attributes:
        name: the model's name, for people.
        class_names: names of the classes; the position is the class id.
        encoder: model_name, name_to_handle and model_to_handle (textclf.config.ModelOptions); of an encoder that is not
            in the form of TF-Hub also "family" and "layer_norm_epsilon".
        max_length: maximum number of wordpieces of a text, with [CLS] and [SEP].
        truncation, head_fraction: how a text is truncated (textclf.config.ModelOptions).
        lower_case: whether the wordpieces are uncased.
        temperature: divisor of the logits before the softmax.
        threshold: with two classes, the minimum probability to predict the second.
        windows: maximum number of windows that read a text (textclf.tokenization.windows); with one, long texts are
            truncated as in the training.
        metrics: dict of textclf.stats.metrics.Metrics for each split.
        calibration: method of the temperature, and the error before and after.
        data: "source" (a name), "path" (as it was given to the training), "fingerprint" (SHA-256 of "all" and of
            each split: metrics of equal test splits are comparable), "counts" (textclf.data.datasets.Counts),
            "options" (textclf.config.DataOptions).
        training: "options" (textclf.config.TrainingOptions) and the fields of FitResult
            (textclf.training.fitting.training_loop).
        software: versions of packages and of "python".
        parity: differences between each saved form of the model and its original.
        engine: "precision" of the engine ("int8", "bfloat16" or "float32"), why it was chosen, and its logits for the
            golden texts ("golden_logits" [texts, classes], within "golden_tolerance"; "golden_float_logits" with
            float activations); empty without an engine.
        golden_texts: sentences written for the engine's self-check.
        cascade: "settings" of both stages (textclf.stats.cascade_rules.CascadeSettings; None if it is off), "why_off"
            in a sentence, results ("validation", cross-fitted, and "test": textclf.stats.cascade_fit), and the linear
            stage's "golden_logits" [texts, classes]; empty for a version without a cascade.
        unusual: "judges_words" (false if only texts without letters are recognised), "texts", the number of held-out
            texts that were judged, and "flagged", how many of them are unusual by reason (textclf.runtime.unusual);
            empty for a version that marks no text.
        source: of an imported version "handle", "revision" (commit on the Hub, or ""), "tokenizer" and
            "tokenizer_revision" (the same of another model with the tokenizer, or ""), "family", "sha256" of the
            weights, and "license" as the model card states it; empty for a version that was trained.
        unsure: thresholds per class, below which predictions are unsure, and how they were chosen
            (textclf.evaluation.unsure_thresholds); empty for a version without thresholds.
        files: path inside the version, with slashes, to SHA-256.
        created: UTC, ISO 8601.
        parent: id of the version that this one was made from, or None.
        format: file format; this code reads 1.
        id: version id; empty until the store saves the version.
    """

    name: str
    class_names: tuple[str, ...]
    encoder: dict[str, Any]
    max_length: int
    truncation: str
    head_fraction: float
    lower_case: bool
    temperature: float = 1.0
    threshold: float = 0.5
    windows: int = 1
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)
    parity: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    golden_texts: tuple[str, ...] = ()
    cascade: dict[str, Any] = field(default_factory=dict)
    unusual: dict[str, Any] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    unsure: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    created: str = ""
    parent: str | None = None
    format: int = FORMAT
    id: str = ""

    def __post_init__(self) -> None:
        names = self.class_names
        self._check("name", isinstance(self.name, str) and bool(self.name), "a name")
        self._check(
            "class_names",
            _is_tuple_of_text(names) and len(set(names)) == len(names) >= 2 and all(map(is_class_name, names)),
            "two or more different class names",
        )
        self._check(
            "encoder",
            isinstance(self.encoder, dict) and all(isinstance(self.encoder.get(key), str) for key in ENCODER_KEYS),
            f"a dict with {', '.join(ENCODER_KEYS)}",
        )
        self._check("max_length", _is_number(self.max_length, int) and self.max_length >= 4, "a whole number from 4")
        self._check("truncation", self.truncation in TRUNCATIONS, f"one of {', '.join(TRUNCATIONS)}")
        self._check("head_fraction", _is_number(self.head_fraction) and 0 <= self.head_fraction < 1, "a share below 1")
        self._check("windows", _is_number(self.windows, int) and self.windows >= 1, "a whole number from 1")
        self._check("lower_case", isinstance(self.lower_case, bool), "true or false")
        self._check("temperature", _is_number(self.temperature) and self.temperature > 0, "a number above 0")
        self._check("threshold", _is_number(self.threshold) and 0 < self.threshold < 1, "a number between 0 and 1")
        for item in dataclasses.fields(self):
            if item.default_factory is dict:
                self._check(item.name, isinstance(getattr(self, item.name), dict), "a dict")
        self._check("metrics", all(isinstance(split, dict) for split in self.metrics.values()), "a dict for each split")
        self._check("unsure", self._has_valid_thresholds(), "a threshold from 0 to 1, or null, for each class")
        self._check("golden_texts", _is_tuple_of_text(self.golden_texts), "texts")
        self._check("created", isinstance(self.created, str), "a time")
        self._check("parent", self.parent is None or _is_id(self.parent), "the id of a version, or null")
        self._check("format", self.format == FORMAT, str(FORMAT))
        self._check("id", self.id == "" or _is_id(self.id), "the id of a version")
        for path, digest in self.files.items():
            self._check("files", _is_inner_path(path), f"paths inside the version (not {path!r})")
            self._check("files", isinstance(digest, str) and bool(_SHA256.fullmatch(digest)), "SHA-256 in hex digits")

    @property
    def measured(self) -> str:
        """The name of what its metrics are of."""
        if self.source:
            return "imported model"
        # Weights are in float32, so only another precision is named.
        return "trained encoder in bfloat16" if self.training.get("measured_in") == "bfloat16" else "trained encoder"

    @property
    def max_wordpieces(self) -> int:
        """Maximum number of wordpieces of a text that the encoder reads, in all windows, with one [CLS] and [SEP]."""
        return self.windows * (self.max_length - SPECIAL_TOKENS) + SPECIAL_TOKENS

    def to_json(self) -> str:
        """The manifest as JSON text that ends with a line break.

        Raises:
            ModelStoreError: if JSON can't hold a value, such as NaN or an array.
        """
        values = dataclasses.asdict(self)
        values = {"format": values.pop("format"), "id": values.pop("id"), **values}
        try:
            text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ModelStoreError(
                f"manifest of {self.name!r}: expected values that JSON can hold (plain numbers, text, lists, dicts; "
                f"None for an undefined number): {error}"
            ) from error
        return _LIST_OF_NUMBERS.sub(lambda match: " ".join(match[0].split()), text) + "\n"

    @classmethod
    def from_json(cls, text: str, source: object = MANIFEST_FILE) -> Self:
        """The manifest of a saved version, from JSON text read in `source`.

        Raises:
            ModelStoreError: if the text is not JSON, was written by a newer version of this software, or a key is
                missing, unknown or has a wrong value.
        """
        try:
            values = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise ModelStoreError.damaged(f"{source}: expected JSON ({error})") from error
        if not isinstance(values, dict):
            raise ModelStoreError.damaged(f"{source}: expected a JSON object, got {type(values).__name__}")
        found = values.get("format")
        if not isinstance(found, int) or isinstance(found, bool) or found < 1:
            raise ModelStoreError.damaged(f"{source}: expected a whole number as format, got {found!r}")
        if found > FORMAT:
            raise ModelStoreError(
                f"{source}: written in format {found} by a newer version of this software; "
                f"this one reads format {FORMAT}: update it"
            )
        fields = dataclasses.fields(cls)
        unknown = set(values) - {item.name for item in fields}
        # Keys that older versions of this software do not write have a default.
        missing = {item.name for item in fields if item.default is item.default_factory} - set(values)
        if unknown or missing:
            raise ModelStoreError(
                f"{source}: expected the keys of format {FORMAT}; unknown: {', '.join(sorted(unknown)) or 'none'}; "
                f"missing: {', '.join(sorted(missing)) or 'none'}"
            )
        for key in ("class_names", "golden_texts"):
            if isinstance(values.get(key), list):
                values[key] = tuple(values[key])
        try:
            manifest = cls(**values)
        except ModelStoreError as error:
            raise ModelStoreError.damaged(f"{source}: {error}") from error
        if not manifest.id or not manifest.created:
            raise ModelStoreError.damaged(f"{source}: expected the id and time of a saved version, got none")
        return manifest

    @property
    def unsure_below(self) -> tuple[float | None, ...]:
        """The threshold of each class, below which a prediction is unsure; None is always unsure, () marks none."""
        thresholds = self.unsure.get("thresholds", {})
        return tuple(thresholds[name] for name in self.class_names) if thresholds else ()

    def _has_valid_thresholds(self) -> bool:
        thresholds = self.unsure.get("thresholds", {})
        if not self.unsure:
            return True
        return (
            isinstance(thresholds, dict)
            and set(thresholds) == set(self.class_names)
            and all(value is None or (_is_number(value) and 0 <= value <= 1) for value in thresholds.values())
        )

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ModelStoreError(f"manifest: {name}: expected {expected}, got {getattr(self, name)!r}"[:1000])


def _is_number(value: object, kind: Any = (int, float)) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_tuple_of_text(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and is_version_id(value)


def _is_inner_path(text: str) -> bool:
    path = PurePosixPath(text)
    plain = "\\" not in text and "\0" not in text and str(path) == text
    return plain and text not in (".", MANIFEST_FILE) and not path.is_absolute() and ".." not in path.parts


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
