"""The hold on automatic promotion: a rollback sets it, a person clears it."""

import contextlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from textclf.files import atomic_file

HOLD_FILE = "hold.json"


class PromotionHold:
    """The file `<store>/hold.json`: while it exists, only a person can promote a challenger.

    The constructor only stores the model store's folder and the clock, which returns seconds since the epoch.
    """

    def __init__(self, store: Path | str, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(store) / HOLD_FILE
        self.clock = clock

    @property
    def reason(self) -> str | None:
        """The reason of the hold and its time, in one sentence; None without a hold.

        A file that can't be read counts as a hold.
        """
        try:
            values = json.loads(self.path.read_bytes())
            return f"{values['reason']} (since {values['since']})"
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            return f"{self.path} exists, but can't be read ({type(error).__name__})"

    def set(self, reason: str) -> None:
        """Put automatic promotion on hold; an earlier hold is replaced, with its reason and time."""
        since = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="seconds")
        with atomic_file(self.path) as file:
            json.dump({"reason": reason, "since": since}, file, ensure_ascii=False, indent=1)

    def clear(self) -> bool:
        """Allow automatic promotion again; False if there was no hold."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            return True
        return False
