"""Old and new labelled texts become one data set; each new text that is left out is listed with the reason.

What is decided about a new text depends on what it says, its label and its source, never on when it came or where
its file lies. Old and golden texts are not judged: the champion was trained and measured on them as they are, and
nobody who sends reviews can have one of them removed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from textclf.config import CombineOptions
from textclf.data.content_hash import content_digest, is_held_out, normalised
from textclf.data.datasets import Dataset, Split
from textclf.data.labelled_reviews import LabelledReview, fingerprint_of
from textclf.data.splits import text_digest
from textclf.retraining.near_duplicates import Familiar, NearDuplicates, Shingles

if TYPE_CHECKING:
    from textclf.stats.label_sources import SourceContradictions

_DEFAULT_OPTIONS = CombineOptions()
# What the sources with few texts are called when they are taken together; a source of that name is one of them.
SMALL_SOURCES = "small sources"
# When a text was stored of which nobody knows.
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Judge(Protocol):
    """Says which sources contradict the champion too often: textclf.stats.label_sources.contradicting_sources."""

    def __call__(
        self, sources: Sequence[str], contradicts: NDArray[np.bool_], *, alpha: float, margin: float, least: int
    ) -> tuple[SourceContradictions, ...]:
        """One result a source."""


class Reason(StrEnum):
    """Why a new text is left out, in the order in which the reasons are looked for."""

    UNKNOWN_LABEL = "unknown_label"
    COPY_OF_GOLDEN = "copy_of_golden"
    NEAR_GOLDEN = "near_golden"
    CONTRADICTORY_LABELS = "contradictory_labels"
    CONTRADICTS_OLD = "contradicts_old"
    COPY_OF_OLD = "copy_of_old"
    DUPLICATE = "duplicate"
    NEAR_OLD = "near_old"
    NEAR_DUPLICATE = "near_duplicate"
    CONTRADICTING_SOURCE = "contradicting_source"
    NEW_SHARE = "new_share"
    SOURCE_QUOTA = "source_quota"
    CLASS_QUOTA = "class_quota"


@dataclass(frozen=True)
class Removed:
    """A new text that is left out.

    Attributes:
        review: as it was read.
        reason: the first that holds.
        detail: the SHA-256 of the text that it resembles, the quota that was full, and the like.
    """

    review: LabelledReview
    reason: Reason
    detail: str


@dataclass(frozen=True, eq=False)
class Combined:
    """A data set to train a challenger on.

    Attributes:
        class_names: those of the old data; position is the class id.
        train: the old texts (training and validation), then those of `added`.
        holdout: the texts of `held`, which nothing is ever trained on; may be empty.
        added, held: new reviews, in an order by hash.
        removed: the other new reviews, in the order they were given.
        sources: how often each source contradicts the champion, on the texts that it is judged by; the small ones
            together, the trusted ones not at all.
        counts: the numbers of `old` and `new` texts and the `room` for new ones in train; and the `outcomes` of the
            new texts: how many are "added", "held", or left out for which reason, in all and `by_source`.
        fingerprint: of the new data as it was read, see fingerprint_of.
        options: that it was made with.
    """

    class_names: tuple[str, ...]
    train: Split
    holdout: Split
    added: tuple[LabelledReview, ...]
    held: tuple[LabelledReview, ...]
    removed: tuple[Removed, ...]
    sources: tuple[SourceContradictions, ...]
    counts: dict[str, Any]
    fingerprint: str
    options: CombineOptions


def combine(
    old: Dataset,
    new: Sequence[LabelledReview],
    golden: Split,
    champion_labels: Sequence[str],
    options: CombineOptions = _DEFAULT_OPTIONS,
    *,
    judge: Judge,
    learnt_until: datetime | None = None,
) -> Combined:
    """Clean the new texts, hold a share of them out, and add the others to the old ones.

    The rules, in their order; "equal" is by textclf.data.content_hash.normalised, "near" by shared runs of words:

    1. A label that the old data do not have: the text goes.
    2. A golden text, equal or near, is never trained on, nor measured twice: the new one goes.
    3. Equal texts with several labels: all of them go, because nobody can say who is right. Where one equals
       an old text with another label, the old label stands: else anybody could have old texts removed.
    4. Of equal texts one stays, that of an old text if there is one.
    5. Of near ones too: the old text, or else the one with the smallest digest. A held-out text has a smaller
       digest than any other, so it stays, and what is near it is not trained on. The search is approximate
       (near_duplicates.py): of pairs that are just near enough it misses one in a thousand, and of a text
       that resembles very many others it looks at the likeliest only. So a few texts that are near may both be kept.
    6. A text is held out if its digest says so. It never changes sides: where it gives way to another, or finds
       no room, it is on neither. Old texts were trained on, so that a new text near one can't be held out.
    7. A source whose labels contradict the champion far more often than those of the others is set aside,
       on both sides (`judge`). A single text that contradicts it is what drift looks like. A source is judged by texts
       that the champion was not trained on, because what it has learnt it contradicts little: those that would be
       held out, and those that were stored after `learnt_until`, no equal one before; all, where that is None.
    8. Quotas, in the training texts and in the holdout alike, so that a flood owns neither: see CombineOptions.
       Sources take turns, each with its texts by digest, so that one with few texts keeps most of them.

    Who sends labels says what its source is. So sources with too few texts to be judged by are one source to rules 7
    and 8: a thousand invented names are judged together, and have one turn and one quota. Trusted sources are none of
    them.

    Args:
        old: the champion's data, loaded with its DataOptions.
        new: every labelled review there is; also those of earlier rounds.
        golden: the old test part.
        champion_labels: the label that the champion predicts for each new text, [len(new)].
        options: see CombineOptions.
        judge: see Judge.
        learnt_until: when the champion was saved, if it may have been trained on some of the new texts as well; None
            if it was trained on `old` alone.

    Raises:
        ValueError: champion_labels has another length than new.
    """
    if len(champion_labels) != len(new):
        raise ValueError(f"expected a predicted label for each of {len(new)} new texts, got {len(champion_labels)}")
    cleaning = _Cleaning(old.class_names, new, options)
    old_texts = [text for split in _trained_on(old) for text in split.texts]
    old_labels = np.concatenate([split.labels for split in _trained_on(old)])
    cleaning.remove_unknown_labels()
    cleaning.remove_golden(golden.texts)
    cleaning.remove_equal(old_texts, old_labels)
    cleaning.remove_near(old_texts)
    sources = cleaning.remove_contradicting_sources(champion_labels, judge, learnt_until)
    old_shares = np.bincount(old_labels, minlength=len(old.class_names)) / len(old_labels)
    room = math.floor(options.new_share / (1 - options.new_share) * len(old_labels))
    holdout_room = math.floor(options.holdout_share / (1 - options.holdout_share) * room)
    held, added = cleaning.divided()
    several = len({cleaning.source_of(i) for i in (*held, *added)}) > 1
    added = cleaning.within_quotas(added, room, old_shares, several)
    held = cleaning.within_quotas(held, max(options.holdout_room, holdout_room), old_shares, several)
    train, holdout = cleaning.split_of(added), cleaning.split_of(held)
    outcomes = {i: str(removed.reason) for i, removed in cleaning.removed.items()}
    outcomes |= dict.fromkeys(added, "added") | dict.fromkeys(held, "held")
    return Combined(
        class_names=old.class_names,
        train=Split((*old_texts, *train.texts), np.concatenate([old_labels, train.labels])),
        holdout=holdout,
        added=tuple(new[i] for i in added),
        held=tuple(new[i] for i in held),
        removed=tuple(removed for _, removed in sorted(cleaning.removed.items())),
        sources=sources,
        counts={"old": len(old_labels), "new": len(new), "room": room, **_counted(new, outcomes)},
        fingerprint=fingerprint_of(new),
        options=options,
    )


def _trained_on(old: Dataset) -> tuple[Split, ...]:
    """The old texts that shaped the champion, for fitting, choosing and calibrating."""
    return old.train, old.validation_select, old.validation_calibrate


def _counted(new: Sequence[LabelledReview], outcomes: Mapping[int, str]) -> dict[str, Any]:
    by_source: dict[str, Counter[str]] = {}
    for i, outcome in sorted(outcomes.items()):
        by_source.setdefault(new[i].source, Counter())[outcome] += 1
    everything = Counter(outcomes.values())
    return {"outcomes": dict(everything), "by_source": {source: dict(count) for source, count in by_source.items()}}


class _Cleaning:
    """The new texts that are left, and why the others went; texts go by their position in `new`."""

    def __init__(self, class_names: Sequence[str], new: Sequence[LabelledReview], options: CombineOptions) -> None:
        self.new = new
        self.options = options
        self.ids = {name: i for i, name in enumerate(class_names)}
        self.digests = [content_digest(review.text) for review in new]
        self.left = sorted(range(len(new)), key=self._rank)
        self.removed: dict[int, Removed] = {}
        self._small: frozenset[str] = frozenset()
        self._shingles = Shingles(options.shingle_words)
        self._runs_by_digest: dict[bytes, np.ndarray] = {}

    def _rank(self, i: int) -> tuple[bytes, bytes, str, str]:
        """An order that depends on content only. Equal texts stand together."""
        review = self.new[i]
        return self.digests[i], text_digest(review.text), review.source, review.label

    def _remove(self, reasons: Mapping[int, tuple[Reason, str]]) -> None:
        self.removed |= {i: Removed(self.new[i], reason, detail) for i, (reason, detail) in reasons.items()}
        self.left = [i for i in self.left if i not in reasons]

    def remove_unknown_labels(self) -> None:
        known = ", ".join(self.ids)
        unknown = [i for i in self.left if self.new[i].label not in self.ids]
        self._remove(dict.fromkeys(unknown, (Reason.UNKNOWN_LABEL, f"the labels are {known}")))

    def remove_golden(self, golden: Sequence[str]) -> None:
        by_digest = {content_digest(text): text for text in golden}
        self._remove(
            {
                i: (Reason.COPY_OF_GOLDEN, _name(by_digest[self.digests[i]]))
                for i in self.left
                if self.digests[i] in by_digest
            }
        )
        near = self._index(golden)
        hits = {self.digests[i]: near.find(self._runs(i)) for i in self._distinct()}
        reasons: dict[int, tuple[Reason, str]] = {}
        for i in self.left:
            if (hit := hits[self.digests[i]]) is not None:
                reasons[i] = (Reason.NEAR_GOLDEN, _near(golden[hit.key], hit.jaccard))
        self._remove(reasons)

    def remove_equal(self, old: Sequence[str], old_labels: np.ndarray) -> None:
        old_by_digest: dict[bytes, list[int]] = {}
        for place, text in enumerate(old):
            old_by_digest.setdefault(content_digest(text), []).append(place)
        groups: dict[bytes, list[int]] = {}
        for i in self.left:
            groups.setdefault(self.digests[i], []).append(i)
        reasons: dict[int, tuple[Reason, str]] = {}
        for digest, members in groups.items():
            labels = sorted({self.new[i].label for i in members})
            twins = old_by_digest.get(digest, [])
            if len(labels) > 1:
                went = dict.fromkeys(members, (Reason.CONTRADICTORY_LABELS, f"labelled {', '.join(labels)}"))
            elif twins:
                same = any(old_labels[place] == self.ids[labels[0]] for place in twins)
                reason = Reason.COPY_OF_OLD if same else Reason.CONTRADICTS_OLD
                went = dict.fromkeys(members, (reason, _name(old[twins[0]])))
            else:
                went = dict.fromkeys(members[1:], (Reason.DUPLICATE, _name(self.new[members[0]].text)))
            reasons |= went
        self._remove(reasons)

    def remove_near(self, old: Sequence[str]) -> None:
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
        self._remove(reasons)

    def _distinct(self) -> list[int]:
        """One of each text that is left: ten thousand copies are looked up once."""
        return list({self.digests[i]: i for i in self.left}.values())

    def _runs(self, i: int) -> np.ndarray:
        """Those of a new text, which equal texts share."""
        digest = self.digests[i]
        if digest not in self._runs_by_digest:
            self._runs_by_digest[digest] = self._shingles.of(normalised(self.new[i].text))
        return self._runs_by_digest[digest]

    def _index(self, texts: Sequence[str]) -> NearDuplicates:
        """Those of the texts that a new text may be near."""
        familiar = Familiar(map(self._runs, self._distinct()), self.options.near_jaccard)
        index = NearDuplicates(self.options.near_jaccard)
        for key, text in enumerate(texts if self.left else ()):
            runs = self._shingles.of(normalised(text))
            if familiar.may_hold(runs):
                index.add(key, runs)
        return index

    def remove_contradicting_sources(
        self, champion_labels: Sequence[str], judge: Judge, learnt_until: datetime | None
    ) -> tuple[SourceContradictions, ...]:
        options = self.options
        trusted = set(options.trusted_sources)
        judged = [i for i in self._not_learnt(learnt_until) if self.new[i].source not in trusted]
        texts = Counter(self.new[i].source for i in judged)
        names = {self.new[i].source for i in self.left} - trusted
        self._small = frozenset(name for name in names if texts[name] < options.contradiction_least)
        results = judge(
            [self.source_of(i) for i in judged],
            np.array([self.new[i].label != champion_labels[i] for i in judged], bool),
            alpha=options.contradiction_alpha,
            margin=options.contradiction_margin,
            least=options.contradiction_least,
        )
        details = {
            result.source: (
                f"{result.source!r}: {result.contradictions} of {result.texts} labels contradict the champion, of the "
                f"other sources {result.other_contradictions} of {result.others} (p {result.adjusted_p:.2g})"
            )
            for result in results
            if result.is_outlier
        }
        sources = {i: self.source_of(i) for i in self.left if self.new[i].source not in trusted}
        self._remove(
            {i: (Reason.CONTRADICTING_SOURCE, details[source]) for i, source in sources.items() if source in details}
        )
        return results

    def source_of(self, i: int) -> str:
        """As what its source is judged and has its turns."""
        source = self.new[i].source
        return SMALL_SOURCES if source in self._small else source

    def _not_learnt(self, learnt_until: datetime | None) -> list[int]:
        """Of those that are left, the texts that the champion was not trained on."""
        if learnt_until is None:
            return self.left
        first_stored: dict[bytes, datetime] = {}  # Of equal texts, any of which it may have been trained on.
        for digest, review in zip(self.digests, self.new, strict=True):
            time = review.time or _LONG_AGO
            first_stored[digest] = min(time, first_stored.get(digest, time))
        share = self.options.holdout_share
        return [
            i for i in self.left if is_held_out(self.digests[i], share) or first_stored[self.digests[i]] > learnt_until
        ]

    def split_of(self, members: Sequence[int]) -> Split:
        labels = np.array([self.ids[self.new[i].label] for i in members], np.int32)
        return Split(tuple(self.new[i].text for i in members), labels)

    def divided(self) -> tuple[list[int], list[int]]:
        """Those to hold out, and the others."""
        held = [i for i in self.left if is_held_out(self.digests[i], self.options.holdout_share)]
        return held, [i for i in self.left if not is_held_out(self.digests[i], self.options.holdout_share)]

    def within_quotas(self, members: list[int], room: int, old_shares: np.ndarray, several: bool) -> list[int]:
        """The members that find room, by digest."""
        options = self.options
        source_quota = math.ceil(room * options.source_share) if several else room
        class_quotas = np.ceil(room * np.minimum(1, options.class_slack * old_shares)).astype(int)
        of_source: Counter[str] = Counter()
        of_class: Counter[int] = Counter()
        kept: list[int] = []
        reasons: dict[int, tuple[Reason, str]] = {}
        for i in self._by_turns(members):
            source, class_id = self.source_of(i), self.ids[self.new[i].label]
            if len(kept) >= room:
                reasons[i] = (Reason.NEW_SHARE, f"room for {room} new texts")
            elif of_source[source] >= source_quota:
                reasons[i] = (Reason.SOURCE_QUOTA, f"room for {source_quota} texts of a source")
            elif of_class[class_id] >= class_quotas[class_id]:
                reasons[i] = (Reason.CLASS_QUOTA, f"room for {class_quotas[class_id]} texts of this class")
            else:
                kept.append(i)
                of_source[source] += 1
                of_class[class_id] += 1
        self._remove(reasons)
        return sorted(kept, key=self._rank)

    def _by_turns(self, members: Iterable[int]) -> list[int]:
        """The first text of every source, then the second ones, and so on; `members` come by digest."""
        had: Counter[str] = Counter()
        turns: dict[int, int] = {}
        for i in members:
            source = self.source_of(i)
            turns[i] = had[source]
            had[source] += 1
        return sorted(turns, key=lambda i: turns[i])


def _name(text: str) -> str:
    """By which a text is found in a combined data set, whose files are named so."""
    return text_digest(text).hex()


def _near(text: str, similarity: float) -> str:
    return f"{_name(text)} (Jaccard {similarity:.2f})"
