"""The folder of a class: its name is the class name, with percent-encoding where a file system needs it.

Encoded are a dot at the start, a dot or a blank at the end, % itself, characters that a common file system refuses,
and the first character of a name that means something else. `C/C++` becomes `C%2FC++`. A folder counts as encoded only
if this module would give it its name: the folder `50%25` is the class `50%`, and so is `50%`, made by a person.

A name that is too long for a folder is cut, and ends in `%~` and 16 hex digits of its SHA-256; the file `.class-name`
in the folder has the whole name. It counts only if this module would give the folder its name.
"""

import contextlib
import hashlib
import re
import urllib.parse
from pathlib import Path

from textclf.files import atomic_file
from textclf.labels import CLUTTER_FOLDER, UNLABELLED_FOLDER

NAME_FILE = ".class-name"
# Linux, macOS and Windows limit a name to 255 bytes or characters.
_MAX_BYTES = 255
_HASH_DIGITS = 16
# The limit of a class name is 200 characters.
_MAX_NAME_FILE_BYTES = 4096
_CUT = re.compile(rf"(?s).+%~[0-9a-f]{{{_HASH_DIGITS}}}")
# SMB shares, exFAT and Windows refuse them all; Linux refuses the slash.
_REFUSED = re.compile(r'[%/\\:<>"|?*\x00-\x1f\x7f]|^\.|[. ]$')


def class_folder(parent: Path, class_name: str) -> Path:
    """The folder of a class in `parent`; it may not exist."""
    name = _encoded(class_name)
    if len(name.encode(errors="surrogateescape")) > _MAX_BYTES:
        digest = hashlib.sha256(class_name.encode()).hexdigest()[:_HASH_DIGITS]
        kept = name.encode()[: _MAX_BYTES - len(digest) - 2].decode(errors="ignore")
        name = f"{kept}%~{digest}"
    return parent / name


def make_class_folder(parent: Path, class_name: str) -> Path:
    """Create the folder of a class, unless it exists, with its parents; return its path."""
    folder = class_folder(parent, class_name)
    folder.mkdir(parents=True, exist_ok=True)
    if _CUT.fullmatch(folder.name) and not (folder / NAME_FILE).exists():
        with atomic_file(folder / NAME_FILE) as file:
            file.write(class_name)
    return folder


def class_of_folder(folder: Path | str) -> str:
    """The class name of a folder, as it was given to class_folder(); the folder's own name if it is not encoded."""
    folder = Path(folder)
    name = folder.name
    if "%" not in name:
        return name
    if _CUT.fullmatch(name):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            with open(folder / NAME_FILE, "rb") as file:
                full_name = file.read(_MAX_NAME_FILE_BYTES).decode()
            if class_folder(folder.parent, full_name).name == name:
                return full_name
        return name
    with contextlib.suppress(UnicodeDecodeError):
        decoded = urllib.parse.unquote(name, errors="strict")
        if _encoded(decoded) == name:
            return decoded
    return name


def _encoded(class_name: str) -> str:
    name = _REFUSED.sub(lambda match: f"%{ord(match[0]):02X}", class_name)
    is_reserved = name.lower() == UNLABELLED_FOLDER or name == CLUTTER_FOLDER
    return f"%{ord(name[0]):02X}{name[1:]}" if is_reserved else name
