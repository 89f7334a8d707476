"""Why a model of the Hub can't be had, or can't be used."""

from textclf.errors import TextClfError


class HubError(TextClfError):
    """A model can't be downloaded: it does not exist, access is denied, or the download fails."""


class HubUnreachableError(HubError):
    """The Hub does not respond, or it is not to be asked (HF_HUB_OFFLINE)."""


class UnusableHubModelError(TextClfError):
    """A repository lacks a file that is needed, or is too large."""
