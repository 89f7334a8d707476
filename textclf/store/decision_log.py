"""The decision log: an append-only file of the decisions about versions, one JSON object per line.

Each line contains the SHA-256 of the line before it, so a changed or missing line is detected, except at the end.
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
# Decisions of the gate, of the store (`current` had moved) and of people.
ACTIONS = (
    "promote", "reject", "inconclusive", "held", "overtaken", "rollback", "promote_by_hand", "hold_lifted",
)  # fmt: skip
# Actions that move `current` from "champion" to "challenger"; the log records them before the move.
MOVES = ("promote", "rollback", "promote_by_hand")


class DecisionLog:
    """The file `<store>/decisions.jsonl`; the constructor only stores the model store's folder and the clock."""

    def __init__(self, store: Path | str, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(store) / DECISIONS_FILE
        self.clock = clock

    def append(self, action: str, **details: Any) -> dict[str, Any]:
        """Write a decision, with reasons and results as details, to disk and return the entry.

        Raises:
            ModelStoreError: if the action is unknown, or JSON can't hold a detail.
            OSError: if the file can't be written; then it is unchanged.
        """
        if action not in ACTIONS:
            raise ModelStoreError(f"{self.path}: expected one of {', '.join(ACTIONS)} as the action, got {action!r}")
        now = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds")
        with locked(self.path) as file:
            file.seek(0)
            content = file.read()
            lines = _lines(content)
            entry = {"time": now, "action": action, "previous": _digest(lines[-1]) if lines else None, **details}
            try:
                line = json.dumps(entry, ensure_ascii=False, allow_nan=False).encode()
            except (TypeError, ValueError) as error:
                raise ModelStoreError(f"{self.path}: expected values that JSON can hold ({error})") from error
            # The rest of a killed writer stays in the file, as a line of its own.
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
        """The decisions, oldest first, each with "time" (UTC, ISO 8601), "action" and its details.

        Incomplete lines of killed writers are skipped; verify reports them.
        """
        return [entry for line in self._read() if (entry := _entry(line)) is not None]

    def verify(self) -> list[str]:
        """The problems of the log, a sentence each; [] without any."""
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
                    f"before it were changed, or some were removed"
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
    """The decision in a line; None if the line is incomplete or damaged."""
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
