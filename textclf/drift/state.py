"""The state of monitoring in <store>/drift.json: last check, windows and last retraining.

monitoring.py writes it, and /metrics of the server reads it. It contains numbers and verdicts, never a text.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from textclf.drift.audit_run import AuditRun
from textclf.errors import ModelStoreError
from textclf.files import atomic_file, locked
from textclf.retrain_outcome import RetrainOutcome

STATE_FILE = "drift.json"
DAMAGED_FILE = "drift.json.damaged"
FORMAT = 2
NO_DRIFT, DRIFT, NOT_ENOUGH_DATA = "no drift", "drift", "not enough data"
VERDICTS = (NO_DRIFT, DRIFT, NOT_ENOUGH_DATA)
# Windows that are kept; rules "K of the last N" have N up to this.
MAX_WINDOWS = 100

_OUTCOMES = tuple(outcome for outcome in RetrainOutcome if outcome is not RetrainOutcome.BUSY)
_LOCK_FILE = ".drift.lock"
_REMOVE = "remove the file: monitoring then starts again with the whole log"
# Start of the year 10000, the end of datetime's range.
_END_OF_TIME = 253_402_300_800
# Allowed difference between the clocks of machines that share a store.
_CLOCK_SECONDS = 60.0


@dataclass(frozen=True)
class CheckSummary:
    """The results of a check that the state keeps.

    Attributes:
        time: time of the check, in seconds since the epoch.
        version: id of the model version.
        verdict: one of VERDICTS.
        sentence: the verdict in words.
        texts: number of texts that were compared with the reference.
        effects, floors, adjusted_p: values by the name of the test family; {} without enough texts.
        alarms: names of the families that alarm.
        unsure: shares of unsure predictions, `reference` and `latest`; {} without thresholds.
    """

    time: float
    version: str
    verdict: str
    sentence: str
    texts: int
    effects: dict[str, float] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    adjusted_p: dict[str, float] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    unsure: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("time", _is_moment(self.time), self.time)
        _check("version", isinstance(self.version, str), self.version)
        _check("verdict", self.verdict in VERDICTS, self.verdict)
        _check("sentence", isinstance(self.sentence, str), self.sentence)
        _check("texts", _is_count(self.texts), self.texts)
        for name in ("effects", "floors", "adjusted_p", "unsure"):
            _check(name, _is_numbers_by_name(getattr(self, name)), getattr(self, name))
        _check("alarms", _is_texts(self.alarms), self.alarms)


@dataclass(frozen=True)
class Window:
    """A span of time with a verdict; windows do not overlap.

    Attributes:
        since, until: the span [since, until), in seconds since the epoch.
        version: id of the model version that was served.
        verdict: NO_DRIFT or DRIFT. A span with too few texts gets no verdict and is extended.
        texts: number of texts that were compared.
    """

    since: float
    until: float
    version: str
    verdict: str
    texts: int

    def __post_init__(self) -> None:
        _check("since", _is_moment(self.since), self.since)
        _check("until", _is_moment(self.until) and self.until >= self.since, self.until)
        _check("version", isinstance(self.version, str), self.version)
        _check("verdict", self.verdict in (NO_DRIFT, DRIFT), self.verdict)
        _check("texts", _is_count(self.texts), self.texts)


@dataclass(frozen=True)
class RetrainTry:
    """The last retraining that monitoring started.

    Attributes:
        time: start of the retraining, in seconds since the epoch.
        outcome: a RetrainOutcome except BUSY; FAILED also while it runs, so that a crash is not retried at once.
        fingerprint: fingerprint of the labelled data that a retraining last used up or could not decide on, 64 hex
            digits; "" before the first. A retraining that FAILED or was HELD leaves it.
        labels: number of different labelled texts that retrainings have used up. One that FAILED, was HELD or
            INCONCLUSIVE uses up none.
    """

    time: float
    outcome: str
    fingerprint: str = ""
    labels: int = 0

    def __post_init__(self) -> None:
        _check("time", _is_moment(self.time), self.time)
        _check("fingerprint", isinstance(self.fingerprint, str), self.fingerprint)
        _check("labels", _is_count(self.labels), self.labels)
        _check("outcome", self.outcome in _OUTCOMES, self.outcome)


@dataclass(frozen=True)
class DriftState:
    """The state of monitoring; from_dict() reads what to_dict() returns.

    Attributes:
        last_check: last check of the log; None before the first.
        edge: end of the last window, in seconds since the epoch; None before the first.
        windows: the last windows, oldest first.
        audited_since: by version id, the time until which random audits have been tested, in seconds since the
            epoch. Later audits wait until there are enough.
        audit_runs: the CUSUM of the version's audits until then, by version id. Only the version of the last window
            has one, so a promotion or a rollback starts another.
        failed_runs: number of failed runs of `watch`, since the file was created.
        last_retrain: last retraining; None before the first.
        format: format of the file.
    """

    last_check: CheckSummary | None = None
    edge: float | None = None
    windows: tuple[Window, ...] = ()
    failed_runs: int = 0
    last_retrain: RetrainTry | None = None
    audited_since: dict[str, float] = field(default_factory=dict)
    audit_runs: dict[str, AuditRun] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        _check("edge", self.edge is None or _is_moment(self.edge), self.edge)
        _check("failed_runs", _is_count(self.failed_runs), self.failed_runs)
        _check("windows", len(self.windows) <= MAX_WINDOWS, len(self.windows))
        _check("audited_since", _is_numbers_by_name(self.audited_since), self.audited_since)
        _check("audited_since", all(map(_is_moment, self.audited_since.values())), self.audited_since)
        _check("audit_runs", len(self.audit_runs) <= 1, self.audit_runs)

    def with_window(self, window: Window, audit_run: AuditRun | None) -> Self:
        """Add a window. The next window begins at its end, and so do the next audits if these were tested.

        `audit_run` is the CUSUM after the audits of the window; None if they were too few to be tested.
        """
        audited = self.audited_since
        runs = {version: run for version, run in self.audit_runs.items() if version == window.version}
        if audit_run is not None:
            others = {version: moment for version, moment in audited.items() if version != window.version}
            audited = dict([*others.items(), (window.version, window.until)][-MAX_WINDOWS:])
            runs = {window.version: audit_run}
        windows = (*self.windows, window)[-MAX_WINDOWS:]
        return dataclasses.replace(self, edge=window.until, windows=windows, audited_since=audited, audit_runs=runs)

    def to_dict(self) -> dict[str, Any]:
        """The state as a dict for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The state from the dict of to_dict().

        Raises:
            ModelStoreError: if a key is missing or unknown, a value is invalid, or the format is newer.
        """
        if not isinstance(values, dict) or not _is_count(values.get("format")):
            raise ModelStoreError("expected a JSON object with the key `format`")
        if values["format"] > FORMAT:
            raise ModelStoreError(
                f"written in format {values['format']} by a newer version of this software, which reads {FORMAT}; "
                f"update this one"
            )
        try:
            check, windows, retrain = values["last_check"], values["windows"], values["last_retrain"]
            parts = {
                "last_check": None if check is None else CheckSummary(**{**check, "alarms": tuple(check["alarms"])}),
                "windows": tuple(Window(**window) for window in windows),
                "last_retrain": None if retrain is None else RetrainTry(**retrain),
                "audit_runs": {version: AuditRun(**run) for version, run in values.get("audit_runs", {}).items()},
            }
            return cls(**{**values, **parts, "format": FORMAT})
        except (AttributeError, KeyError, TypeError) as error:
            raise ModelStoreError(f"expected the keys of the state of monitoring: {error}") from error


def read_state(store_path: Path | str) -> DriftState:
    """Read the state of a store, without a lock; an empty state if there is no file yet.

    Raises:
        ModelStoreError: if the file is damaged.
        OSError: if the file can't be read.
    """
    path = Path(store_path) / STATE_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return DriftState()
    except UnicodeDecodeError as error:
        raise _damaged(path, "not UTF-8") from error
    try:
        return DriftState.from_dict(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"expected JSON ({error})") from error
    except ModelStoreError as error:
        raise _damaged(path, str(error)) from error


def check_not_ahead(store_path: Path | str, state: DriftState, now: float) -> None:
    """Refuse a state with times in the future, which a wrong clock can cause; `now` is in seconds since the epoch.

    Raises:
        ModelStoreError: if the edge, a time in audited_since or the last retraining is more than a minute ahead.
    """
    moments = {
        "edge": state.edge,
        "last_retrain": None if state.last_retrain is None else state.last_retrain.time,
        "audited_since": max(state.audited_since.values(), default=None),
    }
    for name, moment in moments.items():
        if moment is not None and moment > now + _CLOCK_SECONDS:
            ahead, today = (datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds") for at in (moment, now))
            raise ModelStoreError(
                f"{Path(store_path) / STATE_FILE}: {name}: expected a time in the past, found {ahead}, but now is "
                f"{today}; check the clock. If it is right, {_REMOVE}"
            )


def update_state(
    store_path: Path | str, change: Callable[[DriftState], DriftState], *, sets_damaged_aside: bool = False
) -> DriftState:
    """Read, change and write the state under a lock; return the new state.

    If `sets_damaged_aside` is true, a damaged file is renamed to DAMAGED_FILE, and the old state is an empty one.

    Raises:
        ModelStoreError: if the file is damaged and is not to be set aside; nothing is written.
        OSError: if the file can't be written.
    """
    path = Path(store_path) / STATE_FILE
    with locked(Path(store_path) / _LOCK_FILE):
        is_damaged = False
        try:
            before = read_state(store_path)
        except ModelStoreError:
            if not sets_damaged_aside:
                raise
            before, is_damaged = DriftState(), True
        state = change(before)
        if is_damaged:
            os.replace(path, path.with_name(DAMAGED_FILE))
        with atomic_file(path) as file:
            file.write(json.dumps(state.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return state


def _damaged(path: Path, reason: str) -> ModelStoreError:
    return ModelStoreError(f"{path}: damaged: {reason}; restore it from a backup, or {_REMOVE}")


def _check(name: str, holds: bool, value: object) -> None:
    if not holds:
        raise ModelStoreError(f"{name}: found an invalid value, {value!r:.200}")


def _is_number(value: object) -> bool:
    # math.isfinite fails for an integer that is too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_moment(value: object) -> bool:
    """Whether a value is seconds since the epoch in the range of datetime."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= sys.maxsize


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _is_numbers_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) and _is_number(item) for key, item in value.items())
