"""The lines that a retraining prints about the new texts: how many are used, and why the others are not."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from textclf.labels import OTHER_LABEL
from textclf.listing import shortened
from textclf.report.decision_history import printable
from textclf.retraining.combining import Combined
from textclf.retraining.removals import Reason
from textclf.retraining_options import CombineOptions

# Singular and plural of each reason.
_WORDS = {
    Reason.UNKNOWN_LABEL: ("unknown label", "unknown labels"),
    Reason.COPY_OF_TEST: ("copy of a test text", "copies of test texts"),
    Reason.NEAR_TEST: ("near duplicate of a test text", "near duplicates of test texts"),
    Reason.CONTRADICTORY_LABELS: ("contradictory label", "contradictory labels"),
    Reason.CONTRADICTS_OLD: ("old text with another label", "old texts with another label"),
    Reason.COPY_OF_OLD: ("copy of an old text", "copies of old texts"),
    Reason.DUPLICATE: ("duplicate", "duplicates"),
    Reason.NEAR_OLD: ("near duplicate of an old text", "near duplicates of old texts"),
    Reason.NEAR_DUPLICATE: ("near duplicate", "near duplicates"),
    Reason.CONTRADICTING_SOURCE: ("text of a contradicting source", "texts of contradicting sources"),
    Reason.NEW_SHARE: ("text above --new-share", "texts above --new-share"),
    Reason.SOURCE_QUOTA: ("text above the quota of its source", "texts above the quota of their source"),
    Reason.CLASS_QUOTA: ("text above the quota of its class", "texts above the quota of their class"),
}
_MAX_LABELS = 10
_WIDTH = 15


def describe_combined(combined: Combined, notes: Sequence[str], removed_file: Path) -> list[str]:
    """Lines about the new texts: counts, reasons, new classes, and what to do about unknown labels.

    `notes` are sentences about the files.
    """
    lines = [
        _line(
            "new texts",
            f"{combined.counts['new']}: {len(combined.added)} to train on, {len(combined.held_out)} held out, "
            f"{len(combined.removed)} left out",
        )
    ]
    counts = Counter(removed.reason for removed in combined.removed)
    unknown = Counter(removed.review.label for removed in combined.removed if removed.reason is Reason.UNKNOWN_LABEL)
    if counts:
        parts = [f"{counts[reason]} {_WORDS[reason][counts[reason] > 1]}" for reason in Reason if counts[reason]]
        if unknown:  # The first of the reasons.
            parts[0] += f" ({_listed(unknown)})"
        lines.append(_line("left out", f"{', '.join(parts)}; each text with its reason: {removed_file}"))
    if combined.new_classes:
        lines.append(_line("new classes", ", ".join(_new_class(combined, name) for name in combined.new_classes)))
    return lines + [_line("note", text) for text in (*notes, *_advice(combined, unknown))]


def _advice(combined: Combined, unknown: Counter[str]) -> list[str]:
    """A sentence about labels that the champion does not know, and one about texts without a class."""
    advice = []
    options: CombineOptions = combined.options
    names = [name for name in unknown if name != OTHER_LABEL]
    if names and not options.add_classes:
        advice.append(
            f"the current version does not know {_some(names)}; --add-classes trains a challenger with each new class "
            f"that has at least {options.min_class_texts} different texts, --rename-label OLD=NEW makes it a known "
            f"class"
        )
    elif names:
        advice.append(
            f"not added: {_some(names)}; a new class needs at least {options.min_class_texts} different texts "
            f"(--min-class-texts) that no other rule leaves out"
        )
    if other := unknown[OTHER_LABEL]:
        audits = sum(removed.review.audit for removed in combined.removed if removed.review.label == OTHER_LABEL)
        advice.append(
            f"{other} {'text has' if other == 1 else 'texts have'} the label {OTHER_LABEL}, {audits} of them from "
            f"audits: their class is not named; move their files into the folder of a class to train on them"
        )
    return advice


def _new_class(combined: Combined, name: str) -> str:
    added, held = (sum(review.label == name for review in part) for part in (combined.added, combined.held_out))
    return f"{printable(name)} ({added} to train on, {held} held out)"


def _listed(counts: Counter[str]) -> str:
    shown = [f"{printable(label)}: {count}" for label, count in counts.most_common(_MAX_LABELS)]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f", {more} more labels" if more else "")


def _some(names: list[str]) -> str:
    return shortened(list(map(printable, names)), _MAX_LABELS)


def _line(title: str, text: str) -> str:
    return f"{title + ':':<{_WIDTH}}{text}"
