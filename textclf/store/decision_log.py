"""What was decided about which version, when and why: an append-only log beside the versions, one JSON object a line.

Each line holds the SHA-256 of the one before: a line that was changed later, or taken out from among others, is found.
That the last ones are missing is not.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from textclf.errors import ModelStoreError
from textclf.files import locked, sync_folder

DECISIONS_FILE = "decisions.jsonl"
# What may be decided: by the gate, by the store (`current` had moved), by a person.
ACTIONS = (
    "promote", "reject", "inconclusive", "held", "overtaken", "rollback", "promote_by_hand", "hold_lifted",
)  # fmt: skip
# Those that move `current`, written before it moves; they name the versions as "champion" (from) and "challenger" (to).
MOVES = ("promote", "rollback", "promote_by_hand")


class DecisionLog:
    """`<store>/decisions.jsonl`; the constructor stores its arguments and touches nothing.

    Args:
        store: the model store's folder.
        clock: seconds since the epoch.
    """

    def __init__(self, store: Path | str, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(store) / DECISIONS_FILE
        self.clock = clock

    def append(self, action: str, **figures: Any) -> dict[str, Any]:
        """Write a decision and return it as it was written; it is on disk when this returns.

        Args:
            action: one of ACTIONS.
            **figures: what it rests on; anything that JSON can hold.

        Raises:
            ModelStoreError: the action is unknown, or a figure is none that JSON can hold.
            OSError: it can't be written; nothing of it stays.
        """
        if action not in ACTIONS:
            raise ModelStoreError(f"{self.path}: expected one of {', '.join(ACTIONS)} as the action, got {action!r}")
        now = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds")
        with locked(self.path) as file:
            file.seek(0)
            content = file.read()
            lines = _lines(content)
            entry = {"time": now, "action": action, "previous": _digest(lines[-1]) if lines else None, **figures}
            try:
                line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode()
            except (TypeError, ValueError) as error:
                raise ModelStoreError(
                    f"{self.path}: expected figures that JSON can hold, got others ({error})"
                ) from error
            # What a killed writer left of a line becomes one of its own: nothing is taken out of this file.
            unfinished = b"" if content.endswith(b"\n") or not content else b"\n"
            try:
                whole = unfinished + line + b"\n"
                if file.write(whole) != len(whole):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), len(content))
                raise
        if not content:
            sync_folder(self.path.parent)
        return entry

    def entries(self) -> list[dict[str, Any]]:
        """The decisions, oldest first, each with "time" (UTC, ISO 8601), "action" and its figures.

        A line that a killed writer left unfinished is no decision and is passed over: see verify.
        """
        return [entry for line in self._read() if (entry := _entry(line)) is not None]

    def verify(self) -> list[str]:
        """What is wrong with the log, a sentence each; [] if nothing is."""
        found: list[str] = []
        previous: bytes | None = None
        for number, line in enumerate(self._read(), 1):
            entry = _entry(line)
            if entry is None:
                found.append(
                    f"{self.path}, line {number}: not a whole decision: its writer was killed, or it was damaged"
                )
            elif entry["previous"] != (None if previous is None else _digest(previous)):
                found.append(
                    f"{self.path}, line {number}: expected the SHA-256 of the line before it, got another: the lines "
                    f"before it were changed, or some were taken out"
                )
            previous = line
        return found

    def _read(self) -> list[bytes]:
        try:
            return _lines(self.path.read_bytes())
        except FileNotFoundError:
            return []


def _lines(content: bytes) -> list[bytes]:
    return content.removesuffix(b"\n").split(b"\n") if content else []


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _entry(line: bytes) -> dict[str, Any] | None:
    """The decision that a line holds; None where it holds none."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_whole = (
        isinstance(values, dict)
        and "previous" in values
        and isinstance(values.get("time"), str)
        and isinstance(values.get("action"), str)
        and isinstance(values.get("reasons", []), list)
    )
    return values if is_whole else None
