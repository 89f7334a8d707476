"""Retrain: train a challenger on old and new labelled texts, compare it with the champion, promote it or not."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from textclf.cli.commands import Command, Group
from textclf.cli.config_file import ConfiguredCommand
from textclf.cli.options import add_options, changed_options, data_dir_option, field_options, runs_dir_option
from textclf.config import DataOptions, ModelOptions, TrainingOptions
from textclf.errors import BusyError, ConfigError, NothingNewError, TooFewTextsError
from textclf.report.decision_history import describe_decisions, printable
from textclf.retrain_outcome import RetrainOutcome
from textclf.retraining import preflight
from textclf.retraining.decisions import Promotion, Rejection, describe_outcome, follow_decision
from textclf.retraining.locks import retraining_locks
from textclf.retraining_options import CombineOptions, GateOptions
from textclf.store.model_store import ModelStore, ModelVersion
from textclf.store.promotion import Promotions

if TYPE_CHECKING:  # These take seconds to import or are not installed where models are served.
    from textclf.data.datasets import Dataset
    from textclf.data.splits import Split
    from textclf.retraining.combining import Combined
    from train_model import Training


class Retrain:
    """Trains a challenger on old and new labelled texts, and promotes it if the gate allows it.

    Call combine_datasets, then save_retrained_model, which trains if necessary. A call of retrain_model between them
    is optional, and trains as if `again` were set. The champion is the version that is current at the first call.
    The challenger has the champion's options, except those given here.

    Args:
        old_dataset_path: the champion's data (archive, folder or table); its test part is the reference test set.
        new_dataset_path: new labelled texts: the folder that POST /feedback fills, or a data set.
        combined_dataset_path: folder for both, written again by each combine_datasets.
        epochs, init_lr: options of Training; None takes the champion's.
        model_dir: the model store.
        data_dir, runs_dir: folders of Training.
        again: train even if the same training was already done and not promoted.
        clock: returns seconds since the epoch.
        **options: fields of GateOptions, CombineOptions, DataOptions (how the old and the new data are
            read), ModelOptions and TrainingOptions; recipe="auto" chooses the last two if they are not given.

    Raises:
        ConfigError: if an option is unknown or out of its range.
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
        self._promotions = Promotions(model_dir, clock)
        given = {k: v for k, v in {**options, "epochs": epochs, "init_lr": init_lr}.items() if v is not None}
        self.recipe = given.pop("recipe", "none")
        self.gate_options = GateOptions(**GateOptions.pop_from(given))
        self.combine_options = CombineOptions(**CombineOptions.pop_from(given))
        # The champion's options are not known yet, so this checks each value alone.
        self.changes: dict[str, Any] = {}
        for config in (DataOptions, ModelOptions, TrainingOptions):
            changes = config.pop_from(given)
            config.check_each(changes)
            self.changes |= changes
        if given:
            raise ConfigError(f"Retrain: unknown option {', '.join(sorted(given))}; see textclf/config.py")

    @cached_property
    def champion(self) -> ModelVersion:
        """The version that was current at the first access.

        Raises:
            ModelStoreError: if the store has no current version.
        """
        return ModelStore(self.model_dir).open()

    def combine_datasets(self) -> Combined:
        """Write the combined data set: old texts, accepted new texts, test set, holdout, and the texts left out.

        Raises:
            NothingNewError: if no new text is left to train on; removed.jsonl in the combined folder has the reasons.
            DatasetError: if the old or new data can't be read, or the combined folder contains something else.
            TrainingError: if the old data has a class that the champion lacks, or the combined data lacks one of its.
            TooFewTextsError: if a new class has too few texts to train on.
            ModelStoreError: if the champion is missing or can't be loaded.
        """
        from textclf.data.dataset_summary import data_line
        from textclf.data.labelled_reviews import read_labelled_reviews, with_class_names
        from textclf.retraining import champion_data
        from textclf.retraining.combined_dataset import REMOVED_FILE, write_combined
        from textclf.retraining.combining import combine
        from textclf.retraining.combining_report import describe_combined
        from textclf.retraining.comparison import predicted_labels, too_few_test_texts
        from textclf.retraining.new_classes import check_training_texts, relabelled
        from train_model import Training

        options = self._data_options
        names = self.champion.manifest.class_names
        text_keys = champion_data.text_keys_of(self.champion)
        how = {**champion_data.without_counting(options), "data_dir": self.data_dir, "spellings": names}
        old = Training(dataset_path=self.old_dataset_path, **how).read_dataset(text_keys)
        click.echo(f"old texts:     {data_line(old)}")
        champion_data.check_old_classes(old, self.champion, self.old_dataset_path)
        test_set = champion_data.reference_test_set(old, self.old_dataset_path)
        # New data may have the champion's class names, or the names of its data, or names given here.
        found = read_labelled_reviews(self.new_dataset_path, options)
        found = with_class_names(found, names, self.changes.get("rename_labels", {}), options.rename_labels)
        reviews = found.reviews
        combined = combine(
            old,
            reviews,
            test_set,
            predicted_labels(self.champion, [review.text for review in reviews]),
            self.combine_options,
            class_names=names,
            trained_until=champion_data.trained_until(self.champion.manifest, old),
            text_keys=text_keys,
        )
        names, removed_file = combined.class_names, self.combined_dataset_path / REMOVED_FILE
        write_combined(combined, relabelled(test_set, old.class_names, names), self.combined_dataset_path, options)
        click.echo("\n".join(describe_combined(combined, found.notes, removed_file)))
        click.echo(f"test set:      {len(test_set)} texts{champion_data.describe_test_set(old, self.champion)}")
        # Before an hour of training, not after it.
        preflight.check_new_texts(len(combined.added), len(reviews), self.new_dataset_path, removed_file)
        check_training_texts(combined, self.old_dataset_path)
        if warning := too_few_test_texts(len(champion_data.distinct_texts(test_set, text_keys)), self.gate_options):
            click.echo(f"warning: {warning}", err=True)
        return combined

    def retrain_model(self) -> dict[str, list[float]]:
        """Train the challenger on the combined data set, or resume a killed training; returns the history of fit_model.

        Raises:
            TooFewTextsError: if the holdout has fewer texts than the gate needs.
            TrainingError: if Training.fit_model raises it.
            DatasetError: if the combined data set is missing or can't be read.
        """
        self.again = True
        self._check_holdout()
        return self._training.fit_model()

    def save_retrained_model(self) -> Promotion | Rejection:
        """Save the challenger, compare it with the champion, record the decision and follow it.

        The engines that serve score both versions on the test set and on the new holdout, and the best version so far
        on the test set. A challenger that is not promoted stays in the store. Unless `again` is set, a training that
        the gate turned down is not repeated: its version is compared again if the gate's options or the holdout
        changed; otherwise its decision is returned.

        Raises:
            TooFewTextsError: if the holdout is too small to decide about a new model.
            TrainingError: if Training.save_model raises it.
            ModelStoreError: if a version can't be loaded, or the store can't be written.
        """
        from textclf.retraining import champion_data
        from textclf.retraining.comparison import compare_with_champion

        challenger, outcome = self._earlier_challenger()
        if outcome is not None:
            return outcome
        if challenger is None:
            self._check_holdout()
            path = self._training.save_model(self.model_dir, self.champion.manifest.name, parent=self.champion.id)
            challenger = ModelStore(self.model_dir).open(path.name)
        test_set = champion_data.reference_test_set(self._dataset, self.combined_dataset_path)
        test_set = champion_data.distinct_texts(test_set, champion_data.text_keys_of(self.champion))
        holdout, holdout_fingerprint = self._holdout
        best, why_not_best = self._best
        click.echo(f"comparing:     on {len(test_set)} test and {len(holdout)} held-out texts")
        decision = compare_with_champion(self.champion, challenger, test_set, holdout, self.gate_options, best)
        decision = dataclasses.replace(decision, reasons=(*decision.reasons, *why_not_best))
        data = {
            "fingerprints": self._dataset.fingerprints,
            "holdout": holdout_fingerprint,
            "best": (best or self.champion).id,
            "is_golden_of_champion": champion_data.is_test_set_of_champion(self._dataset, self.champion),
        }
        return follow_decision(self._promotions, self.champion.id, challenger, decision, data)

    @cached_property
    def _training(self) -> Training:
        from textclf.retraining.recipe import options_of_challenger
        from train_model import Training

        # The combined data set has the renamed labels.
        data = dataclasses.replace(self._data_options, rename_labels={}, encoding="").to_dict()
        changes = {name: value for name, value in self.changes.items() if name not in data}
        options = options_of_challenger(self.champion.manifest, changes, self.model_dir, self.recipe)
        how = {"recipe": self.recipe, "given": changes, **data, **options}
        return Training(
            dataset_path=str(self.combined_dataset_path),
            data_dir=self.data_dir,
            runs_dir=self.runs_dir,
            spellings=self.champion.manifest.class_names,
            **how,
        )

    @cached_property
    def _dataset(self) -> Dataset:
        from textclf.retraining.champion_data import known_text_keys

        return self._training.read_dataset(known_text_keys(self.champion, self.changes))

    @cached_property
    def _holdout(self) -> tuple[Split, str]:
        """The held-out texts of the combined data set, and their fingerprint."""
        from textclf.retraining.combined_dataset import read_holdout

        return read_holdout(self.combined_dataset_path, self._dataset.class_names)

    @cached_property
    def _best(self) -> tuple[ModelVersion | None, list[str]]:
        """The best version so far if it is not the champion, and why it can't be compared if it can't."""
        from textclf.retraining.best_version import best_version
        from textclf.retraining.champion_data import fingerprint_of_test_set

        return best_version(self._promotions, self.champion, partial(fingerprint_of_test_set, self._dataset))

    @property
    def _recipe(self) -> dict[str, Any]:
        from textclf.retraining.recipe import recipe_of_training

        return recipe_of_training(self._training.model_options, self._training.decided_options)

    def _check_holdout(self) -> None:
        """Check that the holdout can decide about a challenger that is not trained yet."""
        from textclf.retraining.earlier_challengers import last_inconclusive
        from textclf.retraining.new_classes import check_held_out_texts

        names, champion = self._dataset.class_names, self.champion.manifest.class_names
        check_held_out_texts(names, self._holdout[0].labels, champion, self.gate_options)
        asked = self._promotions, self.champion.id, self._recipe, self.gate_options
        undecided = None if self.again else last_inconclusive(*asked)
        preflight.check_holdout(len(self._holdout[0]), self.gate_options, self.combine_options, undecided)

    @property
    def _data_options(self) -> DataOptions:
        """How the champion's data is read, except for what was given; `rename_labels` renames the new data only."""
        from textclf.retraining.champion_data import data_options_of

        return data_options_of(self.champion.manifest, self.changes)

    def _earlier_challenger(self) -> tuple[ModelVersion | None, Rejection | None]:
        """The version that an equal training saved before, and its outcome if the gate would repeat it."""
        from textclf.retraining.earlier_challengers import earlier_challenger, repeated_rejection

        version, entry = earlier_challenger(
            self._promotions, self.champion.id, self._dataset.fingerprints, self._recipe, again=self.again
        )
        if version is None or entry is None:
            return version, None
        best_id = (self._best[0] or self.champion).id
        return version, repeated_rejection(version, entry, self._holdout[1], best_id, self.gate_options)


_model_dir = click.option(
    "--model-dir", type=click.Path(path_type=Path), default="model", help="Model store.", metavar="DIR"
)


@click.group(cls=Group)
def main() -> None:
    """Retrain the current model on old and new labelled texts, and choose the version that is served.

    \b
    Examples:
      python retraining.py run --old-dataset-path data/sample --new-dataset-path new_data --model-dir my-models
      python retraining.py history --model-dir my-models
      python retraining.py rollback --model-dir my-models
    """


@main.command(cls=ConfiguredCommand)
@click.option("--old-dataset-path", required=True, help="Data set that the current version was trained on.")
@click.option(
    "--new-dataset-path", default="new_data", help="New labelled texts: the folder of POST /feedback, or any data set."
)
@click.option(
    "--combined-dataset-path",
    default="datasets/combined",
    help="Folder for the combined data set; rewritten each time.",
)
@_model_dir
@changed_options
@add_options(field_options(GateOptions, "margin", "slice_margin", "calibration_margin", "alpha", "min_holdout"))
@add_options(field_options(CombineOptions, "new_share", "trusted_sources", "add_classes", "min_class_texts"))
@add_options(field_options(GateOptions, "new_class_recall"))
@click.option("--again", is_flag=True, help="Train even if the same training was already done and not promoted.")
@data_dir_option
@runs_dir_option
def run(model_dir: Path, changes: dict[str, Any], **options: Any) -> int:
    """Combine, train a challenger, compare it with the current version, and promote it if it is no worse.

    Options without a default below are those of the current version. Run the same command again to resume a killed
    run. A training that the gate turned down is not repeated, and nothing is trained if the held-out texts are too few
    to decide. The store's decisions.jsonl records every decision.

    Exit status: 0 promoted, 1 error, 3 worse, 4 too few texts to decide, 5 another process retrains this store or
    works in the same combined folder, 6 not worse but on hold or overtaken by another version, 7 no new texts to train
    on.

    \b
    Example:
      python retraining.py run --old-dataset-path data/sample --new-dataset-path new_data --model-dir my-models
    """
    preflight.check_packages()
    retrain = Retrain(**{"model_dir": model_dir, "epochs": None, "init_lr": None, **changes, **options})
    ModelStore(model_dir).check_exists()
    try:
        with retraining_locks(model_dir, retrain.combined_dataset_path):
            click.echo(f"champion:      {retrain.champion.path}")
            retrain.combine_datasets()
            outcome = retrain.save_retrained_model()
    except BusyError as error:
        click.echo(f"error: {error}", err=True)
        return RetrainOutcome.BUSY.exit_status
    except (NothingNewError, TooFewTextsError) as error:
        click.echo(f"not retrained: {error}")
        nothing = isinstance(error, NothingNewError)
        return (RetrainOutcome.NOTHING if nothing else RetrainOutcome.INCONCLUSIVE).exit_status
    click.echo(describe_outcome(outcome))
    return RetrainOutcome.of_action(outcome.action).exit_status


def check_run(arguments: Sequence[str]) -> preflight.RetrainNeeds:
    """Check the arguments of `run` without running it; returns the labels that it needs and can use.

    Raises:
        click.UsageError: if an argument is wrong.
        TrainingError: if packages of training are missing.
        DatasetError: if the old data is missing.
    """
    given = run.make_context("textclf retrain", list(arguments)).params
    preflight.check_packages()
    preflight.check_old_data(given["old_dataset_path"], given["data_dir"])
    labels = preflight.labels_for_holdout(given["min_holdout"], CombineOptions())
    return preflight.RetrainNeeds(labels, given["add_classes"], given["rename_labels"])


@main.command(cls=Command)
@click.argument("version", metavar="ID")
@_model_dir
def promote(version: str, model_dir: Path) -> None:
    """Make version ID current, whatever the gate decided.

    Checks the version's files against their hashes first. Works while promotion is on hold.

    \b
    Example:
      python retraining.py promote 20260101T120000000Z-0a1b2c --model-dir my-models
    """
    before = Promotions(model_dir).promote(version)
    click.echo(f"{model_dir}: {version} is current (before: {before or 'none'})")


@main.command(cls=Command)
@click.option("--to", metavar="ID", show_default="the previously current one", help="Version to go back to.")
@click.option("--reason", default="", show_default=False, help="Reason, for the decision log and the hold.")
@_model_dir
def rollback(to: str | None, reason: str, model_dir: Path) -> None:
    """Make the previous version current again, and put automatic promotion on hold.

    Until `lift-hold`, challengers are trained and compared, but not promoted.

    \b
    Example:
      python retraining.py rollback --model-dir my-models --reason "worse on short texts"
    """
    before, now = (promotions := Promotions(model_dir)).roll_back(to, reason)
    click.echo(f"{model_dir}: {now} is current again (before: {before})")
    click.echo(f"automatic promotion is on hold, until: textclf versions lift-hold {promotions.store.option}")


@main.command("lift-hold", cls=Command)
@_model_dir
def lift_hold(model_dir: Path) -> None:
    """Allow automatic promotion again after a rollback.

    \b
    Example:
      python retraining.py lift-hold --model-dir my-models
    """
    ModelStore(model_dir).check_exists()
    reason = Promotions(model_dir).lift_hold()
    lifted = "there is no hold" if reason is None else f"lifted the hold: {printable(reason)}"
    click.echo(f"{model_dir}: {lifted}")


@main.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print all results, one JSON object per line.")
@_model_dir
def history(as_json: bool, model_dir: Path) -> int:
    """Show the decisions about the versions of a store, oldest first.

    Exits with 1 if a line of the log is damaged, changed or missing.

    \b
    Example:
      python retraining.py history --model-dir my-models
    """
    ModelStore(model_dir).check_exists()
    promotions = Promotions(model_dir)
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
    for line in describe_decisions(entries) or ["no decisions yet"] * (not problems):
        click.echo(line)
    click.echo(f"current: {promotions.store.current_id() or 'none'}")
    if promotions.hold.reason is not None:
        click.echo(f"on hold: {printable(promotions.hold.reason)}")
    return status


if __name__ == "__main__":
    main()
