"""Classes that the champion does not know: which labels become classes, and how many texts they need."""

from collections.abc import Sequence

import numpy as np

from textclf.data.splits import Split
from textclf.errors import TooFewTextsError, TrainingError
from textclf.retraining.combining import Combined
from textclf.retraining_options import GateOptions
from textclf.stats.class_recall import min_texts_for_recall


def relabelled(split: Split, before: Sequence[str], after: Sequence[str]) -> Split:
    """The same texts with the class ids of another list of classes, which contains those of the texts.

    Raises:
        ValueError: if a text has a class that is not in `after`.
    """
    if tuple(before) == tuple(after):
        return split
    used = set(np.unique(split.labels).tolist())
    ids = np.array([after.index(name) if i in used else -1 for i, name in enumerate(before)], np.int32)
    return Split(split.texts, ids[split.labels])


def check_training_texts(combined: Combined, source: object) -> None:
    """Check that every class has texts to train on; `source` is the path of the old data, for the message.

    Raises:
        TrainingError: if a class of the champion has too few.
        TooFewTextsError: if a new class has too few, because others filled the capacity for new texts.
    """
    names, new_classes = combined.class_names, combined.new_classes
    counts = dict(zip(names, np.bincount(combined.train.labels, minlength=len(names)).tolist(), strict=True))
    # A training needs one text each to fit, to select and to calibrate.
    if missing := [f"{name} has {count}" for name, count in counts.items() if count < 3 and name not in new_classes]:
        raise TrainingError(
            f"{source}: expected at least 3 training texts of each class of the champion in the old and new data; "
            f"{', '.join(missing)}; name the combined data set that the champion was trained on as --old-dataset-path, "
            f"or give its labelled texts again"
        )
    needed = combined.options.min_class_texts // 2
    if few := [f"{name} has {counts[name]}" for name in new_classes if counts[name] < needed]:
        raise TooFewTextsError(
            f"expected at least {needed} training texts of each new class; {', '.join(few)}, because other new texts "
            f"fill the capacity; give a larger --new-share, or fewer other texts"
        )


def check_held_out_texts(
    class_names: Sequence[str], labels: np.ndarray, champion: Sequence[str], options: GateOptions
) -> None:
    """Check that the held-out texts of each new class can show its recall.

    Args:
        class_names: classes of the combined data set.
        labels: class ids of its held-out texts.
        champion: classes of the champion.
        options: new_class_recall and its level.

    Raises:
        TrainingError: if the combined data set lacks a class of the champion.
        TooFewTextsError: if a new class has too few texts.
    """
    if missing := [name for name in champion if name not in class_names]:
        raise TrainingError(
            f"expected a combined data set with all classes of the champion, got one without {', '.join(missing)}; "
            f"combine the data again"
        )
    needed = min_texts_for_recall(options.new_class_recall, options.alpha)
    new = [name for name in class_names if name not in champion]
    counts = {name: int(np.sum(labels == class_names.index(name))) for name in new}
    if few := [f"{name} has {count}" for name, count in counts.items() if count < needed]:
        raise TooFewTextsError(
            f"expected at least {needed} held-out texts of each new class, to show a recall of "
            f"{options.new_class_recall:.0%}; {', '.join(few)}; a fixed share of the texts is held out: label more"
        )
