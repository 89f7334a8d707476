"""Reviews that people labelled, one file each, in the layout that load_dataset reads."""

import uuid
from collections.abc import Sequence
from pathlib import Path

from textclf.errors import InputError
from textclf.files import atomic_file
from textclf.labels import is_class_name


def save_review(text: str, label: str, save_dir: Path | str, class_names: Sequence[str]) -> Path:
    """Store a labelled text as `<save_dir>/<label>/<uuid>.txt`, whole or not at all.

    Args:
        text: the review, stored as it is, in UTF-8.
        label: one of class_names.
        save_dir: the folder of the class folders; made where it is missing.
        class_names: the classes there are.

    Returns:
        The new file.

    Raises:
        InputError: the text is blank or no Unicode text, the label is unknown, or the class folder
            leads out of save_dir.
    """
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"expected a text that is not blank, got {text!r:.80}")
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"expected Unicode text, got half of a surrogate pair at character {error.start}; remove it"
        ) from error
    if label not in class_names or not is_class_name(label):
        raise InputError(f"expected one of {', '.join(class_names)} as the label, got {label!r}")
    folder = Path(save_dir) / label
    if folder.resolve().parent != Path(save_dir).resolve():
        raise InputError(
            f"{folder}: expected a folder in {save_dir}, found a link that leads out of it; remove the link"
        )
    path = folder / f"{uuid.uuid4()}.txt"
    with atomic_file(path, "wb") as file:
        file.write(content)
    return path
