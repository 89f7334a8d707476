"""A clock that is set 40 days ahead or back: what is deleted, judged, and no longer run?"""

import json
import subprocess
from pathlib import Path

import click

from bench.hardening.target import attack_options, report
from textclf.cli.commands import Command

# Runs in a checkout, with the clock passed in; each result is a fact about real files.
_SIMULATION = """
import json, sys, tempfile
from pathlib import Path
from textclf.data.prediction_log.log import LoggedPrediction, PredictionLog
from textclf.files import atomic_folder, remove_leftovers
from textclf.monitoring.scheduler import Scheduler

DAY, NOW = 86_400.0, 20_000 * 86_400.0
found, folder = {}, Path(tempfile.mkdtemp())

def log_of(name):
    clock = [NOW]
    log = PredictionLog(f"sqlite:///{folder / name}", clock=lambda: clock[0])
    log.append([LoggedPrediction(NOW - age * DAY, "v1", "pos", b"") for age in range(1, 30) for _ in range(100)])
    return log, clock

def rows(log, version="v1"):
    with log._writing() as connection:
        return connection.exec_driver_sql(
            f"SELECT count(*) FROM textclf_predictions WHERE version = '{version}'"
        ).scalar_one()

log, clock = log_of("start")
clock[0] += 40 * DAY
log.prune()
found["rows_left_after_a_start_40_days_ahead"] = f"{rows(log)} of 2900"

log, clock = log_of("serving")
clock[0] += 40 * DAY
log.append([LoggedPrediction(clock[0], "wrong", "pos", b"") for _ in range(100)])
log.prune()
found["rows_left_after_100_more_predictions"] = f"{rows(log)} of 2900"

log, clock = log_of("full")
log.max_rows = 2900
log.append([LoggedPrediction(NOW + 40 * DAY, "wrong", "pos", b"") for _ in range(2900)])
log.prune()
found["rows_left_in_a_full_log_with_2900_rows_from_the_future"] = f"{rows(log)} of 2900"

class Ended(Exception):
    pass

clock, runs, waited = [NOW], [0], [0.0]

def run():
    runs[0] += 1
    if runs[0] == 3:
        clock[0] -= 40 * DAY
    if runs[0] == 10:
        raise Ended

def wait(seconds):
    clock[0] += seconds
    waited[0] += seconds
    if waited[0] > 12 * 3600:
        raise Ended

failing = [sys.executable, "-c", "raise SystemExit(1)"]
scheduler = Scheduler(failing, 3600.0, {0}, run, clock=lambda: clock[0], wait=wait)
try:
    scheduler.run(NOW)
except Ended:
    pass
found["runs_of_watch_every_hour_in_the_hours_after_a_clock_set_back"] = f"{runs[0] - 3} of 7"

try:
    with atomic_folder(folder / "version") as staging:
        (staging / "model").write_text("weights")
        remove_leftovers(folder, staging.stat().st_mtime + 40 * DAY)
    found["version_that_is_being_saved_during_a_jump"] = (
        "saved" if (folder / "version" / "model").exists() else "its files were removed"
    )
except OSError as error:
    found["version_that_is_being_saved_during_a_jump"] = f"lost ({type(error).__name__})"
print(json.dumps(found))
"""


@click.command(cls=Command)
@attack_options
def main(checkout: Path, python: str, json_path: Path | None) -> None:
    """Set the clock 40 days ahead, and back, in simulations with real files."""
    command = [python, "-c", _SIMULATION]
    done = subprocess.run(  # noqa: S603 this project's own code
        command, cwd=checkout, stdout=subprocess.PIPE, text=True, timeout=120, check=True
    )
    report({"attack": "clock_jump", **json.loads(done.stdout.splitlines()[-1])}, json_path)


if __name__ == "__main__":
    main()
