"""What monitoring knows from one run to the next: <store>/drift.json, beside the model versions.

The server's /metrics read it; monitoring.py writes it. It holds figures and verdicts, never a text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import click

from textclf.errors import ModelStoreError
from textclf.files import atomic_file
from textclf.retrain_outcome import RetrainOutcome

STATE_FILE = "drift.json"
DAMAGED_FILE = "drift.json.damaged"
FORMAT = 1
NO_DRIFT, DRIFT, NOT_ENOUGH_DATA = "no drift", "drift", "not enough data"
VERDICTS = (NO_DRIFT, DRIFT, NOT_ENOUGH_DATA)
# More windows than any rule "K of the last N" asks for.
MAX_WINDOWS = 100

_OUTCOMES = tuple(outcome for outcome in RetrainOutcome if outcome is not RetrainOutcome.BUSY)
_LOCK_FILE = ".drift.lock"
# Where the year 10000 begins: datetime has no later ones.
_END_OF_TIME = 253_402_300_800
# Clocks of machines that share a store may differ by so much.
_CLOCK_SECONDS = 60.0


@dataclass(frozen=True)
class CheckSummary:
    """A check in figures.

    Attributes:
        time: when it was made, in seconds since the epoch.
        version: id of the model version whose reference was compared with.
        verdict: one of VERDICTS.
        sentence: the verdict in words.
        texts: how many were compared with the reference.
        effects, floors, adjusted_p: of each family of tests by its name; {} where there were not enough texts.
        alarms: names of the families that alarm.
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

    def __post_init__(self) -> None:
        _check("time", _is_moment(self.time), self.time)
        _check("version", isinstance(self.version, str), self.version)
        _check("verdict", self.verdict in VERDICTS, self.verdict)
        _check("sentence", isinstance(self.sentence, str), self.sentence)
        _check("texts", _is_count(self.texts), self.texts)
        for name in ("effects", "floors", "adjusted_p"):
            _check(name, _is_numbers_by_name(getattr(self, name)), getattr(self, name))
        _check("alarms", _is_texts(self.alarms), self.alarms)


@dataclass(frozen=True)
class Window:
    """A span of time that `monitoring.py watch` has judged; windows do not overlap.

    Attributes:
        since, until: its ends in seconds since the epoch; what was logged at `until` belongs to the next one.
        version: id of the model version that was served.
        verdict: NO_DRIFT or DRIFT; one with too few texts is no window, but grows into the next.
        texts: how many were compared.
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
        time: when it was started, in seconds since the epoch.
        outcome: a RetrainOutcome except BUSY; FAILED also while it runs, so that a crash is not retried at once.
        fingerprint: of the labelled data that a retraining last used up, 64 hex digits; "" before that. One that
            FAILED, or was HELD, has used none up.
        labels: how many different labelled texts that were.
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
    """All of it; to_dict() and from_dict() are each other's inverse.

    Attributes:
        last_check: the last check of the log; None before the first.
        edge: until when `watch` has looked at the log, in seconds since the epoch; None before its first run.
        windows: the last that `watch` has judged, oldest first.
        audited_since: by the id of a version, until when its random audits have been tested, in seconds since the
            epoch; what is stored from then on waits until it is enough.
        failed_runs: runs of `watch` that failed, ever.
        last_retrain: None before the first.
        format: of the file.
    """

    last_check: CheckSummary | None = None
    edge: float | None = None
    windows: tuple[Window, ...] = ()
    failed_runs: int = 0
    last_retrain: RetrainTry | None = None
    audited_since: dict[str, float] = field(default_factory=dict)
    format: int = FORMAT

    def __post_init__(self) -> None:
        _check("edge", self.edge is None or _is_moment(self.edge), self.edge)
        _check("failed_runs", _is_count(self.failed_runs), self.failed_runs)
        _check("windows", len(self.windows) <= MAX_WINDOWS, len(self.windows))
        _check("audited_since", _is_numbers_by_name(self.audited_since), self.audited_since)
        _check("audited_since", all(map(_is_moment, self.audited_since.values())), self.audited_since)

    def with_window(self, window: Window, *, tests_audits: bool) -> Self:
        """With one more window, at whose end the next one begins; so do the next audits if these were tested in it."""
        audited = self.audited_since
        if tests_audits:
            others = {version: moment for version, moment in audited.items() if version != window.version}
            audited = dict([*others.items(), (window.version, window.until)][-MAX_WINDOWS:])
        windows = (*self.windows, window)[-MAX_WINDOWS:]
        return dataclasses.replace(self, edge=window.until, windows=windows, audited_since=audited)

    def to_dict(self) -> dict[str, Any]:
        """The state as a dict that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The state from a dict.

        Raises:
            ModelStoreError: it is none, or of a newer format.
        """
        if not isinstance(values, dict) or not _is_count(values.get("format")):
            raise ModelStoreError("expected a JSON object with the state of monitoring")
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
            }
            return cls(**{**values, **parts})
        except (KeyError, TypeError) as error:
            raise ModelStoreError(f"expected the keys of the state of monitoring: {error}") from error


def read_state(store_path: Path | str) -> DriftState:
    """The state beside a store; an empty one where there is none yet. Takes no lock.

    Raises:
        ModelStoreError: the file is damaged.
        OSError: it can't be read.
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
    """Refuse a state that waits for a time to come, as one does that was written while a clock was wrong.

    Args:
        store_path: of the store, for the message.
        state: of it.
        now: in seconds since the epoch.

    Raises:
        ModelStoreError: the edge, until when audits were tested, or the last retraining is more than a minute ahead.
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
                f"{Path(store_path) / STATE_FILE}: {name}: expected a time that is past, got {ahead}, and now is "
                f"{today}; is the clock right? If so, remove the file: monitoring then begins anew, from the whole log"
            )


def update_state(
    store_path: Path | str, change: Callable[[DriftState], DriftState], *, sets_damaged_aside: bool = False
) -> DriftState:
    """Read the state, change it and write it whole, while no other process does: the new state.

    Args:
        store_path: of the store.
        change: makes the new state of the old one.
        sets_damaged_aside: begin anew where the file is damaged, and keep that as DAMAGED_FILE.

    Raises:
        ModelStoreError: the file is damaged; nothing is written.
        OSError: it can't be written.
    """
    path = Path(store_path) / STATE_FILE
    with _locked(Path(store_path)):
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


@contextlib.contextmanager
def _locked(store_path: Path) -> Iterator[None]:
    with open(store_path / _LOCK_FILE, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _damaged(path: Path, reason: str) -> ModelStoreError:
    return ModelStoreError(
        f"{path}: damaged: {reason}; restore it, or remove it: monitoring then begins anew, from the whole log"
    )


def _check(name: str, holds: bool, value: object) -> None:
    if not holds:
        raise ModelStoreError(f"{name}: got {value!r:.200}, which makes no sense there")


def _is_number(value: object) -> bool:
    # By comparison: math.isfinite can't take a whole number that no float holds.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_moment(value: object) -> bool:
    """Whether it is seconds since the epoch that datetime can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= sys.maxsize


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _is_numbers_by_name(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) and _is_number(item) for key, item in value.items())


def save_check(store_path: Path, check: CheckSummary) -> None:
    """Keep a check that is of no window. Its verdict stands without: what hinders it is a line on stderr.

    A damaged state is set aside, because what depends on it would stop at it anyway.
    """

    def change(state: DriftState) -> DriftState:
        return dataclasses.replace(state, last_check=check)

    try:
        try:
            update_state(store_path, change)
        except ModelStoreError as error:
            click.echo(f"warning: {error}; it is kept as {DAMAGED_FILE}, and a new one is begun", err=True)
            update_state(store_path, change, sets_damaged_aside=True)
    except OSError as error:
        click.echo(f"warning: the state beside the store could not be written: {error}", err=True)


def save_window(
    store_path: Path, check: CheckSummary, window: Window | None, before: DriftState, *, tests_audits: bool
) -> DriftState:
    """Keep a check of a window: the new state.

    One without a verdict, because its texts are too few, leaves the last verdict as it is: the window goes on.

    Args:
        store_path: of the store.
        check: in figures.
        window: that was judged; None if there were not enough texts.
        before: the state that the window was laid out by.
        tests_audits: whether the audits that waited were tested with it.

    Raises:
        ModelStoreError: the state is damaged.
        OSError: it can't be written.
    """

    def change(state: DriftState) -> DriftState:
        if window is None:
            return state if state.last_check else dataclasses.replace(state, last_check=check)
        state = dataclasses.replace(state, last_check=check)
        # Another process may have judged this window meanwhile.
        if state.edge != before.edge:
            return state
        return state.with_window(window, tests_audits=tests_audits)

    return update_state(store_path, change)
