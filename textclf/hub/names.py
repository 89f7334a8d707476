"""Names of models on the Hub: OWNER/NAME@REVISION; owner and revision may be missing."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from textclf.errors import ConfigError

_MAX_NAME_CHARS = 96
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?:{_PART}/)?{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,249}")
_COMMIT = re.compile("[0-9a-f]{40}")
# Before a name that is also a local path.
PREFIX = "hf://"
DEFAULT_REVISION = "main"
_FORM = "expected a model of the Hub as OWNER/NAME or OWNER/NAME@REVISION"


@dataclass(frozen=True)
class HubName:
    """A repository and a revision of it: a branch, a tag or the full hash of a commit."""

    name: str
    revision: str = DEFAULT_REVISION

    def __str__(self) -> str:
        return self.name if self.revision == DEFAULT_REVISION else f"{self.name}@{self.revision}"

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is the full hash of a commit, which never means other files."""
        return _COMMIT.fullmatch(self.revision) is not None

    @classmethod
    def parse(cls, text: str, setting: str) -> Self:
        """The name in a text; `setting` is the option or the variable of the text, for the error.

        Raises:
            ConfigError: if the text is no name of a model.
        """
        name, _, revision = text.strip().removeprefix(PREFIX).partition("@")
        if "@" in text and (not _REVISION.fullmatch(revision) or ".." in revision):
            raise ConfigError(
                f"{setting}: {_FORM}, got the revision {revision[:100]!r}; give a branch, a tag or a commit"
            )
        if not _NAME.fullmatch(name) or len(name) > _MAX_NAME_CHARS or "--" in name or ".." in name:
            raise ConfigError(f"{setting}: {_FORM}, got {text[:150]!r}; correct the name")
        return cls(name, revision or DEFAULT_REVISION)


def hub_name_of(source: str, setting: str) -> HubName | None:
    """The model of the Hub that a source of the command line names; None for a local path.

    A path that exists is local, and so is what only a path can be. `hf://` in front always means the Hub.

    Raises:
        ConfigError: if the source begins with `hf://` and names no model.
    """
    if source.startswith(PREFIX):
        return HubName.parse(source, setting)
    is_path = source.startswith(("/", ".", "~")) or source.endswith(("/", ".gz", ".tgz", ".tar", ".zip"))
    if is_path or Path(source).exists():
        return None
    try:
        return HubName.parse(source, setting)
    except ConfigError:
        return None
