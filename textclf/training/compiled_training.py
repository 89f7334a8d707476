"""A compiled training: the data, the model and the run directories of one Training, and its steps.

K: classes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from textclf.config import ModelOptions, TrainingOptions
from textclf.data.datasets import Dataset
from textclf.data.splits import Split
from textclf.errors import ConfigError
from textclf.phases import rough_wordpieces
from textclf.stats.calibration import expected_calibration_error, fit_temperature, softmax
from textclf.stats.metrics import Metrics, classification_metrics
from textclf.training.classifier import ids_encoder
from textclf.training.encoders.preprocessing import TextPreprocessing, tokenize_texts
from textclf.training.encoders.resolve import EncoderFolders
from textclf.training.fitting.checkpoints import RunDirectory, identity_of
from textclf.training.fitting.masked_lm import Wordpieces, pretrain_mlm
from textclf.training.fitting.probe import fit_probe
from textclf.training.fitting.training_loop import FitResult, LabelledIds, fit, ids_to_logits, predict_logits
from textclf.training.fused_bert.trainable_classifier import FUSED, trainable_classifier
from textclf.training.precision import chosen_precision
from textclf.training.teachers import Taught, Teacher, teach
from textclf.training.tf_setup import tf, tf_keras

# Options that change fine-tuning only.
_FINE_TUNING_OPTIONS = (
    "epochs", "init_lr", "layer_decay", "r_drop", "optimiser", "class_weights", "metric", "select", "patience",
    "head_init", "teacher_weight",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class CompiledTraining:
    """The result of Training.compile(), used by the later verbs.

    Attributes:
        name: default name of the model, from the data set and the encoder.
        folders: the encoder's SavedModels on disk.
        preprocessing: strings [batch] -> encoder inputs.
        classifier: Keras model, strings [batch] -> logits [batch, K].
        ids_model: the part behind the preprocessing, which is fitted: ids [batch, seq_len] -> logits [batch, K].
        precision: "float32" or "bfloat16".
        run, mlm_run: checkpoints of fine-tuning and of masked-LM pretraining.
        teachers: larger models that the training learns from.
        teacher_cache: beginning of the paths of files with what they predict.
    """

    name: str
    dataset: Dataset
    folders: EncoderFolders
    preprocessing: TextPreprocessing
    classifier: tf_keras.Model
    ids_model: tf_keras.Model
    model_options: ModelOptions
    options: TrainingOptions
    precision: str
    run: RunDirectory
    mlm_run: RunDirectory
    teachers: tuple[Teacher, ...]
    teacher_cache: Path

    @cached_property
    def taught(self) -> Taught:
        """The training texts with what the teachers predict for them."""
        return teach(self.dataset.train, self.teachers, self.dataset.class_names, self.teacher_cache)

    def fit(self) -> FitResult:
        """Train, or continue from the last checkpoint; the model ends with the weights of the selected epoch.

        Raises:
            TrainingError: if the loss diverged, or another process runs the same training.
        """
        # The fused model casts by itself; TensorFlow's graph rewriting is for the encoder's own graph.
        graph_precision = "float32" if self.ids_model.name == FUSED else self.precision
        with self.run.locked():
            train = self._labelled_ids(self.taught.split)
            # Fine-tuning checkpoints include the weights of these steps.
            if not self.run.progress().step:
                if self.options.mlm_epochs:
                    self._pretrain(train)
                if self.options.head_init == "probe":
                    self._start_from_probe(train)
            select = self._labelled_ids(self.dataset.validation_select)
            names, padding_id = self.dataset.class_names, self.preprocessing.padding_id
            return fit(self.ids_model, train, select, names, self.options, graph_precision, padding_id, self.run)

    def logits(self, split: Split, label: str) -> np.ndarray:
        """Logits of a split's texts, float32 [n, K]; `label` names the progress bar."""
        texts = self._labelled_ids(split).texts
        return predict_logits(self._ids_to_logits, texts, self.preprocessing.padding_id, label)

    def measure(self) -> "MeasuredTraining":
        """Fit the temperature on the calibration set, then measure the model on the selection set and on test."""
        calibration_set = self.dataset.validation_calibrate
        logits, labels = self.logits(calibration_set, "calibration"), calibration_set.labels
        temperature = fit_temperature(logits, labels)
        measured = {name: split for name, split in self.dataset.splits.items() if name in ("validation_select", "test")}
        probabilities = {name: softmax(self.logits(split, name), temperature) for name, split in measured.items()}
        return MeasuredTraining(
            temperature=temperature,
            calibration={
                "split": "validation_calibrate",
                "n": len(calibration_set),
                "expected_calibration_error_before": expected_calibration_error(softmax(logits, 1.0), labels),
                "expected_calibration_error_after": expected_calibration_error(softmax(logits, temperature), labels),
            },
            probabilities=probabilities,
            metrics={
                name: classification_metrics(probabilities[name], split.labels, self.dataset.class_names)
                for name, split in measured.items()
            },
        )

    def _labelled_ids(self, split: Split) -> LabelledIds:
        return LabelledIds(tokenize_texts(self.preprocessing, split.texts), split.labels, split.weights, split.taught)

    def _pretrain(self, train: LabelledIds) -> None:
        special = self.preprocessing
        never_masked = (special.start_id, special.end_id)
        wordpieces = Wordpieces(special.vocabulary_size, special.padding_id, special.mask_id, never_masked)
        with self.mlm_run.locked("pretraining on the same texts"):
            pretrain_mlm(self.ids_model, train.texts, wordpieces, self.options, self.mlm_run)

    def _start_from_probe(self, train: LabelledIds) -> None:
        encode = ids_to_logits(ids_encoder(self.classifier))
        vectors = predict_logits(encode, train.texts, self.preprocessing.padding_id, "probe")
        classes = len(self.dataset.class_names)
        self.classifier.get_layer("classifier").set_weights(
            fit_probe(vectors, train.labels, classes, self.options.class_weights)
        )

    @cached_property
    def _ids_to_logits(self) -> Callable[[np.ndarray, np.ndarray], tf.Tensor]:
        return ids_to_logits(self.ids_model)


@dataclass(frozen=True, eq=False)
class MeasuredTraining:
    """Results of a trained model: probabilities float64 [texts, K] and metrics by split."""

    temperature: float
    calibration: dict[str, Any]
    probabilities: dict[str, np.ndarray]
    metrics: dict[str, Metrics]


def compile_training(
    dataset: Dataset,
    folders: EncoderFolders,
    preprocessing: TextPreprocessing,
    classifier: tf_keras.Model,
    model: ModelOptions,
    options: TrainingOptions,
    runs_dir: str | Path,
    teachers: Sequence[Teacher] = (),
) -> CompiledTraining:
    """Choose the precision and the graph to fit, and name the run directories, which are folders in `runs_dir`.

    The `teachers` are those of options.teachers, opened.

    Raises:
        ConfigError: if options.mlm_epochs is not 0 and the encoder has no masked-LM training.
    """
    precision = chosen_precision(options.precision)
    # Masked-LM training needs the fused graph, whatever the number of tokens.
    tokens = math.inf if options.mlm_epochs else _training_tokens(dataset, model, options)
    ids_model = trainable_classifier(classifier, model.dropout, precision, options.seed, tokens)
    if options.mlm_epochs and (ids_model.name != FUSED or preprocessing.mask_id < 0):
        raise ConfigError(
            "mlm_epochs: expected 0 for this encoder, which is not a BERT in its original form with a token [MASK], "
            f"got {options.mlm_epochs}"
        )
    name = f"{dataset.source.resolve().name}-{model.model_name.replace('/', '_')}"
    # All that decides the outcome, so that a killed training may continue with another checkpoint_steps.
    identity: dict[str, Any] = {
        "data": dataset.fingerprint,
        "encoder": [str(folders.encoder), str(folders.preprocessing)],
        "model": model.to_dict(),
        # A teacher is known by its content: its path may mean another one tomorrow.
        "training": {**options.to_dict(), "precision": precision, "checkpoint_steps": None, "teachers": None},
        "teachers": [teacher.sha256 for teacher in teachers],
        "graph": ids_model.name,
    }
    # Trainings that differ only in fine-tuning options share one masked-LM checkpoint.
    mlm_identity = {
        **identity,
        "training": {**identity["training"], **dict.fromkeys(_FINE_TUNING_OPTIONS)},
        "teachers": None,
    }
    return CompiledTraining(
        name=name,
        dataset=dataset,
        folders=folders,
        preprocessing=preprocessing,
        classifier=classifier,
        ids_model=ids_model,
        model_options=model,
        options=options,
        precision=precision,
        run=RunDirectory(Path(runs_dir, f"{name}-{identity_of(identity)}")),
        mlm_run=RunDirectory(Path(runs_dir, f"{name}-reading-{identity_of(mlm_identity)}")),
        teachers=tuple(teachers),
        teacher_cache=Path(runs_dir, f"{name}-teacher"),
    )


def _training_tokens(dataset: Dataset, model: ModelOptions, options: TrainingOptions) -> float:
    """Roughly how many tokens all epochs take together."""
    tokens = rough_wordpieces(dataset.train.texts, model.max_length)
    return (2 if options.r_drop else 1) * options.epochs * tokens
