"""The texts that were labelled already, kept up to date with the folder of the reviews."""

import threading
from dataclasses import dataclass
from pathlib import Path

from textclf.data.feedback_index import INDEX, read_index
from textclf.data.feedback_store import TEXTS
from textclf.tokenization.text_key import TextKeys


@dataclass(frozen=True)
class LabelledKeys:
    """Keys of labelled texts (textclf.tokenization.text_key).

    Attributes:
        all: every labelled text.
        audits: texts with a label of a random audit.
    """

    all: frozenset[bytes]
    audits: frozenset[bytes]


class LabelledTexts:
    """Reads each review once; several threads may share it.

    Args:
        folder: folder of the reviews; it may be missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._keys: dict[str, bytes] = {}
        self._audits: frozenset[str] = frozenset()
        self._index_state: tuple[int, int] | None = None

    def read(self) -> LabelledKeys:
        """The texts that have a label now; a review that disappears meanwhile is left out.

        Raises:
            DatasetError: if the index can't be read.
        """
        keys = TextKeys()
        with self._lock:
            found: dict[str, bytes] = {}
            for path in sorted((self.folder / TEXTS).glob("*/*.txt")):
                if path.name.startswith("."):
                    continue
                key = self._keys.get(path.stem)
                if key is None:
                    try:
                        key = keys.of(path.read_text(encoding="utf-8"))
                    except (OSError, ValueError):
                        continue  # Removed meanwhile, or not a review of the server.
                found[path.stem] = key
            self._keys = found
            self._read_audits()
            audits = frozenset(found[name] for name in self._audits if name in found)
            return LabelledKeys(frozenset(found.values()), audits)

    def _read_audits(self) -> None:
        try:
            status = (self.folder / INDEX).stat()
        except OSError:
            self._audits, self._index_state = frozenset(), None
            return
        state = status.st_mtime_ns, status.st_size
        if state != self._index_state:
            entries, _ = read_index(self.folder)
            self._audits = frozenset(name for name, entry in entries.items() if entry.audit)
            self._index_state = state
