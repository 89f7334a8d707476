"""Class names: which are allowed, and in which order they become ids 0 … K-1."""

import unicodedata
from collections.abc import Iterable, Sequence

from textclf.errors import DatasetError, InputError

MAX_CLASS_NAME_CHARS = 100
# A class names a folder, and file systems count bytes.
_MAX_CLASS_NAME_BYTES = 255
_PUNCTUATION = frozenset(" ._-+#")
# Folders with these names hold no class, in data sets and in archives.
_RESERVED = frozenset({"unsup", "__MACOSX"})


def is_class_name(name: str) -> bool:
    """True if `name` may name a class and a folder.

    Allowed are letters with their marks, digits, space and ``. _ - + #``. Names that a file system or
    a reader of data sets takes in a way of its own are not: those that begin with a dot (hidden, or the
    parent folder), those with blanks at an end, `unsup` and `__MACOSX`.
    """
    return (
        0 < len(name) <= MAX_CLASS_NAME_CHARS
        and all(char.isalnum() or char in _PUNCTUATION or unicodedata.category(char)[0] == "M" for char in name)
        and not name.startswith(".")
        and name == name.strip()
        and name not in _RESERVED
        and len(name.encode()) <= _MAX_CLASS_NAME_BYTES
    )


def check_class_names(names: Iterable[str], source: object) -> tuple[str, ...]:
    """The distinct class names, sorted: position is the class id.

    Args:
        names: class names as read, repeats allowed.
        source: where they were read, for the message.

    Raises:
        DatasetError: a name is not allowed, two differ only in case (one folder on some file
            systems), or there are fewer than two.
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
            f"a classifier needs texts of every class it is to tell apart"
        )
    return tuple(distinct)


def parse_label(answer: str, class_names: Sequence[str]) -> str:
    """The class name that a person typed: a name, or for two classes also 0 or 1.

    Raises:
        InputError: it is neither.
    """
    answer = answer.strip()
    if answer in class_names:
        return answer
    if _has_ids(class_names) and answer in ("0", "1"):
        return class_names[int(answer)]
    folded = {name.casefold(): name for name in class_names}
    if answer.casefold() in folded:
        return folded[answer.casefold()]
    raise InputError(f"expected one of {label_choice(class_names)} as the label, got {answer!r}")


def label_choice(class_names: Sequence[str]) -> str:
    """What parse_label() takes, in words."""
    return ", ".join(class_names) + (", 0 or 1" if _has_ids(class_names) else "")


def _has_ids(class_names: Sequence[str]) -> bool:
    """Whether 0 and 1 stand for two classes; not where one of these is a name, of whichever class."""
    return len(class_names) == 2 and not {"0", "1"} & set(class_names)
