"""Old and new labelled texts become one data set; each new text that is left out is listed with the reason.

The decision about a new text depends on the text, its label and its source, not on its time or its file. Old texts and
test texts are never removed: the champion was trained and measured on them, and no sender of reviews can remove one.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from textclf.config import CombineOptions
from textclf.data.content_hash import content_digest, is_held_out, normalised
from textclf.data.datasets import Dataset, Split
from textclf.data.labelled_reviews import LabelledReview, fingerprint_of
from textclf.data.splits import text_digest
from textclf.retraining.near_duplicates import Familiar, NearDuplicates, Shingles
from textclf.retraining.removals import Reason, Removed
from textclf.retraining.sources import Sources
from textclf.stats.label_sources import SourceContradictions

_DEFAULT_OPTIONS = CombineOptions()
# The time of a text whose time is unknown.
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Combined:
    """A data set to train a challenger on.

    Attributes:
        class_names: of the old data; the position is the class id.
        train: the old texts (training and validation), then those of `added`.
        holdout: the texts of `held_out`, on which no model is trained; may be empty.
        added, held_out: new reviews, in an order by hash.
        removed: the other new reviews, in the order given.
        sources: how often each source contradicts the champion; small sources together, trusted ones not.
        counts: numbers of "old" and "new" texts and the "room" for new ones in train; and the "outcomes" of the
            new texts: how many were "added", "held" or removed for each reason, in all and "by_source".
        fingerprint: of the new data as it was read (fingerprint_of).
        options: options of combine.
    """

    class_names: tuple[str, ...]
    train: Split
    holdout: Split
    added: tuple[LabelledReview, ...]
    held_out: tuple[LabelledReview, ...]
    removed: tuple[Removed, ...]
    sources: tuple[SourceContradictions, ...]
    counts: dict[str, Any]
    fingerprint: str
    options: CombineOptions


def combine(
    old: Dataset,
    new: Sequence[LabelledReview],
    test_set: Split,
    champion_labels: Sequence[str],
    options: CombineOptions = _DEFAULT_OPTIONS,
    *,
    trained_until: datetime | None = None,
) -> Combined:
    """Clean the new texts, hold a share of them out, and add the others to the old ones.

    The rules, in their order; "equal" is by textclf.data.content_hash.normalised, "near" by shared runs of words:

    1. A text with a label that the old data does not have is removed.
    2. A text equal to or near a test text is removed: it is neither trained on nor measured twice.
    3. Equal texts with different labels are all removed. If one equals an old text with another label, the old label
       counts: otherwise anybody could remove old texts.
    4. One of several equal texts is kept, the old one if there is one.
    5. One of several near texts is kept: the old one, or the one with the smallest digest. A held-out text has a
       smaller digest than any other, so it is kept, and no text near it is trained on. The search is approximate
       (near_duplicates.py): it misses one in a thousand of the pairs that are just near enough, and compares a text
       with the likeliest candidates only. So a few near texts may both be kept.
    6. The digest decides whether a text is held out. A text never changes sides: if it is removed, it is on neither.
       Old texts were trained on, so a new text near one can't be held out.
    7. A source whose labels contradict the champion far more often than those of the others is removed from both
       sides. A single text that contradicts the champion may be drift. Sources are judged by texts that the champion
       was not trained on: those to hold out, and those first stored after `trained_until`; by all if that is None.
    8. Quotas limit the training texts and the holdout, so that a flood fills neither (CombineOptions). Sources take
       turns, each with its texts by digest, so that a source with few texts keeps most of them.

    Args:
        old: the champion's data, loaded with its DataOptions.
        new: all labelled reviews, also those of earlier rounds.
        test_set: the reference test set, which is the test part of `old`.
        champion_labels: the champion's prediction for each new text, [len(new)].
        options: shares, quotas and limits.
        trained_until: creation time of the champion, if it may have been trained on some of the new texts; None if
            it was trained on `old` alone.

    Raises:
        ValueError: if the lengths of champion_labels and new differ.
    """
    if len(champion_labels) != len(new):
        raise ValueError(f"expected a predicted label for each of {len(new)} new texts, got {len(champion_labels)}")
    cleaning = _Cleaning(old.class_names, new, options)
    trained_on = old.train, old.validation_select, old.validation_calibrate
    old_texts = [text for split in trained_on for text in split.texts]
    old_labels = np.concatenate([split.labels for split in trained_on])
    cleaning.remove_unknown_labels()
    cleaning.remove_test_texts(test_set.texts)
    cleaning.remove_equal(old_texts, old_labels)
    cleaning.remove_near(old_texts)
    sources = Sources({i: new[i].source for i in cleaning.left}, cleaning.not_trained_on(trained_until), options)
    contradicts = {i: new[i].label != champion_labels[i] for i in cleaning.left}
    source_results, outliers = sources.judge(contradicts)
    cleaning.remove(outliers)
    old_shares = np.bincount(old_labels, minlength=len(old.class_names)) / len(old_labels)
    capacity = math.floor(options.new_share / (1 - options.new_share) * len(old_labels))
    holdout_capacity = math.floor(options.holdout_share / (1 - options.holdout_share) * capacity)
    several = len({sources[i] for i in cleaning.left}) > 1
    held_out, added = cleaning.divided()

    def within_quotas(members: list[int], capacity: int) -> list[int]:
        kept, reasons = sources.within_quotas(
            members,
            cleaning.class_ids,
            capacity,
            math.ceil(capacity * options.source_share) if several else capacity,
            np.ceil(capacity * np.minimum(1, options.class_slack * old_shares)).astype(int).tolist(),
        )
        cleaning.remove(reasons)
        return sorted(kept, key=cleaning.rank)

    added = within_quotas(added, capacity)
    held_out = within_quotas(held_out, max(options.holdout_room, holdout_capacity))
    train, holdout = cleaning.split_of(added), cleaning.split_of(held_out)
    outcomes = {i: str(removed.reason) for i, removed in cleaning.removed.items()}
    outcomes |= dict.fromkeys(added, "added") | dict.fromkeys(held_out, "held")
    return Combined(
        class_names=old.class_names,
        train=Split((*old_texts, *train.texts), np.concatenate([old_labels, train.labels])),
        holdout=holdout,
        added=tuple(new[i] for i in added),
        held_out=tuple(new[i] for i in held_out),
        removed=tuple(removed for _, removed in sorted(cleaning.removed.items())),
        sources=source_results,
        counts={"old": len(old_labels), "new": len(new), "room": capacity, **_counted(new, outcomes)},
        fingerprint=fingerprint_of(new),
        options=options,
    )


def _counted(new: Sequence[LabelledReview], outcomes: Mapping[int, str]) -> dict[str, Any]:
    by_source: dict[str, Counter[str]] = {}
    for i, outcome in sorted(outcomes.items()):
        by_source.setdefault(new[i].source, Counter())[outcome] += 1
    everything = Counter(outcomes.values())
    return {"outcomes": dict(everything), "by_source": {source: dict(count) for source, count in by_source.items()}}


class _Cleaning:
    """The new texts that are left, and why the others were removed; a text is its position in `new`."""

    def __init__(self, class_names: Sequence[str], new: Sequence[LabelledReview], options: CombineOptions) -> None:
        self.new = new
        self.options = options
        self.ids = {name: i for i, name in enumerate(class_names)}
        self.digests = [content_digest(review.text) for review in new]
        self.left = sorted(range(len(new)), key=self.rank)
        self.removed: dict[int, Removed] = {}
        self._shingles = Shingles(options.shingle_words)
        self._runs_by_digest: dict[bytes, np.ndarray] = {}

    def rank(self, i: int) -> tuple[bytes, bytes, str, str]:
        """Sort key that depends on content only and puts equal texts next to each other."""
        review = self.new[i]
        return self.digests[i], text_digest(review.text), review.source, review.label

    def remove(self, reasons: Mapping[int, tuple[Reason, str]]) -> None:
        """Remove texts, each for a reason with its detail."""
        self.removed |= {i: Removed(self.new[i], reason, detail) for i, (reason, detail) in reasons.items()}
        self.left = [i for i in self.left if i not in reasons]

    @property
    def class_ids(self) -> dict[int, int]:
        """The class id of each text that is left."""
        return {i: self.ids[self.new[i].label] for i in self.left}

    def remove_unknown_labels(self) -> None:
        """Rule 1."""
        known = ", ".join(self.ids)
        unknown = [i for i in self.left if self.new[i].label not in self.ids]
        self.remove(dict.fromkeys(unknown, (Reason.UNKNOWN_LABEL, f"the labels are {known}")))

    def remove_test_texts(self, test_texts: Sequence[str]) -> None:
        """Rule 2."""
        by_digest = {content_digest(text): text for text in test_texts}
        copies = [i for i in self.left if self.digests[i] in by_digest]
        self.remove({i: (Reason.COPY_OF_TEST, _name(by_digest[self.digests[i]])) for i in copies})
        near = self._index(test_texts)
        hits = {self.digests[i]: near.find(self._runs(i)) for i in self._distinct()}
        reasons: dict[int, tuple[Reason, str]] = {}
        for i in self.left:
            if (hit := hits[self.digests[i]]) is not None:
                reasons[i] = (Reason.NEAR_TEST, _near(test_texts[hit.key], hit.jaccard))
        self.remove(reasons)

    def remove_equal(self, old: Sequence[str], old_labels: np.ndarray) -> None:
        """Rules 3 and 4."""
        old_by_digest: dict[bytes, list[int]] = {}
        for place, text in enumerate(old):
            old_by_digest.setdefault(content_digest(text), []).append(place)
        groups: dict[bytes, list[int]] = {}
        for i in self.left:
            groups.setdefault(self.digests[i], []).append(i)
        reasons: dict[int, tuple[Reason, str]] = {}
        for digest, members in groups.items():
            labels = sorted({self.new[i].label for i in members})
            copies = old_by_digest.get(digest, [])
            if len(labels) > 1:
                reasons |= dict.fromkeys(members, (Reason.CONTRADICTORY_LABELS, f"labelled {', '.join(labels)}"))
            elif copies:
                same = any(old_labels[place] == self.ids[labels[0]] for place in copies)
                reason = Reason.COPY_OF_OLD if same else Reason.CONTRADICTS_OLD
                reasons |= dict.fromkeys(members, (reason, _name(old[copies[0]])))
            else:
                reasons |= dict.fromkeys(members[1:], (Reason.DUPLICATE, _name(self.new[members[0]].text)))
        self.remove(reasons)

    def remove_near(self, old: Sequence[str]) -> None:
        """Rule 5."""
        near = self._index(old)
        reasons: dict[int, tuple[Reason, str]] = {}
        for i in self.left:
            runs = self._runs(i)
            hit = near.find(runs)
            if hit is None:
                near.add(len(old) + i, runs)
            elif hit.key < len(old):
                reasons[i] = (Reason.NEAR_OLD, _near(old[hit.key], hit.jaccard))
            else:
                reasons[i] = (Reason.NEAR_DUPLICATE, _near(self.new[hit.key - len(old)].text, hit.jaccard))
        self.remove(reasons)

    def _distinct(self) -> list[int]:
        """One of each set of equal texts that is left, so that copies are looked up once."""
        return list({self.digests[i]: i for i in self.left}.values())

    def _runs(self, i: int) -> np.ndarray:
        """The shingles of a new text; equal texts share them."""
        digest = self.digests[i]
        if digest not in self._runs_by_digest:
            self._runs_by_digest[digest] = self._shingles.of(normalised(self.new[i].text))
        return self._runs_by_digest[digest]

    def _index(self, texts: Sequence[str]) -> NearDuplicates:
        """An index of those texts that a new text may be near."""
        familiar = Familiar(map(self._runs, self._distinct()), self.options.near_jaccard)
        index = NearDuplicates(self.options.near_jaccard)
        for key, text in enumerate(texts if self.left else ()):
            runs = self._shingles.of(normalised(text))
            if familiar.may_hold(runs):
                index.add(key, runs)
        return index

    def not_trained_on(self, trained_until: datetime | None) -> list[int]:
        """The texts that are left and that the champion was not trained on; all if `trained_until` is None."""
        if trained_until is None:
            return self.left
        first_stored: dict[bytes, datetime] = {}  # The champion may have been trained on any of several equal texts.
        for digest, review in zip(self.digests, self.new, strict=True):
            time = review.time or _LONG_AGO
            first_stored[digest] = min(time, first_stored.get(digest, time))
        share = self.options.holdout_share
        return [
            i for i in self.left if is_held_out(self.digests[i], share) or first_stored[self.digests[i]] > trained_until
        ]

    def split_of(self, members: Sequence[int]) -> Split:
        """The texts and class ids of some of the new reviews."""
        labels = np.array([self.ids[self.new[i].label] for i in members], np.int32)
        return Split(tuple(self.new[i].text for i in members), labels)

    def divided(self) -> tuple[list[int], list[int]]:
        """The texts to hold out, and the others."""
        held_out = [i for i in self.left if is_held_out(self.digests[i], self.options.holdout_share)]
        return held_out, sorted(set(self.left) - set(held_out), key=self.rank)


def _name(text: str) -> str:
    """SHA-256 of the text: its file name in a combined data set."""
    return text_digest(text).hex()


def _near(text: str, similarity: float) -> str:
    return f"{_name(text)} (Jaccard {similarity:.2f})"
