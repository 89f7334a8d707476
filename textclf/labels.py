"""Class names: allowed names, their order (ids 0 … K-1), and names that have a meaning of their own."""

import shlex
import unicodedata
from collections.abc import Iterable

from textclf.errors import DatasetError

MAX_CLASS_NAME_CHARS = 200
# Folders that are not classes: unlabelled texts (Large Movie Review Dataset), and what macOS adds to archives.
UNLABELLED_FOLDER = "unsup"
CLUTTER_FOLDER = "__MACOSX"
# Label of a text whose true class the model does not have.
OTHER_LABEL = "(other)"
# Control characters, halves of surrogate pairs, and the two separators that break a line.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_MAX_SHOWN = 20


def is_class_name(name: str) -> bool:
    """True if `name` is allowed as the name of a class: up to MAX_CLASS_NAME_CHARS printable characters.

    Blanks at an end and OTHER_LABEL are not allowed. textclf.data.class_folders makes the name of a folder of it.
    """
    return (
        0 < len(name) <= MAX_CLASS_NAME_CHARS
        and not any(unicodedata.category(char) in _UNPRINTABLE for char in name)
        and name == name.strip()
        and name != OTHER_LABEL
    )


def check_class_names(names: Iterable[str], source: object, hint: str = "") -> tuple[str, ...]:
    """The distinct class names, sorted; the position is the class id.

    `source` is their origin and `hint` a finding about too few of them, for the message.

    Raises:
        DatasetError: if names are not allowed (the message has an option for each, ready to copy), or there are fewer
            than two names.
    """
    distinct = sorted(set(names))
    if bad := [name for name in distinct if not is_class_name(name)]:
        raise DatasetError(
            f"{source}: expected class names of up to {MAX_CLASS_NAME_CHARS} printable characters, found {len(bad)} "
            f"that {'is not' if len(bad) == 1 else 'are not'} allowed; rename the labels, or pass {rename_options(bad)}"
        )
    if len(distinct) < 2:
        raise DatasetError(
            f"{source}: expected at least two classes, found {distinct or 'none'}; "
            f"{hint or 'a classifier needs texts of at least two classes'}"
        )
    return tuple(distinct)


def rename_options(labels: Iterable[str], new_names: Iterable[str] | None = None) -> str:
    """An option --rename-label for each label, quoted for a shell; without `new_names` each suggests one."""
    labels = list(labels)
    suggested = [_suggestion(label) for label in labels] if new_names is None else new_names
    options = [f"--rename-label {_quoted(f'{old}={new}')}" for old, new in zip(labels, suggested, strict=True)]
    more = f" … and {len(options) - _MAX_SHOWN} more" if len(options) > _MAX_SHOWN else ""
    return " ".join(options[:_MAX_SHOWN]) + more


def _suggestion(name: str) -> str:
    """An allowed name that resembles `name`."""
    kept = "".join(" " if unicodedata.category(char) in _UNPRINTABLE else char for char in name).strip(" ()=")
    return " ".join(kept.replace("=", "-").split())[:MAX_CLASS_NAME_CHARS].strip() or "NEW"


def _quoted(text: str) -> str:
    """`text` as one word of a shell; characters that a terminal does not show become escapes, as in $'a\\nb'."""
    if text.isprintable():
        return shlex.quote(text)
    escaped = "".join(char if char.isprintable() else _escape(char) for char in text.replace("\\", "\\\\"))
    return "$'" + escaped.replace("'", "\\'") + "'"


def _escape(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 0x80 else f"\\U{ord(char):08x}"
