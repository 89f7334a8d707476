"""Class names: allowed names, their order (ids 0 … K-1), and the parsing of labels."""

import unicodedata
from collections.abc import Iterable, Sequence

from textclf.errors import DatasetError, InputError

MAX_CLASS_NAME_CHARS = 100
# A class name is a folder name, and file systems limit its bytes.
_MAX_CLASS_NAME_BYTES = 255
_PUNCTUATION = frozenset(" ._-+#")
# Folders that are not classes: unlabelled texts (Large Movie Review Dataset), and what macOS adds to archives.
UNLABELLED_FOLDER = "unsup"
CLUTTER_FOLDER = "__MACOSX"
# Label of a text whose true class the model does not have. Parentheses are not allowed in a class name.
OTHER_LABEL = "(other)"


def is_class_name(name: str) -> bool:
    """True if `name` is allowed as the name of a class and of its folder.

    Letters with their marks, digits, space and ``. _ - + #`` are allowed. Names with a special meaning in file systems
    or data sets are not: a dot at the start, blanks at an end, `unsup` and `__MACOSX`.
    """
    return (
        0 < len(name) <= MAX_CLASS_NAME_CHARS
        and all(char.isalnum() or char in _PUNCTUATION or unicodedata.category(char)[0] == "M" for char in name)
        and not name.startswith(".")
        and name == name.strip()
        and name not in (UNLABELLED_FOLDER, CLUTTER_FOLDER)
        and len(name.encode()) <= _MAX_CLASS_NAME_BYTES
    )


def check_class_names(names: Iterable[str], source: object) -> tuple[str, ...]:
    """The distinct class names, sorted; the position is the class id. `source` is their origin, for the message.

    Raises:
        DatasetError: if a name is not allowed, two names differ only in case (one folder on some file systems), or
            there are fewer than two names.
    """
    distinct = sorted(set(names))
    for name in distinct:
        if not is_class_name(name):
            raise DatasetError(
                f"{source}: the class name {name!r} is not allowed (letters, digits, space and . _ - + # are, "
                f"up to {MAX_CLASS_NAME_CHARS} characters, no dot at the start); rename the folder or the label, "
                f"or pass --rename-label OLD=NEW"
            )
    folded: dict[str, str] = {}
    for name in distinct:
        other = folded.setdefault(name.casefold(), name)
        if other != name:
            raise DatasetError(
                f"{source}: the class names {other!r} and {name!r} differ only in case; use one spelling"
            )
    if len(distinct) < 2:
        raise DatasetError(
            f"{source}: expected at least two classes, found {distinct or 'none'}; "
            f"a classifier needs texts of at least two classes"
        )
    return tuple(distinct)


def parse_label(label: str, class_names: Sequence[str]) -> str:
    """The class name for a typed label: a name in any case, or for two classes also 0 or 1.

    Raises:
        InputError: if it is neither.
    """
    label = label.strip()
    if label in class_names:
        return label
    if _has_ids(class_names) and label in ("0", "1"):
        return class_names[int(label)]
    folded = {name.casefold(): name for name in class_names}
    if label.casefold() in folded:
        return folded[label.casefold()]
    raise InputError(f"expected one of {label_choice(class_names)} as the label, got {label!r}")


def label_choice(class_names: Sequence[str]) -> str:
    """The labels that parse_label() accepts, as text for a prompt or message."""
    return ", ".join(class_names) + (", 0 or 1" if _has_ids(class_names) else "")


def _has_ids(class_names: Sequence[str]) -> bool:
    """Whether 0 and 1 are ids of two classes; false if 0 or 1 is a class name itself."""
    return len(class_names) == 2 and not {"0", "1"} & set(class_names)
