"""Why a model that is not in a folder can't be served; each kind ends `serve` with a status of its own."""

from textclf.errors import TextClfError


class FetchError(TextClfError):
    """An archive can't be had: it is missing, access is denied, or the network fails."""


class UnusableArchiveError(TextClfError):
    """An archive is damaged, unsafe or too large, or contains no model."""
