"""Retrain: old and new labelled texts, a challenger trained on both, and the gate that lets it take over."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textclf.cli.commands import Command, Group
from textclf.cli.options import changed_options
from textclf.config import CombineOptions, Config, DataOptions, GateOptions, ModelOptions, TrainingOptions
from textclf.data.datasets import Dataset, Split, split_fingerprint
from textclf.errors import (
    BusyError,
    ConfigError,
    DatasetError,
    HeldError,
    ModelStoreError,
    NothingNewError,
    OvertakenError,
    TrainingError,
)
from textclf.files import locked
from textclf.retrain_outcome import RetrainOutcome
from textclf.stats.parity import Parity, parity_failures
from textclf.store.decision_log import MOVES
from textclf.store.manifest import ENCODER_KEYS, Manifest
from textclf.store.model_store import ModelStore, ModelVersion
from textclf.store.promotion import Promotions

if TYPE_CHECKING:
    # What takes seconds to import, or is not everywhere: rolling back needs none of it.
    from textclf.retraining.combining import Combined
    from textclf.stats.gate import GateDecision
    from train_model import Training

# Without which nothing can be trained or combined.
_TRAINING_PACKAGES = ("tensorflow", "tf_keras", "datasketch")
LOCK_FILE = ".retrain.lock"
# Of a model's options, those that say how it is trained, not what it becomes.
_NO_RECIPE = ("precision", "checkpoint_steps")
_GATE, _COMBINE = GateOptions(), CombineOptions()


@dataclass(frozen=True)
class Outcome:
    """A challenger and what became of it.

    Attributes:
        champion, challenger: ids of the versions.
        path: the challenger's folder.
        decision: what the gate said.
    """

    champion: str
    challenger: str
    path: Path
    decision: GateDecision


@dataclass(frozen=True)
class Promotion(Outcome):
    """The challenger became current."""


@dataclass(frozen=True)
class Rejection(Outcome):
    """The challenger did not become current. It stays in the store, where a person may promote it.

    Attributes:
        action: as the decision log has it: "reject", "inconclusive", "held" or "overtaken".
        reasons: why, a sentence each.
    """

    action: str
    reasons: tuple[str, ...]


class Retrain:
    """Trains a challenger on old and new labelled texts, and promotes it if the gate lets it.

    The verbs follow each other: combine_datasets, retrain_model, save_retrained_model. The champion is the version
    that is current when the first of them is called. The challenger is trained as it was, but for what is given here.

    Args:
        old_dataset_path: what the champion was trained on: an archive, a folder or a table file. Its test part is the
            golden set.
        new_dataset_path: new labelled texts: the folder that POST /feedback fills, or anything of the forms above.
        combined_dataset_path: the folder that gets both, as a data set; written anew each time.
        epochs, init_lr: as of Training; None takes the champion's.
        model_dir: the model store.
        data_dir, runs_dir: as of Training.
        again: train even if that was done before: of the same champion, data and recipe, and the gate turned it down.
        clock: seconds since the epoch.
        **options: any field of textclf.config.GateOptions, CombineOptions, DataOptions (how the old and the new data
            are read), ModelOptions and TrainingOptions.

    Raises:
        ConfigError: an option is unknown or makes no sense.
    """

    def __init__(
        self,
        old_dataset_path: str | Path,
        new_dataset_path: str | Path,
        combined_dataset_path: str | Path,
        epochs: int | None = 5,
        init_lr: float | None = 3e-5,
        *,
        model_dir: str | Path = "model",
        data_dir: str = "datasets",
        runs_dir: str = "runs",
        again: bool = False,
        clock: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        self.old_dataset_path = str(old_dataset_path)
        self.new_dataset_path = Path(new_dataset_path)
        self.combined_dataset_path = Path(combined_dataset_path)
        self.model_dir = Path(model_dir)
        self.data_dir = data_dir
        self.runs_dir = runs_dir
        self.again = again
        self.clock = clock
        given = {**options, "epochs": epochs, "init_lr": init_lr}
        given = {name: value for name, value in given.items() if value is not None}
        self.gate_options = GateOptions(**_taken(given, GateOptions))
        self.combine_options = CombineOptions(**_taken(given, CombineOptions))
        # What is not given is the champion's, which is not known yet: only the values are checked here.
        self.changes: dict[str, Any] = {}
        for config in (DataOptions, ModelOptions, TrainingOptions):
            changes = _taken(given, config)
            config(**changes)
            self.changes |= changes
        if given:
            raise ConfigError(
                f"Retrain: unknown option {', '.join(sorted(given))}; see textclf/config.py for the known ones"
            )

    @cached_property
    def champion(self) -> ModelVersion:
        """The version that was current when it was first asked for.

        Raises:
            ModelStoreError: the store has no current version.
        """
        return ModelStore(self.model_dir).open()

    def combine_datasets(self) -> Combined:
        """Write the combined data set: old texts, new ones that passed, golden set, holdout, and what was left out.

        Raises:
            NothingNewError: no new text is left to train on; removed.jsonl in the combined folder says why.
            DatasetError: the old or the new data can't be read, or the combined folder is something else.
            TrainingError: the old data has other classes than the champion.
            ModelStoreError: there is no champion, or it can't be loaded.
        """
        from textclf.data.labelled_reviews import read_labelled_reviews
        from textclf.retraining.combined_dataset import REMOVED_FILE, write_combined
        from textclf.retraining.combining import combine
        from textclf.runtime.loading import predictor_of_version
        from textclf.stats.label_sources import contradicting_sources
        from train_model import Training

        reading = self._data_options()
        old = Training(dataset_path=self.old_dataset_path, data_dir=self.data_dir, **reading.to_dict()).read_dataset()
        golden = self._checked_golden(old, self.old_dataset_path)
        # The old data has its own names for the classes, which the champion's manifest tells.
        renames = {**reading.rename_labels, **self.changes.get("rename_labels", {})}
        found = read_labelled_reviews(self.new_dataset_path, dataclasses.replace(reading, rename_labels=renames))
        reviews = found.reviews
        predictor = predictor_of_version(self.champion)
        texts = list(dict.fromkeys(review.text for review in reviews))  # A flood of one text is scored once.
        label_of = {prediction.text: prediction.label for prediction in predictor.predict(texts)}
        labels = [label_of[review.text] for review in reviews]
        combined = combine(
            old,
            reviews,
            golden,
            labels,
            self.combine_options,
            judge=contradicting_sources,
            learnt_until=self._learnt_until(old),
        )
        write_combined(combined, golden, self.combined_dataset_path)
        click.echo(
            f"new texts:     {len(reviews)}: {len(combined.added)} to train on, {len(combined.held)} held out, "
            f"{len(combined.removed)} left out (why: {self.combined_dataset_path / REMOVED_FILE})"
        )
        for note in found.notes:
            click.echo(f"note:          {note}")
        click.echo(f"golden set:    {len(golden)} texts{self._golden_note(old)}")
        if not combined.added:
            raise NothingNewError(
                f"{self.new_dataset_path}: expected new labelled texts to train on, found none among {len(reviews)}; "
                f"{self.combined_dataset_path / REMOVED_FILE} says why"
            )
        self._say_what_is_too_few(len(golden), len(combined.held))
        return combined

    def retrain_model(self) -> dict[str, list[float]]:
        """Train the challenger on the combined data set, or go on with a killed training: the history, as of fit_model.

        Raises:
            TrainingError: as Training.fit_model.
            DatasetError: the combined data set is not there or can't be read.
        """
        self.again = True  # Who asks for the training wants what comes of it.
        return self._training.fit_model()

    def save_retrained_model(self) -> Promotion | Rejection:
        """Save the challenger as a version, compare it with the champion, write the decision down, and follow it.

        Both versions are scored by the engines that serve, on the golden set and on the new holdout. A challenger that
        is not promoted stays in the store. If the same champion, data and recipe gave one that the gate turned down,
        none is trained again, unless `again` says so: that one is compared again where the gate or the holdout is
        another, else what was decided is given once more.

        Raises:
            TrainingError: as Training.save_model.
            ModelStoreError: a version can't be loaded, or the store can't be written.
        """
        challenger = self._undecided_challenger()
        if challenger is None and not self.again and (found := self._compared_before()) is not None:
            challenger, entry = found
            if (earlier := self._same_outcome(challenger, entry)) is not None:
                return earlier
        if challenger is None:
            path = self._training.save_model(self.model_dir, self.champion.manifest.name, parent=self.champion.id)
            challenger = ModelStore(self.model_dir).open(path.name)
        decision, data = self._compare(challenger)
        return self._decided(challenger, decision, data)

    @cached_property
    def _training(self) -> Training:
        from train_model import Training

        manifest = self.champion.manifest
        # The labels are renamed already.
        data = dataclasses.replace(self._data_options(), rename_labels={}).to_dict()
        # The precision is the machine's matter, not the champion's.
        fitted = {name: value for name, value in manifest.training.get("options", {}).items() if name != "precision"}
        changes = {name: value for name, value in self.changes.items() if name not in data}
        return Training(
            dataset_path=str(self.combined_dataset_path),
            data_dir=self.data_dir,
            runs_dir=self.runs_dir,
            **data,
            **(fitted | _model_options(manifest) | changes),
        )

    @cached_property
    def _dataset(self) -> Dataset:
        """The combined data set, as it is trained on."""
        return self._training.read_dataset()

    def _data_options(self) -> DataOptions:
        """How the champion's data was read, but for what was given; always with the test part.

        Names of classes that are given to be replaced are those of the new data.
        """
        changes = _taken(dict(self.changes), DataOptions)
        changes.pop("rename_labels", None)
        return DataOptions.from_dict({**self.champion.manifest.data.get("options", {}), **changes, "read_test": True})

    def _learnt_until(self, old: Dataset) -> datetime | None:
        """When the champion was saved, if it was trained on other texts than the old ones, maybe on some of the new."""
        known = self.champion.manifest.data.get("fingerprint", {})
        trained_on = {name: value for name, value in old.fingerprints.items() if name not in ("all", "test")}
        if trained_on.items() <= known.items():
            return None
        return datetime.fromisoformat(self.champion.manifest.created)

    def _checked_golden(self, dataset: Dataset, source: object) -> Split:
        names = self.champion.manifest.class_names
        if set(dataset.class_names) != set(names):
            raise TrainingError(
                f"{source}: expected the classes of the champion {self.champion.id}, {', '.join(names)}, got "
                f"{', '.join(dataset.class_names)}; only models of the same classes are compared: train a model of "
                f"others with train_model.py, and promote it with retraining.py promote"
            )
        if dataset.test is None:
            raise TrainingError(f"{source}: expected a test part, which is the golden set, found none")
        return dataset.test

    def _is_golden_of_champion(self, dataset: Dataset) -> bool | None:
        """Whether the test part is the one that the champion was measured on; None if it was measured on none."""
        known = self.champion.manifest.data.get("fingerprint", {}).get("test")
        return None if known is None else known == dataset.fingerprints["test"]

    def _golden_note(self, dataset: Dataset) -> str:
        found = self._is_golden_of_champion(dataset)
        if found:
            return f", the test part of {self.champion.id}"
        why = "was measured on another test part" if found is False else "was saved without a test part"
        return (
            f"; {self.champion.id} {why}, and may have been trained on some of these texts, which would favour it: "
            f"name the data that it was trained on"
        )

    def _say_what_is_too_few(self, golden: int, holdout: int) -> None:
        """Before an hour of training, not after: with so few texts the gate can't promote."""
        from textclf.stats.paired_accuracy import texts_for_margin

        options = self.gate_options
        least = texts_for_margin(0, 0, 1, options.margin, options.alpha, options.power)
        for name, texts, needed in (("golden", golden, least), ("held-out", holdout, options.min_holdout)):
            if needed is not None and texts < needed:
                click.echo(
                    f"warning: with {texts} {name} texts nothing can be promoted; {needed} is the least", err=True
                )

    def _undecided_challenger(self) -> ModelVersion | None:
        """What a run saved that was killed before `current` moved: of the same champion, data and recipe."""
        promotions = Promotions(self.model_dir)
        entries = promotions.log.entries()
        decided = {entry.get("challenger") for entry in entries}
        last: dict[str, Any] = next((entry for entry in reversed(entries) if entry["action"] in MOVES), {})
        # A move is written down before it is made: this one was not, or another version would be current.
        if last.get("champion") == self.champion.id:
            decided.discard(last.get("challenger"))
        for version in self._trained_before():
            if version.id not in decided:
                click.echo(f"saved before:  {version.path}, which was not compared or promoted yet")
                return version
        return None

    def _compared_before(self) -> tuple[ModelVersion, dict[str, Any]] | None:
        """What the same training gave that was compared and not promoted, and the last decision about it."""
        entries = Promotions(self.model_dir).log.entries()
        last = {entry.get("challenger"): entry for entry in entries if entry.get("champion") == self.champion.id}
        for version in self._trained_before():
            entry = last.get(version.id)
            if entry is not None and entry["action"] not in MOVES:
                click.echo(
                    f"not trained:   the same data and recipe gave {version.id} on {entry['time'][:10]} "
                    f"({entry['action']}); --again trains all the same"
                )
                return version, entry
        return None

    def _trained_before(self) -> Iterator[ModelVersion]:
        """The versions made of the same champion, data and recipe, latest first."""
        store = ModelStore(self.model_dir)
        for version_id in reversed(store.version_ids()):
            with contextlib.suppress(ModelStoreError):  # A damaged version is none of them.
                version = store.open(version_id)
                manifest = version.manifest
                if (
                    manifest.parent == self.champion.id
                    and manifest.data.get("fingerprint") == self._dataset.fingerprints
                    and _recipe_of_version(manifest) == _recipe_of_training(self._training)
                ):
                    yield version

    def _same_outcome(self, challenger: ModelVersion, entry: dict[str, Any]) -> Rejection | None:
        """What was decided, if the gate would be asked the same again; None if not."""
        from textclf.stats.gate import GateDecision

        names = challenger.manifest.class_names
        try:
            gate = entry["gate"]
            asked = entry["data"]["holdout"], gate["figures"]["options"]
            decision = GateDecision(gate["verdict"], tuple(gate["reasons"]), gate["figures"], gate["texts_needed"])
        except (KeyError, TypeError):  # Written by a person, or by other software.
            return None
        # What was held or overtaken may be promoted by now.
        turned_down = entry["action"] == decision.verdict
        if not turned_down or asked != (_fingerprint(names, self._holdout(names)), self.gate_options.to_dict()):
            return None
        return Rejection(self.champion.id, challenger.id, challenger.path, decision, entry["action"], decision.reasons)

    def _holdout(self, class_names: tuple[str, ...]) -> Split:
        from textclf.retraining.combined_dataset import read_holdout

        return read_holdout(self.combined_dataset_path, class_names)

    def _compare(self, challenger: ModelVersion) -> tuple[GateDecision, dict[str, Any]]:
        """What the gate says, and which texts it was asked about."""
        from textclf.retraining.comparison import answers_of, pair_predictions
        from textclf.runtime.loading import predictor_of_version
        from textclf.stats.gate import decide_promotion

        names = challenger.manifest.class_names
        golden = self._checked_golden(self._dataset, self.combined_dataset_path)
        holdout = self._holdout(names)
        click.echo(f"comparing:     on {len(golden)} golden and {len(holdout)} held-out texts")
        answers = []
        for version in (self.champion, challenger):  # One after the other: only one model is in memory.
            predictor = predictor_of_version(version)
            answers.append([answers_of(predictor, split.texts, names) for split in (golden, holdout)])
        (golden_old, holdout_old), (golden_new, holdout_new) = answers
        decision = decide_promotion(
            pair_predictions(golden.labels, golden_old, golden_new),
            pair_predictions(holdout.labels, holdout_old, holdout_new),
            self.gate_options,
            _parity_failures(challenger.manifest),
            class_names=names,
        )
        return decision, {
            "fingerprints": self._dataset.fingerprints,
            "holdout": _fingerprint(names, holdout),
            "is_golden_of_champion": self._is_golden_of_champion(self._dataset),
        }

    def _decided(self, challenger: ModelVersion, decision: GateDecision, data: dict[str, Any]) -> Promotion | Rejection:
        """Write the decision down, and move `current` if it says so and nothing is in the way."""
        promotions = Promotions(self.model_dir, self.clock)
        versions = self.champion.id, challenger.id
        gate = dataclasses.asdict(decision)
        action, reasons = decision.verdict, decision.reasons
        if action == "promote":
            try:
                promotions.move(action, *versions, unless_held=True, reasons=list(reasons), data=data, gate=gate)
            except HeldError as error:
                action, reasons = "held", (str(error),)
            except OvertakenError as error:
                action, reasons = "overtaken", (str(error),)
            else:
                return Promotion(*versions, challenger.path, decision)
        promotions.note(action, *versions, reasons=list(reasons), data=data, gate=gate)
        return Rejection(*versions, challenger.path, decision, action, reasons)


def _parity_failures(manifest: Manifest) -> list[str]:
    """Why what serves of a version may not stand for the model that was trained; [] if it may."""
    served = ["engine", *(["cascade"] if manifest.cascade.get("settings") else [])]
    figures = [manifest.parity.get(part) for part in served]
    if None in figures:
        return ["no figures of how it compares with the trained model"]
    return [text for part in figures if part is not None for text in parity_failures(Parity(**part))]


def _fingerprint(class_names: Sequence[str], holdout: Split) -> str:
    return split_fingerprint(class_names, {"holdout": holdout})


def _recipe_of_training(training: Training) -> dict[str, Any]:
    """What decides what a model becomes, but for the data and the machine."""
    return _recipe({**training.model_options.to_dict(), **training.training_options.to_dict()})


def _recipe_of_version(manifest: Manifest) -> dict[str, Any]:
    """The same, as a version's manifest has it."""
    # A version from before there was an option was trained with what is its default.
    options = {**TrainingOptions().to_dict(), **manifest.training.get("options", {})}
    return _recipe({**_model_options(manifest), **options})


def _recipe(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _NO_RECIPE}


def _model_options(manifest: Manifest) -> dict[str, Any]:
    """The fields of ModelOptions."""
    return {
        **{name: manifest.encoder[name] for name in ENCODER_KEYS},
        "max_length": manifest.max_length,
        "truncation": manifest.truncation,
        "head_fraction": manifest.head_fraction,
        "dropout": manifest.training.get("dropout", ModelOptions().dropout),
    }


def _taken(given: dict[str, Any], config: type[Config]) -> dict[str, Any]:
    """Remove from `given`, and return, what are fields of `config`."""
    return {item.name: given.pop(item.name) for item in dataclasses.fields(config) if item.name in given}


@contextlib.contextmanager
def _alone(store: Path, combined: Path) -> Iterator[None]:
    """Hold the store's lock of retraining, and that of the combined folder, which lies beside it.

    Raises:
        BusyError: another process has one of them.
    """
    place = combined.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    locks = {
        store / LOCK_FILE: f"{store}: another process is retraining its models; wait for it",
        place.parent / f".{place.name}.lock": (
            f"{combined}: another retraining works in this folder; wait for it, or give another --combined-dataset-path"
        ),
    }
    with contextlib.ExitStack() as held:
        for path, message in locks.items():
            try:
                held.enter_context(locked(path, wait=False))
            except BlockingIOError:
                raise BusyError(message) from None
        yield


_model_dir = click.option(
    "--model-dir", type=click.Path(path_type=Path), default="model", help="The model store.", metavar="DIR"
)


@click.group(cls=Group)
def main() -> None:
    """Retrain the current model on old and new labelled texts, and decide which version is served.

    \b
    Examples:
      python retraining.py run --old-dataset-path data/sample --new-dataset-path new_data --model-dir my-models
      python retraining.py history --model-dir my-models
      python retraining.py rollback --model-dir my-models
    """


@main.command(cls=Command)
@click.option("--old-dataset-path", required=True, help="What the current version was trained on.")
@click.option(
    "--new-dataset-path", default="new_data", help="New labelled texts: what POST /feedback stored, or any data set."
)
@click.option("--combined-dataset-path", default="datasets/combined", help="Folder for both; written anew each time.")
@_model_dir
@changed_options
@click.option("--margin", default=_GATE.margin, help="Accuracy that may be lost on the golden set.")
@click.option(
    "--slice-margin", default=_GATE.slice_margin, help="Accuracy that a class or a range of lengths may lose."
)
@click.option(
    "--calibration-margin", default=_GATE.calibration_margin, help="That the golden calibration error may grow by."
)
@click.option("--alpha", default=_GATE.alpha, help="Level of the gate's bounds and tests.")
@click.option("--min-holdout", default=_GATE.min_holdout, help="New held-out texts that a promotion takes.")
@click.option("--new-share", default=_COMBINE.new_share, help="Largest share of new texts among those trained on.")
@click.option(
    "--trusted-source",
    "trusted_sources",
    multiple=True,
    help="A source of labels that is never set aside; may be repeated.",
)
@click.option("--again", is_flag=True, help="Train even if the same was trained before and turned down.")
@click.option("--data-dir", default="datasets", help="Folder for what is downloaded or unpacked.")
@click.option("--runs-dir", default="runs", help="Folder for checkpoints and TensorBoard logs.")
def run(
    old_dataset_path: str,
    new_dataset_path: str,
    combined_dataset_path: str,
    model_dir: Path,
    changes: dict[str, Any],
    data_dir: str,
    runs_dir: str,
    **options: Any,
) -> int:
    """Combine, train a challenger, compare it with the current version, and promote it if it is no worse.

    The challenger is trained as the current version was: options without a default below are that version's. Killed,
    the same command goes on where it was. What was trained of the same data before and turned down is not trained
    again. Every outcome is written into decisions.jsonl in the store.

    Exits with 0 if the challenger was promoted, 3 if it is worse, 4 if there are too few texts to tell, 6 if it would
    have been promoted, but that is on hold or another version became current meanwhile; with 5 if another process
    retrains the models of this store or works in the same combined folder, 7 if no new texts are left to train on,
    1 on an error.

    \b
    Example:
      python retraining.py run --old-dataset-path data/sample --new-dataset-path new_data --model-dir my-models
    """
    _check_installed()
    changes = {"epochs": None, "init_lr": None, **changes}
    retrain = Retrain(
        old_dataset_path,
        new_dataset_path,
        combined_dataset_path,
        model_dir=model_dir,
        data_dir=data_dir,
        runs_dir=runs_dir,
        **changes,
        **options,
    )
    ModelStore(model_dir).check_exists()
    try:
        with _alone(model_dir, retrain.combined_dataset_path):
            click.echo(f"champion:      {retrain.champion.path}")
            retrain.combine_datasets()
            outcome = retrain.save_retrained_model()
    except BusyError as error:
        click.echo(f"error: {error}", err=True)
        return RetrainOutcome.BUSY.exit_status
    except NothingNewError as error:
        click.echo(f"not retrained: {error}")
        return RetrainOutcome.NOTHING.exit_status
    return _said(outcome)


def check_run(arguments: Sequence[str]) -> None:
    """Find out what `run` with these arguments would refuse at once, without running it.

    Raises:
        click.UsageError: an argument is none of `run`.
        TrainingError: this is an environment that serves only.
        DatasetError: the old data is not there.
    """
    given = run.make_context("retraining.py run", list(arguments)).params
    _check_installed()
    old = Path(given["old_dataset_path"])
    if not old.exists() and not (Path(given["data_dir"]) / old.name).exists():
        raise DatasetError(
            f"{old}: expected the data that the model was trained on, found nothing, neither here nor in "
            f"{given['data_dir']}; check --old-dataset-path"
        )


def _check_installed() -> None:
    """Say what is missing before an hour of work, not after.

    Raises:
        TrainingError: this is an environment that serves only.
    """
    missing = [name for name in _TRAINING_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingError(
            f"expected what requirements.txt installs, found no {', '.join(missing)}; run it where models are trained "
            f"(promote, rollback, history and lift-hold work here)"
        )


def _said(outcome: Promotion | Rejection) -> int:
    """Print what became of a challenger; the exit status."""
    if isinstance(outcome, Promotion):
        click.echo(f"promoted:      {outcome.challenger} (instead of {outcome.champion})")
    else:
        click.echo(f"not promoted:  {outcome.challenger} ({outcome.action}); it stays in the store")
    reasons = outcome.reasons if isinstance(outcome, Rejection) else outcome.decision.reasons
    for reason in reasons:
        click.echo(f"  {reason}")
    action = outcome.action if isinstance(outcome, Rejection) else "promote"
    return RetrainOutcome.of_action(action).exit_status


@main.command(cls=Command)
@click.argument("version", metavar="ID")
@_model_dir
def promote(version: str, model_dir: Path) -> None:
    """Make version ID current, whatever the gate said of it.

    Its files are compared with their hashes first. Works while promotion is on hold.

    \b
    Example:
      python retraining.py promote 20260101T120000000Z-0a1b2c --model-dir my-models
    """
    before = Promotions(model_dir).promote(version)
    click.echo(f"{model_dir}: {version} is current (before: {before or 'none'})")


@main.command(cls=Command)
@click.option("--to", metavar="ID", show_default="the one that was current before", help="The version to go back to.")
@click.option("--reason", default="", show_default=False, help="Why, for the log and for who asks about the hold.")
@_model_dir
def rollback(to: str | None, reason: str, model_dir: Path) -> None:
    """Make the version current that was so before, and put automatic promotion on hold.

    Challengers are then trained and compared, but not promoted, until `lift-hold`.

    \b
    Example:
      python retraining.py rollback --model-dir my-models --reason "worse on short texts"
    """
    before, now = Promotions(model_dir).roll_back(to, reason)
    click.echo(f"{model_dir}: {now} is current again (before: {before})")
    click.echo(f"automatic promotion is on hold, until: {_own_command('lift-hold', model_dir)}")


@main.command("lift-hold", cls=Command)
@_model_dir
def lift_hold(model_dir: Path) -> None:
    """Let challengers be promoted again after a rollback.

    \b
    Example:
      python retraining.py lift-hold --model-dir my-models
    """
    reason = _opened(model_dir).lift_hold()
    lifted = "there is no hold" if reason is None else f"lifted the hold: {_printable(reason)}"
    click.echo(f"{model_dir}: {lifted}")


@main.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print every figure, one JSON object a line.")
@_model_dir
def history(as_json: bool, model_dir: Path) -> int:
    """Show what was decided about the versions of a store, oldest first.

    Exits with 1 if a line of the log is damaged, was changed, or is missing among the others.

    \b
    Example:
      python retraining.py history --model-dir my-models
    """
    promotions = _opened(model_dir)
    entries = promotions.log.entries()
    problems = promotions.log.verify()
    if problems:
        others = f" (the first of {len(problems)} such lines)" if len(problems) > 1 else ""
        click.echo(f"warning: {problems[0]}{others}", err=True)
    status = 1 if problems else 0
    if as_json:
        for entry in entries:
            click.echo(json.dumps(entry, ensure_ascii=False))
        return status
    for entry in entries:
        champion, challenger = entry.get("champion"), entry.get("challenger")
        versions = f"  {champion or '-'} -> {challenger}" if challenger else ""
        click.echo(_printable(f"{entry['time'][:19].replace('T', ' ')}  {entry['action']:<16}{versions}"))
        for reason in entry.get("reasons", []):
            click.echo(f"  {_printable(str(reason))}")
    click.echo(f"current: {promotions.store.current_id() or 'none'}")
    if promotions.hold.reason is not None:
        click.echo(f"on hold: {_printable(promotions.hold.reason)}")
    return status


def _printable(text: str) -> str:
    """The text with control characters, which a terminal would obey, written as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _opened(model_dir: Path) -> Promotions:
    ModelStore(model_dir).check_exists()
    return Promotions(model_dir)


def _own_command(name: str, model_dir: Path) -> str:
    return f"python retraining.py {name} --model-dir {model_dir}"


if __name__ == "__main__":
    main()
