"""Samples that a drift check compares: a version with its reference, the latest texts, and labels."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from textclf.config import DataOptions
from textclf.data.labelled_reviews import LabelledReviews, different_texts, read_labelled_reviews, with_class_names
from textclf.data.prediction_log.clock_check import AHEAD_SECONDS
from textclf.drift.audit_run import AuditRun
from textclf.drift.features import TextFeatures
from textclf.drift.reference import REFERENCE_FILE, Reference, load_reference
from textclf.errors import InputError, ModelStoreError, export_again_command
from textclf.label_column import label_notes
from textclf.monitoring.audit_labels import UNLABELLED, LabelledPredictions, class_ids
from textclf.phases import announce_scoring
from textclf.rules.rewriting import failure_notes
from textclf.runtime.feature_extraction import text_features
from textclf.runtime.prediction import MARKERS
from textclf.runtime.predictor import Predictor
from textclf.store.model_store import ModelVersion, open_model
from textclf.tokenization.text_key import is_blank
from textclf.tokenization.text_tokenizer import load_tokenizer

# Labels other than random audits are counted but not tested; this many are enough.
MAX_OTHER_LABELS = 1000


@dataclass(frozen=True)
class Draws:
    """Random numbers of a check, with a stream for each purpose; the same seed gives the same verdict."""

    seed: int
    TESTS, TEXTS, AUDIT_ORDER, BOTH_STAGES = range(4)

    def stream(self, purpose: int) -> np.random.Generator:
        """A new stream for a purpose."""
        return np.random.default_rng([self.seed, purpose])

    def positions(self, count: int, max_count: int) -> NDArray[np.int64]:
        """All positions of `count` items, or `max_count` of them at random, ascending."""
        if count <= max_count:
            return np.arange(count)
        return np.sort(self.stream(self.TEXTS).choice(count, max_count, replace=False, shuffle=False))


@dataclass(frozen=True)
class OpenedVersion:
    """A model version with its reference and its vocabulary."""

    version: ModelVersion
    reference: Reference
    vocabulary: list[str]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names; the position is the class id."""
        return self.version.manifest.class_names

    @property
    def renames(self) -> dict[str, str]:
        """Class by the name that it has in the version's training data, where the two differ."""
        return dict(self.version.manifest.data.get("options", {}).get("rename_labels", {}))

    @property
    def created(self) -> float:
        """Creation time in seconds since the epoch."""
        return datetime.fromisoformat(self.version.manifest.created).timestamp()

    def usable_labels(self, found: LabelledReviews, renames: Mapping[str, str], add_classes: bool) -> int:
        """Number of different texts whose label a retraining can use: a class of the model, or with add_classes any."""
        reviews = with_class_names(found, self.class_names, renames, self.renames).reviews
        return different_texts([review for review in reviews if add_classes or review.label in self.class_names])


def open_version(model_path: Path) -> OpenedVersion:
    """Open the current version of a store, or one version's folder.

    Raises:
        ModelStoreError: if there is no version, or it has no reference or a damaged file.
    """
    version = open_model(model_path)
    if not version.has(REFERENCE_FILE):
        remedy = f"create it on the machine where the version was trained ({export_again_command(version.id)})"
        if version.manifest.source:
            remedy = "import the model again with labelled texts (textclf import HANDLE --calibration FILE)"
        raise ModelStoreError(f"{version.path}: expected a version with a drift reference, found none; {remedy}")
    version.verify([REFERENCE_FILE, "engine"])
    return OpenedVersion(
        version, load_reference(version.part(REFERENCE_FILE)), load_tokenizer(version.part("engine")).spellings()
    )


@dataclass(frozen=True)
class LatestSample:
    """Texts to compare.

    Attributes:
        features: features of the compared texts.
        source: description for the report.
        found: number of texts that the compared ones were drawn from.
        since, until: time span in seconds since the epoch; None if unknown.
        other_versions: number of texts of other versions in the span, by version id.
        damaged: number of damaged rows of the log that were left out.
        from_future: number of rows of the log that are ahead of the clock, which were left out.
        is_logged: whether the texts are those of the prediction log.
    """

    features: TextFeatures
    source: str
    found: int
    since: float | None = None
    until: float | None = None
    other_versions: dict[str, int] = dataclasses.field(default_factory=dict)
    damaged: int = 0
    from_future: int = 0
    is_logged: bool = False


@dataclass(frozen=True)
class LabelledSample:
    """Labels to compare with predictions.

    Attributes:
        predictions: predictions of the labelled texts; None without any.
        audits_since: start of the random audits in seconds since the epoch; None if unknown.
        earlier: CUSUM of the audits that earlier windows tested; None if these are the first.
        can_wait: True if too few audits are tested again with a later window.
        notes: sentences about labels that were left out.
    """

    predictions: LabelledPredictions | None = None
    audits_since: float | None = None
    earlier: AuditRun | None = None
    can_wait: bool = False
    notes: tuple[str, ...] = ()


def stored_reviews(folder: Path) -> LabelledReviews:
    """The reviews that the server stored; a file that can't be read is counted, so that it does not stop a check."""
    return (
        read_labelled_reviews(folder, DataOptions(skip_bad=True)) if folder.exists() else LabelledReviews((), 0, 0, 0)
    )


def check_given_labels(
    texts: int,
    source: str,
    labels: Sequence[str | int | None] | None,
    audit: Sequence[bool],
    times: Sequence[float | None] | None,
) -> None:
    """Check the labels that a caller passed.

    Raises:
        InputError: if a sequence does not have an item for each text, or texts are audited without labels.
    """
    for name, values in {"labels": labels, "audit": audit, "times": times}.items():
        if values is not None and len(values) != texts:
            raise InputError(f"{name}: expected one for each of {texts} texts, got {len(values)}")
    if any(audit) and (labels is None or all(label is None for label in labels)):
        raise InputError(f"{source}: expected labels of the random audit, found none")


def scored_features(texts: Sequence[str], opened: OpenedVersion, predictor: Predictor) -> TextFeatures:
    """The features of texts as the version scores them; announces it if it takes seconds."""
    announce_scoring(texts, opened.version.manifest.max_wordpieces, f"{len(texts):,} texts")
    return text_features(predictor, texts, opened.reference.projection)


def baseline_sample(
    texts: Sequence[str], opened: OpenedVersion, predictor: Predictor, draws: Draws, max_texts: int
) -> LatestSample:
    """The texts that replace those of the reference, at most as many as the reference has."""
    texts = [text for text in texts if not is_blank(text)]
    some = draws.positions(len(texts), min(max_texts, len(opened.reference.features)))
    features = scored_features([texts[at] for at in some], opened, predictor)
    return LatestSample(features, "training texts that were passed", len(texts))


def blank_rows(features: TextFeatures) -> NDArray[np.bool_]:
    """Whether each text has no wordpieces, bool [n]: it is counted, but not compared."""
    return features.lengths <= MARKERS


def labelled_predictions(
    ids: NDArray[np.int64],
    features: TextFeatures,
    is_audit: NDArray[np.bool_],
    times: NDArray[np.float64] | None,
) -> LabelledPredictions:
    """Labels of n texts and their predictions; a blank text counts as unlabelled."""
    known = np.where(blank_rows(features), UNLABELLED, ids)
    return LabelledPredictions(known, features.predicted, is_audit, times)


def with_audits(
    chosen: NDArray[np.int64], is_audit: NDArray[np.bool_], draws: Draws, max_audits: int
) -> NDArray[np.int64]:
    """Positions of the chosen texts and of all audits, or of `max_audits` of these at random; ascending.

    A draw from many texts would lose most of a few audits.
    """
    audits = np.flatnonzero(is_audit)
    return np.union1d(chosen, audits[draws.positions(len(audits), max_audits)])


def stored_labels(
    folder: Path | None,
    opened: OpenedVersion,
    predictor: Callable[[], Predictor],
    draws: Draws,
    since: float | None,
    until: float | None,
    audited_since: Mapping[str, float] | None,
    earlier: AuditRun | None,
    max_texts: int,
    now: float,
) -> LabelledSample:
    """Predict the reviews of a feedback folder that were labelled in [since, until).

    Args:
        folder: feedback folder; None or a missing folder has no labels.
        opened, predictor: the version, and what loads its predictor.
        draws: draws from the reviews.
        since, until: seconds since the epoch; None leaves that end open, except for labels from the future.
        audited_since: replaces `since` for random audits, by version id; see Monitoring.check_log.
        earlier: CUSUM of the version's audits until then.
        max_texts: maximum number of random audits.
        now: seconds since the epoch.

    Raises:
        DatasetError: if the folder can't be read.
    """
    if folder is None or not folder.exists():
        return LabelledSample()
    begin = max(since or 0.0, opened.created)
    audits_begin = begin
    if audited_since is not None:
        audits_begin = max(audited_since.get(opened.version.id, 0.0), opened.created)
    ahead = now + AHEAD_SECONDS
    end = ahead if until is None else until
    found = stored_reviews(folder)
    timed = [(review, review.time.timestamp()) for review in found.reviews if review.time is not None]
    from_future = sum(moment >= max(ahead, end) for _, moment in timed)
    inside = [pair for pair in timed if (audits_begin if pair[0].audit else begin) <= pair[1] < end]
    audits = [pair for pair in inside if pair[0].audit]
    others = [pair for pair in inside if not pair[0].audit]
    chosen = [audits[at] for at in draws.positions(len(audits), max_texts)]
    chosen += [others[at] for at in draws.positions(len(others), MAX_OTHER_LABELS)]
    notes = (*found.notes, *drawn_notes(len(audits), len(others), max_texts))
    if from_future:
        clocks = f"Labels with times in the future, left out: {from_future:,}. Check the clocks of the servers."
        notes = (*notes, clocks)
    if not chosen:
        return LabelledSample(notes=notes)
    reviews = [review for review, _ in chosen]
    texts = [review.text for review in reviews]
    announce_scoring(texts, opened.version.manifest.max_wordpieces, f"{len(texts):,} labelled texts")
    ids, changes = class_ids([review.label for review in reviews], opened.class_names, opened.renames)
    notes = (*notes, *label_notes(changes))
    loaded = predictor()
    predictions = LabelledPredictions(
        ids,
        loaded.predict_batch(texts).predicted,
        np.array([review.audit for review in reviews], bool),
        np.array([moment for _, moment in chosen], np.float64),
    )
    notes = (*notes, *failure_notes(loaded))
    return LabelledSample(predictions, audits_begin, earlier, audited_since is not None, notes)


def drawn_notes(audits: int, others: int, max_audits: int) -> tuple[str, ...]:
    """A sentence for each kind of labels of which only a random draw is counted."""
    limits = {"Random audits": (audits, max_audits), "Other labels": (others, MAX_OTHER_LABELS)}
    return tuple(
        f"{kind}: {limit:,} of {count:,} were drawn at random."
        for kind, (count, limit) in limits.items()
        if count > limit
    )


def with_held_out_outputs(texts: TextFeatures, held_out: TextFeatures) -> TextFeatures:
    """Replace the model's outputs on some texts by those on held-out texts; cut both to the shorter length.

    Each test family uses its own columns, so the columns of a row may come from different texts.
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
