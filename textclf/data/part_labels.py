"""The labels of a data set's parts become class names, once all parts are read."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from textclf.data.readers import Part
from textclf.errors import DatasetError
from textclf.label_column import LabelChange, LabelColumn, label_key, match_labels, read_labels
from textclf.labels import OTHER_LABEL, check_class_names, rename_options
from textclf.listing import shortened

_MIN_LETTERS = 3


def name_labels(
    train: Part,
    others: Sequence[tuple[Path, Part]],
    renames: Mapping[str, str],
    source: Path,
    *,
    spellings: Collection[str] = (),
    hint: str = "",
    all_read: bool = True,
) -> tuple[tuple[str, ...], tuple[LabelChange, ...]]:
    """Replace the labels of all parts by class names, and leave out texts with OTHER_LABEL; return the class names.

    The training part decides about the classes and their spelling. The second result is what was normalised.

    Args:
        train, others: the training part, and the other parts with their paths; changed in place.
        renames: new names by old ones (DataOptions.rename_labels).
        source: the data set, for messages.
        spellings: class names whose spelling counts (textclf.label_column.read_labels).
        hint: what was not read, for the message about too few classes.
        all_read: whether these are all parts, so that each old name must occur in one.

    Raises:
        DatasetError: if a class name is not allowed, another part has an unknown label, or no part has the old name
            of a rename.
    """
    column = read_labels(train.label_counts, renames, spellings)
    others_read = sum(train.label_counts[label] for label, name in column.names.items() if name == OTHER_LABEL)
    without = f"left out: {other_note(others_read)}" if others_read else ""
    hint = "; ".join(filter(None, [hint, without]))
    class_names = check_class_names(set(column.names.values()) - {OTHER_LABEL}, source, hint)
    columns = [match_labels(part.label_counts, class_names, renames, has_positions=False) for _, part in others]
    if all_read:
        _check_renames(renames, [column, *columns], source)
    for (path, part), found in zip(others, columns, strict=True):
        if unknown := sorted(set(part.label_counts) - set(found.names)):
            raise DatasetError(
                f"{path}: expected the labels of the training texts, {_some(class_names)}, found {len(unknown)} "
                f"other{'s' if len(unknown) > 1 else ''}; remove the texts, or replace CLASS in "
                f"{rename_options(unknown, [_similar(label, class_names) for label in unknown])}"
            )
    _apply(train, column)
    for (_, part), found in zip(others, columns, strict=True):
        _apply(part, found)
    return class_names, _sum([column, *columns])


def other_note(texts: int) -> str:
    """Why this number of texts with OTHER_LABEL is left out, and what to do."""
    label = f"{texts:,} text{'s' * (texts > 1)} with the label {OTHER_LABEL}"
    return f"{label}, reserved for texts of no class; to make a class of them, pass {rename_options([OTHER_LABEL])}"


def _check_renames(renames: Mapping[str, str], columns: Sequence[LabelColumn], source: Path) -> None:
    unknown = sorted(set(renames).difference(*(column.renamed for column in columns)))
    if unknown:
        found = sorted({label for column in columns for label in column.names})
        raise DatasetError(
            f"{source}: --rename-label names {unknown[0]!r}, which is not a label of the data; it has {_some(found)}"
        )


def _similar(label: str, class_names: Sequence[str]) -> str:
    """The only class name that is an abbreviation of the label, or the other way round; else CLASS."""
    key = label_key(label)
    found = [name for name in class_names if _is_abbreviation(*sorted((key, label_key(name)), key=len))]
    return found[0] if len(found) == 1 else "CLASS"


def _is_abbreviation(short: str, long: str) -> bool:
    # 1 is no abbreviation of 10, and few letters are the start of many words.
    return len(short) >= _MIN_LETTERS and short.isalpha() and long.isalpha() and long.startswith(short)


def _apply(part: Part, column: LabelColumn) -> None:
    names = [column.names[label] for label in part.labels]
    kept = [at for at, name in enumerate(names) if name != OTHER_LABEL]
    part.other_labels += len(names) - len(kept)
    part.unlabelled += len(names) - len(kept)
    part.labels = [names[at] for at in kept]
    if len(kept) < len(names):
        part.texts, part.paths, part.sources = (
            [values[at] for at in kept] for values in (part.texts, part.paths, part.sources)
        )
        part.rows = [part.rows[at] for at in kept]


def _sum(columns: Sequence[LabelColumn]) -> tuple[LabelChange, ...]:
    """The changes of several columns, the most frequent first."""
    texts = Counter[tuple[str, str]]()
    for column in columns:
        texts.update({(change.read, change.name): change.texts for change in column.changes})
    return tuple(
        LabelChange(*pair, count) for pair, count in sorted(texts.items(), key=lambda item: (-item[1], item[0]))
    )


def _some(names: Sequence[str]) -> str:
    return shortened(list(map(repr, names)), max_names=20)
