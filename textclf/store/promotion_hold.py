"""The brake on automatic promotion: put on by a rollback, lifted by a person."""

import contextlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from textclf.files import atomic_file

HOLD_FILE = "hold.json"


class PromotionHold:
    """`<store>/hold.json`: while it is there, no challenger is promoted but by a person.

    The constructor stores its arguments and touches nothing.

    Args:
        store: the model store's folder.
        clock: seconds since the epoch.
    """

    def __init__(self, store: Path | str, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(store) / HOLD_FILE
        self.clock = clock

    @property
    def is_held(self) -> bool:
        """True while automatic promotion is on hold."""
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        """Why, and since when, in one sentence; None if there is no hold.

        A file that can't be read holds as well: what it said may matter.
        """
        try:
            values = json.loads(self.path.read_bytes())
            return f"{values['reason']} (since {values['since']})"
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            return f"{self.path} is there, but can't be read ({type(error).__name__})"

    def put(self, reason: str) -> None:
        """Put automatic promotion on hold; a hold that is there keeps its time no longer, this reason replaces it."""
        since = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="seconds")
        with atomic_file(self.path) as file:
            json.dump({"reason": reason, "since": since}, file, ensure_ascii=False, indent=1)

    def lift(self) -> bool:
        """Let automatic promotion go on; False if there was no hold."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            return True
        return False
