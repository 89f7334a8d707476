"""Monitoring: compare the latest texts with the training reference, explain what differs, and retrain."""

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from textclf.cli.commands import Group
from textclf.cli.durations import Duration
from textclf.config import DataOptions, DriftOptions
from textclf.data.iterables import texts_and_labels
from textclf.data.labelled_reviews import fingerprint_of
from textclf.data.latest_texts import read_latest
from textclf.data.prediction_log.database_url import DatabaseUrl, readable_url
from textclf.data.prediction_log.log import PredictionLog
from textclf.drift.audit_run import AuditRun
from textclf.drift.reference import MAX_TEXTS
from textclf.drift.state import DRIFT, NO_DRIFT, NOT_ENOUGH_DATA, DriftState, check_not_ahead, read_state, update_state
from textclf.errors import TextClfError
from textclf.files import atomic_file, check_writable
from textclf.label_column import label_notes
from textclf.listing import shortened
from textclf.monitoring.audit_labels import check_audited, class_ids
from textclf.monitoring.cascade_samples import comparable_samples, with_both_stages
from textclf.monitoring.comparison import compare_samples
from textclf.monitoring.labelling_commands import labels, sample
from textclf.monitoring.options import MonitoringSettings, given_again, latest_options, monitoring_options
from textclf.monitoring.retrain_trigger import check_is_store, retrain_if_due
from textclf.monitoring.samples import (
    Draws,
    LabelledSample,
    LatestSample,
    OpenedVersion,
    baseline_sample,
    check_given_labels,
    labelled_predictions,
    open_version,
    scored_features,
    stored_labels,
    stored_reviews,
    with_audits,
)
from textclf.monitoring.scheduler import Scheduler
from textclf.monitoring.windows import calls_for_retraining, extension_sentence, save_report, window_end
from textclf.report.drift_html import drift_page
from textclf.report.drift_report import DriftReport
from textclf.report.drift_text import describe_drift
from textclf.retraining.preflight import RetrainNeeds
from textclf.rules.rewriting import failure_notes, with_rewrites
from textclf.runtime.checked_texts import check_texts
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.predictor import Predictor

EXITS = {NO_DRIFT: 0, DRIFT: 3, NOT_ENOUGH_DATA: 4}
_RETRAINING = Path(__file__).resolve().with_name("retraining.py")
_DRIFT = DriftOptions()
_YEAR = 366 * 86_400


class Monitoring:
    """Compares texts with the training reference of a model version; the constructor opens nothing.

    Args:
        model_path: a model store (its current version), or one version's folder.
        options: alpha, minimum effects, and numbers of permutations.
        prediction_log_url: URL of the prediction log; None means the server's default.
        new_data_dir: labelled reviews in the server's layout; None reads none.
        seed: random seed; the same texts give the same verdict.
        threads: number of threads; None uses all cores.
        clock: returns seconds since the epoch.
        max_texts: maximum number of texts, and of audits, to compare; more are sampled at random.
        rules: rules of the server; their rewrites apply to texts that are scored, their labels do not count.
    """

    def __init__(
        self,
        model_path: Path | str = "model",
        *,
        options: DriftOptions = _DRIFT,
        prediction_log_url: str | None = None,
        new_data_dir: Path | str | None = None,
        seed: int = 0,
        threads: int | None = None,
        clock: Callable[[], float] = time.time,
        max_texts: int = MAX_TEXTS,
        rules: Path | str | None = None,
    ) -> None:
        self.model_path = Path(model_path)
        self.options = options
        self.prediction_log_url = prediction_log_url
        self.new_data_dir = None if new_data_dir is None else Path(new_data_dir)
        self.draws = Draws(seed)
        self.threads = threads
        self.clock = clock
        self.max_texts = max_texts
        self.rules = rules

    @property
    def store(self) -> Path | None:
        """The model store, which also contains the state; None if model_path is one version's folder."""
        return self.model_path if (self.model_path / "versions").is_dir() else None

    def check(
        self,
        texts: Sequence[str],
        labels: Sequence[str | int | None] | None = None,
        audit: bool | Sequence[bool] | None = None,
        *,
        times: Sequence[float | None] | None = None,
        source: str = "texts that were passed",
        baseline: Sequence[str] | None = None,
        notes: Sequence[str] = (),
    ) -> DriftReport:
        """Compare texts with the reference of the version; more than `max_texts` are sampled at random.

        Args:
            texts: n texts.
            labels: class names or class ids; None for a text without a label. Unknown names are counted and left out.
            audit: True for labels of a random audit. Only these can raise an alarm about errors: other labels are not
                a random sample, because people mostly correct mistakes.
            times: when each text was labelled, in seconds since the epoch, or None if unknown. Labels of unknown time
                or from before the creation of the version are left out, because it may have been trained on them.
            source: description of the texts for the report.
            baseline: texts to compare with instead of those of the reference. Scores and embeddings are always
                compared with the reference, because a model treats its training texts unlike new texts.
            notes: further sentences for the report.

        Raises:
            InputError: if an argument does not have n items, an item of `texts` is not a text, or an audit has no
                label that is a class of the model.
            ModelStoreError, ConfigError: if there is no version with an engine and a reference.
        """
        texts = check_texts(texts)
        count = len(texts)
        flags = [audit] * count if isinstance(audit, bool) else [False] * count if audit is None else list(audit)
        check_given_labels(count, source, labels, flags, times)
        is_audit = np.array(flags, bool)
        opened = open_version(self.model_path)
        names, predictor = opened.class_names, self._predictor(opened)
        ids = None
        if labels is not None:
            ids, changes = class_ids(labels, names, opened.renames)
            check_audited(labels, ids, is_audit, names)
            notes = [*notes, *label_notes(changes)]
        chosen = self.draws.positions(count, self.max_texts)
        used = with_audits(chosen, is_audit, self.draws, self.max_texts)
        features = scored_features([texts[at] for at in used], opened, predictor)
        moments = None if times is None else np.array(times, np.float64)[used]
        known_times = [float(moment) for moment in times or () if moment is not None]
        span = (min(known_times), max(known_times)) if known_times else (None, None)
        predictions = None
        if ids is not None:
            predictions = labelled_predictions(ids[used], features, is_audit[used], moments)
        latest = LatestSample(features.take(np.searchsorted(used, chosen)), source, count, *span)
        known = None
        if baseline is not None:
            known = baseline_sample(baseline, opened, predictor, self.draws, self.max_texts)
        labelled = LabelledSample(predictions, notes=(*notes, *failure_notes(predictor)))
        return compare_samples(
            opened, latest, labelled, known, options=self.options, draws=self.draws, now=self.clock()
        )

    def check_log(
        self,
        since: float | None = None,
        until: float | None = None,
        audited_since: Mapping[str, float] | None = None,
        audit_runs: Mapping[str, AuditRun] | None = None,
    ) -> DriftReport:
        """Compare the logged texts of the current version with its reference; labels come from new_data_dir.

        A label belongs to the time when it was stored, not to the time when its text was predicted.

        Args:
            since, until: the span [since, until), in seconds since the epoch; None leaves that end open.
            audited_since: for consecutive windows: by version id, the time until which random audits have been
                tested. All later audits are used; for a version without an entry, all since its creation. None uses
                the audits of the span.
            audit_runs: for consecutive windows: by version id, the CUSUM of the audits until then. The report has
                the one that the next window continues (figures.audit_run).

        Raises:
            PredictionLogError: if there is no log, or it can't be read.
            ModelStoreError, ConfigError: if there is no version with an engine and a reference, or the log is off.
            DatasetError: if new_data_dir exists and can't be read.
        """
        url = readable_url(self.prediction_log_url)
        opened = open_version(self.model_path)
        version = opened.version.id
        log = PredictionLog(url, clock=self.clock)
        with contextlib.closing(log):
            window = log.read(version, since, until, self.max_texts, self.draws.stream(Draws.TEXTS))
            features = window.features
            if window.total_rows > self.max_texts and opened.reference.alone is not None:
                # A random sample of a large log has few rows scored by both stages, so draw a second sample of these.
                stream = self.draws.stream(Draws.BOTH_STAGES)
                both = log.read(version, since, until, self.max_texts, stream, both_stages=True)
                features = with_both_stages(features, both.features)
        ends = (float(window.times[0]), float(window.times[-1])) if len(window.times) else (None, None)
        latest = LatestSample(
            features,
            f"the prediction log, {DatabaseUrl.parse(url).shown}",
            window.total_rows,
            ends[0] if since is None else since,
            ends[1] if until is None else until,
            window.other_versions,
            window.damaged,
            window.from_future,
            is_logged=True,
        )
        has_cascade = comparable_samples(opened.reference, features)[0] is opened.reference
        predictor = functools.partial(self._predictor, opened, cascade=has_cascade)
        earlier, now = (audit_runs or {}).get(version), self.clock()
        labelled = stored_labels(
            self.new_data_dir, opened, predictor, self.draws, since, until, audited_since, earlier, self.max_texts, now
        )
        return compare_samples(opened, latest, labelled, options=self.options, draws=self.draws, now=now)

    def _predictor(self, opened: OpenedVersion, cascade: bool = True) -> Predictor:
        return with_rewrites(predictor_of_version(opened.version, threads=self.threads, cascade=cascade), self.rules)


def run_drift_monitoring(
    train_ds: Iterable[Any] | None,
    test_ds: Iterable[Any],
    threshold: float = 0.55,
    model_path: Path | str = "model",
    *,
    audited: bool = False,
    options: DriftOptions = _DRIFT,
) -> DriftReport:
    """Compare the texts of `test_ds` with those of `train_ds`, and scores and embeddings with the reference.

    A model is more confident on texts that it was trained on, and their embeddings are farther apart. So scores and
    embeddings of `train_ds` are not used.

    Args:
        train_ds: tf.data dataset of batches (texts, labels), or an iterable of texts or of (text, label); None
            compares everything with the reference.
        test_ds: the latest texts, in the same form. Labels are class names, or ids in the order of the model's classes.
        threshold: minimum AUC of the domain classifier for an alarm.
        model_path: a model store (its current version), or one version's folder.
        audited: True if the labels of `test_ds` are a random sample, which can raise an alarm about errors.
        options: alpha and the other minimum effects.

    Raises:
        InputError: if a dataset yields something else.
        ConfigError: if the threshold is not in [0.5, 1).
        ModelStoreError: if there is no version with an engine and a reference.
    """
    baseline = None if train_ds is None else texts_and_labels(train_ds)[0]
    texts, labels = texts_and_labels(test_ds)
    monitoring = Monitoring(model_path, options=dataclasses.replace(options, threshold=threshold))
    return monitoring.check(texts, labels, audited, baseline=baseline)


@dataclass(frozen=True)
class CommandContext:
    """The context object of the commands (click's `obj`): a clock of seconds, and the script that --retrain starts."""

    clock: Callable[[], float] = time.time
    retraining_script: Path = _RETRAINING


@click.group(cls=Group, commands=[sample, labels])
def main() -> None:
    """Check whether the latest texts drift away from the texts that the model was evaluated on.

    \b
    Examples:
      python monitoring.py check --since 7d --html drift.html
      python monitoring.py check --latest new_reviews.csv
      python monitoring.py watch --every 6h --windows 2of3 --retrain --old-dataset-path datasets/aclImdb
      python monitoring.py sample --audit 200 --output audit.csv
    """


@main.command()
@click.option(
    "--latest",
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    help="Texts to check: .txt files, class folders, the root of a data set (its test part, or train if there is no "
    "test), a table (CSV, JSON, Parquet, .xlsx), or stored feedback.",
)
@click.option("--since", type=Duration(), metavar="TIME", help="Check the predictions of the last TIME, such as 7d.")
@click.option("--audited", is_flag=True, help="The labels of --latest are a random sample: they measure errors.")
@latest_options
@monitoring_options(None)
@click.make_pass_decorator(CommandContext, ensure=True)
def check(
    context: CommandContext,
    /,
    latest: Path | None,
    since: float | None,
    audited: bool,
    reading: DataOptions,
    settings: MonitoringSettings,
) -> int:
    """Compare texts with the training reference, once.

    The texts are those of --latest, or the logged texts of the current version: of the last --since, or all. Exit
    status: 0 no drift, 3 drift, 4 not enough data, 1 error. A window with too few texts is extended: the last
    verdict, --html and --json stay as they are.

    \b
    Examples:
      python monitoring.py check --since 7d --html drift.html
      python monitoring.py check --latest reviews.csv --text-column review
      python monitoring.py check --windows 2of3 --retrain --old-dataset-path datasets/aclImdb
    """
    if sum(given is not None for given in (latest, since, settings.windows)) > 1:
        raise click.UsageError("--latest, --since and --windows exclude each other")
    if audited and latest is None:
        raise click.UsageError("--audited needs --latest; the index of stored feedback already marks its audits")
    needs = _check_before_work(settings)
    is_window = settings.windows is not None
    monitoring = _monitoring(settings, context, needs_store=settings.retrain or is_window)
    store = monitoring.store
    # A check that does not need the state must not fail because it is damaged.
    state = read_state(store) if store is not None and (settings.retrain or is_window) else DriftState()
    if store is not None:
        check_not_ahead(store, state, context.clock())
    until = window_end(state, context.clock())
    if latest is not None:
        report = _check_texts(monitoring, latest, audited, reading)
    elif is_window:
        report = monitoring.check_log(state.edge, until, state.audited_since, state.audit_runs)
    else:
        report = monitoring.check_log(None if since is None else max(0.0, context.clock() - since))
    is_extended = is_window and report.verdict == NOT_ENOUGH_DATA and state.last_check is not None
    click.echo(extension_sentence(report, monitoring.options) if is_extended else describe_drift(report))
    if store is not None and latest is None:
        state = save_report(store, report, state, until if is_window else None)
    for path, content in ((settings.html, drift_page), (settings.json, DriftReport.to_json)):
        if path is not None and not is_extended:
            with atomic_file(path) as file:
                file.write(content(report))
    if store is not None and settings.retrain and calls_for_retraining(report, state, settings.windows):
        found = stored_reviews(settings.new_data_dir)
        retrain_if_due(
            store,
            fingerprint_of(found.reviews),
            open_version(store).usable_labels(found, needs.renames, needs.add_classes),
            [sys.executable, str(context.retraining_script), *settings.retraining_arguments()],
            settings.policy(needs.min_labels),
            context.clock(),
        )
    return EXITS[report.verdict]


def _check_texts(monitoring: Monitoring, path: Path, audited: bool, options: DataOptions) -> DriftReport:
    data = read_latest(path, options)
    if audited and data.audit is not None:
        raise click.UsageError(f"--audited: the index of {path} already marks its audits; leave the option out")
    notes = data.notes
    if data.labels is not None and data.audit is None and not audited:
        count = len(data.labels) - data.labels.count(None)
        notes += (f"{count:,} labels: not a random sample, so errors were not tested; see --audited.",)
    names = shortened([part.name for part in data.part])
    place = f"{path}, only its part {names}" if names else str(path)
    return monitoring.check(data.texts, data.labels, audited or data.audit, times=data.times, source=place, notes=notes)


@main.command()
@click.option(
    "--every",
    type=Duration(min_seconds=1, max_seconds=_YEAR),
    default="6h",
    metavar="TIME",
    help="Time between two checks.",
)
@monitoring_options("2of3")
@click.pass_context
def watch(command: click.Context, /, every: float, settings: MonitoringSettings) -> None:
    """Check each window of logged predictions, again and again, until SIGTERM (exit status 0).

    Each run is a `check --windows` in its own process, whose output is passed on. A failed run is one line on stderr,
    and the next run follows. A window with too few texts is extended. The store contains the windows, so a restart
    neither skips nor repeats any.

    \b
    Example:
      python monitoring.py watch --every 6h --windows 2of3 --retrain --old-dataset-path datasets/aclImdb
    """
    readable_url(settings.log_url)
    _check_before_work(settings)
    context = command.ensure_object(CommandContext)
    store = _monitoring(settings, context, needs_store=True).model_path
    state = read_state(store)
    check_not_ahead(store, state, context.clock())

    def count_failure() -> None:
        try:
            update_state(store, lambda state: dataclasses.replace(state, failed_runs=state.failed_runs + 1))
        except (TextClfError, OSError) as error:
            click.echo(f"the failure could not be counted: {error}", err=True)

    scheduler = Scheduler(
        [sys.executable, str(Path(__file__).resolve()), "check", *given_again(command, {"every", "log_url"})],
        every,
        set(EXITS.values()),
        count_failure,
        # The URL may contain a password, and every user can see the arguments of a process.
        {} if settings.log_url is None else {"PREDICTION_LOG_URL": settings.log_url},
        context.clock,
    )
    scheduler.run(context.clock() if state.edge is None else state.edge + every)


def _check_before_work(settings: MonitoringSettings) -> RetrainNeeds:
    """Fail at the start, not at the end; returns the labels that a retraining needs and can use."""
    import sklearn  # noqa: F401

    for path in (settings.html, settings.json):
        if path is not None:
            check_writable(path)
    if not settings.retrain:
        return RetrainNeeds(1)
    from retraining import check_run

    return check_run(settings.retraining_arguments()[1:])


def _monitoring(settings: MonitoringSettings, context: CommandContext, *, needs_store: bool) -> Monitoring:
    monitoring = Monitoring(
        settings.model_path,
        options=settings.drift_options,
        prediction_log_url=settings.log_url,
        new_data_dir=settings.new_data_dir,
        threads=settings.threads,
        clock=context.clock,
        rules=settings.rules,
    )
    if needs_store:
        check_is_store(monitoring.store, settings.model_path)
    return monitoring


if __name__ == "__main__":
    main()
