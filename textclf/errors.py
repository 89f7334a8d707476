"""The exceptions of this project: a problem that the user can fix is a TextClfError.

A message names what was expected, what was found and the remedy. Command lines print it as one line
(textclf.cli.commands), and servers map it to a status. Any other exception that escapes is a bug.
"""

from collections.abc import Iterable
from typing import Self


class TextClfError(Exception):
    """Base class of every error that a user can fix."""


class ConfigError(TextClfError):
    """An option, a flag or an environment variable has an invalid value."""


class DatasetError(TextClfError):
    """Labelled data can't be downloaded, unpacked or read, or is not a classification problem."""


class SourceError(DatasetError):
    """A file can't be downloaded or unpacked.

    Attributes:
        problem: the message without the name of the file and the remedy, which depends on the caller.
    """

    def __init__(self, place: object, problem: str, remedy: str) -> None:
        super().__init__(f"{place}: {problem}; {remedy}")
        self.problem = problem


class SourceTooLargeError(SourceError):
    """A download, or what an archive contains, is larger than the limit."""


class NothingNewError(DatasetError):
    """There are no new labelled texts to train on."""


class TooFewTextsError(DatasetError):
    """There are too few held-out texts to decide about a new model."""


class EncoderError(TextClfError):
    """An encoder handle can't be resolved, or does not contain a BERT encoder."""


class TrainingError(TextClfError):
    """A training can't start, continue or be saved."""


class LostHostError(TrainingError):
    """The connection to another host of the training ended."""


class DivergedError(TrainingError):
    """The loss or the logits of a training are not finite."""


class ModelStoreError(TextClfError):
    """A model store or version is missing, damaged or busy."""

    @classmethod
    def damaged(cls, problem: str, *, can_export: bool = False) -> Self:
        """The error for a damaged version: the problem and its remedy.

        Args:
            problem: what was expected and what was found.
            can_export: whether exporting the version again fixes it.
        """
        remedy = f"export it again ({export_again_command()})" if can_export else "choose another"
        return cls(f"{problem}; restore the version from where it came, or {remedy}")


class OvertakenError(ModelStoreError):
    """`current` changed between a comparison and the promotion that depends on it."""


class HeldError(ModelStoreError):
    """Automatic promotion is on hold."""


class BusyError(ModelStoreError):
    """Another process retrains the models of this store, or uses the same folder."""


class PredictionLogError(TextClfError):
    """The prediction log can't be reached, read or written, or one of its rows is damaged."""


class InputError(TextClfError):
    """An input can't be scored or stored: wrong type, wrong shape or unknown label."""


class TextTooLongError(InputError):
    """A text has too many characters after normalisation.

    Args:
        position: position of the text in its list.
        max_chars: maximum number of characters.
    """

    def __init__(self, position: int, max_chars: int) -> None:
        super().__init__(
            f"text {position} (counted from 0): expected at most {max_chars} characters after Unicode normalisation "
            f"(NFKC), found more; shorten the text"
        )
        self.position = position
        self.max_chars = max_chars


class RuleError(TextClfError):
    """A rule of the operator fails for a text. The message does not quote the text; `detail` may.

    Args:
        message: the rule, its place, and what it did.
        position: position of the text in its list.
        detail: the message with that of the cause, for people who may see the text.
    """

    def __init__(self, message: str, position: int = 0, detail: str = "") -> None:
        super().__init__(message)
        self.position = position
        self.detail = detail or message


class UnknownLabelError(InputError):
    """A label is not a class of the model."""


# Why a random draw is not valid.
SIGNATURE, EXPIRED, OTHER_VERSION = "signature", "expired", "other version"


class InvalidDrawError(InputError):
    """The signature of a random draw is not valid for its text, or has expired.

    Attributes:
        cause: SIGNATURE, EXPIRED or OTHER_VERSION.
    """

    def __init__(self, message: str, cause: str = SIGNATURE) -> None:
        super().__init__(message)
        self.cause = cause


class AlreadyLabelledError(InputError):
    """A random draw has a label already."""


class StorageQuotaError(TextClfError):
    """The stored reviews use all the space that they may take."""


class StorageUnavailableError(TextClfError):
    """The folder for reviews can't be made or written."""


def export_again_command(version_id: str = "ID") -> str:
    """The command that saves a child of a version with a new engine; the words in capitals are to be filled in."""
    return f"textclf train --export-again {version_id} --dataset-path DATA --model-dir STORE"


def missing_column(name: str, found: Iterable[str], option: str = "--text-column") -> str:
    """The message for a table without the column `name`, which `option` names on the command line."""
    return f"expected a column {name!r}, found {', '.join(map(repr, found)) or 'none'}; name the column with {option}"
