"""The options of each stage as frozen dataclasses: checked when created, JSON round trip, unknown keys refused."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from textclf.encoder_handles import EMBEDDED_ENCODER
from textclf.errors import ConfigError
from textclf.fields import choice, filled_text, mapping, number, rules, share, switch, text, texts, whole

DEFAULT_MODEL_NAME = "small_bert/bert_en_uncased_L-4_H-512_A-8"
DEFAULT_ENCODER_HANDLE = "https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/1"
DEFAULT_PREPROCESS_HANDLE = "https://tfhub.dev/tensorflow/bert_en_uncased_preprocess/3"

TRUNCATIONS = ("head", "head+tail")
MAX_WINDOWS = 16
EQUAL_TEXTS = ("wordpieces", "characters")
NEAR_DUPLICATES = ("count", "drop", "ignore")
POOLINGS = ("cls", "mean")
PRECISIONS = ("auto", "float32", "bfloat16")
HEAD_INITS = ("random", "probe")
SELECTIONS = ("best", "last")
TRAIN_ON = ("train", "train+selection", "all")
RECIPES = ("auto", "none")
# Fields of ModelOptions and TrainingOptions that a recipe may set.
RECIPE_OPTIONS = (
    "pooling", "epochs", "min_steps", "init_lr", "batch_size", "head_init", "select", "train_on", "class_weights",
)  # fmt: skip
# Fields of TrainingOptions that choose thresholds of unsure predictions; one of them may be set.
TARGET_OPTIONS = ("target_precision", "costs")
# Name of the selection metric -> True where more is better.
SELECTION_METRICS = {"accuracy": True, "macro_f1": True, "roc_auc": True, "log_loss": False}


@dataclass(frozen=True)
class Config:
    """Base of the option classes: checks every field that has a rule, and converts to and from dicts.

    Raises:
        ConfigError: if a value is outside its bounds; names the option.
    """

    def __post_init__(self) -> None:
        for name, rule in rules(type(self)).items():
            self._check(name, rule.holds(getattr(self, name)), rule.expected)

    def to_dict(self) -> dict[str, Any]:
        """The options as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The options from a dict; missing keys keep their default.

        Raises:
            ConfigError: if a key is unknown, or a value is outside its bounds.
        """
        known = {item.name for item in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigError(
                f"{cls.__name__}: unknown option {', '.join(unknown)}; known are {', '.join(sorted(known))}"
            )
        return cls(**values)

    @classmethod
    def check_each(cls, values: Mapping[str, Any]) -> None:
        """Check each value alone, where other options are not known yet.

        Raises:
            ConfigError: if a value is outside its bounds; names the option.
        """
        for name, value in values.items():
            rule = rules(cls)[name]
            if not rule.holds(value):
                raise ConfigError(f"{name}: expected {rule.expected}, got {value!r}")

    @classmethod
    def pop_from(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Remove the fields of this class from `values` and return them."""
        return {item.name: values.pop(item.name) for item in dataclasses.fields(cls) if item.name in values}

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(f"{name}: expected {expected}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class DataOptions(Config):
    """How labelled files are read and split."""

    val_split: float = number(
        0.2, "Share of the training texts used for validation: half to select, half to calibrate.", above=0, below=1
    )
    test_split: float = number(
        0.2, "Share of the texts used for testing if the data has no test part.", above=0, below=1
    )
    split_seed: int = whole(42, "Random seed of the splits.")
    text_column: str = filled_text(
        "text", "Column of the texts in a table; the default also stands for review, sentence and the like."
    )
    label_column: str = filled_text(
        "label", "Column of the labels in a table; the default also stands for sentiment, category and the like."
    )
    rename_labels: dict[str, str] = mapping(
        "Rename a class while reading; may be repeated. Classes with the same new name are merged.",
        flag="--rename-label",
        metavar="OLD=NEW",
    )
    skip_undecodable: bool = switch(
        False, "Skip and count texts that are not UTF-8, instead of refusing the file.", flag="--skip-undecodable"
    )
    read_test: bool = switch(True, "Read the test part.", flag="--test/--no-test")
    read_validation: bool = switch(
        True,
        "Use the validation part of the data, if it has one, instead of splitting one off.",
        flag="--validation-part/--no-validation-part",
    )
    skip_bad: bool = switch(
        False,
        "Leave out and count bad rows and texts that are not UTF-8, instead of refusing the file.",
        flag="--skip-bad",
    )
    encoding: str = text(
        "", "Encoding of text files without a byte-order mark, such as cp1252.", shown="UTF-8 or UTF-16, as detected"
    )
    equal_texts: str = choice(
        "wordpieces",
        "When two texts are equal: if the model reads the same, or if they have the same characters.",
        EQUAL_TEXTS,
    )
    near_duplicates: str = choice(
        "count",
        "Near duplicates in the training texts, and of test texts: count them, drop them, or do not search them.",
        NEAR_DUPLICATES,
    )
    weight_column: str = text(
        "", "Column of a table with how much each training text counts in the loss.", shown="all count the same"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("label_column", self.label_column != self.text_column, "a second column name")
        others = (self.text_column, self.label_column)
        self._check("weight_column", self.weight_column not in others, "another column than text and label")

    @classmethod
    def from_record(cls, values: dict[str, Any]) -> Self:
        """The options with which a version's data was read.

        Earlier software did not read validation parts, and compared characters. Its other rules are not repeated (see
        differences_of_record).

        Raises:
            ConfigError: if a key is unknown, or a value is outside its bounds.
        """
        return cls.from_dict({"read_validation": False, "equal_texts": "characters", **values})

    @staticmethod
    def differences_of_record(values: dict[str, Any]) -> str:
        """Why the same data may be read as other texts than for this record, as the end of a message; "" if none."""
        if "equal_texts" in values:
            return ""
        return (
            ". Or move away what earlier software did not read: Test.csv, testing.csv or eval.csv next to a train "
            "table, texts in subfolders of class folders, and .TXT files; it also kept texts of invisible characters. "
            "If that is not possible, train again"
        )


@dataclass(frozen=True)
class EncoderOptions(Config):
    """The short form of an encoder; textclf.encoder_handles.handles_of makes fields of ModelOptions of it."""

    encoder: str = text(
        DEFAULT_MODEL_NAME,
        "A TF-Hub BERT (name or URL), a SavedModel folder or .tar.gz, a Hugging Face folder, a Hub name, "
        f"or {EMBEDDED_ENCODER}, which needs no network.",
        metavar="NAME_OR_HANDLE",
    )
    preprocess: str = text(
        "", "Handle of the preprocessing, if the encoder does not contain its own.", shown="by the encoder"
    )


@dataclass(frozen=True)
class ModelOptions(Config):
    """The encoder, and how a text becomes its input."""

    model_name: str = filled_text(DEFAULT_MODEL_NAME, "Name of the encoder in the manifest and in reports.")
    name_to_handle: str = filled_text(DEFAULT_ENCODER_HANDLE, "Handle of the encoder: a URL, a folder or an archive.")
    model_to_handle: str = text(
        DEFAULT_PREPROCESS_HANDLE, "Handle of the preprocessing; ignored if the encoder contains its own."
    )
    max_length: int = whole(
        256, "Maximum number of wordpieces per text, with [CLS] and [SEP]; longer is more accurate and slower.", min=4
    )
    truncation: str = choice("head", "Kept part of a long text: its beginning, or its beginning and end.", TRUNCATIONS)
    head_fraction: float = share(0.25, "Share of the wordpieces that head+tail takes from the beginning.")
    dropout: float = share(0.1, "Dropout rate before the classification layer.")
    pooling: str = choice(
        "cls",
        "Input of the classification layer: the encoder's pooled output for [CLS], or the mean of its outputs for all "
        "tokens. With few labels mean is more accurate.",
        POOLINGS,
    )
    windows: int = whole(
        1,
        "Maximum number of windows that read a text longer than max_length; its logits are their mean. "
        "Training reads one window, cut by --truncation.",
        min=1,
        max=MAX_WINDOWS,
    )


@dataclass(frozen=True)
class TrainingOptions(Config):
    """How a model is trained."""

    epochs: int = whole(5, "Passes over the training texts; 0 keeps the classifier of --head-init probe.")
    min_steps: int = whole(0, "Minimum number of steps: with few texts, passes are added until it is reached.")
    init_lr: float = number(
        3e-5, "Learning rate that the warmup rises towards; it then decays linearly to 0.", above=0, below=10
    )
    mlm_epochs: int = whole(0, "Passes of masked-language-model training before fine-tuning; they use no labels.")
    mlm_lr: float = number(2e-4, "Learning rate of the masked-language-model passes.", above=0, below=10)
    layer_decay: float = number(
        1.0, "Factor of the learning rate from each encoder layer to the one below; needs adamw.", above=0, max=1
    )
    # The two passes are one computation of twice the tokens (textclf.training.fitting.losses).
    r_drop: float = number(
        0.0, "Weight of the R-Drop loss; above 0, a step takes twice the time and memory.", min=0, below=1000
    )
    teachers: tuple[str, ...] = texts(
        "Learn from the probabilities of another model too; may be repeated. It is a version (an id, a folder or a "
        "store), or a table with a column p:CLASS for each class, as `score` writes it.",
        flag="--teacher",
        metavar="VERSION_OR_TABLE",
    )
    teacher_weight: float = number(
        0.5, "Share of the teachers in the target of each text; its label has the rest. 0 ignores them.", min=0, max=1
    )
    optimiser: str = filled_text("adamw", "Optimiser: adamw, lamb, adam, adamax, adagrad, rmsprop or sgd.")
    warmup: float = share(0.1, "Share of the steps during which the learning rate rises.")
    tokens_per_batch: int = whole(4096, "Maximum number of tokens in a batch, padding included.", min=8)
    batch_size: int = whole(32, "Maximum number of texts in a batch.", min=1)
    head_init: str = choice(
        "random",
        "Weights that the classification layer starts with: random ones, or those of a logistic regression. "
        "The regression reads the outputs of the encoder before training; it is better with few labels.",
        HEAD_INITS,
    )
    seed: int = whole(42, "Random seed of initial weights, batch order and dropout.", max=2**32 - 1)
    precision: str = choice(
        "auto", "Precision of matrix products; auto uses bfloat16 if the CPU supports it natively.", PRECISIONS
    )
    class_weights: bool = switch(
        False, "Weight the loss by inverse class frequency.", flag="--class-weights/--no-class-weights"
    )
    metric: str = choice(
        "accuracy",
        "Validation metric that selects the best epoch; ties go to the lower log loss after fitting a temperature.",
        SELECTION_METRICS,
    )
    select: str = choice(
        "best",
        "Epoch that is kept: the best by --metric, or the last. With few selection texts the best one is chance.",
        SELECTIONS,
    )
    train_on: str = choice(
        "train",
        "Texts that the model is fitted to: the training texts, also the selection set, or also the calibration set. "
        "With all, cross-validation measures the model, which takes several times as long.",
        TRAIN_ON,
    )
    patience: int = whole(0, "Stop after this many epochs without a better metric; 0 never stops early.")
    checkpoint_steps: int = whole(
        100,
        "Steps between checkpoints that a stopped training resumes from; with --select best each epoch has one too.",
        min=1,
    )
    target_precision: float = number(
        0.0,
        "Share of the sure predictions that must be right; predictions below the thresholds that reach it are unsure. "
        "0 sets no thresholds.",
        min=0,
        below=1,
    )
    costs: str = text(
        "",
        "Choose the thresholds of unsure predictions by costs instead: a TOML file with the cost of an unsure "
        "prediction and of errors.",
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "teachers", tuple(self.teachers))  # JSON has no tuples.
        self._check("target_precision", not (self.target_precision and self.costs), "0 with costs; give one of them")
        self._check(
            "layer_decay",
            self.layer_decay == 1 or self.optimiser.lower() == "adamw",
            f"1 with optimiser {self.optimiser!r}; only adamw has a rate for each layer",
        )

    def check_together(self) -> None:
        """Check the options against each other, once a recipe or a champion has completed them.

        Raises:
            ConfigError: if two options contradict each other; names one of them.
        """
        self._check(
            "epochs",
            self.epochs > 0 or self.head_init == "probe",
            f"a whole number of at least 1 with head_init {self.head_init!r}",
        )
        self._check(
            "train_on",
            self.train_on == "train" or self.select == "last",
            f"'train' with select {self.select!r}, which needs a selection set that nothing is fitted to",
        )
        # It would keep an epoch that is `patience` epochs older than the best.
        self._check("patience", self.select == "best" or not self.patience, "0 with select 'last', which needs no best")


def min_permutations(alpha: float) -> int:
    """Permutations that a permutation test needs at least to be significant.

    Its smallest p is 1 / (1 + permutations). Bonferroni over two tests of a family and Holm over seven families may
    multiply it by 14.
    """
    return math.ceil(14 / alpha)


@dataclass(frozen=True)
class DriftOptions(Config):
    """When a difference between the latest texts and the reference is an alarm.

    Every minimum effect means the same: a drift of fewer than one text in ten is negligible. Suppose that a share s of
    the texts is replaced by others that are always distinguishable. Then the KS distance and the total variation are
    at most s, and the AUC is at most 0.5 + s / 2. The MMD is at most s times that of samples with nothing in common.
    """

    alpha: float = number(0.01, "Chance of a false alarm per check, over all tests together.", above=0, below=1)
    threshold: float = number(
        0.55, "Minimum effect for a content alarm: AUC of the domain classifier.", min=0.5, below=1
    )
    length_floor: float = share(0.1, "Minimum effect for a length alarm: KS distance of the token counts.")
    form_floor: float = share(
        0.1, "Minimum effect for a form alarm: KS distance of unknown-token, continuation and non-letter rates."
    )
    score_floor: float = share(
        0.1, "Minimum effect for a score alarm: KS distance of logits, total variation of predicted classes."
    )
    embedding_floor: float = share(
        0.1, "Minimum effect for an embedding alarm: MMD, as a share of that of samples with nothing in common."
    )
    # With two classes, random labels on one text in ten add 0.05 to both of these rates.
    error_floor: float = share(0.05, "Minimum effect for an error alarm: rise of the error rate.")
    disagreement_floor: float = share(
        0.05, "Minimum effect for a disagreement alarm: change in how often both cascade stages disagree."
    )
    # The CUSUM needs a rise of about half of it, so twice the minimum effect fits.
    cusum_shift: float = number(0.1, "Rise of the error rate that the CUSUM detects fastest.", above=0, below=1)
    min_texts: int = whole(100, "Minimum number of texts in each sample; fewer are not tested.", min=20)
    # With 50, only a rise of about 20 points is visible.
    min_audits: int = whole(50, "Minimum number of audited labels; fewer are not tested.", min=1)
    permutations: int = whole(1999, "Permutations of each test, and simulations of the CUSUM.", min=1999)
    mmd_most: int = whole(2000, "Maximum number of texts per sample in the MMD.", min=50)
    most_words: int = whole(20, "Maximum number of listed words that distinguish the samples.")
    # One or two people may use a name; a word in five texts identifies nobody.
    least_word_texts: int = whole(5, "Minimum number of texts with a word before the word is listed.", min=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        needed = min_permutations(self.alpha)
        self._check("permutations", self.permutations >= needed, f"at least {needed} for alpha {self.alpha:g}")
