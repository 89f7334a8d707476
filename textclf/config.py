"""The options of each stage as frozen dataclasses: checked when made, JSON round trip, unknown keys refused."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

from textclf.errors import ConfigError

DEFAULT_MODEL_NAME = "small_bert/bert_en_uncased_L-4_H-512_A-8"
DEFAULT_ENCODER_HANDLE = "https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/1"
DEFAULT_PREPROCESS_HANDLE = "https://tfhub.dev/tensorflow/bert_en_uncased_preprocess/3"

TRUNCATIONS = ("head", "head+tail")
PRECISIONS = ("auto", "float32", "bfloat16")
# Name of the selection metric -> True where more is better.
SELECTION_METRICS = {"accuracy": True, "macro_f1": True, "roc_auc": True, "log_loss": False}


@dataclass(frozen=True)
class Config:
    """Base of the option classes: to_dict() and from_dict() are each other's inverse."""

    def to_dict(self) -> dict[str, Any]:
        """The options as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The options from a dict; missing keys keep their default.

        Raises:
            ConfigError: a key is unknown, so that a misspelling is not silently ignored.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(
                f"{cls.__name__}: unknown option {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        return cls(**values)

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(f"{name}: expected {expected}, got {getattr(self, name)!r}")

    def _check_whole(self, name: str, least: int) -> None:
        value = getattr(self, name)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        self._check(name, is_whole and value >= least, f"a whole number of at least {least}")

    def _check_text(self, *names: str) -> None:
        for name in names:
            self._check(name, isinstance(getattr(self, name), str) and bool(getattr(self, name)), "a text")

    def _check_flag(self, *names: str) -> None:
        """Only true and false themselves: the text "False" would count as true."""
        for name in names:
            self._check(name, isinstance(getattr(self, name), bool), "true or false")

    def _check_fraction(self, name: str, low: float = 0.0, high: float = 1.0) -> None:
        value = getattr(self, name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        self._check(name, is_number and low <= value < high, f"a number in [{low}, {high})")


@dataclass(frozen=True)
class DataOptions(Config):
    """How labelled files are read and split.

    Attributes:
        val_split: share of the training texts kept for validation (halved into S and C).
        test_split: share kept for test where the data brings no test part of its own.
        split_seed: of the stratified splits; the same seed and data give the same splits.
        text_column, label_column: column names in CSV, JSONL and Parquet.
        rename_labels: class names replaced as they are read, old name to new.
        skip_undecodable: drop and count texts that are not UTF-8, instead of refusing the file.
        read_test: False leaves the test part unread.
    """

    val_split: float = 0.2
    test_split: float = 0.2
    split_seed: int = 42
    text_column: str = "text"
    label_column: str = "label"
    rename_labels: dict[str, str] = field(default_factory=dict)
    skip_undecodable: bool = False
    read_test: bool = True

    def __post_init__(self) -> None:
        self._check(
            "val_split", isinstance(self.val_split, float) and 0 < self.val_split < 1, "a number between 0 and 1"
        )
        self._check(
            "test_split", isinstance(self.test_split, float) and 0 < self.test_split < 1, "a number between 0 and 1"
        )
        self._check_whole("split_seed", 0)
        self._check_text("text_column", "label_column")
        self._check("label_column", self.label_column != self.text_column, "a second column name")
        self._check(
            "rename_labels",
            isinstance(self.rename_labels, dict)
            and all(isinstance(old, str) and isinstance(new, str) for old, new in self.rename_labels.items()),
            "old class names and their new ones",
        )
        self._check_flag("skip_undecodable", "read_test")


@dataclass(frozen=True)
class ModelOptions(Config):
    """Which encoder, and how a text becomes its input.

    Attributes:
        model_name: the encoder's name, for people and the manifest.
        name_to_handle: handle of the encoder (see textclf.training.encoders).
        model_to_handle: handle of its preprocessing; ignored where the encoder brings its own.
        max_length: wordpieces a text is cut to, [CLS] and [SEP] included.
        truncation: "head" keeps the beginning of a long text, "head+tail" its beginning and end.
        head_fraction: share of the kept wordpieces taken from the beginning by "head+tail".
        dropout: rate before the classification layer.
    """

    model_name: str = DEFAULT_MODEL_NAME
    name_to_handle: str = DEFAULT_ENCODER_HANDLE
    model_to_handle: str = DEFAULT_PREPROCESS_HANDLE
    max_length: int = 256
    truncation: str = "head"
    head_fraction: float = 0.25
    dropout: float = 0.1

    def __post_init__(self) -> None:
        self._check_text("model_name", "name_to_handle")
        self._check("model_to_handle", isinstance(self.model_to_handle, str), "a text")
        self._check_whole("max_length", 4)
        self._check("truncation", self.truncation in TRUNCATIONS, f"one of {', '.join(TRUNCATIONS)}")
        self._check_fraction("head_fraction")
        self._check_fraction("dropout")


@dataclass(frozen=True)
class TrainingOptions(Config):
    """How a model is fitted.

    Attributes:
        epochs: passes over the training texts.
        init_lr: learning rate that the warmup rises towards; the linear decay to 0 counts from the first step.
        optimiser: "adamw", or another name of textclf.training.optimisers.
        warmup: share of all steps during which the rate rises from 0.
        tokens_per_batch: a batch holds at most this many tokens, padding included.
        batch_size: and at most this many texts.
        seed: of initial weights, order of batches and dropout.
        precision: "bfloat16", "float32", or "auto": bfloat16 where the CPU multiplies it natively.
        class_weights: weigh the loss by inverse class frequency.
        metric: validation metric that picks the best epoch; of equal ones the lower log loss decides.
        patience: stop after this many epochs without a better metric; 0 never stops early.
        checkpoint_steps: write a checkpoint to resume from every so many steps, and after each epoch.
    """

    epochs: int = 5
    init_lr: float = 3e-5
    optimiser: str = "adamw"
    warmup: float = 0.1
    tokens_per_batch: int = 4096
    batch_size: int = 32
    seed: int = 42
    precision: str = "auto"
    class_weights: bool = False
    metric: str = "accuracy"
    patience: int = 0
    checkpoint_steps: int = 100

    def __post_init__(self) -> None:
        self._check_whole("epochs", 1)
        self._check(
            "init_lr",
            isinstance(self.init_lr, int | float) and not isinstance(self.init_lr, bool) and 0 < self.init_lr < 10,
            "a learning rate above 0 and below 10",
        )
        self._check_text("optimiser", "metric")
        self._check_fraction("warmup")
        self._check_whole("tokens_per_batch", 8)
        self._check_whole("batch_size", 1)
        self._check_whole("seed", 0)
        self._check("seed", self.seed < 2**32, "a whole number below 2^32")
        self._check_flag("class_weights")
        self._check("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")
        self._check("metric", self.metric in SELECTION_METRICS, f"one of {', '.join(SELECTION_METRICS)}")
        self._check_whole("patience", 0)
        self._check_whole("checkpoint_steps", 1)
