"""The options of each stage as frozen dataclasses: checked when made, JSON round trip, unknown keys refused."""

import dataclasses
import math
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
        name_to_handle: handle of the encoder (see textclf.training.encoders.resolve).
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
        mlm_epochs: passes over the training texts before fitting, in which the encoder guesses hidden wordpieces and
            sees no label (textclf.training.fitting.masked_lm).
        mlm_lr: learning rate of these passes.
        layer_decay: factor of the learning rate from each layer of the encoder to the one below it; 1 has one rate for
            all. For optimiser "adamw".
        r_drop: weight of R-Drop in the loss (training/fitting/losses.py): a batch is seen twice with other dropout, and
            what the two passes differ by is part of the loss, also of the one in the history. Both passes are one
            computation of twice the tokens: twice the time and memory. 0 is without.
        optimiser: "adamw", or another name of textclf.training.fitting.optimisers.
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
    mlm_epochs: int = 0
    mlm_lr: float = 2e-4
    layer_decay: float = 1.0
    r_drop: float = 0.0
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
        self._check_text("optimiser", "metric")
        self._check_whole("epochs", 1)
        self._check_whole("mlm_epochs", 0)
        for name in ("init_lr", "mlm_lr"):
            self._check(name, _is_inside(getattr(self, name), 0, 10), "a learning rate above 0 and below 10")
        self._check("layer_decay", self.layer_decay == 1 or _is_inside(self.layer_decay, 0, 1), "above 0, at most 1")
        self._check(
            "layer_decay",
            self.layer_decay == 1 or self.optimiser.lower() == "adamw",
            f"1 with optimiser {self.optimiser!r}; only adamw has a rate for each layer",
        )
        self._check_fraction("r_drop", high=1000)
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


@dataclass(frozen=True)
class GateOptions(Config):
    """What a challenger must show before it takes the champion's place (textclf.stats.gate).

    Attributes:
        margin: accuracy that it may lose on the golden set, as a share: the lower confidence bound is held against it.
        alpha: one-sided level of the bounds and tests.
        power: with which the number of texts that would tell is worked out.
        min_holdout: new held-out texts below which nothing is said of them.
        min_slice: texts of a class or a range of lengths from which on it is looked at by itself.
        slice_margin: accuracy that a class or a range of lengths may lose, even significantly. None, by default; but
            the recalls of two classes trade a point for a point from one training to the next, and with 10,000 texts
            even that is significant: a point or two spares such challengers.
        calibration_margin: by which the expected calibration error on the golden set may grow.
    """

    margin: float = 0.01
    alpha: float = 0.05
    power: float = 0.8
    min_holdout: int = 100
    min_slice: int = 500
    slice_margin: float = 0.0
    calibration_margin: float = 0.02

    def __post_init__(self) -> None:
        self._check("margin", _is_inside(self.margin, 0, 1), "a number between 0 and 1")
        self._check("alpha", _is_inside(self.alpha, 0, 0.5), "a number between 0 and .5")
        self._check("power", _is_inside(self.power, 0.5, 1), "a number between .5 and 1")
        self._check_whole("min_holdout", 1)
        self._check_whole("min_slice", 1)
        self._check_fraction("slice_margin")
        self._check_fraction("calibration_margin")


def _is_inside(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low < value < high


def min_permutations(alpha: float) -> int:
    """That a permutation test needs to be significant at all.

    Its smallest p is 1 / (1 + permutations). Bonferroni over two tests of a family and Holm over seven families may
    multiply it by 14.
    """
    return math.ceil(14 / alpha)


@dataclass(frozen=True)
class DriftOptions(Config):
    """When a difference between the latest texts and the reference is an alarm.

    Every floor has one reading: a drift that touches fewer than one text in ten is negligible. The effects are
    scaled to show it. Where a share s of the texts is replaced by others that can always be told from them, the KS
    distance and the total variation are at most s, the AUC is at most .5 + s / 2, and the MMD is at most s times
    that of samples with nothing in common.

    Attributes:
        alpha: chance of any false alarm of one comparison, over all families together.
        threshold: floor of the domain classifier's AUC (family "content").
        length_floor: of the KS distance of token lengths.
        form_floor: of the KS distance of unknown-token, continuation and non-letter rates.
        score_floor: of the KS distance of logits, and of the total variation of the predicted classes.
        embedding_floor: of the MMD, as a share of that of two samples with nothing in common.
        error_floor: of the rise of the error rate. One text in ten, on which a model of two classes only guesses,
            adds .05.
        disagreement_floor: of the change in how often the two stages of a cascade give different labels. One text in
            ten on which they have nothing to do with each other adds .05 with two classes.
        cusum_shift: rise of the error rate that the CUSUM finds soonest. It needs a rise of about half of it, so
            that twice the floor fits.
        min_texts: fewer texts in either sample are not tested ("not enough data").
        min_audits: fewer audited labels are not tested: with 50, only a rise of about 20 points shows at all.
        permutations: of each permutation test, and simulations of the CUSUM.
        mmd_most: texts of either sample that the MMD is computed on, drawn from it.
        most_words: how many words that tell the samples apart are named.
        least_word_texts: a word is named only if so many texts have it, of the sample that it speaks for. What one or
            two people write may be a name; what five texts share points at nobody.
    """

    alpha: float = 0.01
    threshold: float = 0.55
    length_floor: float = 0.1
    form_floor: float = 0.1
    score_floor: float = 0.1
    embedding_floor: float = 0.1
    error_floor: float = 0.05
    disagreement_floor: float = 0.05
    cusum_shift: float = 0.1
    min_texts: int = 100
    min_audits: int = 50
    permutations: int = 1999
    mmd_most: int = 2000
    most_words: int = 20
    least_word_texts: int = 5

    def __post_init__(self) -> None:
        for name in ("alpha", "cusum_shift"):
            self._check_fraction(name)
            self._check(name, getattr(self, name) > 0, "a number above 0")
        self._check_fraction("threshold", low=0.5)
        for name in (
            "length_floor",
            "form_floor",
            "score_floor",
            "embedding_floor",
            "error_floor",
            "disagreement_floor",
        ):
            self._check_fraction(name)
        self._check_whole("min_texts", 20)
        self._check_whole("min_audits", 1)
        self._check_whole("permutations", 1999)
        self._check_whole("mmd_most", 50)
        self._check_whole("most_words", 0)
        self._check_whole("least_word_texts", 1)
        least = min_permutations(self.alpha)
        self._check("permutations", self.permutations >= least, f"at least {least} for alpha {self.alpha:g}")


@dataclass(frozen=True)
class CombineOptions(Config):
    """How old and new labelled texts become one data set (textclf.retraining.combining).

    Attributes:
        holdout_share: of the new texts that are for ever kept from training, by content hash. A fifth, as usual.
        new_share: largest share of new texts in the combined training texts. At 30 %, new texts that are all wrong
            stay a minority in every class that the old texts know well, and still weigh enough to be learnt.
        source_share: largest share of that room which one of several sources may fill; the small ones count as one.
            With half, no single source outweighs all others together. A source that is the only one has the whole room.
        class_slack: a class may fill its share among the old texts times this much of the room. Half as much again
            lets a class mix of 50/50 become 75/25, and keeps a flood of one class from becoming the new class mix.
        holdout_room: room for new texts in the holdout, where the same share of the training room is less. The
            accuracy of two models on 1,000 texts can be compared to about two points.
        shingle_words: words in a row that near duplicates are compared by.
        near_jaccard: share of such runs in common from which on two texts are near duplicates.
        contradiction_alpha: level, corrected for the number of sources, at which a source contradicts the champion
            more often than the others do.
        contradiction_margin: and by how much more often. Texts from elsewhere cost a champion a few points of
            accuracy (films to products: four); three labels in ten flipped at random cost over twenty.
        contradiction_least: texts of a source from which on it is judged by itself; those with fewer are small ones,
            taken together.
        trusted_sources: never set aside. For sources that somebody has read and found right, such as one that
            collects corrections only: it contradicts the champion by its nature.
    """

    holdout_share: float = 0.2
    new_share: float = 0.3
    source_share: float = 0.5
    class_slack: float = 1.5
    holdout_room: int = 1000
    shingle_words: int = 3
    near_jaccard: float = 0.8
    contradiction_alpha: float = 0.01
    contradiction_margin: float = 0.1
    contradiction_least: int = 20
    trusted_sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("holdout_share", "new_share", "contradiction_alpha"):
            self._check(name, _is_inside(getattr(self, name), 0, 1), "a number between 0 and 1")
        self._check("source_share", self.source_share == 1 or _is_inside(self.source_share, 0, 1), "a number in (0, 1]")
        self._check(
            "class_slack", self.class_slack == 1 or _is_inside(self.class_slack, 1, 1000), "a number in [1, 1000)"
        )
        self._check_whole("holdout_room", 0)
        self._check_whole("shingle_words", 1)
        self._check(
            "near_jaccard", self.near_jaccard == 1 or _is_inside(self.near_jaccard, 0.5, 1), "a number in (.5, 1]"
        )
        self._check_fraction("contradiction_margin")
        self._check_whole("contradiction_least", 1)
        names = self.trusted_sources
        self._check(
            "trusted_sources",
            isinstance(names, tuple | list) and all(isinstance(name, str) for name in names),
            "names of sources",
        )
        # JSON has no tuples.
        object.__setattr__(self, "trusted_sources", tuple(names))
