"""Monitoring: are the texts that come now like those that the model was measured on? What differs, and retraining."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from textclf.cli.commands import Group
from textclf.cli.durations import Duration
from textclf.config import DataOptions, DriftOptions
from textclf.data.iterables import texts_and_labels
from textclf.data.labelled_reviews import different_texts, fingerprint_of, read_labelled_reviews
from textclf.data.latest_texts import read_latest
from textclf.data.prediction_log.database_url import DEFAULT_URL, OFF, DatabaseUrl, tidy_url
from textclf.data.prediction_log.prediction_log import PredictionLog
from textclf.drift.features import TextFeatures
from textclf.drift.reference import MAX_TEXTS, REFERENCE_FILE, Reference, load_reference
from textclf.drift.state import (
    DRIFT,
    NO_DRIFT,
    NOT_ENOUGH_DATA,
    DriftState,
    Window,
    check_not_ahead,
    read_state,
    save_check,
    save_window,
    update_state,
)
from textclf.errors import ConfigError, InputError, ModelStoreError, TextClfError
from textclf.files import atomic_file, check_writable
from textclf.monitoring.audit_labels import (
    LabelledPredictions,
    audit_evidence_of,
    check_audited,
    class_ids,
    position_notes,
)
from textclf.monitoring.cascade_samples import comparable_samples, stage_notes, with_both_stages
from textclf.monitoring.options import MonitoringSettings, given_again, monitoring_options
from textclf.monitoring.retrain_policy import WindowRule
from textclf.monitoring.retrain_trigger import retrain_if_due
from textclf.monitoring.scheduler import Scheduler
from textclf.report.drift_html import drift_page
from textclf.report.drift_report import Compared, DriftReport, drift_report
from textclf.report.drift_summary import audit_sentence
from textclf.report.drift_text import describe_drift
from textclf.runtime.feature_extraction import text_features
from textclf.runtime.loading import predictor_of_version
from textclf.runtime.predictor import Predictor, check_texts
from textclf.runtime.tokenizer import Tokenizer
from textclf.stats.drift_tests.compare import compare
from textclf.stats.drift_tests.estimated_accuracy import estimated_accuracy
from textclf.stats.drift_tests.label_shift import bbse_prior
from textclf.store.model_store import ModelVersion, open_model

EXITS = {NO_DRIFT: 0, DRIFT: 3, NOT_ENOUGH_DATA: 4}
_RETRAINING = Path(__file__).resolve().with_name("retraining.py")
_DRIFT, _DATA = DriftOptions(), DataOptions()
# Labels that are no random audit are scored for what they show; so many are enough for that.
_MAX_OTHER_LABELS = 1000
# A server writes what it answered within a second, or after a pause of up to 30 where its database was away; a window
# ends before what may still be under way.
_SETTLED_SECONDS = 60.0
_YEAR = 366 * 86_400


@dataclass(frozen=True)
class _Opened:
    """A version, and what its texts are compared with."""

    version: ModelVersion
    reference: Reference
    vocabulary: list[str]

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.version.manifest.class_names

    @property
    def created(self) -> float:
        return datetime.fromisoformat(self.version.manifest.created).timestamp()


@dataclass(frozen=True)
class _Latest:
    """Texts to compare: their features, and what is said of them in the report."""

    features: TextFeatures
    source: str
    found: int
    since: float | None = None
    until: float | None = None
    other_versions: dict[str, int] = dataclasses.field(default_factory=dict)
    damaged: int = 0


@dataclass(frozen=True)
class _Labelled:
    """What people labelled, and what is said of it in the report.

    Attributes:
        answers: to the labelled texts; None without any.
        audits_since: from when on the random audits among them are, in seconds since the epoch; None where not known.
        can_wait: whether audits that are too few to be tested are looked at again with a later window.
        notes: what was passed over, a sentence each.
    """

    answers: LabelledPredictions | None = None
    audits_since: float | None = None
    can_wait: bool = False
    notes: tuple[str, ...] = ()


class Monitoring:
    """Compares texts with the training reference of a model version; the constructor only stores.

    Args:
        model_path: a model store (its current version), or one version's folder.
        options: floors, alpha, and how much is looked at.
        prediction_log_url: of the log that the server keeps; None takes the server's default.
        new_data_dir: labelled reviews, as the server stores them; None looks at none.
        seed: of what is drawn; the same texts give the same verdict.
        threads: to compute with; None takes all cores.
        clock: seconds since the epoch.
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
    ) -> None:
        self.model_path = Path(model_path)
        self.options = options
        self.prediction_log_url = prediction_log_url
        self.new_data_dir = None if new_data_dir is None else Path(new_data_dir)
        self.seed = seed
        self.threads = threads
        self.clock = clock

    @property
    def store(self) -> Path | None:
        """The model store that the state is kept beside; None where model_path is one version's folder."""
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
        """Compare texts with the reference of the version; more than 5,000 are drawn from.

        Args:
            texts: n texts.
            labels: what people say they are: class names, class ids, or None for what nobody labelled. A name that
                is no class of the model is passed over, and counted.
            audit: whether a label is of a random audit. Only those can raise the alarm that the model errs more:
                people correct what is wrong, so that other labels are no sample.
            times: when each was labelled, in seconds since the epoch, or None. Labels from before the version was made,
                or from nobody knows when, may have been trained on, and are passed over.
            source: what the texts are, for the report.
            baseline: texts to compare with instead of those of the reference. Scores and embeddings are compared with
                the reference's all the same: texts that the model was trained on look otherwise to it than new ones.
            notes: what else a reader of the report should know, a sentence each.

        Raises:
            InputError: an argument is not of n texts, or no text; or there is an audit without labels, or without any
                that is a class of the model.
            ModelStoreError, ConfigError: there is no version with an engine and a reference.
        """
        texts = check_texts(texts)
        count = len(texts)
        flags = [audit] * count if isinstance(audit, bool) else [False] * count if audit is None else list(audit)
        for name, values in {"labels": labels, "audit": flags, "times": times}.items():
            if values is not None and len(values) != count:
                raise InputError(f"{name}: expected one for each of {count} texts, got {len(values)}")
        if any(flags) and (labels is None or all(label is None for label in labels)):
            raise InputError(f"{source}: expected labels, because they are said to be a random audit, found none")
        opened = self._open()
        predictor = self._predictor(opened)
        chosen = self._drawn(count, MAX_TEXTS)
        if labels is not None:
            all_ids = class_ids(labels, opened.class_names)
            check_audited(labels, all_ids, np.array(flags, bool), opened.class_names)
            notes = [*notes, *position_notes(labels, all_ids, opened.class_names)]
        features = text_features(predictor, [texts[at] for at in chosen], opened.reference.projection)
        answers = None
        if labels is not None:
            ids = all_ids[chosen]
            moments = None if times is None else np.array([times[at] for at in chosen], np.float64)
            answers = LabelledPredictions(
                ids, features.predicted, np.array([flags[at] for at in chosen], bool), moments
            )
        known_times = [float(moment) for moment in (() if times is None else times) if moment is not None]
        ends = (min(known_times), max(known_times)) if known_times else (None, None)
        latest = _Latest(features, source, count, *ends)
        labelled = _Labelled(answers, notes=tuple(notes))
        if baseline is None:
            return self._report(opened, latest, labelled)
        some = self._drawn(len(baseline), min(MAX_TEXTS, len(opened.reference.features)))
        known = text_features(predictor, [baseline[at] for at in some], opened.reference.projection)
        return self._report(opened, latest, labelled, _Latest(known, "training texts that were passed", len(baseline)))

    def check_log(
        self,
        since: float | None = None,
        until: float | None = None,
        audited_since: Mapping[str, float] | None = None,
    ) -> DriftReport:
        """Compare what the server logged of the current version with its reference; labels come from new_data_dir.

        A label is of the time when it was stored, whenever its text was answered.

        Args:
            since, until: the span of time, in seconds since the epoch, without `until` itself; None is without end.
            audited_since: for windows, that follow each other: by the id of a version, until when its random audits
                have been tested. All since then are looked at, those of a version without an entry from its beginning
                on. None looks at the audits of the span of time.

        Raises:
            PredictionLogError: there is no log, or it can't be read.
            ModelStoreError, ConfigError: as for check; or the log is switched off.
            DatasetError: new_data_dir is there and can't be read.
        """
        url = _checked_url(self.prediction_log_url)
        opened = self._open()
        log = PredictionLog(url, clock=self.clock)
        with contextlib.closing(log):
            window = log.read(opened.version.id, since, until, MAX_TEXTS, self._rng(1))
            features = window.features
            if window.total_rows > MAX_TEXTS and opened.reference.alone is not None:
                # Of many rows those that were drawn hold few that went through both stages.
                both = log.read(opened.version.id, since, until, MAX_TEXTS, self._rng(3), both_stages=True)
                features = with_both_stages(features, both.features)
        times = window.times
        ends = (float(times[0]), float(times[-1])) if len(times) else (None, None)
        latest = _Latest(
            features,
            f"the prediction log, {DatabaseUrl.parse(url).shown}",
            window.total_rows,
            ends[0] if since is None else since,
            ends[1] if until is None else until,
            window.other_versions,
            window.damaged,
        )
        has_cascade = comparable_samples(opened.reference, features)[0] is opened.reference
        predictor = functools.partial(self._predictor, opened, cascade=has_cascade)
        return self._report(opened, latest, self._labelled_of(opened, predictor, since, until, audited_since))

    def _open(self) -> _Opened:
        version = open_model(self.model_path)
        if not version.has(REFERENCE_FILE):
            raise ModelStoreError(
                f"{version.path}: expected a version with a reference that drift is measured against, found none; make "
                f"one of it where it was trained (train_model.py --export-again {version.id})"
            )
        version.verify([REFERENCE_FILE, "engine"])
        return _Opened(
            version,
            load_reference(version.part(REFERENCE_FILE)),
            list(Tokenizer.load(version.part("engine")).vocabulary),
        )

    def _predictor(self, opened: _Opened, cascade: bool = True) -> Predictor:
        return predictor_of_version(opened.version, threads=self.threads, cascade=cascade)

    def _rng(self, purpose: int) -> np.random.Generator:
        """A stream of its own for each purpose."""
        return np.random.default_rng([self.seed, purpose])

    def _drawn(self, count: int, most: int) -> NDArray[np.int64]:
        """Positions of all texts, or of so many at random, ascending."""
        if count <= most:
            return np.arange(count)
        return np.sort(self._rng(1).choice(count, most, replace=False, shuffle=False))

    def _labelled_of(
        self,
        opened: _Opened,
        predictor: Callable[[], Predictor],
        since: float | None,
        until: float | None,
        audited_since: Mapping[str, float] | None,
    ) -> _Labelled:
        """What people labelled in that span of time, as the model that served answers it; see check_log."""
        if self.new_data_dir is None or not self.new_data_dir.exists():
            return _Labelled()
        begin = max(since or 0.0, opened.created)
        audits_begin = begin
        if audited_since is not None:
            audits_begin = max(audited_since.get(opened.version.id, 0.0), opened.created)
        found = read_labelled_reviews(self.new_data_dir)
        timed = [(review, review.time.timestamp()) for review in found.reviews if review.time is not None]
        inside = [
            (review, moment)
            for review, moment in timed
            if (audits_begin if review.audit else begin) <= moment < (math.inf if until is None else until)
        ]
        audits = [pair for pair in inside if pair[0].audit]
        others = [pair for pair in inside if not pair[0].audit]
        chosen = [audits[at] for at in self._drawn(len(audits), MAX_TEXTS)]
        chosen += [others[at] for at in self._drawn(len(others), _MAX_OTHER_LABELS)]
        if not chosen:
            return _Labelled(notes=found.notes)
        reviews = [review for review, _ in chosen]
        answers = LabelledPredictions(
            class_ids([review.label for review in reviews], opened.class_names),
            predictor().answer([review.text for review in reviews]).predicted,
            np.array([review.audit for review in reviews], bool),
            np.array([moment for _, moment in chosen], np.float64),
        )
        return _Labelled(answers, audits_begin, audited_since is not None, found.notes)

    def _report(
        self, opened: _Opened, latest: _Latest, labelled: _Labelled, baseline: _Latest | None = None
    ) -> DriftReport:
        """Compare, and say what came of it."""
        manifest = opened.version.manifest
        notes = list(labelled.notes)
        if latest.damaged:
            notes.append(f"Damaged rows of the prediction log that were passed over: {latest.damaged}.")
        reference, is_alike, passed_over = comparable_samples(opened.reference, latest.features)
        notes += passed_over
        sample = reference.features if baseline is None else _as_held_out(baseline.features, reference.features)
        features = latest.features.take(np.flatnonzero(is_alike))
        if not len(features):
            features = reference.features.take(np.arange(0))  # As wide as the model's.
        about_stages = stage_notes(sample, features, self.options.min_texts)
        notes += about_stages
        if not about_stages and len(features) and sample.embeddings is not None and features.embeddings is None:
            notes.append("The texts were logged without embeddings, so these were not compared.")
        evidence = None
        if labelled.answers is not None:
            evidence, passed_over = audit_evidence_of(labelled.answers, reference, opened.created, self._rng(2))
            notes += passed_over
        figures = compare(
            sample,
            features,
            self.options,
            self._rng(0),
            class_count=len(opened.class_names),
            audit=evidence,
            clock=time.perf_counter,
        )
        audits_since = _iso(labelled.audits_since)
        audits = audit_sentence(figures, self.options.min_audits, audits_since, can_wait=labelled.can_wait)
        notes += [audits] if audits else []
        return drift_report(
            figures,
            sample,
            features,
            time=self.clock(),
            compared=Compared(
                model=manifest.name,
                version=opened.version.id,
                source=latest.source,
                texts=len(features),
                found=latest.found,
                since=_iso(latest.since),
                until=_iso(latest.until),
                reference="held-out texts of the version"
                if baseline is None
                else f"{baseline.source}; scores and embeddings with those of held-out texts of the version",
                reference_texts=len(sample),
                reference_found=reference.n_all if baseline is None else baseline.found,
                other_versions=latest.other_versions,
                alpha=self.options.alpha,
                audits_since=audits_since,
            ),
            options=self.options,
            vocabulary=opened.vocabulary,
            class_names=opened.class_names,
            temperature=manifest.temperature,
            prior=bbse_prior(
                reference.labels, reference.features.predicted, features.predicted, len(opened.class_names)
            )
            if figures.enough
            else None,
            accuracy=estimated_accuracy(reference.features, reference.labels, features, manifest.temperature)
            if figures.enough
            else None,
            notes=notes,
        )


def run_drift_monitoring(
    train_ds: Iterable[Any] | None,
    test_ds: Iterable[Any],
    threshold: float = 0.55,
    model_path: Path | str = "model",
    *,
    audited: bool = False,
    options: DriftOptions = _DRIFT,
) -> DriftReport:
    """Compare the texts of `test_ds` with those of `train_ds`, and the scores and embeddings with the reference.

    On texts that it was trained on a model is surer than on others, and its embeddings lie further apart: so those of
    `train_ds` are not looked at.

    Args:
        train_ds: a tf.data dataset of batches (texts, labels), or any iterable of texts or of (text, label); None
            compares all with the reference.
        test_ds: the same, of the latest texts. Labels are class names, or ids in the order of the model's classes.
        threshold: floor of the domain classifier's AUC.
        model_path: a model store (its current version), or one version's folder.
        audited: the labels of `test_ds` are a random sample, and may raise the alarm that the model errs more.
        options: the other floors, and alpha.

    Raises:
        InputError: a dataset yields something else.
        ConfigError: the threshold is none.
        ModelStoreError: there is no version with an engine and a reference.
    """
    baseline = None if train_ds is None else texts_and_labels(train_ds)[0]
    texts, labels = texts_and_labels(test_ds)
    monitoring = Monitoring(model_path, options=dataclasses.replace(options, threshold=threshold))
    return monitoring.check(texts, labels, audited, baseline=baseline)


def _as_held_out(texts: TextFeatures, held_out: TextFeatures) -> TextFeatures:
    """The features of some texts with what the model computes of others: of both as many as there are of the fewer.

    Every family of tests looks at columns of its own, so that rows need not belong together.
    """
    rows = np.arange(min(len(texts), len(held_out)))
    known = held_out.take(rows)
    return dataclasses.replace(
        texts.take(rows),
        logits=known.logits,
        predicted=known.predicted,
        embeddings=known.embeddings,
        stages=known.stages,
        disagreements=known.disagreements,
    )


def _checked_url(given: str | None) -> str:
    """The URL of a log that can be read; None is the server's default.

    Raises:
        ConfigError: it is none, or the log is switched off.
    """
    url = tidy_url(given or "") or DEFAULT_URL
    if url == OFF:
        raise ConfigError("expected the URL of a prediction log, got `off`; name texts with check --latest instead")
    DatabaseUrl.parse(url)
    return url


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


@click.group(cls=Group)
def main() -> None:
    """Find out whether the texts that come now drift away from those that the model was measured on.

    \b
    Examples:
      python monitoring.py check --since 7d --html drift.html
      python monitoring.py check --latest new_reviews.csv
      python monitoring.py watch --every 6h --windows 2of3 --retrain --old-dataset-path datasets/aclImdb
    """


@main.command()
@click.option(
    "--latest",
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    help="The texts to look at: .txt files, class folders, a data set's root, a CSV, JSONL or Parquet table, or "
    "stored feedback. Of a root only the test part is read, or train where there is none.",
)
@click.option("--since", type=Duration(), metavar="TIME", help="Look at what was logged in the last TIME, such as 7d.")
@click.option(
    "--audited", is_flag=True, help="The labels of --latest are a random sample: they show how often it errs."
)
@click.option("--text-column", default=_DATA.text_column, help="Column of the texts in a table.")
@click.option("--label-column", default=_DATA.label_column, help="Column of the labels; a table may have none.")
@monitoring_options(None)
def check(
    latest: Path | None,
    since: float | None,
    audited: bool,
    text_column: str,
    label_column: str,
    settings: MonitoringSettings,
) -> int:
    """Compare texts with the training reference, once.

    The texts are those of --latest, or what the server logged of the current version: of the last --since, or all
    that is kept. Exits with 0 for no drift, 3 for drift, 4 for not enough data, 1 for an error. A window of too few
    texts goes on: the last verdict, its --html and its --json stay as they are.

    \b
    Examples:
      python monitoring.py check --since 7d --html drift.html
      python monitoring.py check --latest reviews.csv --text-column review
      python monitoring.py check --windows 2of3 --retrain --old-dataset-path datasets/aclImdb
    """
    if sum(given is not None for given in (latest, since, settings.windows)) > 1:
        raise click.UsageError("--latest, --since and --windows exclude each other")
    if audited and latest is None:
        raise click.UsageError("--audited goes with --latest; of the stored feedback its index says what is an audit")
    _check_before_work(settings)
    monitoring = _monitoring(settings)
    store = monitoring.store
    needs_state = settings.retrain or settings.windows is not None
    if store is None and needs_state:
        raise _no_store(settings)
    # Only these depend on what was kept; a check without them is not stopped by a damaged state.
    state = read_state(store) if store is not None and needs_state else DriftState()
    if store is not None:
        check_not_ahead(store, state, monitoring.clock())
    until = max(monitoring.clock() - _SETTLED_SECONDS, state.edge or 0.0)
    if latest is not None:
        data = read_latest(latest, DataOptions(text_column=text_column, label_column=label_column))
        if audited and data.audit is not None:
            raise click.UsageError(f"--audited: {latest} has an index, which says what is an audit; leave it out")
        source = str(latest) if data.part is None else f"{latest}, only its part {data.part.name}"
        notes = data.notes
        if data.labels is not None and data.audit is None and not audited:
            notes += (f"{len(data.labels):,} labels: no random sample, so no test of errors; see --audited.",)
        report = monitoring.check(
            data.texts, data.labels, audited or data.audit, times=data.times, source=source, notes=notes
        )
    elif settings.windows is not None:
        report = monitoring.check_log(state.edge, until, state.audited_since)
    else:
        report = monitoring.check_log(None if since is None else max(0.0, monitoring.clock() - since))
    is_extended = settings.windows is not None and report.verdict == NOT_ENOUGH_DATA and state.last_check is not None
    click.echo(_extended(report, monitoring.options) if is_extended else describe_drift(report))
    if store is not None and settings.windows is not None:
        window = _window(report, state, until)
        state = save_window(store, report.summary(), window, state, tests_audits=report.figures.tests_audits)
    elif store is not None and latest is None:
        save_check(store, report.summary())
    for path, content in ((settings.html, drift_page), (settings.json, DriftReport.to_json)):
        if path is not None and not is_extended:
            with atomic_file(path) as file:
                file.write(content(report))
    if store is not None and settings.retrain and _calls_for_retraining(report, state, settings.windows):
        reviews = read_labelled_reviews(settings.new_data_dir).reviews if settings.new_data_dir.exists() else ()
        retrain_if_due(
            store,
            fingerprint_of(reviews),
            different_texts(reviews),
            [sys.executable, str(_RETRAINING), *settings.retraining_arguments()],
            settings.policy,
            monitoring.clock(),
        )
    return EXITS[report.verdict]


@main.command()
@click.option(
    "--every",
    type=Duration(least=1, most=_YEAR),
    default="6h",
    metavar="TIME",
    help="Time from one window to the next.",
)
@monitoring_options("2of3")
@click.pass_context
def watch(context: click.Context, /, every: float, settings: MonitoringSettings) -> None:
    """Judge what was logged since the last window, again and again, until SIGTERM (status 0).

    Each run is a `check --windows` in a process of its own, whose output is passed on; one that fails is a line in
    the log, and the next one comes. A window of too few texts is extended by the next. Windows are kept beside the
    store, so that a restart neither skips nor repeats any.

    \b
    Example:
      python monitoring.py watch --every 6h --windows 2of3 --retrain --old-dataset-path datasets/aclImdb
    """
    _checked_url(settings.log_url)
    _check_before_work(settings)
    monitoring = _monitoring(settings)
    store = monitoring.store
    if store is None:
        raise _no_store(settings)
    state = read_state(store)
    check_not_ahead(store, state, monitoring.clock())

    def count_failure() -> None:
        try:
            update_state(store, lambda state: dataclasses.replace(state, failed_runs=state.failed_runs + 1))
        except (TextClfError, OSError) as error:
            click.echo(f"the failure could not be counted: {error}", err=True)

    watcher = Scheduler(
        [sys.executable, str(Path(__file__).resolve()), "check", *given_again(context, {"every", "log_url"})],
        every,
        set(EXITS.values()),
        count_failure,
        # The URL may hold a password, and the arguments of a process are there for everybody to see.
        {} if settings.log_url is None else {"PREDICTION_LOG_URL": settings.log_url},
    )
    watcher.run(monitoring.clock() if state.edge is None else state.edge + every)


def _check_before_work(settings: MonitoringSettings) -> None:
    """Find out at the start what would stop it at the end.

    Raises:
        click.UsageError, TextClfError: a retraining could not be started.
        OSError: a report could not be written.
    """
    for path in (settings.html, settings.json):
        if path is not None:
            check_writable(path)
    if settings.retrain:
        from retraining import check_run

        _, *arguments = settings.retraining_arguments()
        check_run(arguments)


def _monitoring(settings: MonitoringSettings) -> Monitoring:
    return Monitoring(
        settings.model_path,
        options=settings.drift_options,
        prediction_log_url=settings.log_url,
        new_data_dir=settings.new_data_dir,
        threads=settings.threads,
    )


def _no_store(settings: MonitoringSettings) -> ModelStoreError:
    return ModelStoreError(
        f"{settings.model_path}: expected a model store, beside which windows and retrainings are written down, found "
        f"none; name one with --model-path"
    )


def _window(report: DriftReport, before: DriftState, until: float) -> Window | None:
    """The window that a report judges; None if there were not enough texts."""
    if report.verdict == NOT_ENOUGH_DATA:
        return None
    first = report.compared.since
    start = until if first is None else datetime.fromisoformat(first).timestamp()
    return Window(
        start if before.edge is None else before.edge,
        until,
        report.compared.version,
        report.verdict,
        report.compared.texts,
    )


def _extended(report: DriftReport, options: DriftOptions) -> str:
    """What is said of a window that goes on: it has no verdict, so that the last one stands."""
    few = "1 text" if report.compared.texts == 1 else f"{report.compared.texts:,} texts"
    return f"{few} so far, too few (under {options.min_texts:,}): the window goes on, the last verdict stands"


def _calls_for_retraining(report: DriftReport, state: DriftState, windows: WindowRule | None) -> bool:
    """Whether this check, or enough of the last windows, found drift."""
    if windows is None:
        return report.verdict == DRIFT
    alarms = windows.alarms(state.windows, report.compared.version)
    if 0 < alarms < windows.needed:
        click.echo(f"drift in {alarms} of the last {windows.last} windows; {windows.needed} call for a retraining")
    return alarms >= windows.needed


if __name__ == "__main__":
    main()
