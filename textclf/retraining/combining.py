"""Old and new labelled texts become one data set; each new text that is left out is listed with the reason.

The decision about a new text depends on the text, its label and its source, not on its file. Its time matters only
among equal texts, which are all on one side. Old texts and test texts are never removed: the champion was
trained and measured on them, and no sender of reviews can remove one.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from textclf.data.content_hash import content_digest, is_held_out
from textclf.data.datasets import Dataset
from textclf.data.labelled_reviews import LabelledReview, fingerprint_of
from textclf.data.near_duplicates import Familiar, NearDuplicates, Shingles
from textclf.data.splits import Split, joined_weights, text_digest
from textclf.labels import OTHER_LABEL, check_class_names
from textclf.retraining.removals import Reason, Removed
from textclf.retraining.sources import Sources
from textclf.retraining_options import CombineOptions
from textclf.stats.label_sources import SourceContradictions
from textclf.tokenization.text_key import KeyFunction, TextKeys

_DEFAULT_OPTIONS = CombineOptions()
# The time of a text whose time is unknown.
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Combined:
    """A data set to train a challenger on.

    Attributes:
        class_names: of the champion and of `new_classes`; the position is the class id.
        new_classes: classes that the champion does not have.
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
    new_classes: tuple[str, ...]
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
    class_names: Sequence[str] | None = None,
    trained_until: datetime | None = None,
    text_keys: KeyFunction | None = None,
) -> Combined:
    """Clean the new texts, hold a share of them out, and add the others to the old ones.

    The rules, in their order; "equal" is by textclf.tokenization.text_key, "near" by shared runs of words:

    1. A text with a label that the champion does not have is removed. With options.add_classes the label becomes a
       class if at least options.min_class_texts different texts have it, also after rule 7.
    2. A text equal to or near a test text is removed: it is neither trained on nor measured twice.
    3. Equal texts with different labels are all removed. If one equals an old text with another label, the old label
       counts: otherwise anybody could remove old texts.
    4. One of several equal texts is kept, the old one if there is one.
    5. One of several near texts is kept: the old one, or the one with the smallest digest. A held-out text has a
       smaller digest than any other, so it is kept, and no text near it is trained on. The search is approximate
       (near_duplicates.py): it misses one in a thousand of the pairs that are just near enough, and compares a text
       with the likeliest candidates only. So a few near texts may both be kept.
    6. The digest decides whether a text is held out: textclf.data.content_hash.content_digest of the text. Equal texts
       are on the side of the one that was stored first. A text of unknown time may have been the first: the largest
       digest of these texts and of the first one with a time decides. So no later copy moves a text that was trained
       on into the holdout; if a text is removed, it is on neither side. Two changes can still move a text: a file of
       equal texts is deleted, or an encoder with another vocabulary reads other texts as equal. Old texts were trained
       on, so a new text near one can't be held out.
    7. A source whose labels contradict the champion far more often than those of the others is removed from both
       sides. A single text that contradicts the champion may be drift. Sources are judged by texts that the champion
       was not trained on: those to hold out, and those first stored after `trained_until`; by all if that is None.
       A label that the champion does not have contradicts nothing.
    8. Quotas limit the training texts and the holdout, so that a flood fills neither (CombineOptions). Sources take
       turns, each with its texts by digest, so that a source with few texts keeps most of them. The quota of a class
       follows from its share of the old texts; a class without old texts counts as one with an even share.

    Args:
        old: the champion's data, loaded with its DataOptions.
        new: all labelled reviews, also those of earlier rounds.
        test_set: the reference test set, which is the test part of `old`.
        champion_labels: the champion's prediction for each new text, [len(new)].
        options: shares, quotas and limits.
        class_names: of the champion, by default those of `old`. It may have more: classes that were added before, whose
            texts are among the new ones.
        trained_until: creation time of the champion, if it may have been trained on some of the new texts; None if
            it was trained on `old` alone.
        text_keys: TextKeys of the champion's tokenizer; None compares texts without a vocabulary.

    Raises:
        ValueError: if the lengths of champion_labels and new differ.
        DatasetError: if the name of a new class is not allowed.
    """
    if len(champion_labels) != len(new):
        raise ValueError(f"expected a predicted label for each of {len(new)} new texts, got {len(champion_labels)}")
    known = tuple(class_names or old.class_names)
    cleaning = _Cleaning(known, new, options, text_keys or TextKeys())
    cleaning.remove_unknown_labels()
    trained_on = old.train, old.validation_select, old.validation_calibrate
    old_texts = [text for split in trained_on for text in split.texts]
    old_names = [old.class_names[i] for split in trained_on for i in split.labels.tolist()]
    old_labels = np.array([cleaning.ids[name] for name in old_names])
    cleaning.remove_test_texts(test_set.texts)
    cleaning.remove_equal(old_texts, old_labels)
    cleaning.remove_near(old_texts)
    judged = [i for i in cleaning.not_trained_on(trained_until) if new[i].label in known]
    sources = Sources({i: new[i].source for i in cleaning.left}, judged, options)
    contradicts = {i: new[i].label != champion_labels[i] for i in cleaning.left}
    source_results, outliers = sources.judge(contradicts)
    cleaning.remove(outliers)
    cleaning.remove_unknown_labels()
    names = tuple(cleaning.ids)
    old_labels = np.array([cleaning.ids[name] for name in old_names], np.int32)
    old_texts_of = np.bincount(old_labels, minlength=len(names))
    old_shares = np.where(old_texts_of, old_texts_of / len(old_labels), 1 / len(names))
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
        class_names=names,
        new_classes=tuple(name for name in names if name not in known),
        train=Split(
            (*old_texts, *train.texts),
            np.concatenate([old_labels, train.labels]),
            joined_weights((*trained_on, train)),
        ),
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

    def __init__(
        self,
        class_names: Sequence[str],
        new: Sequence[LabelledReview],
        options: CombineOptions,
        text_keys: KeyFunction,
    ) -> None:
        self.new = new
        self.options = options
        self.known = tuple(class_names)
        self.ids = {name: i for i, name in enumerate(class_names)}
        self._text_keys = text_keys
        self.keys = text_keys(review.text for review in new)
        self._origins = _origins(new, self.keys)
        self.digests = [self._origins[key].digest for key in self.keys]
        self.left = sorted(range(len(new)), key=self.rank)
        self.removed: dict[int, Removed] = {}
        self._shingles = Shingles(options.shingle_words)
        self._runs_by_key: dict[bytes, np.ndarray] = {}

    def rank(self, i: int) -> tuple[bytes, bytes, bytes, str, str]:
        """Sort key that puts equal texts next to each other, and held-out texts before the others."""
        review = self.new[i]
        return self.digests[i], self.keys[i], text_digest(review.text), review.source, review.label

    def remove(self, reasons: Mapping[int, tuple[Reason, str]]) -> None:
        """Remove texts, each for a reason with its detail."""
        self.removed |= {i: Removed(self.new[i], reason, detail) for i, (reason, detail) in reasons.items()}
        self.left = [i for i in self.left if i not in reasons]

    @property
    def class_ids(self) -> dict[int, int]:
        """The class id of each text that is left."""
        return {i: self.ids[self.new[i].label] for i in self.left}

    def remove_unknown_labels(self) -> None:
        """Rule 1; `ids` then has the classes of the labels that are left."""
        texts: dict[str, set[bytes]] = {}
        for i in self.left:
            if (label := self.new[i].label) not in self.known:
                texts.setdefault(label, set()).add(self.keys[i])
        needed = self.options.min_class_texts
        added = {
            label
            for label, keys in texts.items()
            if self.options.add_classes and len(keys) >= needed and label != OTHER_LABEL
        }
        reasons: dict[int, tuple[Reason, str]] = {}
        for i in self.left:
            if (label := self.new[i].label) in texts.keys() - added:
                count = (
                    f"; {len(texts[label])} of at least {needed} different texts" if self.options.add_classes else ""
                )
                reasons[i] = Reason.UNKNOWN_LABEL, f"the labels are {', '.join(self.known)}{count}"
        self.remove(reasons)
        names = check_class_names([*self.known, *added], "labels of the new texts") if added else self.known
        self.ids = {name: i for i, name in enumerate(names)}

    def remove_test_texts(self, test_texts: Sequence[str]) -> None:
        """Rule 2."""
        by_key = dict(zip(self._text_keys(test_texts), test_texts, strict=True))
        copies = [i for i in self.left if self.keys[i] in by_key]
        self.remove({i: (Reason.COPY_OF_TEST, _name(by_key[self.keys[i]])) for i in copies})
        near = self._index(test_texts)
        hits = {self.keys[i]: near.find(self._runs(i)) for i in self._distinct()}
        reasons: dict[int, tuple[Reason, str]] = {}
        for i in self.left:
            if (hit := hits[self.keys[i]]) is not None:
                reasons[i] = (Reason.NEAR_TEST, _near(test_texts[hit.key], hit.jaccard))
        self.remove(reasons)

    def remove_equal(self, old: Sequence[str], old_labels: np.ndarray) -> None:
        """Rules 3 and 4."""
        old_by_key: dict[bytes, list[int]] = {}
        for place, key in enumerate(self._text_keys(old)):
            old_by_key.setdefault(key, []).append(place)
        groups: dict[bytes, list[int]] = {}
        for i in self.left:
            groups.setdefault(self.keys[i], []).append(i)
        reasons: dict[int, tuple[Reason, str]] = {}
        for key, members in groups.items():
            labels = sorted({self.new[i].label for i in members})
            copies = old_by_key.get(key, [])
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
        return list({self.keys[i]: i for i in self.left}.values())

    def _runs(self, i: int) -> np.ndarray:
        """The shingles of a new text; equal texts share them."""
        key = self.keys[i]
        if key not in self._runs_by_key:
            self._runs_by_key[key] = self._shingles.of(self.new[i].text)
        return self._runs_by_key[key]

    def _index(self, texts: Sequence[str]) -> NearDuplicates:
        """An index of those texts that a new text may be near."""
        familiar = Familiar(map(self._runs, self._distinct()), self.options.near_jaccard)
        index = NearDuplicates(self.options.near_jaccard)
        for key, text in enumerate(texts if self.left else ()):
            runs = self._shingles.of(text)
            if familiar.may_hold(runs):
                index.add(key, runs)
        return index

    def not_trained_on(self, trained_until: datetime | None) -> list[int]:
        """The texts that are left and that the champion was not trained on; all if `trained_until` is None."""
        if trained_until is None:
            return self.left
        share = self.options.holdout_share
        # The champion may have been trained on any of several equal texts.
        return [
            i
            for i in self.left
            if is_held_out(self.digests[i], share) or self._origins[self.keys[i]].time > trained_until
        ]

    def split_of(self, members: Sequence[int]) -> Split:
        """The texts and class ids of some of the new reviews."""
        labels = np.array([self.ids[self.new[i].label] for i in members], np.int32)
        return Split(tuple(self.new[i].text for i in members), labels)

    def divided(self) -> tuple[list[int], list[int]]:
        """The texts to hold out, and the others."""
        held_out = [i for i in self.left if is_held_out(self.digests[i], self.options.holdout_share)]
        return held_out, sorted(set(self.left) - set(held_out), key=self.rank)


class _Origin(NamedTuple):
    """When the first of several equal texts was stored, and the digest that decides their side."""

    time: datetime
    digest: bytes


def _origins(new: Sequence[LabelledReview], keys: Sequence[bytes]) -> dict[bytes, _Origin]:
    """The origin of the texts with each key.

    The digest never becomes smaller when texts are added, whatever is known of their times. Small digests are held out,
    so a text that was trained on stays on its side.
    """
    timed: dict[bytes, _Origin] = {}
    untimed: dict[bytes, _Origin] = {}
    for review, key in zip(new, keys, strict=True):
        origin = _Origin(review.time or _LONG_AGO, content_digest(review.text))
        found = timed if review.time else untimed
        known = found.setdefault(key, origin)
        if origin.time < known.time or (origin.time == known.time and origin.digest > known.digest):
            found[key] = origin
    for key, origin in untimed.items():
        timed[key] = _Origin(_LONG_AGO, max(origin.digest, timed.get(key, origin).digest))
    return timed


def _name(text: str) -> str:
    """SHA-256 of the text: its file name in a combined data set."""
    return text_digest(text).hex()


def _near(text: str, similarity: float) -> str:
    return f"{_name(text)} (Jaccard {similarity:.2f})"
