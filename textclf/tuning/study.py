"""A study in a folder: processes take its trials in turns, and a killed trial is continued by the next one.

The folder has the file of the study (textclf.tuning.storage), a lock, and below trials/ a lock of each trial that was
started and the checkpoints of those that run. A trial whose lock is free has lost its process. This needs no clock: a
process that is stopped for an hour keeps its trial, and a killed one loses it at once.
"""

import contextlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from textclf.config import SELECTION_METRICS
from textclf.errors import ConfigError, DivergedError
from textclf.files import locked
from textclf.tuning.options import TuningOptions
from textclf.tuning.pruning import Curve, is_behind
from textclf.tuning.search_space import Range
from textclf.tuning.storage import open_storage

_NAME = "textclf"
# Attributes of a study and of its trials; the values of a queued trial, by which it is found again, and its note.
_SETTINGS, _OPTIONS, _QUEUED, _NOTE = "settings", "options", "default", "note"
_NUMBER, _ATTEMPT, _IS_KILLED, _EPOCHS, _ERROR = "number", "attempt", "killed", "epochs", "error"
# A trial that ends its process, for example for lack of memory, is not started again without end.
_MAX_ATTEMPTS = 10
# Trials with random values before those that the sampler chooses by the results; a search of BERT has few trials.
_RANDOM_TRIALS = 5


@dataclass(frozen=True, eq=False)
class RunningTrial:
    """A trial of this process.

    Attributes:
        number: number of the trial, from 0: it decides the seed and the folder. A continued trial keeps it, although
            Optuna counts each start.
        params: the values of the searched options.
        folder: its checkpoints.
        note: what queue() gave it; {} for a trial of a search.
    """

    study: "SharedStudy"
    trial: optuna.Trial
    number: int
    params: dict[str, Any]
    folder: Path
    note: dict[str, Any]

    def report(self, epoch: int, value: float) -> None:
        """Record the metric after an epoch, from 1.

        Raises:
            optuna.TrialPruned: if the trial falls behind the others.
        """
        self.record(epoch, value)
        if self.study.is_hopeless(self):
            raise optuna.TrialPruned

    def record(self, epoch: int, value: float) -> None:
        """Record the metric after an epoch; a continued training may repeat one."""
        if epoch not in self.values:
            self.trial.report(value, epoch)

    @property
    def values(self) -> dict[int, float]:
        """The metric by epoch."""
        return self.study.trial(self.trial.number).intermediate_values


Objective = Callable[[RunningTrial], Sequence[float]]
Listener = Callable[[FrozenTrial], None]


class SharedStudy:
    """The study in `folder`; open() comes first.

    Args:
        folder: folder of the study.
        options: number of trials, metric and the like.
        space: the searched options.
        seed: seed of the first trial; the others add their number.
        epochs: epochs of a trial, if they are not searched.
        is_queue: whether only queued trials run, instead of `options.trials`.
    """

    def __init__(
        self,
        folder: Path,
        options: TuningOptions,
        space: Sequence[Range],
        seed: int = 42,
        epochs: int = 5,
        is_queue: bool = False,
    ) -> None:
        self.folder = folder
        self.options = options
        self.space = tuple(space)
        self.seed = seed
        self.epochs = epochs
        self.is_queue = is_queue
        self._storage: Any = None
        self._study: optuna.Study | None = None

    @property
    def study(self) -> optuna.Study:
        """Optuna's study, after open()."""
        if self._study is None:
            raise ConfigError("expected a study after open(), got one before it; call open() first")
        return self._study

    @property
    def is_more_better(self) -> bool:
        """Whether a higher metric is better."""
        return SELECTION_METRICS[self.options.metric]

    def open(self, settings: Mapping[str, Any], decide: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Create the study, or join it; returns the options that all its trials share.

        Args:
            settings: all that must be equal for every process, by name; JSON values.
            decide: makes the shared options. It is called for a new study only; their values of the searched options
                are the first trial.

        Raises:
            ConfigError: if the study has other settings.
            TrainingError: if the file of the study is damaged.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._locked():
            self._storage = open_storage(self.folder, self.options.storage)
            direction = "maximize" if self.is_more_better else "minimize"
            self._study = optuna.create_study(
                storage=self._storage, study_name=_NAME, direction=direction, load_if_exists=True
            )
            attributes = self._study.user_attrs
            if _OPTIONS in attributes:
                self._check(attributes[_SETTINGS], settings)
                return dict(attributes[_OPTIONS])
            options = decide()
            self._study.set_user_attr(_SETTINGS, dict(settings))
            # A process that is killed before the last of these lines has made no study yet.
            if not self.is_queue and not self.study.get_trials(deepcopy=False):
                self._queue({item.name: options[item.name] for item in self.space}, {})
            self._study.set_user_attr(_OPTIONS, options)
            return options

    def queue(self, trials: Iterable[tuple[dict[str, Any], dict[str, Any]]]) -> None:
        """Queue trials, without those that the study has already.

        Args:
            trials: the values of the options, and a note for the process that runs the trial; JSON values.
        """
        with self._locked():
            known = [trial.user_attrs.get(_QUEUED) for trial in self.study.get_trials(deepcopy=False)]
            for params, note in trials:
                if params not in known:
                    self._queue(params, note)

    def _queue(self, params: dict[str, Any], note: dict[str, Any]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna warns of a default outside its range, which is meant.
            self.study.enqueue_trial(params, user_attrs={_QUEUED: params, _NOTE: note})

    def run(self, objective: Objective, listener: Listener, may_start: Callable[[], bool] = lambda: True) -> None:
        """Run trials until the study has all of its own, or no trial `may_start`.

        Args:
            objective: trains a trial and returns the metric after each epoch.
            listener: is called with each trial that ends here.
        """
        while may_start():
            with contextlib.ExitStack() as held:
                trial = self._start(held)
                if trial is None:
                    return
                self._run(trial, objective)
                listener(self.trial(trial.trial.number))

    def trial(self, number: int) -> FrozenTrial:
        """The record of a trial."""
        return next(one for one in self.study.get_trials(deepcopy=False) if one.number == number)

    @property
    def ended(self) -> list[FrozenTrial]:
        """The trials that ended, whatever their result, in their order."""
        trials = self.study.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state.is_finished() and not is_interrupted(trial)]

    @property
    def is_over(self) -> bool:
        """Whether no trial is left to start or to end."""
        trials = self.study.get_trials(deepcopy=False)
        if self.is_queue:
            return all(trial.state.is_finished() for trial in trials)
        return len(self.ended) >= self.options.trials

    @property
    def finished(self) -> list[FrozenTrial]:
        """The trials that ran to their end, the best first; between equal ones the earlier one."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sign = -1 if self.is_more_better else 1
        return sorted(complete, key=lambda trial: (sign * float(trial.value or 0.0), number_of(trial)))

    def is_hopeless(self, running: RunningTrial) -> bool:
        """Whether to stop a trial; never the first one, which the results are compared with."""
        record = self.trial(running.trial.number)
        if not self.options.prune or is_default(record):
            return False
        others = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return is_behind(curve_of(record), [curve_of(one) for one in others], self.is_more_better)

    def _start(self, held: contextlib.ExitStack) -> RunningTrial | None:
        """A trial that this process holds until `held` is closed; None if no trial is left."""
        with self._locked():
            self._recover()
            trials = self.study.get_trials(deepcopy=False)
            is_left = any(trial.state is TrialState.WAITING for trial in trials)
            if not (is_left if self.is_queue else sum(map(_counts, trials)) < self.options.trials):
                return None
            new_number = len({number_of(one) for one in trials if _NUMBER in one.user_attrs})
            # One sampler per trial: processes with the same seed would draw the same values otherwise.
            self.study.sampler = _sampler(self.seed + new_number)
            trial = self.study.ask()
            held.enter_context(locked(self._lock_of(trial.number), wait=False))
            number = int(trial.user_attrs.get(_NUMBER, new_number))
            trial.set_user_attr(_NUMBER, number)
            params = {item.name: item.suggest(trial) for item in self.space}
            trial.set_user_attr(_EPOCHS, params.get("epochs", self.epochs))
            folder, note = self.folder / "trials" / str(number), trial.user_attrs.get(_NOTE, {})
            running = RunningTrial(self, trial, number, params, folder, note)
            for epoch, value in self._known_values(number).items():
                running.record(epoch, value)
            return running

    def _run(self, running: RunningTrial, objective: Objective) -> None:
        try:
            values = objective(running)
        except optuna.TrialPruned:
            self.study.tell(running.trial, state=TrialState.PRUNED)
        except DivergedError as error:
            running.trial.set_user_attr(_ERROR, str(error))
            self.study.tell(running.trial, state=TrialState.FAIL)
        else:
            for epoch, value in enumerate(values, start=1):
                running.record(epoch, value)
            self.study.tell(running.trial, max(values) if self.is_more_better else min(values))
        shutil.rmtree(running.folder, ignore_errors=True)

    def _recover(self) -> None:
        """Put trials of killed processes back, and remove the checkpoints of finished ones."""
        trials = self.study.get_trials(deepcopy=False)
        for dead in trials:
            if dead.state is not TrialState.RUNNING or not self._is_free(dead.number):
                continue
            attempt = int(dead.user_attrs.get(_ATTEMPT, 1))
            is_again = attempt < _MAX_ATTEMPTS
            if is_again and not any(_is_attempt(one, dead, attempt + 1) for one in trials):
                # A process may have been killed before it drew all values.
                params = {**dead.system_attrs.get("fixed_params", {}), **dead.params}
                kept = {key: value for key, value in dead.user_attrs.items() if key in (_QUEUED, _NOTE, _NUMBER)}
                self.study.enqueue_trial(params, user_attrs={**kept, _ATTEMPT: attempt + 1})
            is_last = {_ERROR: f"its process was killed {attempt} times"}
            for name, value in ({_IS_KILLED: True} if is_again else is_last).items():
                self._set_attribute(dead.number, name, value)
            self.study.tell(dead.number, state=TrialState.FAIL)
        trials = self.study.get_trials(deepcopy=False)
        needed = {str(number_of(one)) for one in trials if not one.state.is_finished()}
        for path in (self.folder / "trials").iterdir():
            if path.is_dir() and path.name not in needed:
                shutil.rmtree(path, ignore_errors=True)

    def _set_attribute(self, number: int, name: str, value: Any) -> None:
        study_id = self._storage.get_study_id_from_name(_NAME)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        self._storage.set_trial_user_attr(trial_id, name, value)

    def _known_values(self, number: int) -> dict[int, float]:
        """The metric in interrupted attempts of a trial: a continued training does not repeat finished epochs."""
        attempts = [one for one in self.study.get_trials(deepcopy=False) if number_of(one) == number]
        return max((one.intermediate_values for one in attempts), key=len)

    def _is_free(self, number: int) -> bool:
        try:
            with locked(self._lock_of(number), wait=False):
                return True
        except BlockingIOError:
            return False

    def _check(self, recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        # JSON has no tuples.
        changed = [name for name, value in settings.items() if _plain(recorded.get(name)) != _plain(value)]
        if changed:
            name = changed[0]
            raise ConfigError(
                f"{name}: expected {_plain(recorded.get(name))!r}, with which the study in {self.folder} began, got "
                f"{_plain(settings[name])!r}; pass the same, or choose another folder with --study-dir"
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with locked(self.folder / "study.lock"):
            (self.folder / "trials").mkdir(exist_ok=True)
            yield

    def _lock_of(self, number: int) -> Path:
        return self.folder / "trials" / f"{number}.lock"


def number_of(trial: FrozenTrial) -> int:
    """The number of a trial, which a continued one keeps; -1 if it was never started."""
    return int(trial.user_attrs.get(_NUMBER, -1))


def is_default(trial: FrozenTrial) -> bool:
    """Whether a trial of a search has the values that a training without a search has."""
    return _QUEUED in trial.user_attrs


def is_interrupted(trial: FrozenTrial) -> bool:
    """Whether the trial lost its process and was put back as a new one."""
    return _IS_KILLED in trial.user_attrs


def error_of(trial: FrozenTrial) -> str:
    """Why a trial failed; "" if it did not."""
    return str(trial.user_attrs.get(_ERROR, ""))


def curve_of(trial: FrozenTrial) -> Curve:
    """The metric of a trial by epoch."""
    values = [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)]
    # TrainingOptions.min_steps may add epochs.
    return Curve(values, max(int(trial.user_attrs[_EPOCHS]), len(values)))


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # constant_liar keeps processes from trying the same values at the same time.
        return optuna.samplers.TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=_RANDOM_TRIALS
        )


def _counts(trial: FrozenTrial) -> bool:
    return trial.state is not TrialState.WAITING and not is_interrupted(trial)


def _is_attempt(trial: FrozenTrial, other: FrozenTrial, attempt: int) -> bool:
    # Queued trials that were killed before they had a number differ by their values.
    is_same = number_of(trial) == number_of(other) and trial.user_attrs.get(_QUEUED) == other.user_attrs.get(_QUEUED)
    return is_same and trial.user_attrs.get(_ATTEMPT, 1) == attempt


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
