"""The training loop: steps, evaluation after each epoch, best checkpoint, early stopping, resuming.

It replaces Model.fit, because a killed training must continue in the middle of an epoch.

B: batch, S: sequence length, K: classes.
"""

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from textclf.config import TrainingOptions
from textclf.errors import DivergedError
from textclf.progress_bar import progress_bar
from textclf.stats.calibration import calibrated_log_loss, softmax
from textclf.stats.class_weights import loss_weights
from textclf.stats.metrics import Metrics, classification_metrics, is_better, selection_value
from textclf.training.encoders.preprocessing import TokenizedTexts
from textclf.training.fitting.batching import make_batch, plan_epoch, plan_evaluation
from textclf.training.fitting.checkpoints import Progress, RunDirectory
from textclf.training.fitting.losses import training_losses
from textclf.training.fitting.optimisers import layer_factors, make_optimiser
from textclf.training.fitting.stopping import StoppableRun
from textclf.training.fitting.targets import target_probabilities
from textclf.training.graphs import graph_function
from textclf.training.precision import graph_precision
from textclf.training.tf_setup import tf, tf_keras

_EVALUATION_TOKENS = 8192
_LOG_STEPS = 10
_IDS = tf.TensorSpec([None, None], tf.int32)
_TARGETS = tf.TensorSpec([None, None], tf.float32)
_WEIGHTS = tf.TensorSpec([None], tf.float32)
_SCALE = tf.TensorSpec([], tf.float32)
# Word ids [B, S], mask [B, S], targets [B, K], weights [B] and the scale of the gradient.
STEP_ARGUMENTS = (_IDS, _IDS, _TARGETS, _WEIGHTS, _SCALE)
Step = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.float32], tf.Tensor | float]
Logits = Callable[[np.ndarray, np.ndarray], tf.Tensor | np.ndarray]
# Called with the number of an epoch, from 1, and its values by the keys of the history (loss, val_loss, …).
EpochListener = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class LabelledIds:
    """Tokenized texts with their class ids, int32 [texts]; for `weights` and `taught` see textclf.data.splits.Split."""

    texts: TokenizedTexts
    labels: np.ndarray
    weights: np.ndarray | None = None
    taught: np.ndarray | None = None

    def targets(self, indices: np.ndarray, classes: int, teacher_weight: float) -> np.ndarray:
        """Target probabilities of the texts at these positions, float32 [B, K]."""
        taught = None if self.taught is None else self.taught[indices]
        return target_probabilities(self.labels[indices], classes, taught, teacher_weight)

    def chosen(self, rows: np.ndarray) -> "LabelledIds":
        """The texts at these positions."""
        others = (None if values is None else values[rows] for values in (self.weights, self.taught))
        return LabelledIds(self.texts.chosen(rows), self.labels[rows], *others)


@dataclass(frozen=True, eq=False)
class Trainer:
    """An optimiser and its compiled step, for several trainings of one model.

    Attributes:
        step: word ids [B, S], mask [B, S], targets [B, K], weights [B], scale -> loss; see make_trainer.
        steps: number of steps that the learning rate is planned for.
        logits: evaluates the model: word ids and mask, int32 [B, S], to logits [B, K], without dropout.
        synchronise: gives the other hosts of a training the weights of this one.
    """

    optimiser: tf_keras.optimizers.legacy.Optimizer
    step: Step
    steps: int
    logits: Logits
    synchronise: Callable[[], None] = lambda: None

    def reset(self) -> None:
        """Forget the steps so far, for another training."""
        for variable in self.optimiser.variables():
            variable.assign(tf.zeros_like(variable))
        self.synchronise()


@dataclass(frozen=True)
class FitResult:
    """Results of a training; `history` has one value per epoch for each key."""

    history: dict[str, list[float]]
    steps: int
    seconds: float
    examples_per_second: float
    best_epoch: int
    resumed_from_step: int


def ids_to_logits(model: tf_keras.Model) -> Callable[[np.ndarray, np.ndarray], tf.Tensor]:
    """A compiled function from word ids and mask, int32 [B, S], to the model's float32 output, without dropout."""

    @graph_function(_IDS, _IDS)
    def logits(word_ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return model(_encoder_inputs(word_ids, mask), training=False)

    return logits


def predict_logits(logits: Logits, texts: TokenizedTexts, padding_id: int, label: str) -> np.ndarray:
    """Outputs of ids_to_logits() for all texts in their order, float32 [texts, K]; `label` names the progress bar."""
    parts: list[np.ndarray] = []
    plan = plan_evaluation(texts.lengths, _EVALUATION_TOKENS)
    # Always float32, so that the results are those of the saved model.
    with graph_precision("float32"), progress_bar(len(texts), label, "texts") as bar:
        for indices in plan:
            batch = make_batch(texts, indices, padding_id)
            parts.append(np.asarray(logits(batch.word_ids, batch.mask)))
            bar.update(len(indices))
    order = np.concatenate(plan)
    sorted_logits = np.concatenate(parts)
    result = np.empty_like(sorted_logits)
    result[order] = sorted_logits
    return result


def plan_epochs(lengths: np.ndarray, options: TrainingOptions) -> list[list[np.ndarray]]:
    """The batches of each epoch: options.epochs, and more until there are options.min_steps."""
    plans: list[list[np.ndarray]] = []
    while len(plans) < options.epochs or sum(map(len, plans)) < options.min_steps:
        plans.append(plan_epoch(lengths, options.tokens_per_batch, options.batch_size, options.seed, len(plans)))
    return plans


def planned_optimiser(
    model: tf_keras.Model, options: TrainingOptions, steps: int
) -> tf_keras.optimizers.legacy.Optimizer:
    """The optimiser for trainings of `steps` steps, with all its variables."""
    factors = layer_factors([variable.name for variable in model.trainable_variables], options.layer_decay)
    optimiser = make_optimiser(options.optimiser, options.init_lr, steps, int(steps * options.warmup), factors)
    optimiser._create_all_weights(model.trainable_variables)  # A restored checkpoint needs the slots.
    return optimiser


def make_trainer(model: tf_keras.Model, options: TrainingOptions, steps: int) -> Trainer:
    """The optimiser for trainings of `steps` steps, and its step."""
    optimiser = planned_optimiser(model, options, steps)
    return Trainer(optimiser, _training_step(model, optimiser, options.r_drop), steps, ids_to_logits(model))


def refit(
    trainer: Trainer, train: LabelledIds, classes: int, options: TrainingOptions, precision: str, padding_id: int
) -> None:
    """Train for exactly trainer.steps steps, without a selection set, checkpoints and logs; see fit().

    Raises:
        DivergedError: if the loss is not finite.
    """
    trainer.reset()
    wanted = dataclasses.replace(options, epochs=1, min_steps=trainer.steps)
    done = 0
    weights = loss_weights(train.labels, classes, train.weights, options.class_weights).astype(np.float32)
    with graph_precision(precision):
        for plan in plan_epochs(train.texts.lengths, wanted):
            for indices in plan[: trainer.steps - done]:
                batch = make_batch(train.texts, indices, padding_id)
                scale = np.float32(len(indices) * len(plan) / len(train.labels))
                targets = train.targets(indices, classes, options.teacher_weight)
                loss = float(trainer.step(batch.word_ids, batch.mask, targets, weights[indices], scale))
                done += 1
                if not math.isfinite(loss):
                    raise _diverged(done, f"a loss of {loss}")


def fit(
    model: tf_keras.Model,
    train: LabelledIds,
    select: LabelledIds | None,
    class_names: tuple[str, ...],
    options: TrainingOptions,
    precision: str,
    padding_id: int,
    run: RunDirectory,
    trainer: Trainer | None = None,
    on_epoch: EpochListener | None = None,
    evaluate: Callable[[LabelledIds], np.ndarray] | None = None,
) -> FitResult:
    """Fit `model` (ids -> logits) on `train`; it ends with the weights of the last epoch or of the best on `select`.

    Continues from the last checkpoint in `run`, if there is one. `precision` is "float32" or "bfloat16", the
    graph_precision() of training steps. `trainer` is from make_trainer(), for as many steps; None makes one. Without
    `select` only the loss is measured. `on_epoch` is called after each epoch that this call trained. `evaluate`
    computes the logits of `select`; None leaves it to the trainer.

    SIGTERM and Ctrl-C save the state first, if their handlers end the program.

    Raises:
        DivergedError: if the loss is not finite.
        TrainingError: if the saved state can't be read.
    """
    plans = plan_epochs(train.texts.lengths, options)
    epochs = len(plans)
    first_steps = np.concatenate([[0], np.cumsum([len(plan) for plan in plans])])
    total_steps = int(first_steps[-1])
    trainer = trainer or make_trainer(model, options, total_steps)
    optimiser, step = trainer.optimiser, trainer.step
    evaluate = evaluate or partial(_logits_by, trainer, padding_id)
    checkpoint = tf.train.Checkpoint(model=model, optimiser=optimiser)
    weights = tf.train.Checkpoint(model=model)
    progress = run.restore(checkpoint)
    if resumed_from := progress.step:
        tqdm.write(f"continuing from step {resumed_from} of {total_steps} ({run.path})", file=sys.stderr)

    classes = len(class_names)
    weights_of_texts = loss_weights(train.labels, classes, train.weights, options.class_weights).astype(np.float32)
    state = StoppableRun(run, checkpoint, progress)
    summaries = tf.summary.create_file_writer(str(run.tensorboard / f"{time.strftime('%Y%m%dT%H%M%S')}-{resumed_from}"))
    bar = progress_bar(total_steps, "training", "steps", initial=progress.step, stays=True)
    with state.saved_when_stopped(), bar:
        for epoch in range(progress.epochs_done, epochs):
            if progress.is_finished:
                break
            trainer.synchronise()
            mean_size = len(train.labels) / len(plans[epoch])
            with graph_precision(precision):
                for indices in plans[epoch][progress.step - int(first_steps[epoch]) :]:
                    started = time.monotonic()
                    batch = make_batch(train.texts, indices, padding_id)
                    targets = train.targets(indices, classes, options.teacher_weight)
                    scale = np.float32(len(indices) / mean_size)
                    with state.uninterrupted():
                        loss = float(step(batch.word_ids, batch.mask, targets, weights_of_texts[indices], scale))
                        _count_step(progress, loss, len(indices), time.monotonic() - started)
                    bar.update()
                    bar.set_postfix_str(f"epoch {epoch + 1}/{epochs}, loss {loss:.3f}", refresh=False)
                    if progress.step % _LOG_STEPS == 0:
                        _log(summaries, progress.step, {"train/loss": loss, "train/learning_rate": _rate(optimiser)})
                    if progress.step % options.checkpoint_steps == 0:
                        state.save()
            metrics, log_loss = None, math.nan
            if select is not None:
                validation_logits = evaluate(select)
                if not np.isfinite(validation_logits).all():
                    raise _diverged(progress.step, "logits that are not finite")
                metrics = classification_metrics(softmax(validation_logits), select.labels, class_names)
                log_loss = calibrated_log_loss(validation_logits, select.labels)
            with state.uninterrupted():
                _end_epoch(progress, metrics, log_loss, _rate(optimiser), options, epochs)
                if options.select == "best" and progress.best_epoch == epoch + 1:
                    run.save_best(weights, progress.best_epoch)
            latest = {f"validation/{key}": values[-1] for key, values in progress.history.items()}
            _log(summaries, progress.step, latest)
            if select is not None:
                tqdm.write(_epoch_line(progress, epochs), file=sys.stderr)
            if on_epoch is not None:
                on_epoch(progress.epochs_done, {key: values[-1] for key, values in progress.history.items()})
            # With few texts an epoch takes less time than a checkpoint.
            if (
                progress.is_finished
                or options.select == "best"
                or progress.step - state.saved_step >= options.checkpoint_steps
            ):
                state.save()
    if options.select == "best":
        run.restore_best(weights, progress.best_epoch)
    return FitResult(
        history=progress.history,
        steps=progress.step,
        seconds=round(progress.seconds, 1),
        examples_per_second=round(progress.texts / progress.seconds, 2),
        best_epoch=progress.best_epoch,
        resumed_from_step=resumed_from,
    )


def _logits_by(trainer: Trainer, padding_id: int, select: LabelledIds) -> np.ndarray:
    return predict_logits(trainer.logits, select.texts, padding_id, "validation")


def _encoder_inputs(word_ids: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"input_word_ids": word_ids, "input_mask": mask, "input_type_ids": tf.zeros_like(word_ids)}


def mean_loss(
    model: tf_keras.Model, r_drop: float
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """The mean weighted loss of a batch, with dropout: word ids [B, S], mask [B, S], targets [B, K], weights [B]."""

    def logits_of(word_ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return model(_encoder_inputs(word_ids, mask), training=True)

    def loss(word_ids: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        losses = training_losses(logits_of, word_ids, mask, targets, r_drop)  # [B]
        # Do not divide by the batch's weights, which would cancel them in a batch of equal ones. Their mean over all
        # texts is 1.
        return tf.reduce_mean(losses * weights)

    return loss


def _training_step(model: tf_keras.Model, optimiser: tf_keras.optimizers.legacy.Optimizer, r_drop: float) -> Step:
    """A compiled step: word ids [B, S], mask [B, S], targets [B, K], weights [B], scale -> mean loss of the batch.

    The gradient is that of `scale` times the loss. With B over the mean B of the epoch, each text counts the same:
    batches of long texts have few of them.
    """

    loss_of = mean_loss(model, r_drop)

    @graph_function(*STEP_ARGUMENTS)
    def step(
        word_ids: tf.Tensor, mask: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, scale: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(word_ids, mask, targets, weights)
            scaled = scale * loss
        gradients = tape.gradient(scaled, model.trainable_variables)
        optimiser.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return step


def _count_step(progress: Progress, loss: float, texts: int, seconds: float) -> None:
    if not math.isfinite(loss):
        raise _diverged(progress.step + 1, f"a loss of {loss}")
    progress.step += 1
    progress.texts += texts
    progress.seconds += seconds
    progress.epoch_loss += loss * texts
    progress.epoch_texts += texts


def _diverged(step: int, result: str) -> DivergedError:
    return DivergedError(
        f"step {step} gave {result}: the training diverged; use a smaller --init-lr, a longer --warmup, or "
        f"--precision float32"
    )


def _end_epoch(
    progress: Progress, metrics: Metrics | None, log_loss: float, rate: float, options: TrainingOptions, epochs: int
) -> None:
    """Add the epoch to the history, and update the best epoch and the end of the training.

    `log_loss` is that of the selection set after fitting a temperature.
    """
    values = {"loss": progress.epoch_loss / progress.epoch_texts}
    if metrics is not None:
        values |= {"val_loss": metrics.log_loss, "val_accuracy": metrics.accuracy, "val_macro_f1": metrics.macro_f1}
    values["learning_rate"] = rate
    for key, number in values.items():
        progress.history.setdefault(key, []).append(number)
    progress.epoch_loss, progress.epoch_texts = 0.0, 0
    if metrics is None:
        progress.best_epoch, progress.is_finished = progress.epochs_done, progress.epochs_done == epochs
        return
    value = selection_value(metrics, options.metric)
    if progress.best_epoch == 0 or _beats_best(progress, value, log_loss, options.metric):
        progress.best_value, progress.best_loss, progress.best_epoch = value, log_loss, progress.epochs_done
    waited = progress.epochs_done - progress.best_epoch
    progress.is_finished = progress.epochs_done == epochs or 0 < options.patience <= waited


def _beats_best(progress: Progress, value: float | None, log_loss: float, metric: str) -> bool:
    """True if it is better than the best epoch; between equal metrics the log loss decides, then the later one."""
    if value == progress.best_value:
        return progress.best_loss is None or log_loss <= progress.best_loss
    return is_better(metric, value, progress.best_value)


def _epoch_line(progress: Progress, epochs: int) -> str:
    last = {key: values[-1] for key, values in progress.history.items()}
    line = (
        f"epoch {progress.epochs_done}/{epochs}: loss {last['loss']:.4f}, validation loss {last['val_loss']:.4f}, "
        f"accuracy {last['val_accuracy']:.4f}, macro F1 {last['val_macro_f1']:.4f}"
    )
    if progress.best_epoch == progress.epochs_done:
        line += ", best so far"
    if progress.is_finished and progress.epochs_done < epochs:
        line += "; stopped early"
    return line


def _rate(optimiser: tf_keras.optimizers.legacy.Optimizer) -> float:
    return float(optimiser.learning_rate(optimiser.iterations))


def _log(summaries: tf.summary.SummaryWriter, step: int, values: dict[str, float]) -> None:
    with summaries.as_default(step=step):
        for name, value in values.items():
            tf.summary.scalar(name, value)
    summaries.flush()
