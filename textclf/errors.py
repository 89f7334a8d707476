"""The exceptions of this project: what the user can mend is a TextClfError, with one clear sentence.

A message says what was expected, what was found and what to do. Command lines print it as one
line (textclf.cli.commands) and servers turn it into a status; anything else that escapes is a bug.
"""

from typing import Self


class TextClfError(Exception):
    """Root of every error that a user can mend."""


class ConfigError(TextClfError):
    """An option, a flag or an environment variable has a value that makes no sense."""


class DatasetError(TextClfError):
    """Labelled data can't be had, unpacked or read, or does not make a classification problem."""


class NothingNewError(DatasetError):
    """There are no new labelled texts to train on."""


class EncoderError(TextClfError):
    """An encoder handle can't be resolved, or does not hold a BERT encoder."""


class TrainingError(TextClfError):
    """A training can't start, go on, or be saved."""


class ModelStoreError(TextClfError):
    """A model store or version is missing, damaged or busy."""

    @classmethod
    def damaged(cls, problem: str, *, can_export: bool = False) -> Self:
        """The error for a damaged version: the problem and its remedy.

        Args:
            problem: what was expected and what was found.
            can_export: whether exporting the version again fixes it.
        """
        remedy = "export it again (train_model.py --export-again)" if can_export else "choose another"
        return cls(f"{problem}; restore the version from where it came, or {remedy}")


class OvertakenError(ModelStoreError):
    """`current` moved between a comparison and the promotion that rests on it."""


class HeldError(ModelStoreError):
    """Automatic promotion is on hold."""


class BusyError(ModelStoreError):
    """Another process retrains the models of this store, or works in the same folder."""


class PredictionLogError(TextClfError):
    """The prediction log can't be reached, read or written, or a row of it is damaged."""


class InputError(TextClfError):
    """What was given to be scored or stored is not usable: wrong type, wrong shape, unknown label."""
